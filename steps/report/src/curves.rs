//! Ranking metrics of scores: ROC and precision-recall curves with intervals.

use models::quality;

use crate::scores::Ranked;

/// Maximum number of rows of all resamples of an interval together.
const RESAMPLED_ROWS: usize = 4_000_000;

/// Maximum and minimum number of resamples of an interval.
const RESAMPLES: (usize, usize) = (200, 50);

/// Seed of the resamples.
pub(crate) const SEED: u64 = 7;

/// Maximum number of points of a drawn curve.
const POINTS: usize = 240;

/// Number of positions at which a band is computed from the resamples.
const PLACES: usize = 60;

/// A metric and the bounds between which 95 of 100 resamples lie.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The metric, 0 to 1.
    pub value: f64,
    /// The bounds; `None` if there were too few or too many rows.
    pub interval: Option<(f64, f64)>,
}

/// Points in order of their first coordinate.
type Points = Vec<(f64, f64)>;

/// A position, and the bounds between which 95 of 100 resampled curves lie there.
pub type Band = Vec<(f64, f64, f64)>;

/// A curve and its confidence band.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    /// The curve.
    pub points: Points,
    /// Its bounds at each position; empty if metrics have no interval.
    pub band: Band,
}

/// Ranking metrics of one score.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// Name of the score: a kind of model, or `combined score`.
    pub name: String,
    /// False positive rate and recall, from (0, 0) to (1, 1).
    pub roc: Curve,
    /// Recall and precision, in order of recall.
    pub precision_recall: Curve,
    /// Area under the ROC curve.
    pub roc_auc: Figure,
    /// Average precision.
    pub average_precision: Figure,
    /// Number of rows.
    pub rows: usize,
    /// Number of anomalous rows among them.
    pub anomalous: usize,
}

impl Curves {
    /// Ranks rows that are in order of time; `None` without rows of both kinds. Intervals resample
    /// blocks of `block` consecutive rows.
    pub fn of(name: &str, ranked: &[Ranked], block: usize) -> Option<Self> {
        let scores: Vec<f64> = ranked.iter().map(|row| row.score).collect();
        let truth: Vec<bool> = ranked.iter().map(|row| row.anomalous).collect();
        let roc_auc = quality::roc_auc(&scores, &truth)?;
        let average_precision = quality::average_precision(&scores, &truth)?;
        let order = Order::of(ranked);
        let (roc, precision_recall) = order.curves(&vec![1.0; ranked.len()])?;
        let resamples = resamples(ranked.len());
        let interval = |figure: fn(&[f64], &[bool]) -> Option<f64>| {
            quality::bootstrap_interval(ranked.len(), block, resamples, SEED, |rows| {
                let scores: Vec<f64> = rows.iter().map(|row| scores[*row]).collect();
                let truth: Vec<bool> = rows.iter().map(|row| truth[*row]).collect();
                figure(&scores, &truth)
            })
        };
        let (roc_band, precision_band) = order.bands(block, resamples);
        Some(Self {
            name: name.to_owned(),
            roc: Curve { points: thinned(&roc), band: roc_band },
            precision_recall: Curve { points: thinned(&precision_recall), band: precision_band },
            roc_auc: Figure { value: roc_auc, interval: interval(quality::roc_auc) },
            average_precision: Figure {
                value: average_precision,
                interval: interval(quality::average_precision),
            },
            rows: ranked.len(),
            anomalous: truth.iter().filter(|anomalous| **anomalous).count(),
        })
    }
}

/// Returns the number of resamples for an interval of this number of rows; `None` if there are too
/// many rows.
pub(crate) fn resamples(rows: usize) -> usize {
    match RESAMPLES.0.min(RESAMPLED_ROWS / rows.max(1)) {
        too_few if too_few < RESAMPLES.1 => 0,
        enough => enough,
    }
}

/// Rows from the highest score to the lowest.
struct Order<'a> {
    ranked: &'a [Ranked],
    rows: Vec<usize>,
}

impl<'a> Order<'a> {
    fn of(ranked: &'a [Ranked]) -> Self {
        let mut rows: Vec<usize> = (0..ranked.len()).collect();
        rows.sort_by(|a, b| ranked[*b].score.total_cmp(&ranked[*a].score));
        Self { ranked, rows }
    }

    /// Computes both curves at each distinct score, from the highest to the lowest; `None` without
    /// rows of both kinds. Each row counts `times` times.
    fn curves(&self, times: &[f64]) -> Option<(Points, Points)> {
        let of = |kind: bool| -> f64 {
            let rows = self.ranked.iter().zip(times).filter(|(row, _)| row.anomalous == kind);
            rows.map(|(_, times)| times).sum()
        };
        let (positives, negatives) = (of(true), of(false));
        if positives == 0.0 || negatives == 0.0 {
            return None;
        }
        let (mut found, mut wrong) = (0.0, 0.0);
        let (mut roc, mut precision) = (vec![(0.0, 0.0)], Vec::new());
        for (index, row) in self.rows.iter().enumerate() {
            let Ranked { score, anomalous } = self.ranked[*row];
            *(if anomalous { &mut found } else { &mut wrong }) += times[*row];
            let next = self.rows.get(index + 1).map(|row| self.ranked[*row].score);
            let last = next.is_none_or(|next| next.total_cmp(&score).is_ne());
            if last && found + wrong > 0.0 {
                roc.push((wrong / negatives, found / positives));
                precision.push((found / positives, found / (found + wrong)));
            }
        }
        Some((roc, precision))
    }

