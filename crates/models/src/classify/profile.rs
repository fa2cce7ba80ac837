//! The usual range of each class's features. It is used to find entities that are like no class,
//! and to explain mismatches.

use std::collections::BTreeMap;

use contract::score::Cause;
use contract::{FeatureContract, StepError};
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

/// Maximum number of causes of a mismatch.
const CAUSES: usize = 3;
/// Limit of the distance of a feature.
const MOST: f64 = 10.0;
/// Share of a class's rows below its usual range.
const LOW: f64 = 0.02;
/// Share of a class's rows that are not above its usual range.
const HIGH: f64 = 0.98;

/// The usual range of a feature of a class.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Range {
    /// 2nd percentile of the class's rows.
    pub low: f64,
    /// 98th percentile of the class's rows.
    pub high: f64,
}

/// `profiles.json`: the usual range of each class's features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profiles {
    /// Version of this format.
    pub format: u32,
    /// The features, in the order of the contract.
    pub features: Vec<String>,
    /// Divisor of a feature before its inverse hyperbolic sine: the median of its absolute values
    /// over all rows, or 1.
    pub units: Vec<f64>,
    /// Standard deviation of that over all rows; 0 for a constant feature, which never counts.
    pub spreads: Vec<f64>,
    /// The range of each feature; absent if no row of the class has a value.
    pub classes: BTreeMap<String, Vec<Option<Range>>>,
}

impl Profiles {
    /// Version this build writes.
    pub const FORMAT: u32 = 1;
    /// Name of the file in a bundle.
    pub const FILE: &str = "profiles.json";

    /// Computes the profiles from rows of shape (rows, features); `class` has the index of each
    /// row's class in `names`.
    pub fn fit(
        features: &[String],
        rows: ArrayView2<'_, f64>,
        class: &[usize],
        names: &[String],
    ) -> Self {
        let mut profiles = Self {
            format: Self::FORMAT,
            features: features.to_vec(),
            units: Vec::new(),
            spreads: Vec::new(),
            classes: names.iter().map(|name| (name.clone(), Vec::new())).collect(),
        };
        for column in rows.columns() {
            let sizes = column.iter().filter(|value| value.is_finite() && **value != 0.0);
            let unit = quantile(&mut sizes.map(|value| value.abs()).collect::<Vec<_>>(), 0.5);
            let unit = unit.filter(|unit| *unit > 0.0).unwrap_or(1.0);
            let moved: Vec<f64> = column.iter().map(|value| (value / unit).asinh()).collect();
            profiles.units.push(unit);
            profiles.spreads.push(deviation(&moved));
            for (index, name) in names.iter().enumerate() {
                let of_class = column.iter().zip(class).filter(|(_, class)| **class == index);
                let mut values: Vec<f64> =
                    of_class.map(|(value, _)| *value).filter(|value| value.is_finite()).collect();
                let range = quantile(&mut values, LOW).zip(quantile(&mut values, HIGH));
                let range = range.map(|(low, high)| Range { low, high });
                profiles.classes.entry(name.clone()).or_default().push(range);
            }
        }
        profiles
    }

    /// Refuses profiles that do not fit features and classes.
    pub fn check(&self, contract: &FeatureContract, classes: &[String]) -> Result<(), StepError> {
        let columns = contract.columns.len();
        let fits = self.format == Self::FORMAT
            && self.features.iter().map(String::as_str).eq(contract.names())
            && [self.units.len(), self.spreads.len()] == [columns; 2]
            && self.classes.keys().eq(classes)
            && self.classes.values().all(|ranges| ranges.len() == columns);
        if fits {
            return Ok(());
        }
        Err(StepError::damaged(format!(
            "`{}` of the bundle does not fit its features and classes",
            Self::FILE
        )))
    }

