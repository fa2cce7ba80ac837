//! Errors with the server's message, without secrets, by who has to act.

use std::error::Error as _;
use std::fmt;
use std::io;

use client::masked;
use contract::{ErrorKind, StepError};
use tokio_postgres::error::{DbError, SqlState};

/// Cause of a failed transaction.
#[derive(Debug)]
pub enum Failure {
    /// The server, or the connection to it, failed.
    Server(tokio_postgres::Error),
    /// Its answer cannot be used.
    Step(StepError),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<StepError> for Failure {
    fn from(error: StepError) -> Self {
        Self::Step(error)
    }
}

/// Name of a server in errors.
pub(crate) struct Words {
    /// Field of its settings in the document.
    pub(crate) field: String,
    /// Host, port and database.
    pub(crate) shown: String,
    /// The password, which is never in an error.
    pub(crate) secret: Option<String>,
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Words").field("field", &self.field).finish_non_exhaustive()
    }
}

impl Words {
    /// Makes the error of a server that does not answer.
    pub(crate) fn unreachable(&self, why: &str) -> StepError {
        let Self { field, shown, .. } = self;
        StepError::unavailable(format!("`{field}`: `{shown}` cannot be reached: {why}")).hint(
            format!("check that the server is running and that `{field}.server.url` is right"),
        )
    }

    /// Makes the error of a deadline.
    pub(crate) fn too_slow(&self, doing: &str) -> StepError {
        let Self { field, shown, .. } = self;
        StepError::unavailable(format!("`{field}`: {doing}: `{shown}` did not answer in time"))
            .hint(format!("increase `{field}.server.timeout`"))
    }

    /// Makes the error of a server without encryption.
    pub(crate) fn plain_only(&self) -> StepError {
        let Self { field, shown, .. } = self;
        StepError::usage(format!("`{field}`: `{shown}` does not support encryption"))
            .hint(format!("enable ssl in the server, or set `{field}.server.tls: off`"))
    }

    /// Makes the error of a connection that could not be encrypted.
    pub(crate) fn untrusted(&self, error: &io::Error) -> StepError {
        let Self { field, shown, .. } = self;
        let message = format!("`{field}`: no secure connection to `{shown}`: {error}");
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(_)) => StepError::usage(message).hint(format!(
                "name the CA with `{field}.server.ca_file`, or the certificate's name with `{field}.server.server_name`"
            )),
            _ => StepError::unavailable(message).hint("check that it is a PostgreSQL server with \
                 TLS, and look for the cause in its log"),
        }
    }

    /// Makes the error for a failure of a server or of the connection.
    pub(crate) fn of(&self, doing: &str, error: &tokio_postgres::Error) -> StepError {
        let Self { field, shown, .. } = self;
        let about = format!("`{field}`: {doing}, `{shown}`");
        let Some(error) = error.as_db_error() else {
            let mut words = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                let text = inner.to_string();
                if !words.contains(&text) {
                    words = format!("{words}: {text}");
                }
                cause = inner.source();
            }
            // The server asks for a password, and there is none.
            if words.contains("password missing") {
                return StepError::usage(format!("{about}: the server asks for a password"))
                    .hint(format!("set the file with the password in `{field}.server.password`"));
            }
            return StepError::unavailable(self.without_secret(&format!("{about}: {words}")))
                .hint(format!("check that the server of `{field}.server.url` is running and reachable from here"));
        };
        let mut words = error.message().to_owned();
        if let Some(detail) = error.detail() {
            words = format!("{words} ({detail})");
        }
        let words = words.replace('\n', " ");
        let code = error.code().code();
        let message = self.without_secret(&format!("{about}: {words} (SQLSTATE {code})"));
        let made = StepError::new(kind(error.code()), message);
        match self.hint(error) {
            Some(hint) => made.hint(self.without_secret(&hint)),
            None => made,
        }
    }

    fn hint(&self, error: &DbError) -> Option<String> {
        let field = &self.field;
        let code = error.code().code();
        let own = match code {
            "57014" => {
                Some(format!("increase `{field}.server.timeout`; an index on the time helps more"))
            }
            "42501" => Some("grant the role of the URL what is missing".to_owned()),
            "28P01" | "28000" if self.secret.is_none() => {
                Some(format!("name a file with the password in `{field}.server.password`"))
            }
            "28P01" | "28000" => {
                Some("is the password that of the role, and may it connect from here?".to_owned())
            }
            "42P01" => Some("names are taken as they are written, also in their case".to_owned()),
            _ => None,
        };
        own.or_else(|| error.hint().map(|hint| hint.replace('\n', " ")))
    }

    fn without_secret(&self, text: &str) -> String {
        self.secret.as_ref().map_or_else(|| text.to_owned(), |secret| masked(text, secret))
    }
}

/// Returns who has to act, by the class of the SQL state.
fn kind(state: &SqlState) -> ErrorKind {
    let code = state.code();
    match code {
        // Cancelled by the deadline, serialisation, deadlock, lock not available.
        "57014" | "40001" | "40P01" | "55P03" => return ErrorKind::Unavailable,
        _ => {}
    }
    match code.get(..2).unwrap_or_default() {
        // Rows that the server refuses, and what a constraint refuses.
        "22" | "23" | "44" | "P0" => ErrorKind::Refused,
        // Signing in, no such database, names, syntax and rights, what the server cannot do.
        "28" | "3D" | "3F" | "42" | "0A" | "25" | "55" => ErrorKind::Usage,
        // The connection, resources, an operator's act, the system, or the server itself.
        _ => ErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_kind_follows_sqlstate() {
        for (code, expected) in [
            ("08006", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("57P01", ErrorKind::Unavailable),
            ("57014", ErrorKind::Unavailable),
            ("40P01", ErrorKind::Unavailable),
            ("23505", ErrorKind::Refused),
            ("22021", ErrorKind::Refused),
            ("28P01", ErrorKind::Usage),
            ("42501", ErrorKind::Usage),
            ("3D000", ErrorKind::Usage),
        ] {
            assert_eq!(kind(&SqlState::from_code(code)), expected, "{code}");
        }
    }
}
