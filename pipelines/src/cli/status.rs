//! `lynceus status`: shows the health of a pipeline on one screen, or one line for each pipeline.

mod failed;
mod overview;
mod text;

use std::path::PathBuf;

use alert::AlertState;
use contract::score::{Verdict, WindowScore};
use contract::{Shard, StepError, Timestamp};
use export::Cursor;
use score::Summary;
use serde::Serialize;
use serde_json::json;
use store::{ObjectStore, Registry, scores, state, watermark};

use super::context::{Context, DocumentArgs, clock, pipeline_path};
use super::{Global, OutputFormat, print, print_json};
use failed::FailedTick;
use text::text;

/// Flags of `lynceus status`.
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Pipeline: the name or the path of a document [default: all pipelines of the store]
    #[arg(value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// Apply this partial document over the document; may be repeated
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    overlay: Vec<PathBuf>,
    /// Set a field of the document, as in `vote.alarm_at=0.6`; may be repeated
    #[arg(long, value_name = "FIELD=VALUE", requires = "pipeline")]
    set: Vec<String>,
    /// Use the bundled recorded sample instead of the sources
    #[arg(long, requires = "pipeline")]
    sample: bool,
    /// Use this as the current time instead of the clock
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
}

/// Health of a pipeline.
#[derive(Debug, Serialize)]
struct Status {
    pipeline: String,
    /// The shard with this health; absent for a pipeline without shards.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<Shard>,
    live: Option<Named>,
    shadow: Option<Named>,
    /// Absent before the first window was scored.
    scoring: Option<Scoring>,
    /// What stopped scoring, as reported by the last ticks on any machine.
    stopped: Option<Stopped>,
    /// Alerts that are firing, in the order of their entities.
    alerts: Vec<Firing>,
    /// Messages that have not reached every channel.
    messages_pending: usize,
    /// Time of the oldest of them.
    oldest_pending: Option<Timestamp>,
    /// The last message that a channel permanently rejected.
    last_refused: Option<Refused>,
    /// Failing channels.
    channels: Vec<Trouble>,
    /// Progress of the exported metrics; empty if nothing is exported, or was not exported yet.
    exports: Vec<ExportStatus>,
    drift: Option<Drift>,
    /// The last training that drift requested.
    retrain: Option<alert::retrain::Request>,
    /// The last tick on this machine or in the cluster, if it failed and no later tick has scored
    /// further.
    failed_tick: Option<FailedTick>,
}

/// The version at which an alias points.
#[derive(Debug, Clone, Serialize)]
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
    /// Whether the lag is longer than a tick and the document's delay.
    late: bool,
    windows_total: u64,
    entities: usize,
    anomalous: usize,
    no_data: usize,
    /// Why the first entity without data has none, if the source reported a reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Stopped {
    /// Time since which ticks have scored no window.
    since: Timestamp,
    /// Cause that the last stopped tick reported.
    why: String,
    /// When people were notified; absent before `scoring.stalled_after`.
    notified: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
struct Firing {
    entity: String,
    kind: alert::state_machine::Kind,
    since: Timestamp,
}

#[derive(Debug, Serialize)]
struct Drift {
    since: Timestamp,
    features: Vec<contract::score::FeatureDrift>,
}

#[derive(Debug, Serialize)]
struct Refused {
    title: String,
    channel: String,
    time: Timestamp,
    why: String,
}

#[derive(Debug, Serialize)]
struct Trouble {
    channel: String,
    #[serde(flatten)]
    trouble: contract::alerts::Trouble,
}

#[derive(Debug, Serialize)]
struct ExportStatus {
    name: String,
    exported_to: Timestamp,
    failing_since: Option<Timestamp>,
    why: Option<String>,
}

pub(crate) fn execute(global: &Global, args: &StatusArgs) -> Result<(), StepError> {
    let now = args.now.unwrap_or_else(clock);
    let StatusArgs { pipeline, overlay, set, sample, .. } = args;
    let Some(pipeline) = pipeline.clone() else { return overview::execute(global, now) };
    let (overlay, set) = (overlay.clone(), set.clone());
    let document = DocumentArgs { pipeline, overlay, set, sample: *sample };
    let context = Context::new(global, &document)?;
    let store = context.store.open()?;
    let versions = versions(&context, store.as_ref())?;
    let shards = context.document.shards.all();
    let shards =
        shards.into_iter().map(|shard| read(&context, store.as_ref(), shard, &versions, now));
    let shards: Vec<Status> = shards.collect::<Result<_, _>>()?;
    match (global.output(), shards.as_slice()) {
        (OutputFormat::Json, [whole]) => print_json(whole),
        (OutputFormat::Json, shards) => {
            print_json(&json!({"pipeline": context.document.name, "shards": shards}))
        }
        (OutputFormat::Text, shards) => {
            print(&shards.iter().map(text).collect::<Vec<_>>().join("\n"))
        }
    }
}

