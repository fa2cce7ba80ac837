//! The verdict of a row: scores, votes, and the features behind an alarm.

use contract::Timestamp;
use contract::rules::Combine;
use contract::score::{Cause, Combined, EntityScore, MemberScore, Verdict};
use detectors::detector;
use frames::FeatureTable;

use crate::scoring::{Details, Judgement};
use crate::{Bundle, Model};

impl Bundle {
    /// Returns the verdict of a row.
    pub(crate) fn entity_score(
        &self,
        table: &FeatureTable,
        row: usize,
        judgement: &Judgement,
    ) -> EntityScore {
        let verdict = judgement.verdict;
        let mean = self.manifest.vote.combine == Combine::Mean;
        let there = verdict != Verdict::NoData;
        let combined = (mean && there).then_some(Combined {
            score: judgement.combined,
            threshold: judgement.combined_threshold,
        });
        let decided = self.members.iter().zip(&judgement.members);
        let members = decided.map(|(member, decided)| MemberScore {
            kind: member.kind.clone(),
            decision: decided.decision,
            calibrated: self.reference.calibrated(&member.kind, decided.decision),
            threshold: decided.threshold,
            vote: decided.voted,
        });
        let members: Vec<MemberScore> = members.collect();
        let details = judgement.details.as_deref();
        let causes = match verdict {
            Verdict::Anomalous => self.causes(table, row, &members, details),
            Verdict::Normal | Verdict::NoData => Vec::new(),
        };
        EntityScore {
            completeness: judgement.completeness,
            votes: judgement.votes,
            combined,
            members,
            causes,
            urgent: judgement.urgent,
            drifting: self.names(details.map(|details| details.drifting.as_slice())),
            new_level: details.and_then(|details| details.new_level.as_ref()).map(|new| {
                contract::score::NewLevel {
                    since: Timestamp::from_ms(new.since_ms),
                    features: self.names(Some(&new.columns)),
                }
            }),
            missing: self.names(details.map(|details| details.missing.as_slice())),
            diagnosis: self.diagnosed(table, row, verdict),
            ..EntityScore::bare(table.table.entity_of(row).to_owned(), verdict)
        }
    }

    fn names(&self, columns: Option<&[usize]>) -> Vec<String> {
        let known = &self.manifest.contract.columns;
        let names = columns.into_iter().flatten().filter_map(|column| known.get(*column));
        names.map(|column| column.name.clone()).collect()
    }

    /// Returns the three features with the largest shares: the mean of the members' attributions,
    /// by weight and, for `combine: mean`, by how far each member's score stands out. Members that
    /// did not vote are left out where any did.
    fn causes(
        &self,
        table: &FeatureTable,
        row: usize,
        scores: &[MemberScore],
        details: Option<&Details>,
    ) -> Vec<Cause> {
        let columns = &table.table.columns;
        let values =
            columns.iter().map(|column| column.values[row]).collect::<ndarray::Array1<f64>>();
        let any_vote = scores.iter().any(|score| score.vote);
        let mut shares = vec![0.0; columns.len()];
        for ((number, member), score) in self.members.iter().enumerate().zip(scores) {
            if any_vote && !score.vote {
                continue;
            }
            let weight = match self.manifest.vote.combine {
                Combine::Votes => member.weight.to_f64(),
                Combine::Mean => {
                    member.weight.to_f64()
                        * member.series.scale.standardised(score.decision).max(0.0)
                }
            };
            let attribution = match &member.model {
                Model::Rows(detector) => detector.attribution(values.view()),
                Model::Sequence(_) => {
                    let kept = details.and_then(|details| details.attributions.get(&number));
                    kept.cloned().unwrap_or_default()
                }
            };
            shares.iter_mut().zip(attribution).for_each(|(share, part)| *share += weight * part);
        }
        let shares = detector::shares(shares);
        let mut order: Vec<usize> =
            (0..shares.len()).filter(|&column| shares[column] > 0.0).collect();
        order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]).then(a.cmp(b)));
        let causes = order.into_iter().take(3).map(|column| {
            let feature = &self.manifest.contract.columns[column];
            let sketch = self.reference.feature(&feature.name);
            Cause {
                feature: feature.name.clone(),
                share: shares[column],
                value: Some(values[column]).filter(|value| value.is_finite()),
                unit: feature.unit.clone(),
                usual_low: sketch.map_or(0.0, |sketch| sketch.at(0.01)),
                usual_high: sketch.map_or(0.0, |sketch| sketch.at(0.99)),
            }
        });
        causes.collect()
    }
}
