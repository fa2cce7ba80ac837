//! Probable errors of a valid document: a missing table, a misspelt unit, or queries of which only
//! some have an entity.

use std::path::Path;

use argo::lint::Finding;
use document::http::names_secret;
use document::sources::{Query, Source};
use document::{Document, promql};

use serde_json::Value;

/// Units that pages and messages format.
const UNITS: [&str; 8] = [
    "seconds",
    "bytes",
    "ratio",
    "per_second",
    "bytes_per_second",
    "seconds_per_second",
    "cores",
    "celsius",
];

/// Other spellings of these units.
const OTHERS: [(&str, &str); 14] = [
    ("s", "seconds"),
    ("sec", "seconds"),
    ("secs", "seconds"),
    ("ms", "seconds"),
    ("milliseconds", "seconds"),
    ("b", "bytes"),
    ("kb", "bytes"),
    ("mb", "bytes"),
    ("kib", "bytes"),
    ("mib", "bytes"),
    ("percent", "ratio"),
    ("%", "ratio"),
    ("1/s", "per_second"),
    ("bytes/s", "bytes_per_second"),
];

/// Returns the probable errors of a document.
pub(super) fn of(document: &Document, file: &Path, name: &str) -> Vec<Finding> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut found = secret_parameters(document);
    for (source, settings) in &document.sources {
        found.extend(missing_tables(folder, source, settings));
        found.extend(entity_of_some(source, settings));
        for query in &settings.queries {
            found.extend(odd_unit(source, query));
        }
    }
    let flaws =
        document.sources.iter().flat_map(|(source, it)| broken_queries(file, name, source, it));
    let flaws: Vec<Finding> = flaws.collect();
    let finding = |(rule, message): (&'static str, String)| Finding {
        file: name.to_owned(),
        place: None,
        object: String::new(),
        rule,
        message,
    };
    found.into_iter().map(finding).chain(flaws).collect()
}

/// Finds URLs that contain a secret as a parameter; its value is not repeated.
fn secret_parameters(document: &Document) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut open = vec![(String::new(), serde_json::to_value(document).unwrap_or_default())];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) => open.extend(fields.into_iter().map(|(name, value)| {
                let dot = if path.is_empty() { "" } else { "." };
                (format!("{path}{dot}{name}"), value)
            })),
            Value::Array(items) => {
                let numbered = items.into_iter().enumerate();
                open.extend(numbered.map(|(index, item)| (format!("{path}.{index}"), item)));
            }
            Value::String(text) if text.starts_with("http://") || text.starts_with("https://") => {
                let query = text.split_once('?').map_or("", |(_, query)| query);
                let names = query.split('&').filter_map(|pair| pair.split('=').next());
                if let Some(name) = names.into_iter().find(|name| names_secret(name)) {
                    let message = format!(
                        "`{path}`: the value of the parameter `{name}` is a secret, which must not \
                         be in a document"
                    );
                    found.push(("secret", message));
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    found.sort();
    found
}

/// Finds a missing table. An absolute path may belong to another machine.
fn missing_tables(folder: &Path, name: &str, source: &Source) -> Vec<(&'static str, String)> {
    let Some(table) = source.table.as_ref() else { return Vec::new() };
    let files = [("path", Some(&table.path)), ("test", table.test.as_ref())];
    let missing = files.into_iter().filter_map(|(field, path)| {
        let path = path.filter(|path| path.is_relative() && !folder.join(path).exists())?;
        let path = folder.join(path);
        let message = format!("`sources.{name}.table.{field}`: there is no `{}`", path.display());
        Some(("table", message))
    });
    missing.collect()
}

/// Finds queries without an entity beside queries that have one: their rows are never joined.
fn entity_of_some(name: &str, source: &Source) -> Option<(&'static str, String)> {
    if !source.entity.labels.is_empty() {
        return None;
    }
    let (with, without): (Vec<&Query>, Vec<&Query>) =
        source.queries.iter().partition(|query| query.entity.is_some());
    let (first, other) = (with.first()?, without.first()?);
    let message = format!(
        "`sources.{name}.queries`: `{}` names an entity and `{}` none: their values are never in \
         the same row (give all of them an entity, or move those without one to another source \
         with `broadcast: true`)",
        first.name, other.name
    );
    Some(("entity", message))
}

/// Finds queries that no server can parse, with the line of the query and the character in it.
fn broken_queries(file: &Path, name: &str, source: &str, settings: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, query) in settings.queries.iter().enumerate() {
        let fields = (0..query.or.len()).map(|other| format!("or.{other}"));
        let fields = std::iter::once("promql".to_owned()).chain(fields);
        for (field, text) in fields.zip(std::iter::once(&query.promql).chain(&query.or)) {
            let Some(flaw) = promql::flaw(text) else { continue };
            let promql::Flaw { character, what } = flaw;
            let path = format!("sources.{source}.queries.{index}.{field}");
            findings.push(Finding {
                file: name.to_owned(),
                place: document::place_of(file, &path),
                object: String::new(),
                rule: "promql",
                message: format!(
                    "`sources.{source}.queries.{}.{field}`: character {character}: {what}",
                    query.name
                ),
            });
        }
    }
    findings
}