/// The versions that score.
struct Versions {
    live: Option<Named>,
    shadow: Option<Named>,
}

fn versions(context: &Context, store: &dyn ObjectStore) -> Result<Versions, StepError> {
    let document = &context.document;
    let registry = Registry::new(store, &document.name);
    let named = |alias: &str| -> Result<Option<Named>, StepError> {
        let record = registry.alias(alias)?;
        Ok(record.map(|it| Named { version: it.version, since: it.since, why: it.why }))
    };
    let live = named(&document.deployment.alias)?;
    Ok(Versions { live, shadow: named(&document.scoring.shadow)? })
}

fn read(
    context: &Context,
    store: &dyn ObjectStore,
    shard: Option<Shard>,
    versions: &Versions,
    now: Timestamp,
) -> Result<Status, StepError> {
    let document = &context.document;
    let path = pipeline_path(document, shard);
    let pipeline = path.as_str();
    let mark = watermark::read(store, pipeline)?.map(|stored| stored.value);
    let scorer = Summary::read(pipeline, mark.as_ref())?;
    let scoring = match &mark {
        Some(mark) => {
            let window = scores::read(store, pipeline, mark.scored_to)?;
            Some(scoring(context, window, mark.scored_to, &scorer, now))
        }
        None => None,
    };
    let told =
        state::read::<AlertState>(store, pipeline, AlertState::NAME)?.map(|stored| stored.value);
    let told = told.unwrap_or_default();
    let scored_to = mark.as_ref().map(|mark| mark.scored_to);
    let last_refused = told.refused.last().map(|refused| Refused {
        title: refused.message.title.clone(),
        channel: refused.channel.clone(),
        time: refused.time,
        why: refused.why.clone(),
    });
    let trouble = told.trouble.iter();
    Ok(Status {
        stopped: stopped(&told),
        pipeline: document.name.clone(),
        shard,
        live: versions.live.clone(),
        shadow: versions.shadow.clone(),
        scoring,
        alerts: firing(&told),
        messages_pending: told.pending.len(),
        oldest_pending: told.pending.iter().map(|pending| pending.message.time).min(),
        last_refused,
        channels: trouble
            .map(|(channel, trouble)| Trouble {
                channel: channel.clone(),
                trouble: trouble.clone(),
            })
            .collect(),
        exports: exports(context, store, pipeline)?,
        retrain: state::read(store, pipeline, alert::retrain::STATE)?.map(|stored| stored.value),
        failed_tick: failed::last(context, store, shard, scored_to)?,
        drift: scorer.drift.map(|drift| Drift {
            since: drift.since,
            features: drift.drifted().cloned().collect(),
        }),
    })
}

/// Returns why scoring stopped, as reported by the last ticks.
fn stopped(told: &AlertState) -> Option<Stopped> {
    let progress = told.progress.as_ref()?;
    let why = progress.why.clone()?;
    Some(Stopped { since: progress.seen, why, notified: progress.told })
}

/// Returns the alerts that are firing.
fn firing(told: &AlertState) -> Vec<Firing> {
    let firing = told.tracks.firing().map(|(entity, kind, since)| Firing {
        entity: entity.to_owned(),
        kind,
        since,
    });
    firing.collect()
}

fn exports(
    context: &Context,
    store: &dyn ObjectStore,
    pipeline: &str,
) -> Result<Vec<ExportStatus>, StepError> {
    let mut exports = Vec::new();
    for name in context.document.exports.keys() {
        let cursor = Cursor::read(store, pipeline, name)?;
        exports.extend(cursor.map(|stored| {
            let Cursor { exported_to, failing, .. } = stored.value;
            let (failing_since, why) = failing.map(|failing| (failing.since, failing.why)).unzip();
            ExportStatus { name: name.clone(), exported_to, failing_since, why }
        }));
    }
    Ok(exports)
}

fn scoring(
    context: &Context,
    last: Option<WindowScore>,
    scored_to: Timestamp,
    scorer: &Summary,
    now: Timestamp,
) -> Scoring {
    let document = &context.document;
    let entities = last.map(|window| window.entities).unwrap_or_default();
    let count = |verdict| entities.iter().filter(|entity| entity.verdict == verdict).count();
    // A window is scored after its end, its delay, and the start of the next tick.
    let usual = document.scoring.delay + document.step + document.scoring.every;
    let lag = now - scored_to;
    Scoring {
        last_window: scored_to,
        lag_seconds: lag.seconds(),
        late: lag > usual,
        windows_total: scorer.windows_total,
        entities: entities.len(),
        anomalous: count(Verdict::Anomalous),
        no_data: count(Verdict::NoData),
        reason: entities.iter().find_map(|entity| entity.reason.clone()),
    }
}
