//! How well scores rank: ROC and precision-recall curves with intervals.

use models::quality;

use crate::scores::Ranked;

/// Rows that all resamples of an interval may add up to.
const RESAMPLED_ROWS: usize = 4_000_000;

/// Resamples of an interval at most, and at least.
const RESAMPLES: (usize, usize) = (200, 50);

/// Points of a drawn curve at most.
const POINTS: usize = 240;

/// A figure and the bounds that 95 of 100 resamples lie between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// The figure, 0 to 1.
    pub value: f64,
    /// The bounds; absent where there were too few or too many rows for them.
    pub interval: Option<(f64, f64)>,
}

/// How well one score ranks.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// What is ranked: a kind of model, or `combined score`.
    pub name: String,
    /// False-alarm share and share found, from (0, 0) to (1, 1).
    pub roc: Vec<(f64, f64)>,
    /// Share found and precision, in order of the share found.
    pub precision_recall: Vec<(f64, f64)>,
    /// Area under the ROC curve.
    pub roc_auc: Figure,
    /// Average precision.
    pub average_precision: Figure,
    /// Rows it is made of.
    pub rows: usize,
    /// Of those, rows in which something was wrong.
    pub anomalous: usize,
}

impl Curves {
    /// Ranks rows that are in order of time; nothing without rows of both kinds. Intervals resample
    /// blocks of `block` consecutive rows.
    pub fn of(name: &str, ranked: &[Ranked], block: usize) -> Option<Self> {
        let scores: Vec<f64> = ranked.iter().map(|row| row.score).collect();
        let truth: Vec<bool> = ranked.iter().map(|row| row.anomalous).collect();
        let roc_auc = quality::roc_auc(&scores, &truth)?;
        let average_precision = quality::average_precision(&scores, &truth)?;
        let (roc, precision_recall) = points(ranked);
        let interval = |figure: fn(&[f64], &[bool]) -> Option<f64>| {
            let resamples = RESAMPLES.0.min(RESAMPLED_ROWS / ranked.len().max(1));
            if resamples < RESAMPLES.1 {
                return None;
            }
            quality::bootstrap_interval(ranked.len(), block, resamples, 7, |rows| {
                let scores: Vec<f64> = rows.iter().map(|row| scores[*row]).collect();
                let truth: Vec<bool> = rows.iter().map(|row| truth[*row]).collect();
                figure(&scores, &truth)
            })
        };
        Some(Self {
            name: name.to_owned(),
            roc: thinned(&roc),
            precision_recall: thinned(&precision_recall),
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

type Points = Vec<(f64, f64)>;

/// Walks down the scores and notes both curves at each distinct one.
fn points(ranked: &[Ranked]) -> (Points, Points) {
    let mut rows: Vec<Ranked> = ranked.to_vec();
    rows.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
    let positives = rows.iter().filter(|row| row.anomalous).count().max(1) as f64;
    let negatives = (rows.len() as f64 - positives).max(1.0);
    let (mut found, mut wrong) = (0.0, 0.0);
    let (mut roc, mut precision) = (vec![(0.0, 0.0)], Vec::new());
    for (index, row) in rows.iter().enumerate() {
        if row.anomalous {
            found += 1.0;
        } else {
            wrong += 1.0;
        }
        let last = rows.get(index + 1).is_none_or(|next| next.score.total_cmp(&row.score).is_ne());
        if last {
            roc.push((wrong / negatives, found / positives));
            precision.push((found / positives, found / (found + wrong)));
        }
    }
    (roc, precision)
}

/// Keeps the ends, and else points that lie apart by more than a fraction of the figure.
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
        assert!(curves.roc.contains(&(0.0, 1.0)), "{:?}", curves.roc);
        assert_eq!(curves.precision_recall[0], (0.5, 1.0));
        assert_eq!(Curves::of("x", &rows[..2], 1), None, "one kind of rows only");
    }

    proptest! {
        #[test]
        fn curves_stay_in_the_figure_and_the_roc_never_falls(
            rows in prop::collection::vec((0.0..1.0_f64, any::<bool>()), 2..300),
        ) {
            let Some(curves) = Curves::of("x", &ranked(&rows), 10) else { return Ok(()) };
            prop_assert!(curves.roc.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
            prop_assert_eq!(curves.roc.last(), Some(&(1.0, 1.0)));
            prop_assert!(curves.roc.len() <= 2 * POINTS + 2);
            let inside = |(x, y): &(f64, f64)| (0.0..=1.0).contains(x) && (0.0..=1.0).contains(y);
            prop_assert!(curves.roc.iter().chain(&curves.precision_recall).all(inside));
        }
    }
}
