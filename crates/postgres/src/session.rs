//! A connection for single statements.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use contract::deadline::waits_for;
use contract::{SYSTEM_HINT, StepError};
use document::postgres::PostgresServer;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::Client;

use crate::connect::Server;
use crate::failure::Failure;

/// Additional time, after the server's own deadline, to wait for its answer.
const GRACE: Duration = Duration::from_secs(5);

/// Longest deadline that the server accepts.
const LONGEST_MS: u128 = i32::MAX as u128;

/// What a transaction may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing but reading.
    Read,
    /// Anything.
    Write,
}

/// A connection to a server.
pub struct Session {
    server: Server,
    client: Client,
    /// Cause of the end of the connection, which the client does not know.
    connection: Option<JoinHandle<Result<(), tokio_postgres::Error>>>,
    timeout: Duration,
    /// The connection's task runs while something is waited for.
    runtime: Runtime,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Session {
    /// Connects. `field` is where the settings of which `server` is one stand in the document, for
    /// errors; `folder` is the document's.
    ///
    /// Errors: usage for settings, a certificate, a user or a database that the other side does not
    /// accept; unavailable where it does not answer.
    pub fn connect(
        field: &str,
        settings: &PostgresServer,
        folder: &Path,
    ) -> Result<Self, StepError> {
        let server = Server::new(field, settings, folder)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(
            |error| {
                StepError::unavailable(format!("cannot start to connect: {error}"))
                    .hint(SYSTEM_HINT)
            },
        )?;
        waits_for(&format!("the database `{}`", server.words.shown));
        let deadline = settings.timeout.to_std();
        let connected = runtime.block_on(async { timeout(deadline, server.connect()).await });
        let connected = connected.map_err(|_| server.words.too_slow("connecting"))?;
        let (client, connection) = connected?;
        Ok(Self { server, client, connection: Some(connection), timeout: deadline, runtime })
    }

    /// Returns host, port and database, for messages.
    pub fn shown(&self) -> &str {
        &self.server.words.shown
    }

    /// Does work in a transaction, whose statements have the deadline of the settings each; times
    /// are in UTC. It is committed if the work succeeded. `doing` describes it for errors, as in
    /// "reading rows".
    ///
    /// Errors: those of the work; of the server by who has to act: usage, refused, or unavailable.
    pub fn transaction<T>(
        &mut self,
        doing: &str,
        access: Access,
        work: impl AsyncFnOnce(&Client) -> Result<T, Failure>,
    ) -> Result<T, StepError> {
        let mode = match access {
            Access::Read => "READ ONLY",
            Access::Write => "READ WRITE",
        };
        let begin = format!(
            "BEGIN {mode}; SET LOCAL statement_timeout = {}; SET LOCAL TimeZone = 'UTC'",
            self.timeout.as_millis().min(LONGEST_MS)
        );
        let client = &self.client;
        let whole = async {
            client.batch_execute(&begin).await?;
            let done = work(client).await?;
            client.batch_execute("COMMIT").await?;
            Ok::<T, Failure>(done)
        };
        // Reading is one statement, writing may be several; the server has a deadline for each.
        let statements = if access == Access::Read { 1 } else { 20 };
        let deadline = self.timeout.saturating_mul(statements) + GRACE;
        match self.runtime.block_on(async { timeout(deadline, whole).await }) {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(failure)) => {
                let rollback = async { timeout(GRACE, client.batch_execute("ROLLBACK")).await };
                // If it cannot be rolled back, there is no connection and nothing to roll back.
                drop(self.runtime.block_on(rollback));
                Err(match failure {
                    Failure::Step(error) => error,
                    Failure::Server(error) => self.error(doing, error),
                })
            }
            Err(_) => Err(self.server.words.too_slow(doing)),
        }
    }

    /// Makes the error of a step; where the client knows only that the connection ended, the
    /// connection says why.
    fn error(&mut self, doing: &str, error: tokio_postgres::Error) -> StepError {
        let connection = self.connection.take_if(|_| error.is_closed());
        let ended = connection.and_then(|connection| {
            let ended = self.runtime.block_on(async { timeout(GRACE, connection).await });
            ended.ok()?.ok()?.err()
        });
        self.server.words.of(doing, &ended.unwrap_or(error))
    }
}
