//! The steps with extensions, and their objects in a cluster: a Secret, a network policy, and a
//! label of the pods to which the policy applies.

use contract::Stage;

use super::label;

/// A step with extensions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outside {
    /// The step.
    pub(super) stage: Stage,
    /// The end of the names of its Secret and its policy, and of its label.
    pub(super) name: &'static str,
    /// The folder in which the keys of its Secret appear as files.
    pub(super) folder: &'static str,
    /// Whether pods start without the Secret: neither exports nor alerts may block scoring.
    pub(super) is_optional: bool,
    /// Name of the destinations, for messages.
    pub(super) what: &'static str,
}

/// Every step with extensions.
pub(super) const OUTSIDE: [Outside; 3] = [
    Outside {
        stage: Stage::Collect,
        name: "source",
        folder: "/etc/lynceus/source",
        is_optional: false,
        what: "its source",
    },
    Outside {
        stage: Stage::Export,
        name: "export",
        folder: "/etc/lynceus/export",
        is_optional: true,
        what: "a sink",
    },
    Outside {
        stage: Stage::Alert,
        name: "alert",
        folder: "/etc/lynceus/alert",
        is_optional: true,
        what: "an alert channel",
    },
];

impl Outside {
    /// Returns the entry of a step; `None` if the step has no extensions.
    pub(super) fn of(stage: Stage) -> Option<Self> {
        OUTSIDE.into_iter().find(|outside| outside.stage == stage)
    }

    /// Returns the label of pods that may connect to what the step needs.
    pub(super) fn label(&self) -> (String, String) {
        label(&format!("lynceus/{}", self.name), "allowed")
    }

    /// Returns the name of the Secret of a pipeline.
    pub(super) fn secret(&self, pipeline: &str) -> String {
        format!("lynceus-{pipeline}-{}", self.name)
    }
}
