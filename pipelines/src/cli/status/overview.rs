//! Shows all pipelines of a store, one line each, from the store only, without their documents.

use alert::AlertState;
use contract::score::Verdict;
use contract::{StepError, Timestamp, units};
use serde::Serialize;
use store::{ObjectStore, Registry, scores, shard, state, watermark};

use crate::cli::context::StorePlace;
use crate::cli::{Global, OutputFormat, print, print_json};
use crate::run::table;

/// Default alias of the live version.
const LIVE: &str = "live";

/// Health of a pipeline, from the store.
#[derive(Debug, Serialize)]
struct Line {
    pipeline: String,
    /// Version that the alias `live` points at.
    live: Option<String>,
    /// End of the last scored window; absent before the first.
    scored_to: Option<Timestamp>,
    lag_seconds: Option<f64>,
    entities: usize,
    anomalous: usize,
    no_data: usize,
    open_alarms: usize,
    messages_pending: usize,
    /// What stopped the last tick, if no window was scored since.
    stopped: Option<String>,
}

pub(super) fn execute(global: &Global, now: Timestamp) -> Result<(), StepError> {
    let place = StorePlace::new(&global.store)?;
    let store = place.open()?;
    let lines: Vec<Line> = place
        .pipelines()?
        .into_iter()
        .map(|pipeline| read(store.as_ref(), pipeline, now))
        .collect::<Result<_, _>>()?;
    match global.output() {
        OutputFormat::Json => print_json(&lines),
        OutputFormat::Text if lines.is_empty() => {
            print(&format!("the store `{}` has no pipelines yet\n", place.url))
        }
        OutputFormat::Text => print(&text(&lines)),
    }
}

fn read(store: &dyn ObjectStore, pipeline: String, now: Timestamp) -> Result<Line, StepError> {
    let live = Registry::new(store, &pipeline).alias(LIVE)?.map(|record| record.version);
    let (mut scored_to, mut entities, mut alerts) = (None, Vec::new(), Vec::new());
    for (path, end) in scored(store, &pipeline)? {
        // The slowest shard determines the progress of the pipeline.
        scored_to = Some(scored_to.map_or(end, |slowest: Timestamp| slowest.min(end)));
        let last = scores::read(store, &path, end)?;
        entities.extend(last.map(|window| window.entities).unwrap_or_default());
        let stored = state::read::<AlertState>(store, &path, AlertState::NAME)?;
        alerts.extend(stored.map(|stored| stored.value));
    }
    let count = |verdict| entities.iter().filter(|entity| entity.verdict == verdict).count();
    Ok(Line {
        live,
        scored_to,
        lag_seconds: scored_to.map(|scored_to| (now - scored_to).seconds()),
        entities: entities.len(),
        anomalous: count(Verdict::Anomalous),
        no_data: count(Verdict::NoData),
        open_alarms: alerts.iter().map(|it| it.tracks.firing().count()).sum(),
        messages_pending: alerts.iter().map(|it| it.pending.len()).sum(),
        stopped: alerts.into_iter().find_map(|it| it.progress?.why),
        pipeline,
    })
}

/// Returns the end of the last scored window of the pipeline, or of each of its current shards;
/// shards of an earlier shard count are ignored.
fn scored(store: &dyn ObjectStore, pipeline: &str) -> Result<Vec<(String, Timestamp)>, StepError> {
    let mut parts = vec![(pipeline.to_owned(), 0)];
    let shards = shard::of_pipeline(store, pipeline)?;
    parts.extend(shards.into_iter().map(|it| (shard::path(pipeline, it), it.count())));
    let mut scored = Vec::new();
    for (path, count) in parts {
        let end = watermark::scored_to(store, &path)?;
        scored.extend(end.map(|end| (path, count, end)));
    }
    let today = scored.iter().max_by_key(|(_, _, end)| *end).map(|(_, count, _)| *count);
    scored.retain(|(_, count, _)| Some(*count) == today);
    Ok(scored.into_iter().map(|(path, _, end)| (path, end)).collect())
}

fn text(lines: &[Line]) -> String {
    let head = [
        "pipeline",
        "live model",
        "last window",
        "entities",
        "anomalous",
        "no data",
        "open alarms",
        "pending",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(lines.iter().map(|line| {
        let ago = line.lag_seconds.map(|lag| format!("{} ago", units::seconds(lag)));
        vec![
            line.pipeline.clone(),
            line.live.clone().unwrap_or_else(|| "none".to_owned()),
            ago.unwrap_or_else(|| "none".to_owned()),
            line.entities.to_string(),
            line.anomalous.to_string(),
            line.no_data.to_string(),
            line.open_alarms.to_string(),
            line.messages_pending.to_string(),
        ]
    }));
    let mut text = table(&rows);
    for line in lines {
        if let Some(why) = &line.stopped {
            text.push_str(&format!("{}: scoring stopped: {why}\n", line.pipeline));
        }
    }
    text
}
