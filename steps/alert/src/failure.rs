//! Why the last tick failed, for ticks in a cluster, whose pods are deleted.

use contract::{ErrorKind, Shard, StepError, Timestamp};
use serde::{Deserialize, Serialize};
use store::{ObjectStore, state};

/// Name of the state.
pub const STATE: &str = "failed-tick";

/// Longest reason that is kept, in characters.
const REASON: usize = 2000;

/// `state/<pipeline>/failed-tick.json`: the last tick that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedTick {
    /// Version of this format.
    pub format: u32,
    /// Evaluation time of the tick.
    pub at: Timestamp,
    /// The step that failed; `tick` where only the reason is known.
    pub step: String,
    /// Why it failed.
    pub why: String,
}

/// One failed node of a workflow, as Argo lists them in `workflow.failures`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    display_name: String,
    #[serde(default)]
    message: String,
}

impl FailedTick {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;

    /// Reads the last failed tick of a pipeline, if there was one.
    ///
    /// Errors: those of the store; refused for a state that cannot be parsed.
    pub fn read(store: &dyn ObjectStore, pipeline: &str) -> Result<Option<Self>, StepError> {
        Ok(state::read(store, pipeline, STATE)?.map(|stored| stored.value))
    }

    /// Returns the first cause in Argo's list of failures; `None` if the list is empty.
    pub(crate) fn of_list(text: &str) -> Option<Self> {
        (!nodes(text).is_empty()).then(|| Self::of(Timestamp::from_ms(0), text))
    }

    /// Makes the record of a failed tick from its reason, or from Argo's list of failures.
    pub(crate) fn of(at: Timestamp, text: &str) -> Self {
        // Argo encodes the list as a JSON string.
        let quoted: Option<String> = serde_json::from_str(text).ok();
        let text = quoted.as_deref().unwrap_or(text);
        let nodes: Vec<Node> = serde_json::from_str(text).unwrap_or_default();
        // Argo's executor exits with 64 if an earlier container failed: that is not the cause.
        let nodes = nodes.iter().filter(|node| !node.message.contains("(exit code 64)"));
        // Failures are in no order. The nodes of containers are named after their positions in the
        // pod, and sort before the node of the pod.
        let first = nodes.min_by(|a, b| a.display_name.cmp(&b.display_name));
        let (step, why) = first.map_or(("tick", text), |node| {
            let step = node.display_name.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
            (step, node.message.as_str())
        });
        Self {
            format: Self::FORMAT,
            at,
            step: step.to_owned(),
            why: why.chars().take(REASON).collect(),
        }
    }
}

/// Returns whether a list of failures concerns a shard, or the pipeline as a whole: Argo names the
/// pods of a loop after their index in it, such as `score(2:2)`. A reason that is not such a list
/// concerns all shards.
pub(crate) fn concerns(text: &str, shard: Option<Shard>) -> bool {
    let Some(shard) = shard else { return true };
    let nodes = nodes(text);
    let place = |node: &Node| {
        let (_, place) = node.display_name.rsplit_once('(')?;
        place.split(':').next()?.parse::<u32>().ok()
    };
    let mut places = nodes.iter().filter_map(place).peekable();
    places.peek().is_none() || places.any(|place| place == shard.index())
}

/// Returns the failed nodes of a workflow; none if the text is not such a list.
fn nodes(text: &str) -> Vec<Node> {
    // Argo encodes the list as a JSON string.
    let quoted: Option<String> = serde_json::from_str(text).ok();
    serde_json::from_str(quoted.as_deref().unwrap_or(text)).unwrap_or_default()
}

/// Records that a tick failed. The record of a later tick is kept.
///
/// Errors: those of the store, except a lost race with another run.
pub(crate) fn note(
    store: &dyn ObjectStore,
    pipeline: &str,
    at: Timestamp,
    text: &str,
) -> Result<(), StepError> {
    let stored = state::read::<FailedTick>(store, pipeline, STATE)?;
    if stored.as_ref().is_some_and(|last| last.value.at > at) {
        return Ok(());
    }
    let etag = stored.as_ref().map(|last| last.etag.as_str());
    match state::write(store, pipeline, STATE, &FailedTick::of(at, text), etag) {
        Err(error) if error.kind == ErrorKind::LostRace => Ok(()),
        written => written.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> (String, String) {
        let tick = FailedTick::of(Timestamp::from_ms(0), text);
        (tick.step, tick.why)
    }

    #[test]
    fn first_failed_container_is_the_cause() {
        let failures = r#"[
          {"displayName": "4-alert", "message": "4-alert: Error (exit code 64): dependency"},
          {"displayName": "score", "message": "2-feature: Error (exit code 3): a gap"},
          {"displayName": "3-score", "message": "3-score: Error (exit code 64): dependency"},
          {"displayName": "2-feature", "message": "2-feature: Error (exit code 3): a gap"}
        ]"#;
        let why = "2-feature: Error (exit code 3): a gap";
        assert_eq!(of(failures), ("feature".to_owned(), why.to_owned()));
    }

    #[test]
    fn failure_of_a_pod_of_a_loop_concerns_its_shard_alone() {
        let failures = r#"[
          {"displayName": "score(1:1)", "message": "2-feature: Error (exit code 3): a gap"},
          {"displayName": "2-feature", "message": "2-feature: Error (exit code 3): a gap"}
        ]"#;
        let quoted = serde_json::to_string(failures).unwrap();
        let of = |text: &str| [0, 1].map(|index| concerns(text, Shard::new(index, 2)));
        for text in [failures, quoted.as_str()] {
            assert_eq!(of(text), [false, true]);
            assert!(concerns(text, None));
        }
        for text in ["no network", "[]", r#"[{"displayName": "shards", "message": "stopped"}]"#] {
            assert_eq!(of(text), [true, true], "{text}");
        }
    }

    #[test]
    fn a_pod_that_never_ran_and_a_plain_reason_are_kept_as_they_are() {
        let deleted = r#"[{"displayName": "score", "message": "pod deleted"}]"#;
        assert_eq!(of(deleted), ("score".to_owned(), "pod deleted".to_owned()));
        assert_eq!(of("no network"), ("tick".to_owned(), "no network".to_owned()));
        let quoted = serde_json::to_string(deleted).unwrap();
        assert_eq!(of(&quoted), ("score".to_owned(), "pod deleted".to_owned()));
        assert_eq!(of("[]"), ("tick".to_owned(), "[]".to_owned()));
    }
}
