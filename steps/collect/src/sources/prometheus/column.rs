//! The column of a query, and the entity of each of its series.

use contract::{StepError, Timestamp};
use document::sources::{Entity, Query};

use super::reply::{LabelSet, Point, Series, one_line};

/// The column of a query.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// Labels that may have the entity, first choice first; without labels the query has one
    /// series.
    pub(crate) labels: Vec<String>,
}

impl Column {
    /// Makes the column of a query; `entity` has the default labels, for queries without their own.
    pub(crate) fn new(query: &Query, entity: &Entity) -> Self {
        Self { name: query.name.clone(), labels: query.labels(entity).to_vec() }
    }

    /// Returns the entity of a series; `None` if it has none of the labels.
    pub(crate) fn entity_of(&self, entity: &Entity, series: &Series) -> Option<String> {
        if self.labels.is_empty() {
            return Some(String::new());
        }
        let found = self.labels.iter().find_map(|label| series.labels.get(label))?;
        Some(entity.rename(found).to_owned())
    }

    /// Makes the error of a query whose series all lack an entity label.
    pub(crate) fn without_entity(&self, labels: &LabelSet) -> StepError {
        let (name, or) = (&self.name, self.labels.join("` or `"));
        let first = self.labels.first().map_or("", String::as_str);
        StepError::refused(format!(
            "query `{name}` gave the series `{}` without the entity label `{or}`",
            shown(labels)
        ))
        .hint(format!("keep the label, as in sum by ({first}) (...)"))
    }

    /// Makes the error of a query with several values at one time, of one series or of several.
    pub(crate) fn several(&self, entity: &str, all: &[Series]) -> StepError {
        let name = &self.name;
        let [first, .., other] = all else {
            return self.two_values(all.first());
        };
        let (one, two) = (&first.labels, &other.labels);
        if one == two {
            return self.two_values(Some(first));
        }
        let of_entity = if self.labels.is_empty() {
            String::new()
        } else {
            format!(" for the entity `{entity}`")
        };
        let error = StepError::refused(format!(
            "query `{name}` gave several series{of_entity}, such as `{}` and `{}`",
            shown(one),
            shown(two)
        ));
        if let Some(label) = self.labels.first() {
            return error.hint(format!("aggregate them, as in sum by ({label}) (...)"));
        }
        let differing = one.iter().chain(two).find(|(name, _)| one.get(*name) != two.get(*name));
        let label = differing.map_or("instance", |(label, _)| label.as_str());
        error.hint(format!(
            "aggregate them, as in sum(...), or tell them apart with `entity: {label}`"
        ))
    }

    fn two_values(&self, series: Option<&Series>) -> StepError {
        let labels = series.map(|series| shown(&series.labels)).unwrap_or_default();
        StepError::refused(format!(
            "query `{}` gave two values at one time for the series `{labels}`",
            self.name
        ))
        .hint("a Prometheus does not send such a reply: check whether a proxy merges replies")
    }
}

/// The points of all series of one entity.
#[derive(Debug, Default)]
pub(crate) struct Merged {
    /// Points at which exactly one series had a value, in order of time.
    pub(crate) points: Vec<Point>,
    /// Times at which several series had a value: none of the values is used.
    pub(crate) twice: Vec<Timestamp>,
}

impl Merged {
    /// Merges points in any order.
    pub(crate) fn new(mut points: Vec<Point>) -> Self {
        if !points.is_sorted_by_key(|point| point.time_ms) {
            points.sort_by_key(|point| point.time_ms);
        }
        if points.windows(2).all(|pair| pair[0].time_ms < pair[1].time_ms) {
            return Self { points, twice: Vec::new() };
        }
        let mut merged = Self::default();
        for at_once in points.chunk_by(|one, next| one.time_ms == next.time_ms) {
            match at_once {
                [point] => merged.points.push(*point),
                several => merged.twice.push(Timestamp::from_ms(several[0].time_ms)),
            }
        }
        merged
    }
}

/// Writes labels as `PromQL` does, in one short line.
pub(crate) fn shown(labels: &LabelSet) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    one_line(&format!("{{{}}}", pairs.join(", ")))
}
