//! Summary: two sentences and a few numbers about the monitored data and the results.

use contract::Span;
use contract::run::RunStatus;
use maud::{Markup, html};

use crate::contents::{Contents, Scored};
use crate::runs::Run;
use crate::scores::ScoreHistory;
use crate::units;

pub(super) fn header(contents: &Contents) -> Markup {
    let name = &contents.document.name;
    html! {
        p.made { (made_of(contents)) }
        h1 { (name) ": " (headline(contents)) }
        p.lead { (watched(contents)) " " (verdict(contents)) }
        @if contents.scored.is_some() && contents.runs.iter().any(Run::is_training) {
            p { (training(contents)) @if scored_before(contents) { " Windows keep the scores of \
                the version that was live when they were scored." } }
        }
    }
}

/// Returns whether none of the windows was scored by the version that went live.
fn scored_before(contents: &Contents) -> bool {
    let trained = contents.runs.iter().rev().find_map(|run| run.deployment.as_ref());
    let live = trained.filter(|trained| trained.promoted || trained.live);
    let scored = contents.scored.iter().flat_map(|scored| &scored.history.versions);
    let mut versions = scored.map(|(_, version)| version).peekable();
    versions.peek().is_some()
        && live.is_some_and(|live| versions.all(|version| *version != live.version))
}

fn made_of(contents: &Contents) -> String {
    let mut parts: Vec<String> =
        contents.runs.iter().map(|run| format!("run {}", run.record.run)).collect();
    if contents.scored.is_some() {
        parts.push("scores".to_owned());
    }
    format!("Lynceus report of {}", parts.join(" and "))
}

fn headline(contents: &Contents) -> String {
    if let Some(scored) = &contents.scored {
        let alarms = scored.history.alarms().len() as u64;
        return match (alarms, scored.history.windows) {
            (_, 0) => "nothing was scored".to_owned(),
            (0, _) => "no alarms".to_owned(),
            _ => units::counted(alarms, "alarm"),
        };
    }
    contents.runs.last().map_or("nothing to show", result).to_owned()
}

/// Returns in a few words how a run ended.
pub(super) fn result(run: &Run) -> &'static str {
    match (&run.deployment, run.record.status) {
        (Some(deployment), _) if deployment.promoted => "a new version went live",
        (Some(deployment), _) if deployment.live => "the live version was trained again",
        (Some(_), _) => "a new version was not promoted",
        (None, RunStatus::Refused) => "the data was refused",
        (None, RunStatus::Failed) => "the run failed",
        (None, RunStatus::Done) => "the run is done",
        (None, RunStatus::Running) => "the run is not finished",
    }
}

fn watched(contents: &Contents) -> String {
    let what = match contents.document.description.trim_end_matches('.') {
        "" => format!("pipeline {}", contents.document.name),
        description => description.to_owned(),
    };
    let (step, zone) = (contents.document.step, &contents.zone);
    if let Some(Scored { history, range: (after, until), .. }) = &contents.scored {
        let (after, until) = (*after, *until);
        return format!(
            "Lynceus watched {what} from {} to {} {}: {} of {}{}.",
            zone.time(after),
            zone.until(after, until),
            zone.name(),
            units::counted(history.windows, "window"),
            units::span(step),
            entities(history)
        );
    }
    match contents.features.range {
        Some((first, last)) => format!(
            "Lynceus looked at {what} from {} to {} {}: {} features in windows of {}.",
            zone.time(first),
            zone.until(first, last),
            zone.name(),
            contents.features.series.len(),
            units::span(step)
        ),
        None => format!("Lynceus was started on {what}; there are no features to show."),
    }
}

fn entities(history: &ScoreHistory) -> String {
    match history.entities.as_slice() {
        [] => String::new(),
        [only] if only.name.is_empty() => String::new(),
        [only] => format!(" for {}", only.name),
        many => format!(" for {} entities", units::count(many.len() as u64)),
    }
}

fn verdict(contents: &Contents) -> String {
    match &contents.scored {
        Some(scored) => of_scores(&scored.history),
        None => training(contents),
    }
}

fn of_scores(history: &ScoreHistory) -> String {
    if history.windows == 0 {
        return "No window of that range was scored.".to_owned();
    }
    let figures = Figures::of(history);
    let alarms = units::counted(figures.alarms, "alarm");
    if history.scenarios.is_empty() {
        let rows: u64 = history.entities.iter().map(|e| e.normal + e.anomalous).sum();
        let anomalous: u64 = history.entities.iter().map(|e| e.anomalous).sum();
        return match figures.alarms {
            0 => "It raised no alarm.".to_owned(),
            _ => format!(
                "It raised {alarms}; {} of the scored time was anomalous.",
                units::percent(anomalous as f64 / rows.max(1) as f64)
            ),
        };
    }
    let outside = match figures.outside {
        0 => "no alarm outside of a fault".to_owned(),
        outside => format!("{} outside of a fault", units::counted(outside, "alarm")),
    };
    let delay = match (figures.delay, figures.found) {
        (None, _) => String::new(),
        (Some(delay), 1) => format!(", {} after its start", units::span(delay)),
        (Some(delay), _) => format!(", half of them within {} of their start", units::span(delay)),
    };
    let counts = history.counts;
    let quiet = counts.false_alarms + counts.quiet;
    let between = match counts.false_alarms {
        0 => String::new(),
        alarmed => format!(
            " Outside of faults, {} of the scored time was in alarm.",
            units::percent(alarmed as f64 / quiet.max(1) as f64)
        ),
    };
    format!(
        "It found {} of {}{delay}, and raised {outside}.{between}",
        figures.found,
        units::counted(history.scenarios.len() as u64, "labelled fault"),
    )
}

