//! Scores the rows of a request within the limits, also with the shadow version.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use contract::score::{EntityScore, Verdict};
use contract::{ErrorKind, StepError};
use frames::FeatureTable;

use crate::batches::Batches;
use crate::limits::Limits;
use crate::live::{Live, Served};
use crate::metrics::Metrics;
use crate::protocol::ProtocolError;

/// Number of rows above which a request is scored on a separate thread, so that other requests
/// continue.
const MANY_ROWS: usize = 64;

/// Scores requests.
#[derive(Debug, Clone)]
pub struct Judge {
    /// The versions that answer.
    pub live: Arc<Live>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Authentication, and the limit of requests in flight.
    pub limits: Limits,
    /// Timeout of a request.
    pub timeout: Duration,
    /// The batches; `None` if each request is scored by itself.
    pub batches: Option<Batches>,
}

impl Judge {
    /// Scores rows within the limits, also with the shadow version.
    ///
    /// Errors: 503 above the limit of requests in flight, 504 after the timeout, and those of the
    /// model.
    pub async fn judge(
        &self,
        served: &Arc<Served>,
        rows: FeatureTable,
    ) -> Result<Vec<EntityScore>, ProtocolError> {
        let _place = self.limits.enter()?;
        let rows = Arc::new(rows);
        let scores = self.scores(served, &rows).await?.map_err(|error| failed(&error))?;
        let alarms = scores.iter().filter(|score| is_alarm(score)).count();
        self.metrics.judged(scores.len(), alarms);
        self.shadow(rows, &scores);
        Ok(scores)
    }

    /// Returns the version's scores of the rows, computed in a batch, on this thread, or on a
    /// separate thread.
    async fn scores(
        &self,
        served: &Arc<Served>,
        rows: &Arc<FeatureTable>,
    ) -> Result<Result<Vec<EntityScore>, StepError>, ProtocolError> {
        if let Some(batches) = self.batches.as_ref().filter(|it| it.takes(rows.rows())) {
            let scores = batches.push(served, rows).ok_or_else(Limits::full)?;
            return self.in_time(scores).await;
        }
        if rows.rows() <= MANY_ROWS {
            return Ok(served.judge(rows));
        }
        let (served, rows) = (Arc::clone(served), Arc::clone(rows));
        self.in_time(tokio::task::spawn_blocking(move || served.judge(&rows))).await
    }

    /// Waits for scores until the timeout.
    async fn in_time<T, E: std::fmt::Display>(
        &self,
        scores: impl Future<Output = Result<T, E>>,
    ) -> Result<T, ProtocolError> {
        let scores = tokio::time::timeout(self.timeout, scores).await.map_err(|_| {
            ProtocolError::new(StatusCode::GATEWAY_TIMEOUT, "judging the rows took too long")
        })?;
        scores.map_err(|error| {
            ProtocolError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        })
    }

    fn shadow(&self, rows: Arc<FeatureTable>, scores: &[EntityScore]) {
        let Some(shadow) = self.live.shadow() else { return };
        let alarms: Vec<(bool, Option<String>)> = scores.iter().map(said).collect();
        let metrics = Arc::clone(&self.metrics);
        drop(tokio::task::spawn_blocking(move || match shadow.judge(&rows) {
            Ok(scores) => {
                let pairs = scores.iter().zip(&alarms);
                let others = pairs.filter(|(score, before)| said(score) != **before).count();
                metrics.shadowed(scores.len(), others);
            }
            Err(error) => tracing::warn!(%error, "The shadow version could not score a request"),
        }));
    }
}

fn is_alarm(score: &EntityScore) -> bool {
    score.verdict == Verdict::Anomalous || score.is_mismatch()
}

/// Returns the parts of a score on which two versions may disagree: whether it is an alarm, and the
/// class.
fn said(score: &EntityScore) -> (bool, Option<String>) {
    (is_alarm(score), score.class.as_ref().map(|class| class.name().to_owned()))
}

fn failed(error: &StepError) -> ProtocolError {
    let status = match error.kind {
        ErrorKind::Refused | ErrorKind::Usage => StatusCode::BAD_REQUEST,
        ErrorKind::Unavailable | ErrorKind::LostRace => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Bug => StatusCode::INTERNAL_SERVER_ERROR,
    };
    ProtocolError::new(status, error.message.clone())
}
