//! Scores the windows that are due with the live bundle: each window once.
//!
//! The windows are those after the watermark, up to the present minus the document's delay. Each
//! gets one object, written only if it is not there; then the watermark and the scorer's state
//! move in one compare-and-set. A tick that is killed in between is repeated by the next one and
//! finds its objects written.

mod windows;

use std::collections::BTreeMap;

use contract::score::{EntityScore, Verdict, WindowScore};
use contract::steps::ScoreArgs;
use contract::{Outcome, StepError, Timestamp, write_json};
use document::Document;
use frames::FeatureTable;
use models::{Bundle, ScoreOptions, ScoreState};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::{AliasRecord, ObjectStore, Registry, Stored, Watermark, scores, watermark};

use crate::windows::Windows;

/// Windows after which an entity that is not seen any more is forgotten: a pod that is gone is no
/// alarm for ever.
const FORGOTTEN_AFTER_WINDOWS: i64 = 60;

/// Alarms that `scored.json` shows; all of them are in the score objects.
const SHOWN_ALARMS: usize = 100;

/// What the scorer carries from tick to tick, beside the watermark.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ScorerState {
    /// What the bundle remembers of recent scores.
    scores: ScoreState,
    /// When each entity was last seen.
    entities: BTreeMap<String, Timestamp>,
}

/// `scored.json`: what a tick did.
#[derive(Debug, Serialize)]
struct Scored {
    version: String,
    after: Timestamp,
    until: Timestamp,
    windows: usize,
    anomalous: usize,
    no_data: usize,
    /// Windows that had an object before: a tick was killed or lost a race after writing it.
    #[serde(rename = "scored_before")]
    known: usize,
    alarms: Vec<Alarm>,
}

#[derive(Debug, Serialize)]
struct Alarm {
    time: Timestamp,
    #[serde(flatten)]
    score: EntityScore,
}

/// Runs the step.
pub fn run(args: &ScoreArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::read(&args.document)?;
    let store = store::open(&args.store)?;
    let (bundle, live) = live_bundle(store.as_ref(), &document)?;
    let features = FeatureTable::read(&args.features)?;
    bundle.check_contract(&features)?;

    let current = watermark::read(store.as_ref(), &document.name)?;
    let scored_to = current.as_ref().map(|stored| stored.value.scored_to);
    let due = Windows::due(&document, args.now, scored_to);
    let mut state = ScorerState::read(&document.name, current.as_ref())?;
    let options = ScoreOptions {
        min_completeness: document.scoring.min_completeness,
        threads: args.common.threads.into(),
    };
    let windows = judge(&bundle, &features, &due, &mut state, options)?;

    let mut scored = Scored::new(&live.version, &due);
    for (time, entities) in windows {
        let window = WindowScore {
            format: WindowScore::FORMAT,
            pipeline: document.name.clone(),
            time,
            version: live.version.clone(),
            entities,
        };
        let written = scores::write_once(store.as_ref(), &window)?;
        scored.note(window, written);
    }
    if due.until > due.after {
        let moved =
            Watermark { format: Watermark::FORMAT, scored_to: due.until, state: state.to_json()? };
        let expected = current.as_ref().map(|stored| stored.etag.as_str());
        watermark::write(store.as_ref(), &document.name, &moved, expected)?;
    }
    scored.tell(outcome);
    write_json(&args.scored, &scored)
}

impl ScorerState {
    fn read(pipeline: &str, current: Option<&Stored<Watermark>>) -> Result<Self, StepError> {
        let Some(state) =
            current.map(|stored| &stored.value.state).filter(|state| !state.is_null())
        else {
            return Ok(Self::default());
        };
        serde_json::from_value(state.clone()).map_err(|e| {
            StepError::refused(format!("the scorer's state of `{pipeline}` cannot be read: {e}"))
        })
    }

    fn to_json(&self) -> Result<Value, StepError> {
        serde_json::to_value(self)
            .map_err(|e| StepError::bug(format!("cannot write the scorer's state: {e}")))
    }
}

