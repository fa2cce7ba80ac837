//! Metrics of scores and alarms, with scikit-learn's definition if it has one; intervals are those
//! of the bootstrap (Efron: Bootstrap Methods, 1979).

use std::collections::BTreeMap;

/// Returns the area under the ROC curve: the chance that an anomalous row scores higher than a
/// normal one, ties counting half. `None` without rows of both kinds.
///
/// ```
/// use models::quality::roc_auc;
///
/// let scores = [0.1, 0.4, 0.35, 0.8];
/// let anomalous = [false, false, true, true];
/// assert_eq!(roc_auc(&scores, &anomalous), Some(0.75));
/// assert_eq!(roc_auc(&scores, &[false; 4]), None);
/// ```
pub fn roc_auc(scores: &[f64], anomalous: &[bool]) -> Option<f64> {
    let (positives, negatives) = count(anomalous)?;
    let mut below = 0.0;
    let mut sum = 0.0;
    for (_, positive, negative) in tied_groups(scores, anomalous).into_iter().rev() {
        sum += positive * (below + negative / 2.0);
        below += negative;
    }
    Some(sum / (positives * negatives))
}

/// Returns the average precision: precision at each distinct score as threshold, weighted by the
/// gain in recall. `None` without rows of both kinds.
pub fn average_precision(scores: &[f64], anomalous: &[bool]) -> Option<f64> {
    let (positives, _) = count(anomalous)?;
    let (mut found, mut raised, mut sum) = (0.0, 0.0, 0.0);
    for (_, positive, negative) in tied_groups(scores, anomalous) {
        found += positive;
        raised += positive + negative;
        sum += positive / positives * (found / raised);
    }
    // Rounding may leave the sum of the shares a bit above 1.
    Some(sum.min(1.0))
}

/// Returns the best F1 of any threshold, with that threshold (rows at or above it are alarms). It
/// uses the labels, so it is for comparison only. `None` without rows of both kinds.
pub fn best_f1(scores: &[f64], anomalous: &[bool]) -> Option<(f64, f64)> {
    let (positives, _) = count(anomalous)?;
    let (mut found, mut raised, mut best) = (0.0, 0.0, (0.0, f64::INFINITY));
    for (score, positive, negative) in tied_groups(scores, anomalous) {
        found += positive;
        raised += positive + negative;
        let f1 = 2.0 * found / (raised + positives);
        if f1 > best.0 {
            best = (f1, score);
        }
    }
    Some(best)
}

fn count(anomalous: &[bool]) -> Option<(f64, f64)> {
    let positives = anomalous.iter().filter(|flag| **flag).count();
    let negatives = anomalous.len() - positives;
    (positives > 0 && negatives > 0).then_some((positives as f64, negatives as f64))
}

/// Distinct scores from the highest down, with the anomalous and normal rows that have them.
fn tied_groups(scores: &[f64], anomalous: &[bool]) -> Vec<(f64, f64, f64)> {
    let mut rows: Vec<(f64, bool)> =
        scores.iter().copied().zip(anomalous.iter().copied()).collect();
    // -0 and 0 are the same score.
    rows.iter_mut().for_each(|(score, _)| *score += 0.0);
    rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let mut groups: Vec<(f64, f64, f64)> = Vec::new();
    for (score, positive) in rows {
        let (one, other) = if positive { (1.0, 0.0) } else { (0.0, 1.0) };
        match groups.last_mut() {
            Some((last, positives, negatives)) if last.total_cmp(&score).is_eq() => {
                *positives += one;
                *negatives += other;
            }
            _ => groups.push((score, one, other)),
        }
    }
    groups
}

/// Runs of alarms of one entity, however long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Episodes {
    /// All of them.
    pub all: u64,
    /// Those without an anomalous row. An alarm that continues after its event is not one of them.
    pub without_event: u64,
}

impl Episodes {
    /// Counts them; rows come in the order of time as (entity, alarm, anomalous), and rows that
    /// count nowhere are left out.
    pub fn of<E: Ord>(rows: impl IntoIterator<Item = (E, bool, bool)>) -> Self {
        // For each entity with a current run, whether the run has an anomalous row.
        let mut running: BTreeMap<E, Option<bool>> = BTreeMap::new();
        let mut ended = Vec::new();
        for (entity, alarm, anomalous) in rows {
            let run = running.entry(entity).or_default();
            match (alarm, &mut *run) {
                (true, Some(touched)) => *touched |= anomalous,
                (true, None) => *run = Some(anomalous),
                (false, _) => ended.extend(run.take()),
            }
        }
        ended.extend(running.into_values().flatten());
        let without_event = ended.iter().filter(|touched| !**touched).count();
        Self { all: ended.len() as u64, without_event: without_event as u64 }
    }
}

