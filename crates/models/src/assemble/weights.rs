//! Weights learned on labelled validation rows.

use std::collections::BTreeMap;

use contract::rules::BestBy;
use contract::{Decimal, StepError};
use frames::FeatureTable;
use ndarray::ArrayView2;

use super::{Candidate, Recipe, sequence};
use crate::measure::counted_rows;
use crate::vote::Scale;
use crate::{Model, matrix, quality};

/// Copies of members that are added at most, for each member.
const MOST_COPIES: usize = 10;

/// Returns the weight of each member, to two decimals; empty (all equal) if the calibration part
/// has no labelled anomalies.
///
/// Members are added to an average of all, with replacement, as long as the average precision of
/// the average grows (Caruana et al.: Ensemble selection from libraries of models, 2004). A weight
/// is a member's share of the copies, times the number of members.
pub(super) fn learned(
    candidates: &[Candidate],
    calibration: &FeatureTable,
    normal_rows: &[usize],
    recipe: &Recipe,
) -> Result<BTreeMap<String, Decimal>, StepError> {
    let (rows, anomalous) = counted_rows(calibration, &recipe.normal);
    if !anomalous.contains(&true) || candidates.len() < 2 {
        return Ok(BTreeMap::new());
    }
    let values = matrix(calibration);
    let mut members = Vec::new();
    for candidate in candidates {
        let scores = scores(candidate, calibration, values.view(), recipe.threads)?;
        let usual: Vec<f64> = normal_rows.iter().map(|row| scores[*row]).collect();
        let scale = Scale::of(candidate.loaded.is_ratio_scaled(), &usual);
        let scores = rows.iter().map(|row| scale.standardised(scores[*row]));
        members.push(scores.collect::<Vec<f64>>());
    }
    let copies = select(&members, &anomalous);
    let weights = candidates.iter().zip(hundredths(&copies)).map(|(candidate, hundredths)| {
        let weight = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        let weight: Decimal = weight.parse().map_err(|error| {
            StepError::bug(format!("the weight `{weight}` is not a decimal: {error}"))
        })?;
        Ok((candidate.manifest.kind.clone(), weight))
    });
    weights.collect()
}

/// Returns the raw scores of a candidate, of all rows of the calibration part.
fn scores(
    candidate: &Candidate,
    calibration: &FeatureTable,
    values: ArrayView2<'_, f64>,
    threads: usize,
) -> Result<Vec<f64>, StepError> {
    match (&candidate.loaded, &candidate.training) {
        (Model::Rows(detector), _) => Ok(detector.decision(values, threads)),
        (Model::Sequence(model), Some(training)) => {
            Ok(sequence::decisions(&**model, training, calibration))
        }
        (Model::Sequence(_), None) => Err(sequence::without_training(&candidate.manifest.kind)),
    }
}

/// Returns the ranking metric of each candidate on the labelled rows of the calibration part, by
/// kind; empty if it has no anomalous or no normal row.
pub fn rank(
    candidates: &[Candidate],
    calibration: &FeatureTable,
    recipe: &Recipe,
    by: BestBy,
) -> Result<BTreeMap<String, f64>, StepError> {
    let (rows, anomalous) = counted_rows(calibration, &recipe.normal);
    let values = matrix(calibration);
    let mut figures = BTreeMap::new();
    for candidate in candidates {
        let scores = scores(candidate, calibration, values.view(), recipe.threads)?;
        let scores: Vec<f64> = rows.iter().map(|row| scores[*row]).collect();
        let figure = match by {
            BestBy::AveragePrecision => quality::average_precision(&scores, &anomalous),
            BestBy::RocAuc => quality::roc_auc(&scores, &anomalous),
        };
        figures.extend(figure.map(|figure| (candidate.manifest.kind.clone(), figure)));
    }
    Ok(figures)
}

/// Returns weights in hundredths that sum to 100 for each member exactly: what rounding leaves
/// goes to the first of those with the most copies.
fn hundredths(copies: &[usize]) -> Vec<usize> {
    let (members, total) = (copies.len(), copies.iter().sum::<usize>().max(1));
    let mut shares: Vec<usize> =
        copies.iter().map(|copies| copies * members * 100 / total).collect();
    let rest = members * 100 - shares.iter().sum::<usize>();
    let most = copies.iter().max();
    if let Some(first) = copies.iter().position(|count| Some(count) == most) {
        shares[first] += rest;
    }
    shares
}

/// Returns how often each member counts: once, and once more for each time that raised the average
/// precision most; of equals the first.
fn select(members: &[Vec<f64>], anomalous: &[bool]) -> Vec<usize> {
    let mut copies = vec![1; members.len()];
    let mut sum = vec![0.0; anomalous.len()];
    let add = |sum: &mut [f64], member: &[f64]| {
        sum.iter_mut().zip(member).for_each(|(sum, score)| *sum += score);
    };
    members.iter().for_each(|member| add(&mut sum, member));
    let precision = |sum: &[f64]| quality::average_precision(sum, anomalous).unwrap_or(0.0);
    let mut reached = precision(&sum);
    for _ in 0..MOST_COPIES * members.len() {
        let with = members.iter().map(|member| {
            let mut with = sum.clone();
            add(&mut with, member);
            precision(&with)
        });
        let best = with.enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
        let Some((member, precision)) = best.filter(|(_, precision)| *precision > reached) else {
            break;
        };
        add(&mut sum, &members[member]);
        copies[member] += 1;
        reached = precision;
    }
    copies
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_ranks_well_counts_more_and_noise_less() {
        let anomalous: Vec<bool> = (0..200).map(|row| row % 20 == 0).collect();
        let noise = |row: usize, factor: usize| (row * factor % 97) as f64 / 97.0;
        let good: Vec<f64> = (0..200)
            .map(|row| noise(row, 31) + f64::from(u8::from(anomalous[row])) * 0.8)
            .collect();
        let bad: Vec<f64> = (0..200).map(|row| noise(row, 57)).collect();
        let copies = select(&[bad.clone(), good], &anomalous);
        assert!(copies[1] > copies[0] && copies[0] == 1, "{copies:?}");
        assert_eq!(select(&[bad.clone(), bad], &anomalous), [1, 1], "equals stay equal");
        assert_eq!(hundredths(&[1, 1, 1]), [100, 100, 100]);
        assert_eq!(hundredths(&[1, 5, 1]), [42, 216, 42], "they sum to 300");
    }
}
