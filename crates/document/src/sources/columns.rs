//! The columns of sources, and their names.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Entity, Query, Source};

/// A column of the samples.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SampleColumn {
    /// Its name.
    pub name: String,
    /// Unit of its values; empty for a plain number.
    pub unit: String,
    /// How the source computes it: the query, with the rate window.
    pub formula: String,
    /// Whether the formula is a query that any Prometheus can answer.
    pub is_promql: bool,
    /// Whether it comes from a query to a server, which may have no data for it.
    pub is_asked: bool,
    /// Whether a training must have it.
    pub is_required: bool,
    /// Type of its values.
    #[serde(skip_serializing_if = "ColumnValues::are_numbers")]
    pub values: ColumnValues,
    /// Label whose value is the entity, if several entities have the column.
    pub entity: Option<String>,
}

/// Type of the values of a sample column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnValues {
    /// Numbers.
    Numbers,
    /// Numbers that encode texts: they can only be compared for equality.
    Texts,
}

impl ColumnValues {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn are_numbers(&self) -> bool {
        *self == Self::Numbers
    }
}

impl SampleColumn {
    /// Returns whether its values encode texts.
    pub fn is_text(&self) -> bool {
        self.values == ColumnValues::Texts
    }
}

/// Returns the names that the columns of several sources have in the samples: their own, or
/// `<source>_<column>` if two sources have a column with the same name.
pub fn column_names(sources: &[(&str, Vec<&str>)]) -> Vec<Vec<String>> {
    let mut sources_with: BTreeMap<&str, usize> = BTreeMap::new();
    for name in sources.iter().flat_map(|(_, columns)| columns) {
        *sources_with.entry(name).or_default() += 1;
    }
    let named = |source: &str, column: &&str| match sources_with.get(column) {
        Some(2..) => format!("{source}_{column}"),
        _ => (*column).to_owned(),
    };
    let of = |(source, columns): &(&str, Vec<&str>)| {
        columns.iter().map(|column| named(source, column)).collect()
    };
    sources.iter().map(of).collect()
}

impl Source {
    /// Returns the columns that the source fills, if the document names them, by their own names;
    /// text columns come last.
    pub fn columns(&self, rate_window: contract::Span) -> Vec<SampleColumn> {
        let kind = self.kind();
        let mut columns =
            kind.map(|kind| kind.settings().columns(self, rate_window)).unwrap_or_default();
        columns.extend(self.entity.texts.iter().map(|(name, label)| SampleColumn {
            name: name.clone(),
            unit: String::new(),
            formula: format!("text({label})"),
            is_promql: false,
            is_asked: false,
            is_required: false,
            values: ColumnValues::Texts,
            entity: self.entity.labels.first().cloned(),
        }));
        columns
    }
}

/// Returns columns that the document names and that the source provides unchanged.
pub(super) fn of_names(names: &[String], entity: Option<&String>) -> Vec<SampleColumn> {
    let of = |name: &String| SampleColumn {
        name: name.clone(),
        unit: String::new(),
        formula: "sample".to_owned(),
        is_promql: false,
        is_asked: false,
        is_required: true,
        values: ColumnValues::Numbers,
        entity: entity.cloned(),
    };
    names.iter().map(of).collect()
}

/// Returns the columns of a source's queries.
pub(super) fn of_queries(source: &Source, rate_window: contract::Span) -> Vec<SampleColumn> {
    let of = |query: &Query| SampleColumn {
        name: query.name.clone(),
        unit: query.unit.clone(),
        formula: query.with_rate_window(rate_window),
        is_promql: true,
        is_asked: true,
        is_required: query.required,
        values: ColumnValues::Numbers,
        entity: query.labels(&source.entity).first().cloned(),
    };
    source.queries.iter().map(of).collect()
}

impl Query {
    /// Returns the query in the form in which it is sent: with its alternatives and the rate
    /// window.
    pub fn with_rate_window(&self, rate_window: contract::Span) -> String {
        let all = std::iter::once(&self.promql).chain(&self.or);
        let all: Vec<String> = match self.or.as_slice() {
            [] => all.cloned().collect(),
            _ => all.map(|promql| format!("({promql})")).collect(),
        };
        all.join(" or ").replace("$rate_window", &rate_window.to_string())
    }

    /// Returns the labels that may name the entity, first choice first.
    pub fn labels<'a>(&'a self, entity: &'a Entity) -> &'a [String] {
        self.entity.as_ref().map_or(&entity.labels, std::slice::from_ref)
    }
}

#[cfg(test)]
mod tests {
    use contract::Span;

    use super::*;

    #[test]
    fn alternatives_are_asked_as_one_query() {
        let mut query = Query {
            name: "x".to_owned(),
            unit: String::new(),
            promql: "sum(rate(a[$rate_window]))".to_owned(),
            or: Vec::new(),
            required: false,
            entity: None,
        };
        let window = Span::from_seconds(300);
        assert_eq!(query.with_rate_window(window), "sum(rate(a[5m]))");
        query.or = vec!["b".to_owned(), "rate(c[$rate_window])".to_owned()];
        assert_eq!(query.with_rate_window(window), "(sum(rate(a[5m]))) or (b) or (rate(c[5m]))");
    }

    #[test]
    fn a_column_of_two_sources_has_their_names_in_front() {
        let sources = [("a", vec!["cpu", "load"]), ("b", vec!["cpu", "memory"])];
        assert_eq!(column_names(&sources), [["a_cpu", "load"], ["b_cpu", "memory"]]);
    }
}