    /// Returns the transformed ranges, for distances of rows.
    pub fn measure(&self) -> Distances<'_> {
        let moved = self.classes.values().map(|ranges| {
            let features = ranges.iter().zip(&self.units);
            features.map(|(range, unit)| range.map(|range| moved_range(range, *unit))).collect()
        });
        Distances { profiles: self, moved: moved.collect() }
    }

    /// Returns the distance of a transformed value from a transformed range, in spreads of the
    /// feature; 0 for a gap and a constant feature.
    fn outside(&self, feature: usize, [low, high]: [f64; 2], value: f64) -> f64 {
        let spread = self.spreads[feature];
        let beyond = (low - value).max(value - high).max(0.0);
        // A feature that was constant in training may differ because of another configuration, not
        // another kind.
        if spread > 1e-9 && value.is_finite() { (beyond / spread).min(MOST) } else { 0.0 }
    }

    /// Returns the features in which a row is furthest from a class, at most three, with the class's
    /// usual range; none where the row is inside it.
    pub fn causes(&self, contract: &FeatureContract, class: &str, row: &[f64]) -> Vec<Cause> {
        let Some(ranges) = self.classes.get(class) else { return Vec::new() };
        let outside = |feature: usize| {
            let unit = self.units[feature];
            let range = moved_range(ranges[feature]?, unit);
            let beyond = self.outside(feature, range, (row[feature] / unit).asinh());
            (beyond > 0.0).then_some((beyond, feature))
        };
        let mut beyond: Vec<(f64, usize)> = (0..row.len()).filter_map(outside).collect();
        beyond.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        beyond.truncate(CAUSES);
        let total: f64 = beyond.iter().map(|(beyond, _)| beyond).sum();
        let cause = |(beyond, feature): (f64, usize)| {
            let range = ranges[feature]?;
            Some(Cause {
                feature: self.features[feature].clone(),
                share: beyond / total,
                value: Some(row[feature]),
                unit: contract.columns[feature].unit.clone(),
                usual_low: range.low,
                usual_high: range.high,
            })
        };
        beyond.into_iter().filter_map(cause).collect()
    }
}

/// Measures how far rows are from each class.
#[derive(Debug)]
pub struct Distances<'a> {
    profiles: &'a Profiles,
    /// Transformed ranges of each class's features.
    moved: Vec<Vec<Option<[f64; 2]>>>,
}

impl Distances<'_> {
    /// Returns the distance of a row from each class, in the order of the names: the Euclidean
    /// distance from the class's usual ranges, each feature in its spreads. One feature that is far
    /// outside counts as much as many that are somewhat outside.
    ///
    /// # Panics
    /// If the row does not have the features of the profiles.
    pub fn of(&self, row: &[f64]) -> Vec<f64> {
        let units = &self.profiles.units;
        assert_eq!(row.len(), units.len(), "a row has the features of the profiles");
        let row: Vec<f64> =
            row.iter().zip(units).map(|(value, unit)| (value / unit).asinh()).collect();
        let of_class = |ranges: &Vec<Option<[f64; 2]>>| {
            let outside =
                row.iter().zip(ranges).enumerate().filter_map(|(feature, (value, range))| {
                    Some(self.profiles.outside(feature, (*range)?, *value))
                });
            outside.map(|beyond| beyond.powi(2)).sum::<f64>().sqrt()
        };
        self.moved.iter().map(of_class).collect()
    }
}

fn moved_range(range: Range, unit: f64) -> [f64; 2] {
    [range.low, range.high].map(|value| (value / unit).asinh())
}

/// Returns a quantile between its two neighbours; `None` without values.
fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    let place = share * values.len().checked_sub(1)? as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the number of values"
    )]
    let below = place.floor() as usize;
    let (_, value, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let value = *value;
    let next = above.iter().copied().min_by(f64::total_cmp).unwrap_or(value);
    Some(value + (next - value) * (place - place.floor()))
}

/// Returns the standard deviation of the finite values; 0 for fewer than two.
fn deviation(values: &[f64]) -> f64 {
    let finite = || values.iter().copied().filter(|value| value.is_finite());
    let count = finite().count();
    if count < 2 {
        return 0.0;
    }
    let mean = finite().sum::<f64>() / count as f64;
    (finite().map(|value| (value - mean).powi(2)).sum::<f64>() / count as f64).sqrt()
}
