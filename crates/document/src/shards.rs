//! The section `shards`: the division of a pipeline's entities into parts.

use std::collections::BTreeMap;

use contract::{Division, Shard, ShardCount as Count};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::classify::Task;
use crate::document::Document;
use crate::problem::{Problem, problem, require};
use crate::sources::Source;

/// Placeholder for the selector of a shard in a query.
const SELECTOR: &str = "$shard";

/// Intended number of entities of a shard: `count: auto` sets the number of shards so that each has
/// about this many.
const ENTITIES: usize = 250;

/// Shards: parts of the entities, each with its own training, scoring, state and alerts, in
/// parallel.
///
/// The hash of an entity's name, or of the value of a label, determines its shard. One process can
/// score thousands of entities, so use shards for larger clusters, or to spread the work over several
/// machines.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shards {
    /// Number of shards, 1 to 256; 1 (default) means no shards. About 250 entities per shard are a
    /// good size; with `auto`, each training asks the sources for the number of entities. A changed
    /// count takes effect with the next training.
    pub count: Count,
    /// What determines the shard of an entity: the `hash` of its name (default), or a `label`.
    #[serde(skip_serializing_if = "By::is_hash")]
    pub by: By,
    /// With `by: label`, the label of the series, tag or column whose value determines the shard:
    /// entities with the same value, such as a zone or a namespace, are in the same shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Values of the label, which are assigned to the shards in turn, so that no shard stays empty; the
    /// hash of any other value determines its shard. With values, `$shard` in a query of a Prometheus is
    /// replaced by the selector of the shard, such as `zone=~"a|b"`: in a cluster, each shard then fetches
    /// only its own series, and series with other values are not fetched. `narrow_to_shard` does this for
    /// `influxdb` and `postgres`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// The label of `by: label`, and its values in a shard: what a query selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Name of the label, tag or column.
    pub label: String,
    /// The values; at least one.
    pub values: Vec<String>,
}

/// What says in which shard an entity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The hash of its name.
    #[default]
    Hash,
    /// The hash of the value of a label.
    Label,
}

impl By {
    /// Returns whether entities are divided by the hash of their name.
    pub fn is_hash(&self) -> bool {
        *self == Self::Hash
    }
}

impl Shards {
    /// Returns whether the section has only defaults.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of shards; one if `count: auto` is not resolved yet.
    pub fn number(&self) -> u32 {
        match self.count {
            Count::Auto => 1,
            Count::Number(count) => count,
        }
    }

    /// Returns whether the pipeline has no shards: it is trained and scored as a whole.
    pub fn is_whole(&self) -> bool {
        self.number() <= 1
    }

    /// Returns the shards; `None` alone for a pipeline that is trained and scored as a whole.
    pub fn all(&self) -> Vec<Option<Shard>> {
        if self.is_whole() {
            return vec![None];
        }
        Shard::all(self.number()).into_iter().map(Some).collect()
    }

    /// Returns the label whose value determines the shard of an entity; `None` if the entity's name
    /// determines it.
    pub fn division(&self) -> Option<Division> {
        let label = self.label.clone().filter(|_| self.by == By::Label)?;
        Some(Division { label, values: self.values.clone() })
    }

    /// Replaces `$shard` in a query by the selector of a shard, or without a shard by the selector
    /// of all values.
    pub fn select(&self, query: &str, shard: Option<Shard>) -> String {
        let Some(Selection { label, values }) = self.selection(shard) else {
            return query.to_owned();
        };
        let values: Vec<String> = values.iter().map(|value| escaped(value)).collect();
        query.replace(SELECTOR, &format!("{label}=~\"{}\"", values.join("|")))
    }

    /// Returns the listed values of a shard, or without a shard all of them; `None` if no values are
    /// listed.
    pub fn selection(&self, shard: Option<Shard>) -> Option<Selection> {
        let division = self.division()?;
        let is_own = |value: &&String| shard.is_none_or(|shard| division.holds(shard, value));
        let values: Vec<String> = division.values.iter().filter(is_own).cloned().collect();
        (!values.is_empty()).then_some(Selection { label: division.label, values })
    }

    /// Returns the number of shards for a number of entities. The number of the live version is
    /// kept while its shards have between half and one and a half times the intended number of
    /// entities, because another number resets all states. If the document lists values, there are
    /// at most as many shards as values.
    pub fn fitting(&self, entities: usize, live: Option<u32>) -> u32 {
        let fits = |count: &u32| {
            let count = usize::try_from(*count).unwrap_or(1).max(1);
            let is_small = count > 1 && 2 * entities < count * ENTITIES;
            !is_small && 2 * entities <= 3 * count * ENTITIES
        };
        let wanted = u32::try_from(entities.div_ceil(ENTITIES)).unwrap_or(u32::MAX);
        let most = match u32::try_from(self.values.len()) {
            Ok(0) | Err(_) => Shard::MOST,
            Ok(values) => values.min(Shard::MOST),
        };
        live.filter(fits).unwrap_or(wanted).clamp(1, most)
    }
}

