//! Proposes a training without the features that have been missing for long.

use document::sections::Alert as Sections;

use crate::message::Message;
use crate::state_machine::{Kind, Reason};

/// Adds the command line to each alert that proposes a training.
pub(crate) fn complete(document: &Sections, messages: &mut [Message]) {
    let alerts = messages.iter_mut().flat_map(|message| &mut message.alerts);
    for alert in
        alerts.filter(|it| it.kind == Kind::FeatureMissing && it.reason == Reason::Proposes)
    {
        alert.why = Some(training_without(document, &alert.missing));
    }
}

/// Returns the words that propose a training without some features.
fn training_without(document: &Sections, missing: &[String]) -> String {
    let mut removed: Vec<String> = Vec::new();
    for feature in missing {
        let queries = document
            .sources
            .iter()
            .flat_map(|(source, it)| it.queries.iter().map(move |query| (source, &query.name)));
        // A feature is named after its signal: `load_mean_10m` is computed from `load`.
        let of = queries.filter(|(_, name)| {
            let rest = feature.strip_prefix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        });
        if let Some((source, name)) = of.max_by_key(|(_, name)| name.len()) {
            let set = format!(" --set sources.{source}.queries.{name}=null");
            if !removed.contains(&set) {
                removed.push(set);
            }
        }
    }
    let name = &document.name;
    if removed.is_empty() {
        return format!(
            "train a model without them: remove them from the document, then run lynceus run {name}"
        );
    }
    format!("train a model without them: lynceus run {name}{}", removed.concat())
}
