//! Tensors to rows, and verdicts to tensors.

use axum::http::StatusCode;
use contract::score::{EntityScore, Verdict};
use contract::{Span, StepError, Timestamp};
use frames::FeatureTable;
use frames::table::{Column, Table};
use models::{Bundle, ScoreOptions, ScoreState};

use crate::live::Served;
use crate::protocol::{InferRequest, ProtocolError, TensorMetadata};
use crate::tensor::{self, Flat};

/// Input with all features in contract order, `[rows, features]`.
pub const FEATURES: &str = "features";
/// Optional input: end of each row's window in milliseconds since 1970, `[rows]`.
pub const TIME: &str = "time";
/// Optional input: entity of each row, `[rows]`.
pub const ENTITY: &str = "entity";

/// How rows are judged.
const OPTIONS: ScoreOptions = ScoreOptions { min_completeness: 0.5, threads: 1 };

/// A named output.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its data type.
    pub datatype: &'static str,
    /// One element a row.
    pub data: Flat,
}

impl Served {
    /// Returns the inputs: one tensor with all features, or one for each feature.
    pub fn inputs(&self) -> Vec<TensorMetadata> {
        let columns = self.manifest.contract.columns.len();
        let columns = i64::try_from(columns).unwrap_or(i64::MAX);
        vec![
            TensorMetadata { name: FEATURES.into(), datatype: "FP64", shape: vec![-1, columns] },
            TensorMetadata { name: TIME.into(), datatype: "INT64", shape: vec![-1] },
            TensorMetadata { name: ENTITY.into(), datatype: "BYTES", shape: vec![-1] },
        ]
    }

    /// Returns the outputs.
    pub fn outputs(&self) -> Vec<TensorMetadata> {
        let fixed = [
            ("score", "FP64"),
            ("threshold", "FP64"),
            ("alarm", "BOOL"),
            ("completeness", "FP64"),
            ("reasons", "BYTES"),
        ];
        let members = self.manifest.members.iter();
        let members = members.map(|member| (format!("member:{}", member.kind), "FP64"));
        let all = fixed.map(|(name, datatype)| (name.to_owned(), datatype)).into_iter();
        all.chain(members)
            .map(|(name, datatype)| TensorMetadata { name, datatype, shape: vec![-1] })
            .collect()
    }

    /// Makes rows of a request's tensors; `binary` holds the data that is not in the JSON.
    ///
    /// Without `time`, rows are `step` apart in their order; without `entity` they are of one.
    pub fn rows(
        &self,
        request: &InferRequest,
        mut binary: &[u8],
    ) -> Result<FeatureTable, ProtocolError> {
        let contract = &self.manifest.contract;
        self.check_contract(request)?;
        let (mut matrix, mut times, mut entities) = (None, None, None);
        let mut columns: Vec<Option<Vec<f64>>> = vec![None; contract.columns.len()];
        for tensor in &request.inputs {
            let data = tensor::elements(tensor, &mut binary)?;
            let column = contract.columns.iter().position(|column| column.name == tensor.name);
            match (tensor.name.as_str(), column, data) {
                (FEATURES, _, Flat::Numbers(values)) => matrix = Some((tensor, values)),
                (TIME, _, Flat::Numbers(values)) => times = Some(values),
                (ENTITY, _, Flat::Texts(values)) => entities = Some(values),
                (_, Some(column), Flat::Numbers(values)) => columns[column] = Some(values),
                (name, ..) => {
                    return Err(ProtocolError::bad_request(format!(
                        "input `{name}` is unknown or has the wrong datatype: the model takes \
                         `{FEATURES}` or its features by name, `{TIME}` and `{ENTITY}`"
                    )));
                }
            }
        }
        if !binary.is_empty() {
            let bytes = binary.len();
            return Err(ProtocolError::bad_request(format!("{bytes} bytes after the last tensor")));
        }
        let columns = match matrix {
            Some((tensor, values)) => split(&tensor.shape, &values, contract.columns.len())?,
            None => by_name(columns, &contract.names())?,
        };
        self.table(columns, times, entities)
    }

