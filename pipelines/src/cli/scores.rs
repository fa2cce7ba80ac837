//! `lynceus scores`: shows the verdicts of the windows of a time range.

use std::path::PathBuf;

use contract::score::{EntityScore, Verdict, WindowScore, entity_words};
use contract::{Span, StepError, TimeRange, Timestamp};
use store::{ObjectStore, Whole};

use super::context::{Context, DocumentArgs};
use super::{Format, Global, OutputFormat, print, print_json, print_rows, say, score_rows};
use crate::run::table;

/// Time between two checks for new windows.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(2);

/// Flags of `lynceus scores`.
#[derive(Debug, clap::Args)]
pub(crate) struct ScoresArgs {
    #[command(flatten)]
    document: DocumentArgs,
    /// Show windows that end after this time, instead of `--last` before the end
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Show windows that end at or before this time [default: the last scored window]
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// Length of the time range before the end
    #[arg(long, value_name = "DURATION", default_value = "1h", conflicts_with = "from")]
    last: Span,
    /// Show only this entity; may be repeated
    #[arg(long, value_name = "NAME")]
    entity: Vec<String>,
    /// Write the rows to this file, `.csv` or `.parquet`, with scores, thresholds and causes
    #[arg(long = "write", value_name = "FILE", conflicts_with = "watch")]
    file: Option<PathBuf>,
    /// Continue with each new window until Ctrl-C
    #[arg(long, conflicts_with = "to")]
    watch: bool,
}

pub(crate) fn execute(global: &Global, args: &ScoresArgs) -> Result<(), StepError> {
    let context = Context::new(global, &args.document)?;
    let (store, pipeline) = (context.store.open()?, &context.document.name);
    // A shard that has never scored has no keys yet, so they are listed each time.
    let scored_to = || -> Result<Option<Timestamp>, StepError> {
        Whole::open(store.as_ref(), pipeline)?.scored_to()
    };
    let mut end = args.to.map_or_else(scored_to, |to| Ok(Some(to)))?;
    if end.is_none() && args.watch {
        say(&format!("{pipeline} has no scored window yet: waiting for the first"));
        while end.is_none() {
            std::thread::sleep(PAUSE);
            end = scored_to()?;
        }
    }
    let Some(end) = end else {
        return Err(StepError::refused(format!("`{pipeline}` has no scored window yet")).hint(
            format!("run `lynceus score {pipeline}`, or wait for the next windows with --watch"),
        ));
    };
    let mut after = args.from.unwrap_or(end - args.last);
    if args.to.is_some() {
        report::contents::check_range(after, end)?;
    }
    let read = |range| read(store.as_ref(), pipeline, range, args);
    let windows = read(TimeRange { after, until: end })?;
    if args.watch {
        show_lines(global, &windows, true)?;
    } else {
        return show(global, args, &windows);
    }
    after = after.max(end);
    loop {
        std::thread::sleep(PAUSE);
        let Some(end) = scored_to()?.filter(|end| *end > after) else { continue };
        show_lines(global, &read(TimeRange { after, until: end })?, false)?;
        after = end;
    }
}

fn read(
    store: &dyn ObjectStore,
    pipeline: &str,
    range: TimeRange,
    args: &ScoresArgs,
) -> Result<Vec<WindowScore>, StepError> {
    let wanted =
        |entity: &EntityScore| args.entity.is_empty() || args.entity.contains(&entity.entity);
    Whole::open(store, pipeline)?
        .read_after(Some(range.after), range.until)
        .map(|window| {
            let mut window = window?;
            window.entities.retain(wanted);
            Ok(window)
        })
        .collect()
}

fn show(global: &Global, args: &ScoresArgs, windows: &[WindowScore]) -> Result<(), StepError> {
    if let Some(path) = &args.file {
        let rows = score_rows::of_windows(windows);
        rows.write(path)?;
        say(&format!("{} rows in {}", rows.rows(), path.display()));
        return Ok(());
    }
    if global.output_format == Format::Csv || global.output_format == Format::Parquet {
        return print_rows(global, &score_rows::of_windows(windows));
    }
    if global.output() == OutputFormat::Json {
        return print_json(&windows);
    }
    let mut rows = vec![HEAD.map(str::to_owned).to_vec()];
    rows.extend(windows.iter().flat_map(rows_of));
    print(&table(&rows))
}

/// Shows windows as they are scored: one JSON object per line, or rows with fixed column widths.
fn show_lines(global: &Global, windows: &[WindowScore], with_head: bool) -> Result<(), StepError> {
    if global.output() == OutputFormat::Json {
        for window in windows {
            let line = serde_json::to_string(window)
                .map_err(|e| StepError::bug(format!("cannot write a window: {e}")))?;
            print(&format!("{line}\n"))?;
        }
        return Ok(());
    }
    let head = with_head.then(|| HEAD.map(str::to_owned).to_vec());
    let rows = head.into_iter().chain(windows.iter().flat_map(rows_of));
    let lines: String = rows.map(|row| line(&row)).collect();
    print(&lines)
}

fn line(row: &[String]) -> String {
    let cells: Vec<String> = row
        .iter()
        .zip([20, 24, 9, 15, 5, 0])
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    format!("{}\n", cells.join("  ").trim_end())
}

const HEAD: [&str; 6] = ["window", "entity", "verdict", "score/threshold", "votes", "because of"];

fn rows_of(window: &WindowScore) -> Vec<Vec<String>> {
    let rows = window.entities.iter().map(|entity| {
        let causes: Vec<&str> = entity.causes.iter().map(|cause| cause.feature.as_str()).collect();
        let score = beyond(entity).map(|times| format!("{times:.2}")).unwrap_or_default();
        vec![
            window.time.to_string(),
            entity_words(&entity.entity).to_owned(),
            said(entity),
            score,
            entity.votes.to_string(),
            causes.join(", "),
        ]
    });
    rows.collect()
}

/// Returns the verdict or the class of an entity as text.
fn said(entity: &EntityScore) -> String {
    match &entity.class {
        None => verdict(entity.verdict).to_owned(),
        Some(class) if class.mismatch => {
            format!("{}, declares {}", class.name(), class.declared.as_deref().unwrap_or_default())
        }
        Some(class) => class.name().to_owned(),
    }
}

/// Returns the score as a multiple of its threshold; above 1 is anomalous. For several models
/// without a combined score it is the highest; `None` without data.
fn beyond(entity: &EntityScore) -> Option<f64> {
    let members = entity.members.iter().map(|member| (member.decision, member.threshold));
    let pairs: Vec<(f64, f64)> = match entity.combined {
        Some(combined) => vec![(combined.score, combined.threshold)],
        None => members.collect(),
    };
    let times = pairs.into_iter().map(|(score, threshold)| score / threshold);
    times.filter(|times| times.is_finite()).max_by(f64::total_cmp)
}

/// Returns the text of a verdict.
fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Normal => "normal",
        Verdict::Anomalous => "anomalous",
        Verdict::NoData => "no data",
    }
}
