//! A common deadline of all tasks of a plan: a task that hangs is ended early enough to send an
//! alert.

use std::time::{Duration, Instant};

use contract::Span;
use contract::steps::StepCommand;
use plan::Task;

/// Most time that is reserved for the task that sends alerts.
const RESERVE: Duration = Duration::from_secs(25);

/// Time in which a task must end by itself before its process is killed.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// Least remaining time for which another attempt is started.
const LEAST: Duration = Duration::from_secs(5);

/// Deadline of all tasks.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    end: Instant,
    /// Time reserved for the task that sends alerts.
    reserve: Duration,
}

impl Limit {
    /// Starts the deadline.
    pub fn of(whole: Span) -> Self {
        let whole = whole.to_std();
        Self { end: Instant::now() + whole, reserve: RESERVE.min(whole / 3) }
    }

    /// Returns the deadline of a task that starts now.
    pub(super) fn of_task(self, task: &Task) -> Span {
        // `alert` has the remaining time.
        let is_alert = matches!(task.command, StepCommand::Alert(_));
        let reserve = if is_alert { Duration::ZERO } else { self.reserve };
        let left = self.left().saturating_sub(reserve);
        let left = left.saturating_sub(GRACE).max(Duration::from_secs(1));
        Span::from_ms(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
    }

    /// Returns whether there is time for another attempt after a backoff.
    pub(super) fn leaves(self, pause: Duration) -> bool {
        self.left() > self.reserve + pause + LEAST
    }

    fn left(self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;
    use contract::step::Common;
    use contract::steps::{AlertArgs, FeatureArgs};

    use super::*;

    #[test]
    fn alerting_gets_the_remaining_time_of_a_tick() {
        let document = std::path::PathBuf::from("document.yaml");
        let feature = StepCommand::Feature(FeatureArgs {
            document: document.clone(),
            samples: "samples".into(),
            labels: None,
            features: "features".into(),
            common: Common::default(),
        });
        let alert = StepCommand::Alert(AlertArgs {
            document,
            store: "store".into(),
            now: Timestamp::from_ms(0),
            scored: None,
            tick: Vec::new(),
            failed: None,
            ended: Vec::new(),
            messages: "messages".into(),
            shard: None,
            common: Common::default(),
        });
        let limit = Limit::of(Span::from_seconds(600));
        let [of_feature, of_alert] = [feature, alert].map(|it| limit.of_task(&Task::new("x", it)));
        // Time passes between the two calls, so the difference is the reserve or a little less.
        let kept = of_alert.seconds() - of_feature.seconds();
        assert!((20.0..=25.0).contains(&kept), "{kept}");
        assert!(of_alert < Span::from_seconds(600));
        assert!(limit.leaves(Duration::from_secs(1)));
        assert!(!limit.leaves(Duration::from_mins(10)));
        assert!(!Limit::of(Span::ZERO).leaves(Duration::ZERO));
    }
}
