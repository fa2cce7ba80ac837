//! `lynceus evaluate` of `task: classify`: compares the predicted classes of entities with their
//! true classes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::classify::{EntityClass, UNKNOWN};
use contract::score::WindowScore;
use contract::{StepError, Timestamp, units};
use fs_err as fs;
use serde::Serialize;
use store::watermark;

use super::super::context::Context;
use super::super::entities;
use super::super::{Global, OutputFormat, print, print_json};
use crate::run::table;

/// Header of a table of true classes.
const HEAD: &str = "entity,class";

/// Evaluation of the classes of entities.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct ClassEvaluation {
    windows: usize,
    /// Entities whose class is known.
    entities: usize,
    /// Mean over the classes of the share of their entities that are classified correctly;
    /// `unknown` counts as wrong.
    balanced_accuracy: Option<f64>,
    /// Share of the entities that are classified correctly.
    accuracy: Option<f64>,
    /// Share of the entities with a wrong class other than `unknown`.
    wrong_ratio: Option<f64>,
    /// Share of the entities that are classified as `unknown`.
    unknown_ratio: Option<f64>,
    /// Median time from an entity's first window to its correct verdict.
    median_seconds_to_right: Option<f64>,
    /// Number of entities by true class and then by predicted class.
    confusion: BTreeMap<String, BTreeMap<String, u64>>,
    classes: Vec<ClassFigure>,
}

/// Metrics of a class.
#[derive(Debug, PartialEq, Serialize)]
struct ClassFigure {
    class: String,
    entities: u64,
    /// Share of the entities with this predicted class that are of the class; absent if there are
    /// none.
    precision: Option<f64>,
    /// Share of the entities of the class that are predicted as this class.
    recall: Option<f64>,
}

/// An entity with its true and its predicted class.
struct Judged {
    truth: String,
    called: String,
    seconds: f64,
}

/// Evaluates the last verdict on every entity of a time range.
///
/// Errors: refused if no entity has a true class, or if the table cannot be read.
pub(super) fn execute(
    global: &Global,
    context: &Context,
    truth: Option<&Path>,
    windows: &[WindowScore],
) -> Result<(), StepError> {
    let truth = truth.map(read_truth).transpose()?;
    let verdicts = verdicts(context, windows)?;
    let judged = judged(&verdicts, truth.as_ref());
    if judged.is_empty() {
        return Err(StepError::refused(format!(
            "none of the {} entities has a class to compare with",
            verdicts.len()
        ))
        .hint(
            "entities declare a class by their image or label; or give a table `entity,class` \
             with `--truth FILE`",
        ));
    }
    let evaluation = evaluate(windows.len(), &judged);
    match global.output() {
        OutputFormat::Json => print_json(&evaluation),
        OutputFormat::Text => print(&text(&evaluation)),
    }
}

/// Reads a table of true classes.
fn read_truth(path: &Path) -> Result<BTreeMap<String, String>, StepError> {
    let text = fs::read_to_string(path).map_err(|error| StepError::reading(path, &error))?;
    let mut lines = text.lines().map(str::trim).zip(1..).filter(|(line, _)| !line.is_empty());
    let wrong = |number: usize, what: &str| {
        StepError::refused(format!("`{}`, line {number}: {what}", path.display())).hint(format!(
            "the first line is `{HEAD}`, and each other line an entity and its class"
        ))
    };
    match lines.next() {
        Some((HEAD, _)) => {}
        Some((_, number)) => return Err(wrong(number, "is no head of the table")),
        None => return Err(wrong(1, "the table is empty")),
    }
    let mut truth = BTreeMap::new();
    for (line, number) in lines {
        let Some((entity, class)) = line.rsplit_once(',') else {
            return Err(wrong(number, "has no comma"));
        };
        let (entity, class) = (entity.trim().trim_matches('"'), class.trim());
        if class.is_empty() {
            return Err(wrong(number, "names no class"));
        }
        if truth.insert(entity.to_owned(), class.to_owned()).is_some() {
            return Err(wrong(number, "names an entity a second time"));
        }
    }
    Ok(truth)
}

/// Returns the last verdict on each entity in the windows. Windows contain only changes; unchanged
/// verdicts are in the scorer's state, if the state belongs to the last window.
fn verdicts(
    context: &Context,
    windows: &[WindowScore],
) -> Result<BTreeMap<String, EntityClass>, StepError> {
    let mut verdicts = BTreeMap::new();
    for score in windows.iter().flat_map(|window| &window.entities) {
        if let Some(class) = &score.class {
            verdicts.insert(score.entity.clone(), class.clone());
        }
    }
    let store = context.store.open()?;
    let mark = watermark::read(store.as_ref(), &context.document.name)?;
    let last = windows.last().map(|window| window.time);
    let first = windows.first().map(|window| window.time);
    if mark.map(|mark| mark.value.scored_to) == last {
        for known in entities::read(store.as_ref(), &context.document)? {
            if known.last_seen >= first.unwrap_or(Timestamp::from_ms(0)) {
                verdicts.insert(known.entity, known.class);
            }
        }
    }
    Ok(verdicts)
}

