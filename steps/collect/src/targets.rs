//! Output files of the samples: one file, or one for each shard of a pipeline, from one reading of
//! the sources.

use std::collections::HashMap;
use std::path::PathBuf;

use contract::steps::CollectArgs;
use contract::{Division, ErrorKind, Outcome, Shard, ShardCount, StepError};
use document::sections::Collect as Sections;
use frames::samples::SampleRows;

use crate::range::Due;

/// A file of samples to write.
#[derive(Debug)]
pub(crate) struct Target {
    /// The shard whose rows it has; `None` for all rows.
    pub(crate) shard: Option<Shard>,
    /// Its due windows.
    pub(crate) due: Due,
    pub(crate) samples: PathBuf,
    pub(crate) coverage: Option<PathBuf>,
}

impl Target {
    /// Returns the prefix of a warning about it.
    pub(crate) fn prefix(&self, others: usize) -> String {
        let shard = self.shard.filter(|_| others > 0);
        shard.map(|shard| format!("shard {shard}: ")).unwrap_or_default()
    }
}

/// Returns the targets of the flags.
///
/// Errors: those of the store, and of a range without a window.
pub(crate) fn of(
    document: &Sections,
    args: &CollectArgs,
    outcome: &mut Outcome,
) -> Result<Vec<Target>, StepError> {
    // `auto` is settled before.
    let Some(ShardCount::Number(count)) = args.shards else {
        let (samples, coverage) = (args.samples.clone(), args.coverage.clone());
        let due = due(document, args, args.shard)?;
        return Ok(vec![Target { shard: args.shard, due, samples, coverage }]);
    };
    let mut targets = Vec::new();
    for shard in Shard::all(count) {
        let due = match due(document, args, Some(shard)) {
            // `score` of that shard fails with the same error, and the other shards are scored.
            Err(error) if args.store.is_some() && error.kind == ErrorKind::Refused => {
                outcome.warn(format!("shard {shard}: {}", error.message));
                Due::for_scoring(document, args.now, None)
            }
            due => due?,
        };
        let coverage = args.coverage.as_ref().map(|it| CollectArgs::coverage_of(it, shard));
        let samples = CollectArgs::samples_of(&args.samples, shard);
        targets.push(Target { shard: Some(shard), due, samples, coverage });
    }
    Ok(targets)
}

fn due(document: &Sections, args: &CollectArgs, shard: Option<Shard>) -> Result<Due, StepError> {
    let Some(url) = &args.store else { return Due::for_training(document, args) };
    let store = store::open_shard(url, shard)?;
    let scored_to = store::watermark::scored_to(store.as_ref(), &document.name)?;
    Ok(Due::for_scoring(document, args.now, scored_to))
}

/// Groups the targets with the same due windows, which share one reading.
pub(crate) fn by_range(targets: Vec<Target>) -> Vec<Vec<Target>> {
    let mut groups: Vec<Vec<Target>> = Vec::new();
    for target in targets {
        let same = |group: &&mut Vec<Target>| group.iter().any(|it| it.due == target.due);
        match groups.iter_mut().find(same) {
            Some(group) => group.push(target),
            None => groups.push(vec![target]),
        }
    }
    groups
}

/// Divides rows among targets.
#[derive(Debug)]
pub(crate) struct Divider<'a> {
    targets: &'a [Target],
    /// The label whose value determines the shard of an entity; `None` if its name determines it.
    division: Option<&'a Division>,
    /// Cache of the target of each name or value, so that it is not computed for each row.
    known: HashMap<String, Option<usize>>,
    rows: usize,
    unlabelled: usize,
}

impl<'a> Divider<'a> {
    pub(crate) fn new(division: Option<&'a Division>, targets: &'a [Target]) -> Self {
        Self { targets, division, known: HashMap::new(), rows: 0, unlabelled: 0 }
    }

    /// Returns the rows of each target, in their order.
    pub(crate) fn divide(&mut self, rows: SampleRows) -> Vec<SampleRows> {
        if let [Target { shard: None, .. }] = self.targets {
            return vec![rows];
        }
        self.rows += rows.times.len();
        let mut parts = rows.split(self.targets.len(), |entity, label| self.of(entity, label));
        if self.division.is_some() {
            parts.iter_mut().for_each(|part| part.labels.clear());
        }
        parts
    }

    fn of(&mut self, entity: &str, label: &str) -> Option<usize> {
        self.unlabelled += usize::from(self.division.is_some() && label.is_empty());
        let name = if self.division.is_some() { label } else { entity };
        if let Some(target) = self.known.get(name) {
            return *target;
        }
        let holds = |shard: Shard| match self.division {
            Some(division) => division.holds(shard, name),
            None => shard.holds(name),
        };
        let target = self.targets.iter().position(|target| target.shard.is_some_and(holds));
        self.known.insert(name.to_owned(), target);
        target
    }

    /// Warns about problems with the label.
    ///
    /// Errors: refused if no row of a training has it.
    pub(crate) fn finish(self, is_scoring: bool, outcome: &mut Outcome) -> Result<(), StepError> {
        let Some(Division { label, .. }) = self.division.filter(|_| self.unlabelled > 0) else {
            return Ok(());
        };
        let message = format!(
            "{} of {} rows have no value of the label `{label}`, which says in which shard they are",
            self.unlabelled, self.rows
        );
        if self.unlabelled == self.rows && !is_scoring {
            return Err(StepError::refused(message).hint(
                "a query keeps a label that its `by (...)` names; a table has a column of that name",
            ));
        }
        outcome.warn(format!("{message}: they are all in one"));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use contract::Timestamp;

    use super::*;

    fn target(index: u32, end: i64) -> Target {
        let (after, end) = (Timestamp::from_ms(0), Timestamp::from_ms(end));
        Target {
            shard: Shard::new(index, 3),
            due: Due { after, end, scored_to: after },
            samples: PathBuf::new(),
            coverage: None,
        }
    }

    #[test]
    fn shards_with_the_same_range_are_read_together() {
        let groups = by_range(vec![target(0, 10), target(1, 20), target(2, 10)]);
        let shards: Vec<Vec<u32>> = groups
            .iter()
            .map(|group| group.iter().filter_map(|it| Some(it.shard?.index())).collect())
            .collect();
        assert_eq!(shards, [vec![0, 2], vec![1]]);
    }
}
