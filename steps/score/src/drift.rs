//! Drift between the training data and the last day: population stability and missing values.
//!
//! Each feature's values are counted in bins whose edges are the deciles of the bundle's reference
//! rows, all entities together, and only these counts are kept: a few kilobytes for any pipeline. A
//! value that many reference rows share has its own bin, so that a departure from a plateau is
//! detected.
//!
//! The index is the sum over bins of (share - usual share) * ln(share / usual share) (Siddiqi 2006,
//! "Credit Risk Scorecards"). For samples of one distribution its mean is about (bins - 1) * (1/n +
//! 1/m), n and m being the numbers of values (Yurdakul 2018, "Statistical Properties of Population
//! Stability Index"); this mean is subtracted.

use contract::score::{Drift, FeatureDrift};
use contract::tensors::Numbers;
use contract::{Span, StepError, Tensors, Timestamp};
use document::scoring::DriftThresholds;
use frames::FeatureTable;
use models::Bundle;
use models::reference::{Reference, Sketch};

/// Length of a stretch: its windows are counted together, and dropped together.
const STRETCH: Span = Span::from_seconds(3 * 3600);
const DAY: Span = Span::from_seconds(86_400);
/// Part of a day that must have data, because signals differ between day and night.
const ENOUGH: Span = Span::from_seconds(18 * 3600);
/// Interval of drift reports.
const EVERY: Span = Span::from_seconds(3600);
/// Share of the reference rows above which a single value gets its own bin.
const PLATEAU: f64 = 0.05;

/// Counts of the last day, by stretches of some hours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DriftTally {
    /// SHA-256 of the reference of these bins; another bundle starts counting again.
    reference_sha256: String,
    stretches: Vec<Stretch>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Stretch {
    /// End of the first window.
    since: Timestamp,
    rows: u32,
    /// By feature: values in each bin.
    counts: Vec<Vec<u32>>,
}

/// The bins of the features of a bundle.
#[derive(Debug)]
pub(crate) struct Bins<'a> {
    reference_sha256: &'a str,
    reference: &'a Reference,
    /// By feature: ascending edges; a bin contains the values above one edge and at most the next.
    edges: Vec<Vec<f64>>,
}

impl<'a> Bins<'a> {
    pub(crate) fn of(bundle: &'a Bundle) -> Self {
        let reference = bundle.reference();
        let edges = reference.features.iter().map(|feature| edges(&feature.sketch)).collect();
        Self { reference_sha256: &bundle.manifest().reference.sha256, reference, edges }
    }
}

fn edges(sketch: &Sketch) -> Vec<f64> {
    if sketch.quantiles.is_empty() {
        return Vec::new();
    }
    let mut edges = Vec::new();
    for value in (1..10_u32).map(|decile| sketch.at(f64::from(decile) / 10.0)) {
        if share_up_to(sketch, value) - sketch.share_below(value) > PLATEAU {
            edges.push(value.next_down());
        }
        edges.push(value);
    }
    // Deciles that lie on one plateau repeat its two edges.
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    edges
}

/// Returns the share of the reference rows at or below a value.
fn share_up_to(sketch: &Sketch, value: f64) -> f64 {
    let above = value.next_up();
    sketch.share_below(above)
}

impl DriftTally {
    /// Adds the counts to tensors.
    pub(crate) fn write(&self, tensors: &mut Tensors) {
        let Some(first) = self.stretches.first() else { return };
        tensors.insert_text("day.reference_sha256", &self.reference_sha256);
        let bins =
            first.counts.iter().map(|counts| u32::try_from(counts.len()).unwrap_or(u32::MAX));
        let bins: Vec<u32> = bins.collect();
        tensors.insert_u32("day.bins", &[bins.len()], bins);
        let since: Vec<i64> = self.stretches.iter().map(|stretch| stretch.since.ms()).collect();
        let rows: Vec<u32> = self.stretches.iter().map(|stretch| stretch.rows).collect();
        tensors.insert("day.since_ms", &[since.len()], Numbers::I64(since));
        tensors.insert_u32("day.rows", &[rows.len()], rows);
        for (index, stretch) in self.stretches.iter().enumerate() {
            let counts = stretch.counts.concat();
            tensors.insert_u32(&format!("day.counts.{index}"), &[counts.len()], counts);
        }
    }

