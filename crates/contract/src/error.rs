//! The error of a step: what failed, where, and a hint.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What to do when the operating system refuses a thread, a process or a file descriptor.
pub const SYSTEM_HINT: &str = "raise the limits of this process: `ulimit -u` for processes and threads, `ulimit -n` for files, or the memory of the container";

/// What to do when a file of a model, a candidate or a state is damaged.
pub const DAMAGED_HINT: &str = "the file was changed or truncated, or another version wrote it: \
                                restore it from a backup, or train again";

/// What to do when a file has a format that this version does not read.
pub const OTHER_VERSION_HINT: &str =
    "another version of Lynceus wrote it: use that version, or upgrade this one";

/// Says who has to act; each kind is one exit code of the step contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// A bug in Lynceus: exit code 1, never retried.
    Bug,
    /// Wrong flags or a wrong document: exit code 2, never retried.
    Usage,
    /// The data was refused: exit code 3, never retried.
    Refused,
    /// An outside service failed: exit code 4, retried.
    Unavailable,
    /// A race for an alias or a watermark was lost: exit code 5, retried.
    LostRace,
}

impl ErrorKind {
    /// Returns the process exit code that stands for this kind.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Bug => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unavailable => 4,
            Self::LostRace => 5,
        }
    }

    /// Returns whether running the same step again may help.
    pub fn is_retried(self) -> bool {
        matches!(self, Self::Unavailable | Self::LostRace)
    }
}

/// An error with its kind, a one-line message, and an optional hint.
///
/// Messages are lower case, name the object (path, column, URL without secrets, value in
/// backticks), and have no full stop.
///
/// ```
/// use contract::StepError;
///
/// let error = StepError::usage("`step`: must be greater than 0s").hint("write it as in step: 1m");
/// assert_eq!(error.kind.exit_code(), 2);
/// assert_eq!(
///     error.to_string(),
///     "`step`: must be greater than 0s\nhint: write it as in step: 1m"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// Who has to act.
    pub kind: ErrorKind,
    /// What failed, on what.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl StepError {
    /// Makes an error of any kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    /// Makes an error for a bug in Lynceus (exit code 1).
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Bug, message)
    }

    /// Makes an error about flags or the document (exit code 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Makes an error about refused data (exit code 3).
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, message)
    }

    /// Makes an error about a file of a model, a candidate or a state that does not hold what it must
    /// (exit code 3), with [`DAMAGED_HINT`].
    pub fn damaged(message: impl Into<String>) -> Self {
        Self::refused(message).hint(DAMAGED_HINT)
    }

    /// Makes an error about an outside service (exit code 4).
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// Makes an error about a lost race (exit code 5).
    pub fn lost_race(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::LostRace, message)
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Makes the error for a file that could not be read.
    ///
    /// A missing input is a usage error, because the flag is wrong. Any other failure is refused
    /// data.
    pub fn reading(path: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot read `{}`: {}", path.display(), system_words(error));
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::usage(message)
                .hint("check the path, and the folder in which the command runs"),
            std::io::ErrorKind::PermissionDenied => {
                Self::refused(message).hint("let this user read it, for example with chmod")
            }
            std::io::ErrorKind::IsADirectory => {
                Self::refused(message).hint("this is a folder: give the path of a file")
            }
            _ => Self::refused(message).hint(
                "check that the file is complete and that its disk \
                 works",
            ),
        }
    }

    /// Makes the error for a file that could not be written: a failing disk is an outside service,
    /// but an impossible path is a usage error.
    pub fn writing(path: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot write `{}`: {}", path.display(), system_words(error));
        match error.kind() {
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::NotADirectory => {
                Self::usage(message).hint("choose a path that this user may write to")
            }
            std::io::ErrorKind::IsADirectory
            | std::io::ErrorKind::AlreadyExists
            | std::io::ErrorKind::InvalidFilename => {
                Self::usage(message).hint("choose another path")
            }
            _ => Self::unavailable(message).hint(
                "check that the disk is not full and not mounted \
                 read-only",
            ),
        }
    }
}

/// Returns only the message of the operating system, because `fs_err` adds the path.
pub fn system_words(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code).to_string(),
        None => {
            std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
        }
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StepError {}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn full_disk_error_quotes_the_operating_system() {
        let mut full = fs_err::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let error = StepError::writing(Path::new("x"), &full.write_all(b"x").unwrap_err());
        assert_eq!(error.message, "cannot write `x`: No space left on device (os error 28)");
        assert_eq!(error.kind, ErrorKind::Unavailable);
    }
}