/// Pairs verdicts with true classes: from a table, or the declared ones.
fn judged(
    verdicts: &BTreeMap<String, EntityClass>,
    truth: Option<&BTreeMap<String, String>>,
) -> Vec<Judged> {
    let of = |(entity, class): (&String, &EntityClass)| {
        let truth = match truth {
            Some(truth) => truth.get(entity).cloned(),
            None => class.declared.clone(),
        };
        Some(Judged {
            truth: truth?,
            called: class.name().to_owned(),
            seconds: (class.since - class.first_seen).seconds(),
        })
    };
    verdicts.iter().filter_map(of).collect()
}

fn evaluate(windows: usize, judged: &[Judged]) -> ClassEvaluation {
    let mut confusion: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for one in judged {
        let row = confusion.entry(one.truth.clone()).or_default();
        *row.entry(one.called.clone()).or_insert(0) += 1;
    }
    let share = |part: u64, all: u64| (all > 0).then(|| part as f64 / all as f64);
    let count = |is_meant: &dyn Fn(&Judged) -> bool| {
        judged.iter().filter(|one| is_meant(one)).count() as u64
    };
    let all = judged.len() as u64;
    let right = |one: &Judged| one.truth == one.called;
    let figure = |class: &String| {
        let both = count(&|one| one.truth == *class && one.called == *class);
        let entities = count(&|one| one.truth == *class);
        ClassFigure {
            class: class.clone(),
            entities,
            precision: share(both, count(&|one| one.called == *class)),
            recall: share(both, entities),
        }
    };
    let classes: Vec<ClassFigure> = confusion.keys().map(figure).collect();
    let recalls: Vec<f64> = classes.iter().filter_map(|class| class.recall).collect();
    let mut seconds: Vec<f64> =
        judged.iter().filter(|one| right(one)).map(|one| one.seconds).collect();
    seconds.sort_by(f64::total_cmp);
    let unknown = count(&|one| one.called == UNKNOWN);
    ClassEvaluation {
        windows,
        entities: judged.len(),
        balanced_accuracy: (!recalls.is_empty())
            .then(|| recalls.iter().sum::<f64>() / recalls.len() as f64),
        accuracy: share(count(&right), all),
        wrong_ratio: share(count(&|one| !right(one)) - unknown, all),
        unknown_ratio: share(unknown, all),
        median_seconds_to_right: seconds.get(seconds.len() / 2).copied(),
        confusion,
        classes,
    }
}

fn text(evaluation: &ClassEvaluation) -> String {
    let called: BTreeSet<&String> =
        evaluation.confusion.values().flat_map(BTreeMap::keys).collect();
    let mut head = vec!["is \\ called".to_owned()];
    head.extend(called.iter().map(|name| (*name).clone()));
    head.extend(["precision", "recall"].map(str::to_owned));
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let mut rows = vec![head];
    for figure in &evaluation.classes {
        let counts = evaluation.confusion.get(&figure.class);
        let mut row = vec![figure.class.clone()];
        row.extend(called.iter().map(|name| {
            let count = counts.and_then(|counts| counts.get(*name)).copied().unwrap_or(0);
            if count == 0 { "-".to_owned() } else { count.to_string() }
        }));
        row.extend([shown(figure.precision), shown(figure.recall)]);
        rows.push(row);
    }
    let percent = |value: Option<f64>| value.map_or("-".to_owned(), units::percent);
    let seconds = evaluation.median_seconds_to_right;
    format!(
        "{}\n{} entities in {} windows: balanced accuracy {}, wrong {}, unknown {}, median time to \
         the correct class {}\n",
        table(&rows),
        evaluation.entities,
        evaluation.windows,
        shown(evaluation.balanced_accuracy),
        percent(evaluation.wrong_ratio),
        percent(evaluation.unknown_ratio),
        seconds.map_or("-".to_owned(), units::seconds)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_each_class_count_unknown_as_not_right() {
        let one = |truth: &str, called: &str, seconds: f64| Judged {
            truth: truth.to_owned(),
            called: called.to_owned(),
            seconds,
        };
        let judged = [
            one("nginx", "nginx", 20.0),
            one("nginx", "nginx", 40.0),
            one("nginx", "redis", 20.0),
            one("nginx", UNKNOWN, 0.0),
            one("redis", "redis", 90.0),
        ];
        let found = evaluate(7, &judged);
        assert_eq!(found.balanced_accuracy, Some(0.75));
        assert_eq!((found.accuracy, found.wrong_ratio), (Some(0.6), Some(0.2)));
        assert_eq!(found.unknown_ratio, Some(0.2));
        assert_eq!(found.median_seconds_to_right, Some(40.0));
        let figures: Vec<_> =
            found.classes.iter().map(|it| (it.precision, it.recall, it.entities)).collect();
        assert_eq!(figures, [(Some(1.0), Some(0.5), 4), (Some(0.5), Some(1.0), 1)]);
        let text = text(&found);
        assert!(text.contains("5 entities in 7 windows: balanced accuracy 0.75"), "{text}");
        assert!(text.contains("wrong 20 %, unknown 20 %"), "{text}");
    }

    #[test]
    fn table_of_entity_classes_is_read_or_refused_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("truth.csv");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            read_truth(&path)
        };
        let truth = read("entity,class\nshop/web-0,nginx\n\nb,redis\n").unwrap();
        assert_eq!(truth["shop/web-0"], "nginx");
        for (text, line) in [
            ("", 1),
            ("pod,class\n", 1),
            ("entity,class\nweb\n", 2),
            ("entity,class\nweb,\n", 2),
            ("entity,class\na,x\na,y\n", 3),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(&format!("line {line}:")), "{}", error.message);
        }
    }
}
