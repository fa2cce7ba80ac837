//! Connections to `PostgreSQL`: trust, deadlines, and errors without secrets.
//!
//! A [`Loader`] writes rows into its own table. A [`Session`], which it uses, is blocking: each
//! call ends before the deadline of the document's settings. All statements run in short
//! transactions, so that a connection pool between works as well.

mod connect;
mod failure;
mod load;
mod rows;
mod session;
mod target;

pub use failure::Failure;
pub use load::{Loaded, Loader};
pub use rows::{Column, Rows, Values, column_name};
pub use session::{Access, Session};
pub use target::{Target, value_column};
pub use tokio_postgres::types::{FromSql, Kind, ToSql, Type};
pub use tokio_postgres::{Client, Row};

/// Returns a name in the form of a statement.
#[must_use]
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the name of a table, or of a schema and a table separated by a dot, in the form of a
/// statement.
#[must_use]
pub fn quoted_table(name: &str) -> String {
    name.split('.').map(quoted).collect::<Vec<_>>().join(".")
}

/// Returns a text in the form of a statement.
#[must_use]
pub fn literal(text: &str) -> String {
    // For a text with a backslash only this form does not depend on the server's settings.
    let text = text.replace('\'', "''").replace('\\', "\\\\");
    format!("E'{text}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_text_never_ends_before_its_end() {
        assert_eq!(quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted_table("s.t"), "\"s\".\"t\"");
        assert_eq!(literal("it's \\ 1"), "E'it''s \\\\ 1'");
    }
}
