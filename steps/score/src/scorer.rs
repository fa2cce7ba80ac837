//! The bundles that score: the live one, and a challenger if there is one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contract::score::EntityScore;
use contract::{StepError, Timestamp};
use document::sections::Score as Sections;
use frames::FeatureTable;
use models::{Bundle, ScoreOptions, ScoreState};
use store::{ObjectStore, Registry};

use crate::rows::DueRows;

/// A bundle and its version.
#[derive(Debug)]
pub(crate) struct Scorer {
    pub(crate) bundle: Bundle,
    pub(crate) version: String,
}

impl Scorer {
    /// Fetches the bundle of the document's alias; `None` before the first training. It starts
    /// scoring from `state`.
    pub(crate) fn live(
        store: &dyn ObjectStore,
        document: &Sections,
        cache: Option<&Path>,
        state: &ScoreState,
    ) -> Result<Option<Self>, StepError> {
        Self::fetch(store, document, &document.deployment.alias, cache, state)
    }

    /// Fetches the challenger, if there is one, and the features with its columns.
    pub(crate) fn shadow(
        store: &dyn ObjectStore,
        document: &Sections,
        cache: Option<&Path>,
        state: &ScoreState,
        features: &FeatureTable,
    ) -> Result<Option<(Self, FeatureTable)>, StepError> {
        let alias = &document.scoring.shadow;
        if *alias == document.deployment.alias {
            return Ok(None);
        }
        let Some(scorer) = Self::fetch(store, document, alias, cache, state)? else {
            return Ok(None);
        };
        let features = scorer.bundle.columns_of(features.clone())?;
        Ok(Some((scorer, features)))
    }

    fn fetch(
        store: &dyn ObjectStore,
        document: &Sections,
        alias: &str,
        cache: Option<&Path>,
        state: &ScoreState,
    ) -> Result<Option<Self>, StepError> {
        let division = document.shards.division();
        let registry = Registry::new(store, &document.name).divided_by(division.as_ref());
        let Some(record) = registry.alias(alias)? else { return Ok(None) };
        let files = registry.fetch_where(&record.version, cache, |manifest, file| {
            Bundle::begins_with(manifest, state, file)
        })?;
        let bundle = Bundle::for_state(&files)?;
        Ok(Some(Self { bundle, version: record.version }))
    }

    /// Returns the verdicts of the rows, in order of time, and updates the state.
    ///
    /// Windows that another version has already scored are left out: a tick was killed after
    /// writing them, and then the alias was changed. Their scores are kept, this version begins
    /// after them, and its state is the same as if that tick had completed.
    pub(crate) fn judge(
        &self,
        rows: &DueRows,
        state: &mut ScoreState,
        options: ScoreOptions,
        others: &BTreeSet<Timestamp>,
    ) -> Result<BTreeMap<Timestamp, Vec<EntityScore>>, StepError> {
        let own;
        let table = if others.is_empty() {
            &rows.table
        } else {
            let times = &rows.table.table.times;
            let kept: Vec<usize> =
                (0..times.len()).filter(|row| !others.contains(&times[*row])).collect();
            own = rows.table.select(&kept);
            &own
        };
        let verdicts = self.bundle.score(table, state, options)?;
        let mut by_time: BTreeMap<Timestamp, Vec<EntityScore>> = BTreeMap::new();
        for (time, verdict) in table.table.times.iter().zip(verdicts) {
            by_time.entry(*time).or_default().push(verdict);
        }
        Ok(by_time)
    }
}
