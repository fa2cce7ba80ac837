//! Whether the source and its queries make sense.

use contract::Span;

use super::{Problem, check_headers, check_url, is_name, problem, require};
use crate::document::{Document, PrometheusSource, TableSource};

pub(super) fn check(document: &Document) -> Result<(), Problem> {
    let source = &document.source;
    let set = [source.prometheus.is_some(), source.recording.is_some(), source.table.is_some()];
    if set.iter().filter(|set| **set).count() != 1 {
        return Err(problem(
            "source",
            "exactly one of prometheus, recording and table must be set",
        )
        .hint("an overlay takes a source out with null, as in `prometheus: null`"));
    }
    source.prometheus.as_ref().map_or(Ok(()), check_prometheus)?;
    source.table.as_ref().map_or(Ok(()), check_table)
}

fn check_prometheus(source: &PrometheusSource) -> Result<(), Problem> {
    check_url(&source.url, "source.prometheus.url")?;
    check_headers(source.headers.keys(), "source.prometheus.headers")?;
    require(source.parallel >= 1, "source.prometheus.parallel", || {
        "must be at least 1".to_owned()
    })?;
    require(source.timeout > Span::ZERO, "source.prometheus.timeout", || {
        "must be longer than nothing".to_owned()
    })?;
    require(
        source.bearer_token_file.is_none() || source.basic_auth.is_none(),
        "source.prometheus.basic_auth",
        || "bearer_token_file and basic_auth exclude each other".to_owned(),
    )
}

fn check_table(source: &TableSource) -> Result<(), Problem> {
    let delimiter = source.delimiter.replace("\\t", "\t");
    // A quote holds a text together, and a line end separates rows.
    let is_taken = ["\"", "\n", "\r"].contains(&delimiter.as_str());
    require(delimiter.len() == 1 && !is_taken, "source.table.delimiter", || {
        let delimiter = source.delimiter.escape_debug();
        format!("`{delimiter}` is not one plain character that may separate columns")
    })?;
    require(source.time.is_some() || source.start.is_some(), "source.table", || {
        "without a `time` column the table needs a `start`".to_owned()
    })
}

pub(super) fn check_queries(document: &Document) -> Result<(), Problem> {
    if document.source.table.is_none() && document.queries.is_empty() {
        return Err(problem("queries", "a Prometheus source needs at least one query"));
    }
    for (index, query) in document.queries.iter().enumerate() {
        let path = |field: &str| format!("queries.{index}.{field}");
        require(is_name(&query.name, '_'), &path("name"), || {
            format!(
                "`{}` is no column name: lower-case letters, digits and `_`, starting with a letter",
                query.name
            )
        })?;
        let twice = document.queries[..index].iter().any(|other| other.name == query.name);
        require(!twice, &path("name"), || format!("a second query is named `{}`", query.name))?;
        require(!query.promql.trim().is_empty(), &path("promql"), || "is empty".to_owned())?;
        let reserved = ["time", "entity", "label"].contains(&query.name.as_str());
        require(!reserved, &path("name"), || {
            format!("`{}` is a column of every table", query.name)
        })?;
    }
    Ok(())
}
