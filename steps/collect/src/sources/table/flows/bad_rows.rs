//! Records that cannot be read: counted, the first ones named, and bounded.

use std::path::Path;

use contract::StepError;

/// Maximum number of records that a warning names.
const NAMED: usize = 5;

/// The records of a file that could not be read.
#[derive(Debug, Default)]
pub(super) struct BadRows {
    pub(super) count: u64,
    named: Vec<String>,
}

impl BadRows {
    /// Records a bad record; more than `most` of them are refused.
    pub(super) fn note(
        &mut self,
        path: &Path,
        line: u64,
        message: &str,
        most: u64,
    ) -> Result<(), StepError> {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push(format!("line {line}: {message}"));
        }
        if self.count <= most {
            return Ok(());
        }
        let (path, named) = (path.display(), self.named.join("; "));
        let message = match most {
            0 => format!("`{path}` has an unreadable record: {named}"),
            _ => {
                format!("`{path}` has more than {most} unreadable records, the first ones: {named}")
            }
        };
        Err(StepError::refused(message).hint(
            "check `table.format`, or allow more unreadable records with `table.flows.max_bad_rows`",
        ))
    }

    /// Returns a warning in one sentence.
    pub(super) fn warning(&self, path: &Path) -> Option<String> {
        (self.count > 0).then(|| {
            format!(
                "{} records of `{}` are left out since they cannot be read, the first ones: {}",
                self.count,
                path.display(),
                self.named.join("; ")
            )
        })
    }
}