    /// Takes the counts that [`DriftTally::write`] has added.
    pub(crate) fn read(tensors: &mut Tensors) -> Result<Self, StepError> {
        if tensors.shape("day.bins").is_none() {
            return Ok(Self::default());
        }
        let reference_sha256 = tensors.take_text("day.reference_sha256")?;
        let bins = tensors.take_u32("day.bins", &[tensors.length("day.bins")?])?;
        let total: u64 = bins.iter().map(|bins| u64::from(*bins)).sum();
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let stretches = tensors.length("day.since_ms")?;
        let since = tensors.take_i64("day.since_ms", &[stretches])?;
        let rows = tensors.take_u32("day.rows", &[stretches])?;
        let stretches = since.into_iter().zip(rows).enumerate().map(|(index, (since, rows))| {
            let flat = tensors.take_u32(&format!("day.counts.{index}"), &[total])?;
            let mut rest = flat.as_slice();
            let counts = bins.iter().map(|bins| {
                let (counts, after) = rest.split_at(*bins as usize);
                rest = after;
                counts.to_vec()
            });
            Ok(Stretch { since: Timestamp::from_ms(since), rows, counts: counts.collect() })
        });
        let stretches = stretches.collect::<Result<Vec<_>, StepError>>()?;
        Ok(Self { reference_sha256, stretches })
    }

