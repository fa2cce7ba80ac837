//! `lynceus status`: how a pipeline is, on one screen.

use alert::AlertState;
use contract::score::Verdict;
use contract::{StepError, Timestamp};
use score::ScorerState;
use serde::Serialize;
use store::{ObjectStore, Registry, scores, state, watermark};

use super::context::{Context, DocumentArgs, clock};
use super::{Global, OutputFormat, print, print_json};
use crate::run::{human_seconds, table};

/// Flags of `lynceus status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Take this as the present instead of the clock
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

/// How a pipeline is.
#[derive(Debug, Serialize)]
struct Status {
    pipeline: String,
    live: Option<Named>,
    shadow: Option<Named>,
    /// Absent before the first window was scored.
    scoring: Option<Scoring>,
    /// Alerts that are firing, in the order of their entities.
    alerts: Vec<Firing>,
    /// Messages that have not reached every channel.
    messages_pending: usize,
    drift: Option<Drift>,
}

/// What an alias names.
#[derive(Debug, Serialize)]
struct Named {
    version: String,
    since: Timestamp,
    why: String,
}

#[derive(Debug, Serialize)]
struct Scoring {
    #[serde(rename = "scored_to")]
    last_window: Timestamp,
    lag_seconds: f64,
    /// Says that more time went by than a tick and the document's delay.
    late: bool,
    windows_total: u64,
    entities: usize,
    anomalous: usize,
    no_data: usize,
}

#[derive(Debug, Serialize)]
struct Firing {
    entity: String,
    kind: alert::machine::Kind,
    since: Timestamp,
}

#[derive(Debug, Serialize)]
struct Drift {
    since: Timestamp,
    features: Vec<contract::score::FeatureDrift>,
}

pub(crate) fn execute(global: &Global, args: &StatusArgs) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    let store = context.store.open()?;
    let status = read(&context, store.as_ref(), args.now.unwrap_or_else(clock))?;
    match global.output {
        OutputFormat::Json => print_json(&status),
        OutputFormat::Text => print(&text(&status)),
    }
}

fn read(context: &Context, store: &dyn ObjectStore, now: Timestamp) -> Result<Status, StepError> {
    let document = &context.document;
    let pipeline = &document.name;
    let registry = Registry::new(store, pipeline);
    let version = |alias: &str| -> Result<Option<Named>, StepError> {
        let record = registry.alias(alias)?;
        Ok(record.map(|it| Named { version: it.version, since: it.since, why: it.why }))
    };
    let mark = watermark::read(store, pipeline)?.map(|stored| stored.value);
    let scorer = ScorerState::read(pipeline, mark.as_ref())?;
    let scoring = match &mark {
        Some(mark) => Some(scoring(context, store, mark.scored_to, (&scorer, now))?),
        None => None,
    };
    let told = state::read::<AlertState>(store, pipeline, "alerts")?.map(|stored| stored.value);
    let told = told.unwrap_or_default();
    let firing = told.tracks.firing().map(|(entity, kind, since)| Firing {
        entity: entity.to_owned(),
        kind,
        since,
    });
    Ok(Status {
        pipeline: pipeline.clone(),
        live: version(&document.deployment.alias)?,
        shadow: version(&document.scoring.shadow)?,
        scoring,
        alerts: firing.collect(),
        messages_pending: told.pending.len(),
        drift: scorer.drift.map(|drift| Drift {
            since: drift.since,
            features: drift.drifted().cloned().collect(),
        }),
    })
}

fn scoring(
    context: &Context,
    store: &dyn ObjectStore,
    scored_to: Timestamp,
    (scorer, now): (&ScorerState, Timestamp),
) -> Result<Scoring, StepError> {
    let document = &context.document;
    let last = scores::read(store, &document.name, scored_to)?;
    let entities = last.map(|window| window.entities).unwrap_or_default();
    let count = |verdict| entities.iter().filter(|entity| entity.verdict == verdict).count();
    // A window may wait for its delay, for its end, and for the tick after that.
    let usual = document.scoring.delay + document.step + document.scoring.every;
    let lag = now - scored_to;
    Ok(Scoring {
        last_window: scored_to,
        lag_seconds: lag.seconds(),
        late: lag > usual,
        windows_total: scorer.windows_total,
        entities: entities.len(),
        anomalous: count(Verdict::Anomalous),
        no_data: count(Verdict::NoData),
    })
}

fn text(status: &Status) -> String {
    let mut rows = vec![row("pipeline", &status.pipeline)];
    let version = |version: &Option<Named>| match version {
        Some(it) => format!("{} since {} ({})", it.version, it.since, it.why),
        None => "none".to_owned(),
    };
    rows.push(row("live model", &version(&status.live)));
    if status.shadow.is_some() {
        rows.push(row("shadow", &version(&status.shadow)));
    }
    match &status.scoring {
        None => rows.push(row("last window", "none was scored yet")),
        Some(it) => {
            let lag = human_seconds(it.lag_seconds);
            let late = if it.late { ", late" } else { "" };
            rows.push(row("last window", &format!("{} ({lag} ago{late})", it.last_window)));
            rows.push(row(
                "in it",
                &format!(
                    "{} entities, {} anomalous, {} without data",
                    it.entities, it.anomalous, it.no_data
                ),
            ));
            rows.push(row("windows scored", &it.windows_total.to_string()));
        }
    }
    rows.push(row("drift", &drift_text(status.drift.as_ref())));
    rows.push(row("messages pending", &status.messages_pending.to_string()));
    let mut text = table(&rows);
    if status.alerts.is_empty() {
        return text + "no open alarms\n";
    }
    let mut open = vec![["open alarm", "entity", "since"].map(str::to_owned).to_vec()];
    open.extend(status.alerts.iter().map(|alert| {
        let kind = serde_json::to_value(alert.kind).unwrap_or_default();
        let kind = kind.as_str().unwrap_or_default().replace('_', " ");
        vec![kind, alert.entity.clone(), alert.since.to_string()]
    }));
    text.push('\n');
    text + &table(&open)
}

fn drift_text(drift: Option<&Drift>) -> String {
    let Some(drift) = drift else { return "not enough of a day was scored to say".to_owned() };
    let features: Vec<&str> =
        drift.features.iter().map(|feature| feature.feature.as_str()).collect();
    match features.as_slice() {
        [] => format!("no feature since {}", drift.since),
        features => format!("{} (since {})", features.join(", "), drift.since),
    }
}

fn row(name: &str, value: &str) -> Vec<String> {
    vec![name.to_owned(), value.to_owned()]
}
