//! Loads rows: all rows of a call or none. A row that already exists changes nothing.

use std::io::Cursor;
use std::path::Path;
use std::pin::pin;

use contract::StepError;
use document::postgres::PostgresServer;
use futures_util::SinkExt as _;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::failure::Failure;
use crate::rows::Rows;
use crate::session::{Access, Session};
use crate::target::{Layout, Target, copy, kept, merge};

/// Bytes that are sent at a time.
const PIECE_BYTES: usize = 64 << 10;
const STAGE: &str = "pg_temp.lynceus_stage";

/// A connection for loading rows.
#[derive(Debug)]
pub struct Loader {
    session: Session,
    target: Target,
    layout: Layout,
}

/// Result of one call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Rows that were added or changed.
    pub changed: u64,
    /// Rows that were left out because they are older than the retention.
    pub too_old: u64,
}

impl Loader {
    /// Connects; the table is created when there are rows for it. `field` is the field of the
    /// settings in the document, whose folder is `folder`.
    ///
    /// Errors: those of [`Session::connect`].
    pub fn connect(
        field: &str,
        server: &PostgresServer,
        folder: &Path,
        target: Target,
    ) -> Result<Self, StepError> {
        let session = Session::connect(field, server, folder)?;
        Ok(Self { session, target, layout: Layout::default() })
    }

    /// Loads rows, all or none. For a row whose entity and time already exist only columns with
    /// another value change; a gap overwrites no value.
    ///
    /// Errors: usage for missing rights and for a table that is not ours or whose columns are of
    /// other types; refused for values that the database, or a constraint of it, refuses;
    /// unavailable for temporary failures.
    pub fn load(&mut self, rows: &Rows) -> Result<Loaded, StepError> {
        if rows.is_empty() {
            return Ok(Loaded::default());
        }
        let target = &self.target;
        if let Some(text) = rows.texts().find(|text| text.contains('\0')) {
            let text = text.escape_debug();
            return Err(StepError::refused(format!(
                "`{text}` contains a NUL character, which PostgreSQL does not allow in text"
            ))
            .hint("remove the character from the entity, label or feature name in the source"));
        }
        if !self.layout.fits(target, rows) {
            // In a separate transaction, so that readers of the table wait only for a moment.
            self.layout =
                self.session.transaction("preparing the table", Access::Write, async |client| {
                    Layout::extend(client, target, rows).await
                })?;
        }
        let chosen = kept(target, rows, self.layout.newest());
        let too_old = (rows.len() - chosen.len()) as u64;
        let done = self.session.transaction("loading rows", Access::Write, async |client| {
            load(client, target, rows, &chosen).await
        });
        if done.is_err() {
            // Another process may have changed the table: it is inspected again.
            self.layout = Layout::default();
        }
        Ok(Loaded { changed: done?, too_old })
    }
}

/// Loads rows directly into the table, or through a staging table if some of them already exist.
async fn load(
    client: &Client,
    target: &Target,
    rows: &Rows,
    chosen: &[usize],
) -> Result<u64, Failure> {
    client.batch_execute("SAVEPOINT straight").await?;
    match send(client, &target.name(), rows, chosen).await {
        Ok(count) => return Ok(count),
        Err(Failure::Server(error)) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => {}
        Err(failure) => return Err(failure),
    }
    let stage = format!(
        "ROLLBACK TO straight; CREATE TEMP TABLE lynceus_stage (LIKE {}) ON COMMIT DROP",
        target.name()
    );
    client.batch_execute(&stage).await?;
    send(client, STAGE, rows, chosen).await?;
    Ok(client.execute_typed(&merge(target, STAGE, rows), &[]).await?)
}

async fn send(client: &Client, into: &str, rows: &Rows, chosen: &[usize]) -> Result<u64, Failure> {
    let mut sink = pin!(client.copy_in(&copy(into, rows)).await?);
    for piece in rows.pieces(chosen, PIECE_BYTES) {
        // If the server has ended the copying, `finish` returns the cause.
        if sink.send(Cursor::new(piece)).await.is_err() {
            break;
        }
    }
    let count = sink.finish().await?;
    if count != chosen.len() as u64 {
        let sent = chosen.len();
        let message = format!("the database took {count} of {sent} rows");
        return Err(Failure::Step(
            StepError::unavailable(message)
                .hint("check whether a trigger or a rule of the table drops rows"),
        ));
    }
    Ok(count)
}
