//! Templates of messages: their variables, and how they are rendered.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

/// Variables of a template. Times are formatted as in messages, in the document's time zone and in
/// UTC. Absent values are empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Context {
    /// The usual title.
    pub title: String,
    /// The usual text.
    pub text: String,
    /// The pipeline.
    pub pipeline: String,
    /// End of the last window, or the evaluation time of the training.
    pub time: String,
    /// Version of the models.
    pub version: String,
    /// Whether it is worth waking someone.
    pub urgent: bool,
    /// Alerts that started or ended.
    pub alerts: Vec<AlertContext>,
    /// How the training ended, in messages about trainings.
    pub training: String,
    /// Why a training ended in this way, or why a channel is unreachable.
    pub why: String,
    /// Links for all of it.
    pub links: Vec<LinkContext>,
}

/// One alert in a template.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct AlertContext {
    /// The entity; empty for the whole pipeline.
    pub entity: String,
    /// `anomaly`, `no_data`, `drift`, `scoring_stopped` or `mismatch`.
    pub kind: String,
    /// `firing` or `resolved`.
    pub status: String,
    /// Whether it is worth waking someone.
    pub urgent: bool,
    /// When it began.
    pub since: String,
    /// When it ended.
    pub ended: String,
    /// How long it lasted, where it ended.
    pub duration: String,
    /// What contributed most: feature, value, usual range.
    pub causes: Vec<CauseContext>,
    /// Links for the entity.
    pub links: Vec<LinkContext>,
}

/// One cause in a template.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct CauseContext {
    /// The feature.
    pub feature: String,
    /// Its value with its unit.
    pub value: String,
    /// Its usual range with its unit.
    pub usual: String,
    /// Its share of the score, 0 to 1.
    pub share: f64,
    /// All of it in one line.
    pub text: String,
}

/// A link in a template.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct LinkContext {
    /// Its name in the document.
    pub name: String,
    /// The URL.
    pub url: String,
}

impl Context {
    /// Returns a context in which every list has one item, for testing a template.
    fn example() -> Self {
        let cause = CauseContext::default();
        let alert = AlertContext {
            causes: vec![cause],
            links: vec![LinkContext::default()],
            ..AlertContext::default()
        };
        Self { alerts: vec![alert], links: vec![LinkContext::default()], ..Self::default() }
    }
}

/// Error of a template: a line, a column if it is known (both from 1), and a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{} of the template: {what}", column.map(|column| format!(", column {column}")).unwrap_or_default())]
pub struct TemplateError {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: Option<usize>,
    /// What is wrong.
    pub what: String,
}

/// Renders a template. An unknown variable is an error, not an empty text.
pub fn render(template: &str, context: &Context) -> Result<String, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    let text = environment.render_str(template, Serde(context));
    text.map_err(|error| TemplateError {
        line: error.line().unwrap_or(1),
        column: error.range().map(|range| column(template, range.start)),
        what: match error.detail() {
            Some(detail) => format!("{}: {detail}", error.kind()),
            None => error.kind().to_string(),
        },
    })
}

/// Checks a template before it is used for a message.
pub(crate) fn check(template: &str) -> Result<(), TemplateError> {
    // Branches that only one of the two contexts takes are also tested.
    for context in [Context::example(), Context { urgent: true, ..Context::default() }] {
        render(template, &context)?;
    }
    Ok(())
}

/// Returns the column, from 1, of a byte of a text.
fn column(text: &str, byte: usize) -> usize {
    let before = text.get(..byte).unwrap_or_default();
    before.chars().rev().take_while(|c| *c != '\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_in() {
        let context = Context { title: "t".into(), urgent: true, ..Context::example() };
        let template = "{{ title }}{% if urgent %}!{% endif %}{% for alert in alerts %} [{{ alert.entity }}]{% endfor %}";
        assert_eq!(render(template, &context).unwrap(), "t! []");
    }

    #[test]
    fn document_errors_are_found_before_running_with_line_and_column() {
        for (template, line, column, words) in [
            ("ab\n  {{ nosuch }}", 2, Some(6), "undefined value"),
            ("{{ title | nosuch }}", 1, Some(12), "unknown filter"),
            ("a\nb {% if %}", 2, None, "syntax error"),
            (
                "{% for alert in alerts %}\n{{ alert.nosuch }}{% endfor %}",
                2,
                None,
                "undefined value",
            ),
        ] {
            let error = check(template).unwrap_err();
            assert_eq!(error.line, line, "{error}");
            assert!(column.is_none() || error.column == column, "{error}");
            assert!(error.what.contains(words), "{error}");
        }
        assert_eq!(check("{{ text }}\n{{ links[0].url if links else '' }}"), Ok(()));
    }
}