impl Scored {
    fn new(version: &str, due: &Windows) -> Self {
        Self {
            version: version.to_owned(),
            after: due.after,
            until: due.until,
            windows: 0,
            anomalous: 0,
            no_data: 0,
            known: 0,
            alarms: Vec::new(),
        }
    }

    /// Counts a window; `written` says that it had not been scored before.
    fn note(&mut self, window: WindowScore, written: bool) {
        let has = |verdict| window.entities.iter().any(|entity| entity.verdict == verdict);
        self.windows += 1;
        self.anomalous += usize::from(has(Verdict::Anomalous));
        self.no_data += usize::from(has(Verdict::NoData));
        self.known += usize::from(!written);
        let alarms =
            window.entities.into_iter().filter(|entity| entity.verdict == Verdict::Anomalous);
        let room = SHOWN_ALARMS.saturating_sub(self.alarms.len());
        self.alarms.extend(alarms.take(room).map(|score| Alarm { time: window.time, score }));
    }

    fn tell(&self, outcome: &mut Outcome) {
        outcome.count("windows", self.windows);
        outcome.count("anomalous", self.anomalous);
        outcome.count("no_data", self.no_data);
        outcome.count("scored_before", self.known);
        outcome.details.insert("version".to_owned(), self.version.as_str().into());
    }
}

/// Fetches the bundle that the document's alias names.
fn live_bundle(
    store: &dyn ObjectStore,
    document: &Document,
) -> Result<(Bundle, AliasRecord), StepError> {
    let (name, alias) = (&document.name, &document.deployment.alias);
    let registry = Registry::new(store, name);
    let live = registry.alias(alias)?.ok_or_else(|| {
        StepError::refused(format!(
            "no model of `{name}` is `{alias}` in store `{}`",
            store.describe()
        ))
        .hint(format!("train one: lynceus run {name}"))
    })?;
    let bundle = Bundle::from_files(&registry.fetch(&live.version, None)?)?;
    Ok((bundle, live))
}

/// Gives every due window its verdicts, in the order of time, and moves the state with them.
///
/// An entity that was seen lately and has no row in a window is `no_data` there; where nothing was
/// ever seen, the cluster as a whole is.
fn judge(
    bundle: &Bundle,
    features: &FeatureTable,
    due: &Windows,
    state: &mut ScorerState,
    options: ScoreOptions,
) -> Result<Vec<(Timestamp, Vec<EntityScore>)>, StepError> {
    let rows: Vec<usize> = (0..features.rows())
        .filter(|&row| due.contains(features.table.times[row]) && !features.warm_up[row])
        .collect();
    let rows = features.select(&rows);
    let verdicts = bundle.score(&rows, &mut state.scores, options)?;
    let mut by_time: BTreeMap<Timestamp, Vec<EntityScore>> = BTreeMap::new();
    for (time, verdict) in rows.table.times.iter().zip(verdicts) {
        by_time.entry(*time).or_default().push(verdict);
    }
    let windows = due.times().map(|time| {
        let mut entities = by_time.remove(&time).unwrap_or_default();
        for entity in &entities {
            state.entities.insert(entity.entity.clone(), time);
        }
        let oldest = Timestamp::from_ms(time.ms() - FORGOTTEN_AFTER_WINDOWS * due.step.ms());
        state.entities.retain(|_, seen| *seen >= oldest);
        let missing = state
            .entities
            .keys()
            .filter(|name| !entities.iter().any(|score| score.entity == **name));
        let missing: Vec<String> = missing.cloned().collect();
        entities.extend(missing.into_iter().map(without_data));
        if entities.is_empty() {
            entities.push(without_data(String::new()));
        }
        entities.sort_by(|a, b| a.entity.cmp(&b.entity));
        (time, entities)
    });
    Ok(windows.collect())
}

fn without_data(entity: String) -> EntityScore {
    EntityScore {
        entity,
        verdict: Verdict::NoData,
        completeness: 0.0,
        votes: contract::Decimal::ZERO,
        combined: None,
        members: Vec::new(),
        causes: Vec::new(),
        urgent: false,
        drifting: Vec::new(),
    }
}