/// Writes a value as a regular expression in a string of `PromQL`: special characters of both are
/// escaped.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for letter in value.chars() {
        if !letter.is_alphanumeric() && !"_-:/ ".contains(letter) {
            // A backslash of the regular expression is written as two in the string.
            text.push_str("\\\\");
        }
        if letter == '"' || letter == '\\' {
            text.push('\\');
        }
        text.push(letter);
    }
    text
}

/// Makes every source that can add the value of a label to each row do so, in place of its own
/// label. Returns the number of such sources.
pub fn label_rows(sources: &mut BTreeMap<String, Source>, label: &str) -> usize {
    sources.values_mut().map(|source| usize::from(source.set_label(label))).sum()
}

/// Checks the number of shards, and that no setting needs all entities at once.
pub(crate) fn check(document: &Document) -> Result<(), Problem> {
    let shards = &document.shards;
    if let Count::Number(count) = shards.count {
        require((1..=Shard::MOST).contains(&count), "shards.count", || {
            format!(
                "{count} is not a valid number of shards, expected 1 to {}, or `auto`",
                Shard::MOST
            )
        })?;
    }
    check_label(document)?;
    if shards.count == Count::Number(1) {
        return Ok(());
    }
    if document.task == Task::Classify {
        return Err(problem("shards.count", "`task: classify` has no shards")
            .hint("a classifier needs all entities: remove `shards`"));
    }
    let mut tests =
        document.sources.iter().filter_map(|(name, source)| source.has_test().then_some(name));
    if let Some(name) = tests.next() {
        return Err(problem(
            "shards.count",
            format!(
                "the test table of `sources.{name}` needs one \
                 model, but each shard has its own"
            ),
        )
        .hint("remove `shards` or `test`"));
    }
    Ok(())
}

/// Checks that at least one source can add the label of `by: label`, and that rows have no label
/// yet.
fn check_label(document: &Document) -> Result<(), Problem> {
    let Shards { by, label, values, .. } = &document.shards;
    let has_label = label.as_ref().is_some_and(|label| !label.trim().is_empty());
    require(*by == By::Hash || has_label, "shards.label", || {
        "`by: label` needs the name of the label".to_owned()
    })?;
    require(*by == By::Label || label.is_none(), "shards.label", || {
        "is of `by: label`, and the shards are by hash".to_owned()
    })?;
    check_values(document)?;
    let Some(label) = label.as_ref().filter(|_| *by == By::Label) else {
        return require(values.is_empty(), "shards.values", || {
            "are of `by: label`, and the shards are by hash".to_owned()
        });
    };
    if let Some((name, _)) = document.sources.iter().find(|(_, source)| source.has_label()) {
        return Err(problem(
            "shards.by",
            format!("a row has one label, and `sources.{name}` already has one of another meaning"),
        )
        .hint("take `by: hash`, or leave out the label of the source"));
    }
    require(label_rows(&mut document.sources.clone(), label) > 0, "shards.by", || {
        "no source of the document can give the label of an entity".to_owned()
    })
}

/// Checks that each shard has a value, if values are listed, and that `$shard` and
/// `narrow_to_shard` are used only with listed values.
fn check_values(document: &Document) -> Result<(), Problem> {
    let values = &document.shards.values;
    let path = "shards.values";
    for (index, value) in values.iter().enumerate() {
        require(!value.is_empty() && !values[..index].contains(value), path, || {
            format!("`{value}` is empty, or named twice")
        })?;
    }
    let (count, named) = (document.shards.number() as usize, values.len());
    require(values.is_empty() || count <= named, path, || {
        format!("{named} values are too few for {count} shards, of which each has at least one")
    })?;
    let mut queries = document.sources.values().flat_map(|source| &source.queries);
    let asks = queries.any(|query| {
        query.promql.contains(SELECTOR) || query.or.iter().any(|other| other.contains(SELECTOR))
    });
    require(!asks || !values.is_empty(), path, || {
        format!("`{SELECTOR}` in a query stands for the values of a shard, and none are named")
    })?;
    let narrows = document.sources.values().any(Source::narrows_to_shard);
    require(!narrows || !values.is_empty(), path, || {
        "`narrow_to_shard` of a source selects the values of a shard, and none are named".to_owned()
    })
}

#[cfg(test)]
mod tests;