    fn check_contract(&self, request: &InferRequest) -> Result<(), ProtocolError> {
        match request.parameters.get("feature_contract") {
            Some(hash) if hash.as_str() != Some(&self.contract_sha256) => Err(ProtocolError::new(
                StatusCode::CONFLICT,
                format!(
                    "the request is for the feature contract {hash}, the live version has \"{}\"",
                    self.contract_sha256
                ),
            )),
            _ => Ok(()),
        }
    }

    fn table(
        &self,
        columns: Vec<Vec<f64>>,
        times: Option<Vec<f64>>,
        entities: Option<Vec<String>>,
    ) -> Result<FeatureTable, ProtocolError> {
        let contract = &self.manifest.contract;
        let rows = columns.first().map_or(0, Vec::len);
        let lengths = [
            (TIME, times.as_ref().map_or(rows, Vec::len)),
            (ENTITY, entities.as_ref().map_or(rows, Vec::len)),
        ];
        if let Some((name, length)) = lengths.into_iter().find(|(_, length)| *length != rows) {
            return Err(ProtocolError::bad_request(format!(
                "input `{name}` has {length} rows, the features have {rows}"
            )));
        }
        let mut table = Table::empty([]);
        let names = contract.columns.iter().map(|column| column.name.clone());
        table.columns = names.zip(columns).map(|(name, values)| Column { name, values }).collect();
        table.times = match times {
            Some(times) => times.into_iter().map(timestamp).collect::<Result<_, _>>()?,
            None => consecutive(rows, contract.step),
        };
        let has_shards = self.parts.iter().any(|(shard, _)| shard.is_some());
        if has_shards && entities.is_none() {
            return Err(ProtocolError::bad_request(format!(
                "input `{ENTITY}` is missing: the version has {} shards, and the entity says whose model judges a row",
                self.parts.len()
            )));
        }
        let names = entities.unwrap_or_else(|| vec![String::new(); rows]);
        table.entity = names.iter().map(|name| table.entity_index(name)).collect();
        let warm_up = vec![false; rows];
        Ok(FeatureTable { contract: contract.clone(), table, warm_up, labels: None })
    }

    /// Judges rows, from the state that training left; each with the bundle of its entity's shard.
    pub fn judge(&self, rows: &FeatureTable) -> Result<Vec<EntityScore>, StepError> {
        let score = |bundle: &Bundle, rows: &FeatureTable| {
            bundle.score(rows, &mut ScoreState::default(), OPTIONS)
        };
        let mut judged: Vec<(usize, EntityScore)> = Vec::with_capacity(rows.rows());
        for (shard, bundle) in &self.parts {
            let Some(shard) = shard else { return score(bundle, rows) };
            let is_held: Vec<bool> =
                rows.table.entities.iter().map(|entity| shard.holds(entity)).collect();
            let of_entity = |row: &usize| is_held[rows.table.entity[*row] as usize];
            let own: Vec<usize> = (0..rows.rows()).filter(of_entity).collect();
            if !own.is_empty() {
                let scores = score(bundle, &rows.select(&own))?;
                judged.extend(own.into_iter().zip(scores));
            }
        }
        judged.sort_by_key(|(row, _)| *row);
        Ok(judged.into_iter().map(|(_, score)| score).collect())
    }

    /// Judges the rows of several requests as [`Served::judge`] judges those of each, in one call.
    pub fn judge_apart(
        &self,
        requests: &[&FeatureTable],
    ) -> Vec<Result<Vec<EntityScore>, StepError>> {
        match self.parts.as_slice() {
            [(None, bundle)] => bundle.score_apart(requests, OPTIONS),
            _ => requests.iter().map(|rows| self.judge(rows)).collect(),
        }
    }