    /// Counts a window's rows. Windows must be passed in order of time.
    pub(crate) fn count(
        &mut self,
        bins: &Bins<'_>,
        time: Timestamp,
        features: &FeatureTable,
        rows: &[usize],
    ) {
        if self.reference_sha256 != bins.reference_sha256 {
            bins.reference_sha256.clone_into(&mut self.reference_sha256);
            self.stretches.clear();
        }
        // Another version of this program may have computed other bins.
        let fits = |stretch: &Stretch| {
            stretch.counts.iter().map(Vec::len).eq(bins.edges.iter().map(|edges| edges.len() + 1))
        };
        let is_young = |stretch: &Stretch| stretch.since.floor(STRETCH) + STRETCH > time - DAY;
        self.stretches.retain(|stretch| fits(stretch) && is_young(stretch));
        if rows.is_empty() {
            return;
        }
        let is_open = |stretch: &Stretch| stretch.since.floor(STRETCH) == time.floor(STRETCH);
        if !self.stretches.last().is_some_and(is_open) {
            let counts = bins.edges.iter().map(|edges| vec![0; edges.len() + 1]).collect();
            self.stretches.push(Stretch { since: time, rows: 0, counts });
        }
        let Some(stretch) = self.stretches.last_mut() else { return };
        stretch.rows = stretch.rows.saturating_add(u32::try_from(rows.len()).unwrap_or(u32::MAX));
        let features = bins.edges.iter().zip(&mut stretch.counts).zip(&features.table.columns);
        for ((edges, counts), column) in features {
            for value in rows.iter().map(|row| column.values[*row]).filter(|v| v.is_finite()) {
                let bin = edges.partition_point(|edge| *edge < value);
                if let Some(count) = counts.get_mut(bin) {
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// Returns the drift report of the window that ends at `time`: in the first window of each
    /// hour, if there is enough data of a day.
    pub(crate) fn report(
        &self,
        bins: &Bins<'_>,
        time: Timestamp,
        step: Span,
        thresholds: &DriftThresholds,
    ) -> Option<Drift> {
        let since = self.stretches.first()?.since;
        if time.floor(EVERY) == (time - step).floor(EVERY) || time - since < ENOUGH {
            return None;
        }
        let rows: u64 = self.stretches.iter().map(|stretch| u64::from(stretch.rows)).sum();
        let features = bins.reference.features.iter().zip(&bins.edges).enumerate();
        let features = features.map(|(index, (feature, edges))| {
            let mut counts = vec![0; edges.len() + 1];
            for stretch in &self.stretches {
                let of_stretch = stretch.counts.get(index).into_iter().flatten();
                counts
                    .iter_mut()
                    .zip(of_stretch)
                    .for_each(|(sum, count)| *sum += u64::from(*count));
            }
            let drift = Counted { rows, counts: &counts, edges, sketch: &feature.sketch };
            drift.judge(&feature.name, thresholds)
        });
        Some(Drift { since, rows, features: features.collect() })
    }
}

/// Counts of a feature over the day, and its reference.
struct Counted<'a> {
    rows: u64,
    counts: &'a [u64],
    edges: &'a [f64],
    sketch: &'a Sketch,
}

impl Counted<'_> {
    fn judge(&self, name: &str, thresholds: &DriftThresholds) -> FeatureDrift {
        let rows = self.rows.max(1) as f64;
        let values: u64 = self.counts.iter().sum();
        let missing_ratio = 1.0 - values as f64 / rows;
        let usual = self.sketch.gap_ratio;
        // Three standard deviations of a share over this number of rows.
        let chance = 3.0 * (usual * (1.0 - usual) / rows).sqrt();
        let stability_index = self.stability_index(values);
        let moved = stability_index.is_some_and(|index| index > thresholds.stability_index);
        FeatureDrift {
            feature: name.to_owned(),
            stability_index,
            missing_ratio,
            usual_missing_ratio: usual,
            drifted: moved || missing_ratio - usual > thresholds.missing_ratio + chance,
        }
    }

    fn stability_index(&self, values: u64) -> Option<f64> {
        if values == 0 || self.sketch.count == 0 {
            return None;
        }
        let (here, there) = (values as f64, self.sketch.count as f64);
        let bins = self.counts.len() as f64;
        // Half a value in every bin, so that unseen values are unlikely but not impossible.
        let smoothed = |share: f64, of: f64| (share * of + 0.5) / (of + 0.5 * bins);
        let mut below = 0.0;
        let mut index = 0.0;
        for (bin, count) in self.counts.iter().enumerate() {
            let up_to = self.edges.get(bin).map_or(1.0, |edge| share_up_to(self.sketch, *edge));
            let usual = smoothed((up_to - below).max(0.0), there);
            let share = smoothed(*count as f64 / here, here);
            index += (share - usual) * (share / usual).ln();
            below = up_to;
        }
        let by_chance = (bins - 1.0) * (1.0 / here + 1.0 / there);
        Some((index - by_chance).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the index between a reference and a day.
    fn index(reference: &[f64], day: &[f64]) -> f64 {
        let sketch = Sketch::of(reference);
        let edges = edges(&sketch);
        assert!(edges.windows(2).all(|pair| pair[0] < pair[1]), "ascending: {edges:?}");
        let mut counts = vec![0; edges.len() + 1];
        for value in day {
            counts[edges.partition_point(|edge| edge < value)] += 1;
        }
        let counted = Counted { rows: 0, counts: &counts, edges: &edges, sketch: &sketch };
        counted.stability_index(day.len() as u64).unwrap()
    }

    /// Numbers of which `percent` percent are zero and the rest are spread evenly from 0 to 1.
    fn with_zeros(percent: i32) -> Vec<f64> {
        let rows = 2000;
        let zeros = rows / 100 * percent;
        let spread = |row: i32| f64::from(row - zeros + 1) / f64::from(rows - zeros);
        (0..rows).map(|row| if row < zeros { 0.0 } else { spread(row) }).collect()
    }

    #[test]
    fn lasting_plateau_is_not_drift_and_a_left_one_is() {
        for percent in [0, 6, 25, 60, 90, 100] {
            let usual = with_zeros(percent);
            let same = index(&usual, &usual);
            assert!(same < 0.01, "{percent}: {same}");
            let left: Vec<f64> = usual.iter().map(|value| value + 0.5).collect();
            let left = index(&usual, &left);
            assert!(left > 0.25, "{percent}: {left}");
        }
        let rises = [vec![1.0; 500], vec![2.0; 1500]].concat();
        // The position of a jump is known to a hundredth of the rows.
        let same = index(&rises, &rises);
        assert!(same < 0.05, "{same}");
        let falls = [vec![1.0; 1500], vec![2.0; 500]].concat();
        assert!(index(&rises, &falls) > 0.25);
    }
}
