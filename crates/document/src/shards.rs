//! Into how many parts the entities of a pipeline are divided.

use contract::Shard;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::check::{Problem, problem, require};
use crate::classify::Task;
use crate::document::Document;

/// Shards: parts of the entities, each with its own training, scoring, state and alerts, in
/// parallel.
///
/// The hash of an entity's name determines its shard. One process can score thousands of entities,
/// so use shards for larger clusters, or to spread the work over several machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shards {
    /// Number of shards, 1 to 256; 1 (default) means no shards. About 250 entities per shard are a
    /// good size. A changed count takes effect with the next training.
    pub count: u32,
}

impl Default for Shards {
    fn default() -> Self {
        Self { count: 1 }
    }
}

impl Shards {
    /// Says that the pipeline has none: it is trained and scored as a whole.
    pub fn is_whole(&self) -> bool {
        self.count <= 1
    }

    /// Returns the shards; `None` alone for a pipeline that is trained and scored as a whole.
    pub fn all(&self) -> Vec<Option<Shard>> {
        if self.is_whole() {
            return vec![None];
        }
        Shard::all(self.count).into_iter().map(Some).collect()
    }
}

/// Checks the number of shards, and that nothing is asked for that needs all entities at once.
pub(crate) fn check(document: &Document) -> Result<(), Problem> {
    let count = document.shards.count;
    require((1..=Shard::MOST).contains(&count), "shards.count", || {
        format!("{count} is not a valid number of shards, expected 1 to {}", Shard::MOST)
    })?;
    if document.shards.is_whole() {
        return Ok(());
    }
    if document.task == Task::Classify {
        return Err(problem("shards.count", "`task: classify` has no shards")
            .hint("a classifier needs all entities: remove `shards`"));
    }
    let mut tests = document
        .sources
        .iter()
        .filter_map(|(name, source)| source.table.as_ref()?.test.as_ref().map(|_| name));
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

#[cfg(test)]
mod tests {
    fn parse(rest: &str) -> Result<crate::Document, String> {
        let text = format!(
            "{{format: 1, name: w, step: 1m, range: 1d, features: [raw], models: {{z_score: {{}}}}, \
             vote: {{combine: votes, threshold: {{quantile: {{share: 0.9}}}}}}, {rest}}}"
        );
        crate::parse("test", &text).map_err(|error| error.to_string())
    }

    const TABLE: &str = "sources: {t: {table: {path: t, time: t}}}";

    #[test]
    fn document_without_shards_is_written_without_them() {
        let document = parse(TABLE).unwrap();
        assert_eq!(document.shards.all(), [None]);
        assert!(!serde_json::to_string(&document).unwrap().contains("shards"));
        let document = parse(&format!("{TABLE}, shards: {{count: 3}}")).unwrap();
        let names: Vec<String> =
            document.shards.all().into_iter().flatten().map(|shard| shard.to_string()).collect();
        assert_eq!(names, ["0/3", "1/3", "2/3"]);
    }

    #[test]
    fn shards_that_cannot_be_are_refused_with_their_field() {
        for (rest, words) in [
            ("shards: {count: 0}", "expected 1 to 256"),
            ("shards: {count: 257}", "expected 1 to 256"),
            ("shards: {by: hash}", "by"),
        ] {
            let error = parse(&format!("{TABLE}, {rest}")).unwrap_err();
            assert!(error.contains(words) && error.contains("shards"), "{error}");
        }
        let tested = "sources: {t: {table: {path: t, time: t, test: u}}}, shards: {count: 2}";
        assert!(parse(tested).unwrap_err().contains("sources.t"));
    }
}