/// Returns the alarms with point adjustment (Xu et al. 2018): if one row of a run of anomalous rows
/// of an entity is alarmed, all of them count as alarmed. This is optimistic: one lucky guess finds
/// a run of a whole day.
pub fn point_adjusted<E: Ord + Copy>(
    entities: &[E],
    alarms: &[bool],
    anomalous: &[bool],
) -> Vec<bool> {
    let mut adjusted = alarms.to_vec();
    let mut runs: BTreeMap<E, Vec<usize>> = BTreeMap::new();
    let mut close = |run: &mut Vec<usize>| {
        let found = run.iter().any(|row| alarms[*row]);
        run.drain(..).for_each(|row| adjusted[row] |= found);
    };
    for (row, (entity, anomalous)) in entities.iter().zip(anomalous).enumerate() {
        let run = runs.entry(*entity).or_default();
        if *anomalous { run.push(row) } else { close(run) }
    }
    runs.values_mut().for_each(close);
    adjusted
}

/// Confusion matrix of alarms and labels, row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confusion {
    /// Anomalous rows with an alarm.
    pub found: u64,
    /// Anomalous rows without one.
    pub missed: u64,
    /// Normal rows with an alarm.
    pub false_alarms: u64,
    /// Normal rows without one.
    pub quiet: u64,
}

impl Confusion {
    /// Counts alarms and labels.
    pub fn of(alarms: &[bool], anomalous: &[bool]) -> Self {
        let mut confusion = Self::default();
        for pair in alarms.iter().zip(anomalous) {
            let slot = match pair {
                (true, true) => &mut confusion.found,
                (false, true) => &mut confusion.missed,
                (true, false) => &mut confusion.false_alarms,
                (false, false) => &mut confusion.quiet,
            };
            *slot += 1;
        }
        confusion
    }

    /// Returns the share of alarms that were right; 0 without an alarm.
    pub fn precision(&self) -> f64 {
        share(self.found, self.found + self.false_alarms)
    }

    /// Returns the share of anomalous rows with an alarm; 0 without such rows.
    pub fn recall(&self) -> f64 {
        share(self.found, self.found + self.missed)
    }

    /// Returns the harmonic mean of precision and recall; 0 where both are.
    pub fn f1(&self) -> f64 {
        share(2 * self.found, 2 * self.found + self.missed + self.false_alarms)
    }

