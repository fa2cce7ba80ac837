//! Output of commands: text for people, or data in the format of `--output`.

use std::io::Write as _;

use clap::ValueEnum;
use contract::StepError;
use serde::Serialize;

use super::Global;

/// What `--output` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For a person.
    Text,
    /// For a program.
    Json,
    /// Rows with a header: of `scores` and `predict`.
    Csv,
    /// Rows as a Parquet file: of `scores` and `predict`.
    Parquet,
}

/// Format of printed data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutputFormat {
    /// For a person.
    Text,
    /// For a program.
    Json,
}

impl Global {
    /// Returns the format of printed data; a row format counts as text.
    pub(super) fn output(&self) -> OutputFormat {
        match self.output_format {
            Format::Json => OutputFormat::Json,
            Format::Text | Format::Csv | Format::Parquet => OutputFormat::Text,
        }
    }
}

/// Prints an error on stderr.
pub(crate) fn tell(error: &StepError) {
    // An error cannot be reported if stderr is closed.
    drop(writeln!(std::io::stderr(), "error: {error}"));
}

/// Prints rows as CSV or as a Parquet file, depending on `--output`.
pub(super) fn print_rows(global: &Global, rows: &frames::Rows) -> Result<(), StepError> {
    match global.output_format {
        Format::Parquet => print_bytes(&rows.to_parquet()?),
        Format::Csv | Format::Text | Format::Json => print(&rows.to_csv()),
    }
}

/// Prints to stdout; a closed pipe (`| head`) is not an error.
pub(super) fn print(text: &str) -> Result<(), StepError> {
    print_bytes(text.as_bytes())
}

fn print_bytes(bytes: &[u8]) -> Result<(), StepError> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(StepError::unavailable(format!("cannot write to stdout: {error}"))
                .hint("check that the disk of the output is not full"))
        }
        _ => Ok(()),
    }
}

pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), StepError> {
    print(&String::from_utf8_lossy(&contract::artifact::json_bytes(value)?))
}

/// Prints a progress line on stderr.
pub(crate) fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}