    /// Writes verdicts as outputs.
    pub fn describe(&self, scores: &[EntityScore]) -> Vec<Output> {
        let numbers =
            |of: &dyn Fn(&EntityScore) -> f64| Flat::Numbers(scores.iter().map(of).collect());
        let reasons = scores
            .iter()
            .map(|score| serde_json::to_string(&score.causes).unwrap_or_else(|_| "[]".to_owned()));
        let mut data = vec![
            numbers(&score_of),
            numbers(&|score| threshold_of(self, score)),
            numbers(&|score| f64::from(u8::from(score.verdict == Verdict::Anomalous))),
            numbers(&|score| score.completeness),
            Flat::Texts(reasons.collect()),
        ];
        data.extend(self.manifest.members.iter().map(|member| {
            numbers(&|score| {
                let found = score.members.iter().find(|other| other.kind == member.kind);
                found.map_or(f64::NAN, |found| found.decision)
            })
        }));
        let named = self.outputs().into_iter().zip(data);
        named
            .map(|(output, data)| Output { name: output.name, datatype: output.datatype, data })
            .collect()
    }
}

/// Returns the combined score, or the sum of the votes where the bundle combines by votes.
fn score_of(score: &EntityScore) -> f64 {
    match (score.verdict, score.combined) {
        (Verdict::NoData, _) => f64::NAN,
        (_, Some(combined)) => combined.score,
        (_, None) => score.votes.to_string().parse().unwrap_or(f64::NAN),
    }
}

fn threshold_of(served: &Served, score: &EntityScore) -> f64 {
    let votes = || served.manifest.vote.alarm_at.to_string().parse().unwrap_or(f64::NAN);
    score.combined.map_or_else(votes, |combined| combined.threshold)
}

/// Splits a matrix of rows into columns.
fn split(shape: &[u64], values: &[f64], columns: usize) -> Result<Vec<Vec<f64>>, ProtocolError> {
    let fits = shape.len() == 2 && usize::try_from(shape[1]) == Ok(columns);
    if !fits {
        return Err(ProtocolError::bad_request(format!(
            "input `{FEATURES}` has the shape {shape:?}, expected [rows, {columns}]"
        )));
    }
    let column = |column: usize| values.iter().skip(column).step_by(columns).copied().collect();
    Ok((0..columns).map(column).collect())
}

fn by_name(columns: Vec<Option<Vec<f64>>>, names: &[&str]) -> Result<Vec<Vec<f64>>, ProtocolError> {
    let missing: Vec<&str> = names
        .iter()
        .zip(&columns)
        .filter(|(_, column)| column.is_none())
        .map(|(name, _)| *name)
        .collect();
    if !missing.is_empty() {
        return Err(ProtocolError::bad_request(format!(
            "neither `{FEATURES}` nor all features by name: missing {}",
            missing.join(", ")
        )));
    }
    let columns: Vec<Vec<f64>> = columns.into_iter().flatten().collect();
    let rows = columns.first().map_or(0, Vec::len);
    match columns.iter().zip(names).find(|(column, _)| column.len() != rows) {
        None => Ok(columns),
        Some((column, name)) => Err(ProtocolError::bad_request(format!(
            "input `{name}` has {} rows, the first feature has {rows}",
            column.len()
        ))),
    }
}

fn timestamp(ms: f64) -> Result<Timestamp, ProtocolError> {
    /// The year 9999.
    const FARTHEST: f64 = 253_402_300_799_000.0;
    if !(ms.fract() == 0.0 && ms.abs() <= FARTHEST) {
        return Err(ProtocolError::bad_request(format!(
            "input `{TIME}`: {ms} is not a whole number of milliseconds since 1970"
        )));
    }
    #[expect(clippy::cast_possible_truncation, reason = "whole, and far inside i64")]
    Ok(Timestamp::from_ms(ms as i64))
}

fn consecutive(rows: usize, step: Span) -> Vec<Timestamp> {
    let mut next = Timestamp::from_ms(0);
    let mut times = Vec::with_capacity(rows);
    for _ in 0..rows {
        next = next + step;
        times.push(next);
    }
    times
}