/// Finds a unit with an unsupported spelling.
fn odd_unit(source: &str, query: &Query) -> Option<(&'static str, String)> {
    let unit = query.unit.to_lowercase();
    if unit.is_empty() || UNITS.contains(&query.unit.as_str()) {
        return None;
    }
    let other = OTHERS.iter().find(|(other, _)| *other == unit).map(|(_, usual)| *usual);
    let meant = other.or_else(|| document::closest(&unit, UNITS))?;
    let message = format!(
        "`sources.{source}.queries.{}.unit`: `{}` is no known unit (did you mean `{meant}`?)",
        query.name, query.unit
    );
    Some(("unit", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(sources: &str) -> Document {
        let text = format!(
            "format: 1\nname: x\nstep: 1m\nrange: 1d\nsources: {sources}\nfeatures: [{{raw: {{}}}}]\n\
             models: {{z_score: {{}}}}\nvote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n"
        );
        document::parse("x.yaml", &text).unwrap()
    }

    fn rules(sources: &str) -> Vec<&'static str> {
        let found = of(&document(sources), Path::new("there/x.yaml"), "x.yaml");
        found.into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn missing_table_misspelt_unit_and_mixed_entities_are_found() {
        let none: [&str; 0] = [];
        assert_eq!(rules("{a: {table: {path: gone.csv, time: t}}}"), ["table"]);
        let url = "{prometheus: {url: 'http://h:1/p?tenant=a&api_key=hunter2'}, queries: [{name: up, promql: up}]}";
        let found = of(&document(&format!("{{a: {url}}}")), Path::new("x.yaml"), "x.yaml");
        let said = format!("{found:?}");
        assert!(said.contains("sources.a.prometheus.url") && !said.contains("hunter2"), "{said}");
        assert_eq!(rules("{a: {table: {path: /etc/gone.csv, time: t}}}"), none);
        let query = |unit: &str, entity: &str| {
            format!("{{name: q{}, promql: up, unit: '{unit}'{entity}}}", entity.len())
        };
        let of = |queries: &[String]| {
            rules(&format!("{{a: {{recording: {{path: r}}, queries: [{}]}}}}", queries.join(", ")))
        };
        for (unit, rule) in [
            ("seconds", None),
            ("second", Some("unit")),
            ("MB", Some("unit")),
            ("percent", Some("unit")),
            ("requests", None),
            ("", None),
        ] {
            assert_eq!(of(&[query(unit, "")]), rule.into_iter().collect::<Vec<_>>(), "{unit}");
        }
        assert_eq!(of(&[query("", ""), query("", ", entity: node")]), ["entity"]);
        assert_eq!(of(&[query("", ", entity: node"), query("", ", entity: instance")]), none);
    }
}