    /// Returns the bands of both curves, each at the same distances.
    fn bands(&self, block: usize, resamples: usize) -> (Band, Band) {
        let places: Vec<f64> = (0..=PLACES).map(|place| place as f64 / PLACES as f64).collect();
        let mut heights = vec![(Vec::new(), Vec::new()); places.len()];
        let mut times = vec![0.0; self.rows.len()];
        quality::for_each_resample(self.rows.len(), block, resamples, SEED, |rows| {
            times.fill(0.0);
            rows.iter().for_each(|row| times[*row] += 1.0);
            let Some((roc, precision)) = self.curves(&times) else { return };
            for (place, (found, right)) in places.iter().zip(&mut heights) {
                // The highest recall with at most this number of false alarms, and the precision
                // there.
                let after = roc.partition_point(|point| point.0 <= *place);
                found.push(roc[after.saturating_sub(1)].1);
                let first = precision.partition_point(|point| point.0 < *place);
                right.push(precision[first.min(precision.len() - 1)].1);
            }
        });
        let bounds = |place: f64, heights: &mut [f64]| {
            quality::bounds(heights).map(|(low, high)| (place, low, high))
        };
        let mut both = (Band::new(), Band::new());
        for (place, (found, right)) in places.into_iter().zip(&mut heights) {
            both.0.extend(bounds(place, found));
            both.1.extend(bounds(place, right));
        }
        both
    }
}

/// Keeps the ends, and points that are further apart than a small fraction of the plot.
fn thinned(points: &[(f64, f64)]) -> Points {
    let apart = 2.0 / POINTS as f64;
    let mut kept: Points = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let end = index + 1 == points.len();
        let far = kept
            .last()
            .is_none_or(|last| (last.0 - point.0).abs() + (last.1 - point.1).abs() >= apart);
        if far || end {
            kept.push(*point);
        }
    }
    kept
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ranked(rows: &[(f64, bool)]) -> Vec<Ranked> {
        rows.iter()
            .map(|(score, anomalous)| Ranked { score: *score, anomalous: *anomalous })
            .collect()
    }

    #[test]
    fn a_perfect_ranking_goes_through_the_corner() {
        let rows = ranked(&[(0.1, false), (0.2, false), (0.8, true), (0.9, true)]);
        let curves = Curves::of("x", &rows, 1).unwrap();
        assert_eq!(curves.roc_auc.value, 1.0);
        assert!(curves.roc.points.contains(&(0.0, 1.0)), "{:?}", curves.roc);
        assert_eq!(curves.precision_recall.points[0], (0.5, 1.0));
        assert_eq!(Curves::of("x", &rows[..2], 1), None, "only one kind of rows");
    }

    #[test]
    fn confidence_band_contains_its_curve_and_is_narrow_without_variance() {
        let noise = |row: usize| (row * 37 % 101) as f64 / 100.0;
        let odd = |row: usize| row % 50 >= 40;
        let shifted = |row: usize| noise(row) + if odd(row) { 0.5 } else { 0.0 };
        let rows: Vec<_> = (0..1000).map(|row| (shifted(row), odd(row))).collect();
        let Curves { roc, precision_recall, .. } = Curves::of("x", &ranked(&rows), 20).unwrap();
        let inside = |curve: &Curve, x: f64, y: f64| {
            let near = |place: &&(f64, f64, f64)| (place.0 - x).abs() < 0.5 / PLACES as f64;
            curve
                .band
                .iter()
                .find(near)
                .is_none_or(|(_, low, high)| (low - 0.03..high + 0.03).contains(&y))
        };
        for curve in [&roc, &precision_recall] {
            assert_eq!(curve.band.len(), PLACES + 1);
            // Where a curve rises straight up, only its top is in the band.
            let beyond: Vec<_> = curve.points.iter().filter(|(x, _)| *x > 0.05).collect();
            let held = beyond.iter().filter(|(x, y)| inside(curve, *x, *y)).count();
            assert!(held * 10 >= beyond.len() * 9, "{held} of {}: {curve:?}", beyond.len());
        }
        let width = |place: &(f64, f64, f64)| place.2 - place.1;
        assert!(roc.band.iter().any(|place| width(place) > 0.05), "{:?}", roc.band);
        assert!(width(&roc.band[PLACES]) < 1e-9, "everything is found if every row is an alarm");
        let sure: Vec<_> = (0..1000).map(|row| (f64::from(u8::from(odd(row))), odd(row))).collect();
        let sure = Curves::of("x", &ranked(&sure), 20).unwrap();
        assert!(sure.roc.band.iter().all(|place| width(place) < 1e-9), "{:?}", sure.roc.band);
        let few = Curves::of("x", &ranked(&[(0.0, false), (1.0, true)]), 1).unwrap();
        assert!(few.roc.band.len() <= PLACES + 1);
    }

    proptest! {
        #[test]
        fn curves_stay_in_the_figure_and_the_roc_never_falls(
            rows in prop::collection::vec((0.0..1.0_f64, any::<bool>()), 2..300),
        ) {
            let Some(curves) = Curves::of("x", &ranked(&rows), 10) else { return Ok(()) };
            let (roc, precision) = (&curves.roc, &curves.precision_recall);
            prop_assert!(roc.points.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
            prop_assert_eq!(roc.points.last(), Some(&(1.0, 1.0)));
            prop_assert!(roc.points.len() <= 2 * POINTS + 2);
            let inside = |(x, y): &(f64, f64)| (0.0..=1.0).contains(x) && (0.0..=1.0).contains(y);
            prop_assert!(roc.points.iter().chain(&precision.points).all(inside));
            for (place, low, high) in roc.band.iter().chain(&precision.band) {
                prop_assert!(inside(&(*place, *low)) && inside(&(*place, *high)) && low <= high);
            }
            prop_assert!(roc.band.is_sorted_by(|a, b| a.1 <= b.1 && a.2 <= b.2));
        }
    }
}
