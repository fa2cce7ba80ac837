//! The page of `task: classify`.

mod drawings;

use contract::classify::{ClassFigures, ClassManifest, EntityClass, Interval, UNKNOWN};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Page, Section, figure, head, navigation, runs, summary};
use crate::classify::{ClassContents, ClassHistory};
use crate::tables::{Cell, Table};
use crate::units;

/// Makes the page.
pub(crate) fn page(contents: &ClassContents) -> Page {
    let mut tables = Vec::new();
    let classify = contents.bundle.as_ref().map(models::classify::ClassBundle::classify);
    let sections: Vec<Section> = [
        contents.history.as_ref().and_then(|history| mismatches(contents, history, &mut tables)),
        contents.history.as_ref().map(|history| changes(contents, history, &mut tables)),
        classify.map(|classify| confusion(classify, &mut tables)),
        classify.map(|classify| candidates(classify, &mut tables)),
        classify.and_then(|classify| learning_curve(&classify.figures, &mut tables)),
        classify.map(|classify| importances(&classify.figures, &mut tables)),
        classify.and_then(tree),
        tasks(contents, &mut tables),
    ]
    .into_iter()
    .flatten()
    .collect();
    let title = format!("Lynceus report: {}", contents.document.name);
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title))
            body {
                a.skip href="#main" { "Skip to the report" }
                header { (header(contents, classify)) (navigation(&sections)) }
                main id="main" {
                    (tiles(contents, classify))
                    @if !contents.notes.is_empty() {
                        div.warn role="note" aria-label="Missing on this page" {
                            @for note in &contents.notes { p { (note) } }
                        }
                    }
                    @for section in &sections {
                        section id=(section.id) aria-labelledby=(format!("{}-title", section.id)) {
                            h2 id=(format!("{}-title", section.id)) { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer { p {
                    "Made by Lynceus " (contract::VERSION) " at " (contents.zone.time(contents.now))
                    ". All times are " (contents.zone.name()) "."
                } }
            }
        }
    };
    Page { html: html.into_string(), tables }
}

fn header(contents: &ClassContents, classify: Option<&ClassManifest>) -> Markup {
    let name = &contents.document.name;
    let mismatches = contents.history.as_ref().map_or(0, |history| history.mismatches.len());
    let headline = match (&contents.history, classify) {
        (Some(_), _) if mismatches == 1 => "1 entity differs from its declared class".to_owned(),
        (Some(_), _) if mismatches > 1 => {
            format!("{mismatches} entities differ from their declared class")
        }
        (Some(_), _) => "every entity has its declared class".to_owned(),
        (None, Some(_)) => "a model was trained".to_owned(),
        (None, None) => contents.run.as_ref().map_or("nothing to show", summary::result).to_owned(),
    };
    html! {
        h1 { (name) ": " (headline) }
        @if let Some(classify) = classify {
            p.lead {
                "Lynceus predicts which of " (classify.classes.len()) " classes an entity has: "
                (classify.classes.join(", ")) ". " (worth(&classify.figures))
            }
        }
    }
}

/// Returns two sentences about the model's metrics.
fn worth(figures: &ClassFigures) -> String {
    format!(
        "Of entities it was not trained on, {} are classified correctly (balanced accuracy), {} wrongly, and {} stay unknown, over {} repetitions of the split by entity.",
        units::percent(figures.balanced_accuracy.mean),
        units::percent(figures.wrong_ratio),
        units::percent(figures.unknown_ratio),
        figures.iterations
    )
}

fn tiles(contents: &ClassContents, classify: Option<&ClassManifest>) -> Markup {
    let mut tiles: Vec<(String, &str)> = Vec::new();
    if let Some(history) = &contents.history {
        let entities: u64 = history.classes.values().sum();
        let unknown = history.classes.get(UNKNOWN).copied().unwrap_or(0);
        tiles.push((units::count(entities), "entities in the last window"));
        tiles.push((units::count(unknown), "of them unknown"));
        tiles.push((
            units::count(history.mismatches.len() as u64),
            "different from their declared \
            class",
        ));
    }
    if let Some(classify) = classify {
        let figures = &classify.figures;
        tiles.push((units::percent(figures.balanced_accuracy.mean), "balanced accuracy"));
        tiles.push((units::percent(figures.wrong_ratio), "named wrong"));
        tiles.push((units::percent(figures.unknown_ratio), "unknown"));
        if let Some(windows) = figures.windows_to_right {
            let step = contents.document.step.seconds();
            tiles.push((
                units::seconds(windows * step),
                "until an entity has the correct class, \
                 median",
            ));
        }
    }
    html! {
        @if !tiles.is_empty() {
            dl.tiles { @for (value, text) in &tiles { div { dt { (text) } dd { (value) } } } }
        }
    }
}

fn says(class: &EntityClass) -> String {
    match class.unknown {
        Some(why) => format!("unknown ({}), nearest {}", why.words(), class.nearest),
        None => class.name().to_owned(),
    }
}

fn mismatches(
    contents: &ClassContents,
    history: &ClassHistory,
    tables: &mut Vec<Table>,
) -> Option<Section> {
    if history.mismatches.is_empty() {
        return None;
    }
    let mut table = Table::new(
        "mismatches",
        "Entities that behave like a class other than the declared one",
        &[
            ("entity", "Entity"),
            ("declares", "Declares"),
            ("class", "Behaves like"),
            ("probability", "#Probability"),
            ("first", "From"),
            ("last", "To"),
            ("because", "~Furthest outside the usual range of its declared class"),
        ],
    );
    for (entity, found) in &history.mismatches {
        let causes = found.causes.iter().map(|cause| {
            let value =
                cause.value.map_or("missing".to_owned(), |it| units::quantity(&cause.unit, it));
            format!(
                "{} {value} (usually {} to {})",
                units::words(&cause.feature),
                units::quantity(&cause.unit, cause.usual_low),
                units::quantity(&cause.unit, cause.usual_high)
            )
        });
        table.push(vec![
            Cell::text(entity.as_str()),
            Cell::text(found.class.declared.clone().unwrap_or_default()),
            Cell::text(says(&found.class)),
            Cell::number(Some(found.class.probability)),
            Cell::time(&contents.zone, found.first),
            Cell::time(&contents.zone, found.last),
            Cell::text(causes.collect::<Vec<_>>().join("; ")),
        ]);
    }
    let body = table.html();
    tables.push(table);
    Some(Section {
        id: "mismatches",
        title: "Entities whose class differs from the declared one",
        body,
    })
}

fn changes(contents: &ClassContents, history: &ClassHistory, tables: &mut Vec<Table>) -> Section {
    let mut table = Table::new(
        "changes",
        "Changed verdicts, newest first",
        &[
            ("time", "Window"),
            ("entity", "Entity"),
            ("class", "Class"),
            ("probability", "#Probability"),
            ("declares", "Declares"),
            ("windows", "#Windows seen"),
        ],
    );
    for (time, entity, class) in history.changes.iter().rev() {
        table.push(vec![
            Cell::time(&contents.zone, *time),
            Cell::text(entity.as_str()),
            Cell::text(says(class)),
            Cell::number(Some(class.probability)),
            Cell::text(class.declared.clone().unwrap_or_default()),
            Cell::count(u64::from(class.windows)),
        ]);
    }
    let counts: Vec<String> =
        history.classes.iter().map(|(class, count)| format!("{class} {count}")).collect();
    let body = html! {
        p {
            (units::counted(history.windows, "window")) " of " (units::span(contents.document.step)) ". "
            "In the last one: " (counts.join(", ")) "."
        }
        (table.html())
    };
    tables.push(table);
    Section { id: "changes", title: "Verdicts", body }
}

fn confusion(classify: &ClassManifest, tables: &mut Vec<Table>) -> Section {
    let figures = &classify.figures;
    let mut table = Table::new(
        "classes",
        "Precision and recall of each class, over all held-out entities",
        &[
            ("class", "Class"),
            ("entities", "#Entities trained on"),
            ("rows", "#Rows"),
            ("precision", "#Precision"),
            ("recall", "#Recall"),
        ],
    );
    for record in &figures.classes {
        table.push(vec![
            Cell::text(record.class.as_str()),
            Cell::count(record.entities),
            Cell::count(record.rows),
            Cell::share(Some(record.precision)),
            Cell::share(Some(record.recall)),
        ]);
    }
    let drawing = drawings::confusion(classify);
    let body = html! {
        p {
            "Each repetition holds entities out: a row is their true class, a column the class predicted after all their windows. "
            "A class is predicted from a probability of " (units::number(classify.bounds.probability)) " on. \
                Below it, or if an entity is unlike every class, its class is unknown."
        }
        (figure(&html! { "Confusion matrix" }, "Held-out entities, over all repetitions.", &PreEscaped(drawing)))
        (table.html())
    };
    tables.push(table);
    Section { id: "confusion", title: "Quality of the model", body }
}

fn interval(value: Interval) -> Cell {
    let text = format!(
        "{} ({} to {})",
        units::percent(value.mean),
        units::percent(value.low),
        units::percent(value.high)
    );
    Cell::of(text, value.mean)
}

fn candidates(classify: &ClassManifest, tables: &mut Vec<Table>) -> Section {
    let mut table = Table::new(
        "candidates",
        "Metrics of each model on held-out entities, with 95 % intervals over repetitions",
        &[
            ("model", "Model"),
            ("balanced_accuracy", "#Balanced accuracy"),
            ("row_balanced_accuracy", "#Of single windows"),
            ("log_loss", "#Log loss"),
            ("wrong_ratio", "#Named wrong"),
            ("unknown_ratio", "#Unknown"),
        ],
    );
    for it in &classify.candidates {
        table.push(vec![
            Cell::of(units::words(&it.kind), it.kind.as_str()),
            interval(it.balanced_accuracy),
            interval(it.row_balanced_accuracy),
            Cell::number(Some(it.log_loss)),
            Cell::share(Some(it.wrong_ratio)),
            Cell::share(Some(it.unknown_ratio)),
        ]);
    }
    let body = table.html();
    tables.push(table);
    Section { id: "candidates", title: "The models", body }
}

fn learning_curve(figures: &ClassFigures, tables: &mut Vec<Table>) -> Option<Section> {
    if figures.learning_curve.len() < 2 {
        return None;
    }
    let mut table = Table::new(
        "learning_curve",
        "Balanced accuracy of single windows of held-out entities",
        &[("entities", "#Entities trained on"), ("balanced_accuracy", "#Balanced accuracy")],
    );
    for point in &figures.learning_curve {
        table.push(vec![Cell::count(point.entities), interval(point.balanced_accuracy)]);
    }
    let drawing = drawings::learning_curve(&figures.learning_curve);
    let body = html! {
        p { "A curve that still rises at its end shows that more entities would help." }
        (figure(&html! { "Learning curve" }, "Balanced accuracy by number of training entities; bars are 95 % intervals over repetitions.", &PreEscaped(drawing)))
        (table.html())
    };
    tables.push(table);
    Some(Section { id: "learning", title: "Learning curve", body })
}

fn importances(figures: &ClassFigures, tables: &mut Vec<Table>) -> Section {
    let mut table = Table::new(
        "importances",
        "Balanced accuracy that is lost when a feature's values are permuted between held-out rows",
        &[("feature", "Feature"), ("loss", "#Lost"), ("low", "#At least"), ("high", "#At most")],
    );
    for it in &figures.importances {
        table.push(vec![
            Cell::of(units::words(&it.feature), it.feature.as_str()),
            Cell::share(Some(it.loss.mean)),
            Cell::share(Some(it.loss.low)),
            Cell::share(Some(it.loss.high)),
        ]);
    }
    let drawing = drawings::importances(&figures.importances);
    let body = html! {
        p { "Correlated features share their importance: each alone may look unimportant." }
        (figure(&html! { "Importance of features" }, "Lost balanced accuracy; lines are 95 % intervals over repetitions.", &PreEscaped(drawing)))
        details { summary { "As a table" } (table.html()) }
    };
    tables.push(table);
    Section { id: "importance", title: "Important features", body }
}

fn tree(classify: &ClassManifest) -> Option<Section> {
    let drawn = classify.drawn.as_ref()?;
    let body = html! {
        p { "The decision tree, down to its fifth split: a row goes up if its value is at most the \
             threshold." }
        div.scroll { (PreEscaped(drawings::tree(drawn))) }
    };
    Some(Section { id: "tree", title: "The decision tree", body })
}

fn tasks(contents: &ClassContents, tables: &mut Vec<Table>) -> Option<Section> {
    let run = contents.run.as_ref()?;
    let table = runs::task_table(std::slice::from_ref(run));
    let why = run.deployment.as_ref().map(|it| format!("Version {}: {}.", it.version, it.why));
    let body = html! { @if let Some(why) = why { p { (why) } } (table.html()) };
    tables.push(table);
    Some(Section { id: "tasks", title: "The training run", body })
}
