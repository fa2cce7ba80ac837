//! All pipelines of a store, a line each: what the store says of them, without their documents.

use alert::AlertState;
use contract::score::Verdict;
use contract::{StepError, Timestamp};
use serde::Serialize;
use store::{ObjectStore, Registry, scores, state, watermark};

use crate::cli::context::StorePlace;
use crate::cli::{Global, OutputFormat, print, print_json};
use crate::run::{human_seconds, table};

/// The alias that scores, unless a document says otherwise.
const LIVE: &str = "live";

/// What the store says of a pipeline.
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
    /// What stopped the last tick, where no window was scored since.
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
    let scored_to = watermark::scored_to(store, &pipeline)?;
    let last = scored_to.map(|at| scores::read(store, &pipeline, at)).transpose()?.flatten();
    let entities = last.map(|window| window.entities).unwrap_or_default();
    let count = |verdict| entities.iter().filter(|entity| entity.verdict == verdict).count();
    let alerts = state::read::<AlertState>(store, &pipeline, "alerts")?;
    let alerts = alerts.map(|stored| stored.value).unwrap_or_default();
    Ok(Line {
        live,
        scored_to,
        lag_seconds: scored_to.map(|scored_to| (now - scored_to).seconds()),
        entities: entities.len(),
        anomalous: count(Verdict::Anomalous),
        no_data: count(Verdict::NoData),
        open_alarms: alerts.tracks.firing().count(),
        messages_pending: alerts.pending.len(),
        stopped: alerts.progress.and_then(|progress| progress.why),
        pipeline,
    })
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
        let ago = line.lag_seconds.map(|lag| format!("{} ago", human_seconds(lag)));
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