/// Returns the result of the last training run, in a sentence.
fn training(contents: &Contents) -> String {
    let Some(run) = contents.runs.iter().rev().find(|run| run.is_training()) else {
        return contents.runs.last().map_or_else(String::new, ended);
    };
    let Some(deployment) = &run.deployment else { return ended(run) };
    let models = run.bundle.as_ref().map_or(0, |bundle| bundle.members.len()) as u64;
    let rows = run.bundle.as_ref().map_or(0, |bundle| bundle.provenance.train_rows);
    let trained =
        format!("{} learned from {}", units::counted(models, "model"), units::counted(rows, "row"));
    let became = match (deployment.promoted, deployment.live) {
        (true, _) => "went live",
        (false, true) => "is live",
        (false, false) => "was kept back",
    };
    let why = deployment.why.trim_end_matches('.');
    format!("{trained}, and version {} {became}: {why}.", deployment.version)
}

fn ended(run: &Run) -> String {
    match run.stopped_at() {
        Some(task) => {
            let why = task.outcome.as_ref().and_then(|outcome| outcome.error.as_ref());
            let why = why.map_or(task.record.why.as_str(), |error| error.message.as_str());
            let word = match run.record.status {
                RunStatus::Refused => "was refused",
                RunStatus::Failed => "failed",
                RunStatus::Running | RunStatus::Done => "has not got beyond",
            };
            let at = if word.starts_with("has") { "" } else { "at " };
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            format!("The run {word} {at}{}{why}.", task.record.name)
        }
        None => format!("The run is {}.", units::status(run.record.status)),
    }
}

/// The summary numbers of a range of scores.
struct Figures {
    alarms: u64,
    outside: u64,
    found: u64,
    delay: Option<Span>,
}

impl Figures {
    fn of(history: &ScoreHistory) -> Self {
        let alarms = history.alarms();
        let outside = alarms.iter().filter(|alarm| alarm.scenario.is_none() && !alarm.excluded);
        let mut delays: Vec<Span> =
            history.scenarios.iter().filter_map(crate::alarms::Found::delay).collect();
        delays.sort();
        Self {
            alarms: alarms.len() as u64,
            outside: outside.count() as u64,
            found: delays.len() as u64,
            // The median: the lower one of two in the middle.
            delay: delays.get(delays.len().saturating_sub(1) / 2).copied(),
        }
    }
}

pub(super) fn tiles(contents: &Contents) -> Markup {
    let mut tiles: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: String| tiles.push((name.to_owned(), value));
    if let Some(Scored { history, .. }) = &contents.scored {
        let figures = Figures::of(history);
        add("windows scored", units::count(history.windows));
        add("alarms", units::count(figures.alarms));
        if !history.scenarios.is_empty() {
            add(
                "labelled faults found",
                format!("{} of {}", figures.found, history.scenarios.len()),
            );
            if let Some(delay) = figures.delay {
                add("median time to the first alarm", units::span(delay));
            }
            add("alarms outside of faults", units::count(figures.outside));
        }
        let silent: u64 = history.entities.iter().map(|entity| entity.no_data).sum();
        add("windows without data", units::count(silent));
    }
    if let Some(run) = contents.runs.iter().rev().find(|run| run.is_training()) {
        of_training(run, &mut add);
    }
    html! {
        @if !tiles.is_empty() {
            dl.tiles {
                @for (name, value) in &tiles { div { dt { (name) } dd { (value) } } }
            }
        }
    }
}

fn of_training(run: &Run, add: &mut impl FnMut(&str, String)) {
    if let Some(bundle) = &run.bundle {
        add("rows trained on", units::count(bundle.provenance.train_rows));
        let validation = bundle.metrics.get("validation");
        let figure = |name: &str| validation.and_then(|figures| figures.get(name)).copied();
        if let Some(value) = figure("average_precision") {
            add("average precision, validation", units::number(value));
        }
        if let Some(value) = figure("false_alarm_ratio") {
            add("false alarms, validation", units::percent(value));
        } else if let Some(value) = figure("inlier_ratio") {
            add("inliers, validation", units::percent(value));
        }
    }
    add("training run", units::seconds(run.record.seconds));
    let memory = run.tasks.iter().filter_map(|task| task.outcome.as_ref());
    if let Some(most) = memory.map(|outcome| outcome.peak_memory_bytes).max() {
        add("most memory of a task", units::bytes(most));
    }
}
