//! The verdict of a row: scores, votes, and the features behind an alarm.

use contract::Timestamp;
use contract::rules::Combine;
use contract::score::{Cause, Combined, EntityScore, MemberScore, Verdict};
use frames::FeatureTable;

use crate::scoring::Verdicts;
use crate::{Bundle, Model, detector};

impl Bundle {
    /// Returns the verdict of a row.
    pub(crate) fn entity_score(
        &self,
        table: &FeatureTable,
        verdicts: &Verdicts,
        row: usize,
    ) -> EntityScore {
        let verdict = verdicts.of_rows[row];
        let mean = self.manifest.vote.combine == Combine::Mean;
        let there = verdict != Verdict::NoData;
        let combined = (mean && there).then(|| Combined {
            score: verdicts.combined[row],
            threshold: verdicts.combined_thresholds[row],
        });
        let members = self.members.iter().enumerate().filter(|_| there);
        let members = members.map(|(index, member)| {
            let (decision, threshold) =
                (verdicts.decisions[index][row], verdicts.thresholds[index][row]);
            MemberScore {
                kind: member.kind.clone(),
                decision,
                calibrated: self.reference.calibrated(&member.kind, decision),
                threshold,
                vote: verdicts.voted[index][row],
            }
        });
        let members: Vec<MemberScore> = members.collect();
        let causes = match verdict {
            Verdict::Anomalous => self.causes(table, row, &members, verdicts),
            Verdict::Normal | Verdict::NoData => Vec::new(),
        };
        EntityScore {
            completeness: verdicts.completeness[row],
            votes: verdicts.votes[row],
            combined,
            members,
            causes,
            urgent: verdicts.urgent[row],
            drifting: self.names(verdicts.drifting.get(&row)),
            new_level: verdicts.new_levels.get(&row).map(|new| contract::score::NewLevel {
                since: Timestamp::from_ms(new.since_ms),
                features: self.names(Some(&new.columns)),
            }),
            missing: self.names(verdicts.missing.get(&row)),
            diagnosis: self.diagnosed(table, row, verdict),
            ..EntityScore::bare(table.table.entity_of(row).to_owned(), verdict)
        }
    }

    fn names(&self, columns: Option<&Vec<usize>>) -> Vec<String> {
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
        verdicts: &Verdicts,
    ) -> Vec<Cause> {
        let columns = &table.table.columns;
        let values =
            columns.iter().map(|column| column.values[row]).collect::<ndarray::Array1<f64>>();
        let any_vote = scores.iter().any(|score| score.vote);
        let mut shares = vec![0.0; columns.len()];
        for ((index, member), score) in self.members.iter().enumerate().zip(scores) {
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
                    verdicts.attributions.get(&(row, index)).cloned().unwrap_or_default()
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