    /// Returns the share of normal rows with an alarm; 0 without such rows.
    pub fn false_alarm_ratio(&self) -> f64 {
        share(self.false_alarms, self.false_alarms + self.quiet)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Returns the 95 % interval of a metric over the resamples of [`for_each_resample`]. Resamples for
/// which `figure` is not defined are left out; `None` if fewer than ten remain.
pub fn bootstrap_interval(
    rows: usize,
    block: usize,
    resamples: usize,
    seed: u64,
    figure: impl Fn(&[usize]) -> Option<f64>,
) -> Option<(f64, f64)> {
    let mut figures = Vec::new();
    for_each_resample(rows, block, resamples, seed, |sample| figures.extend(figure(sample)));
    bounds(&mut figures)
}

/// Returns the bounds between which 95 of 100 values lie; `None` for fewer than ten.
pub fn bounds(values: &mut [f64]) -> Option<(f64, f64)> {
    if values.len() < 10 {
        return None;
    }
    values.sort_unstable_by(f64::total_cmp);
    let at = |level| crate::reference::quantile(values, level);
    Some((at(0.025), at(0.975)))
}

/// Calls `each` with the numbers of the rows of every resample.
///
/// Blocks of `block` consecutive rows, with any start, are drawn with replacement, because rows
/// close in time are correlated (moving-block bootstrap: Künsch 1989); the same seed draws the same
/// rows.
pub fn for_each_resample(
    rows: usize,
    block: usize,
    resamples: usize,
    seed: u64,
    mut each: impl FnMut(&[usize]),
) {
    if rows == 0 {
        return;
    }
    let block = block.clamp(1, rows);
    let mut random = SplitMix64(seed);
    let mut sample = Vec::with_capacity(rows + block);
    for _ in 0..resamples {
        sample.clear();
        for _ in 0..rows.div_ceil(block) {
            let start = random.below(rows - block + 1);
            sample.extend(start..start + block);
        }
        sample.truncate(rows);
        each(&sample);
    }
}

/// Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014. Good enough to pick
/// blocks, and no dependency.
struct SplitMix64(u64);

impl SplitMix64 {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let wide = u128::from(word ^ (word >> 31)) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these numbers are exact")]
mod tests {
    use super::*;

    #[test]
    fn perfect_and_inverted_scores_have_different_auc() {
        let truth = [false, false, true, true];
        assert_eq!(roc_auc(&[1.0, 2.0, 3.0, 4.0], &truth), Some(1.0));
        assert_eq!(roc_auc(&[4.0, 3.0, 2.0, 1.0], &truth), Some(0.0));
        assert_eq!(roc_auc(&[1.0, 1.0, 1.0, 1.0], &truth), Some(0.5));
        assert_eq!(average_precision(&[1.0, 1.0, 1.0, 1.0], &truth), Some(0.5));
        assert_eq!(roc_auc(&[1.0], &[true]), None, "one kind of rows only");
        assert_eq!(average_precision(&[], &[]), None);
    }

    #[test]
    fn precision_recall_and_f1_come_from_the_counts() {
        let confusion =
            Confusion::of(&[true, true, false, true, false], &[true, false, true, true, false]);
        assert_eq!(confusion, Confusion { found: 2, missed: 1, false_alarms: 1, quiet: 1 });
        let expected = [2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 0.5];
        let found = [
            confusion.precision(),
            confusion.recall(),
            confusion.f1(),
            confusion.false_alarm_ratio(),
        ];
        assert_eq!(found, expected);
        assert_eq!(Confusion::default().f1(), 0.0, "nothing counted, nothing promised");
    }

    #[test]
    fn the_best_f1_names_its_threshold() {
        let scores = [0.1, 0.4, 0.35, 0.8];
        let (f1, threshold) = best_f1(&scores, &[false, false, true, true]).unwrap();
        assert!((f1 - 0.8).abs() < 1e-12);
        assert_eq!(threshold, 0.35);
    }

    #[test]
    fn an_alarm_that_touches_an_event_is_no_false_episode() {
        let rows = [(0, true, false), (0, true, true), (1, true, false), (0, false, false)];
        let counted = Episodes::of(rows.into_iter().chain([(0, true, false)]));
        assert_eq!(counted, Episodes { all: 3, without_event: 2 });
        assert_eq!(Episodes::of([(0, false, true)]), Episodes::default());
    }

    #[test]
    fn point_adjustment_fills_the_runs_that_were_touched_and_no_other() {
        let anomalous = [true, true, true, false, true, true];
        let alarms = [false, true, false, true, false, false];
        assert_eq!(
            point_adjusted(&[0; 6], &alarms, &anomalous),
            [true, true, true, true, false, false]
        );
        let entities = [0, 1, 0, 1, 0, 1];
        let adjusted = point_adjusted(&entities, &alarms, &anomalous);
        assert_eq!(adjusted, [false, true, false, true, false, false], "each entity by itself");
    }

    #[test]
    fn an_interval_holds_the_figure_and_repeats_with_its_seed() {
        let scores: Vec<f64> = (0..400).map(|row| f64::from(row * 37 % 101)).collect();
        let truth: Vec<bool> = scores.iter().map(|score| *score > 70.0).collect();
        let noisy: Vec<f64> =
            scores.iter().zip(0..).map(|(s, row)| s + f64::from(row * 53 % 89)).collect();
        let figure = |rows: &[usize]| {
            let scores: Vec<f64> = rows.iter().map(|row| noisy[*row]).collect();
            let truth: Vec<bool> = rows.iter().map(|row| truth[*row]).collect();
            roc_auc(&scores, &truth)
        };
        let interval = bootstrap_interval(400, 20, 200, 7, figure).unwrap();
        let value = roc_auc(&noisy, &truth).unwrap();
        assert!(interval.0 < value && value < interval.1, "{interval:?} {value}");
        assert_eq!(bootstrap_interval(400, 20, 200, 7, figure), Some(interval));
        assert_ne!(bootstrap_interval(400, 20, 200, 8, figure), Some(interval));
    }
}
