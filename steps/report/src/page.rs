//! The page: self-contained HTML; maud escapes every name or text that comes from outside.

pub(crate) mod classes;
mod data;
mod detectors;
mod diagnosis;
mod drift;
mod faults;
mod features;
mod lineage;
mod messages;
mod runs;
mod search;
mod summary;
mod versions;
mod windows;

use contract::StepError;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::contents::Contents;
use crate::tables::Table;

/// The style sheet; `</` does not occur in it, so it cannot end its element early.
const STYLE: &str = include_str!("page/style.css");

/// Forbids everything that the page does not need, in case a name is not escaped.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// A page with its tables.
#[derive(Debug)]
pub struct Page {
    /// The document.
    pub html: String,
    /// Its tables, in order.
    pub tables: Vec<Table>,
}

/// A part of the page under a separate heading.
struct Section {
    id: &'static str,
    title: &'static str,
    body: Markup,
}

/// Makes the page.
pub fn page(contents: &Contents) -> Result<Page, StepError> {
    let mut tables = Vec::new();
    let sections = [
        faults::section(contents, &mut tables)?,
        detectors::section(contents, &mut tables)?,
        diagnosis::section(contents, &mut tables),
        features::section(contents, &mut tables)?,
        data::section(contents, &mut tables),
        search::section(contents, &mut tables),
        versions::section(contents, &mut tables),
        runs::tasks(contents, &mut tables),
        lineage::section(contents)?,
        runs::model_card(contents),
    ];
    let sections: Vec<Section> = sections.into_iter().flatten().collect();
    let title = format!("Lynceus report: {}", contents.document.name);
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            (head(&title))
            body {
                a.skip href="#main" { "Skip to the report" }
                header { (summary::header(contents)) (navigation(&sections)) }
                main id="main" {
                    (summary::tiles(contents))
                    (notes(contents))
                    @for section in &sections {
                        section id=(section.id) aria-labelledby=(format!("{}-title", section.id)) {
                            h2 id=(format!("{}-title", section.id)) { (section.title) }
                            (section.body)
                        }
                    }
                }
                (footer(contents, &tables))
            }
        }
    };
    Ok(Page { html: html.into_string(), tables })
}

/// Draws the verdicts over time as a separate file; an empty drawing if nothing was scored.
pub fn picture(contents: &Contents) -> Result<String, StepError> {
    let drawing = faults::picture(contents)?;
    let svg = drawing.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1);
    let (start, inside) = svg.split_once('>').unwrap_or(("<svg", "</svg>"));
    Ok(format!("{start}><style>{STYLE}</style>{inside}\n"))
}

fn head(title: &str) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(POLICY);
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            title { (title) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// Makes a page of a heading, one or two introductory sentences, and sections.
pub(crate) fn plain(title: &str, lead: &str, sections: &[(&'static str, Markup)]) -> String {
    let html = html! {
        (DOCTYPE)
        html lang="en" {
            (head(title))
            body {
                header { h1 { (title) } p.lead { (lead) } }
                main {
                    @for (title, body) in sections { section { h2 { (title) } (body) } }
                }
                footer { p { "Made by Lynceus " (contract::VERSION) "." } }
            }
        }
    };
    html.into_string()
}

fn navigation(sections: &[Section]) -> Markup {
    html! {
        nav aria-label="Sections" { ul {
            @for section in sections {
                li { a href=(format!("#{}", section.id)) { (section.title) } }
            }
        } }
    }
}

/// Shows which inputs could not be read, first on the page, because the rest might look complete.
fn notes(contents: &Contents) -> Markup {
    let of_runs = contents.runs.iter().flat_map(|run| {
        run.unreadable.iter().map(|what| format!("Run {}: {what}.", run.record.run))
    });
    let notes: Vec<String> = contents.notes.iter().cloned().chain(of_runs).collect();
    html! {
        @if !notes.is_empty() {
            div.warn role="note" aria-label="Missing on this page" {
                @for note in &notes { p { (note) } }
            }
        }
    }
}

fn footer(contents: &Contents, tables: &[Table]) -> Markup {
    let names: Vec<&str> = tables.iter().map(|table| table.name).collect();
    html! {
        footer {
            p {
                "Made by Lynceus " (contract::VERSION) " at " (contents.zone.time(contents.now))
                ". All times are " (contents.zone.name()) ". Figures show the smallest and the \
                 largest value of "
                "each short span of time, so that no single window disappears."
            }
            @if !names.is_empty() {
                p {
                    "The tables (" (names.join(", ")) ") are also available as CSV and JSON: "
                    code { "report --tables DIR" } "."
                }
            }
        }
    }
}

/// Explains the marks of figures over time.
fn key(entries: &[(&str, &str)]) -> Markup {
    html! {
        ul.key.plain {
            @for (class, text) in entries {
                li { i class=(class) aria-hidden="true" {} (text) }
            }
        }
    }
}

/// A figure: a bold title, a description, and the drawing.
fn figure(title: &Markup, words: &str, drawing: &Markup) -> Markup {
    html! {
        figure {
            figcaption { strong { (title) } @if !words.is_empty() { " " (words) } }
            (drawing)
        }
    }
}
