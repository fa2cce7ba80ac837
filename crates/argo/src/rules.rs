//! Prometheus rules for alerting through Prometheus: the alerts of `alert`, from the series that
//! `score` writes.

use std::collections::BTreeMap;

use contract::{Span, StepError};
use document::Document;
use serde::Serialize;

use super::cluster::Object;
use super::{metadata, yaml};

/// Least time without a new window after which scoring counts as stopped.
const STOPPED: Span = Span::from_seconds(900);

/// The groups of a rule file, which are also the `spec` of a `PrometheusRule`.
#[derive(Debug, Serialize)]
pub(super) struct Rules {
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    rules: Vec<Rule>,
}

#[derive(Debug, Serialize)]
struct Rule {
    alert: &'static str,
    expr: String,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    holds: Option<String>,
    labels: BTreeMap<&'static str, &'static str>,
    annotations: BTreeMap<&'static str, String>,
}

/// Returns the text of a pipeline's rule file.
pub fn write(document: &Document) -> Result<String, StepError> {
    yaml::write(&rules(document))
}

/// Returns a pipeline's rules as an object of the Prometheus Operator.
pub(super) fn operator(document: &Document) -> Object<Rules> {
    Object {
        api_version: "monitoring.coreos.com/v1".to_owned(),
        kind: "PrometheusRule".to_owned(),
        metadata: metadata(&format!("lynceus-{}-rules", document.name), Some(document)),
        spec: rules(document),
    }
}

fn rules(document: &Document) -> Rules {
    let name = &document.name;
    let of = format!("{{pipeline=\"{name}\"}}");
    // `for` begins at the first anomalous window, so it counts one window less.
    let windows = i64::from(document.alerts.for_windows.saturating_sub(1));
    let holds = Span::from_ms(document.step.ms().saturating_mul(windows));
    let stopped = Span::from_ms(STOPPED.ms().max(document.scoring.every.ms().saturating_mul(5)));
    let threshold = document.scoring.drift.stability_index;
    // Without an entity a rule applies to the whole pipeline.
    let entity = format!("{{{{ with $labels.entity }}}}`{{{{ . }}}}` of {{{{ end }}}}{name}");
    let rules = vec![
        rule("LynceusAnomaly", format!("lynceus_anomaly{of} == 1"), holds)
            .says("warning", format!("{entity} does not behave as usual")),
        rule("LynceusNoData", format!("lynceus_no_data{of} == 1"), holds)
            .says("warning", format!("too much data of {entity} is missing for a verdict")),
        rule(
            "LynceusScoringStopped",
            format!(
                "absent_over_time(lynceus_windows_scored_total{of}[{stopped}]) \
                 or changes(lynceus_windows_scored_total{of}[{stopped}]) == 0"
            ),
            stopped,
        )
        .says("critical", format!("no window of {name} was scored for {stopped}")),
        rule(
            "LynceusFeatureDrift",
            // Drift is exported once an hour.
            format!("last_over_time(lynceus_feature_drift{of}[2h]) > {threshold}"),
            Span::ZERO,
        )
        .says(
            "info",
            format!(
                "the last day of `{{{{ $labels.feature }}}}` is unlike the training data of {name}"
            ),
        ),
    ];
    Rules { groups: vec![Group { name: format!("lynceus-{name}"), rules }] }
}

fn rule(alert: &'static str, expr: String, holds: Span) -> Rule {
    let holds = (holds > Span::ZERO).then(|| holds.to_string());
    Rule { alert, expr, holds, labels: BTreeMap::new(), annotations: BTreeMap::new() }
}

impl Rule {
    fn says(mut self, severity: &'static str, summary: String) -> Self {
        self.labels.insert("severity", severity);
        self.annotations.insert("summary", summary);
        self
    }
}
