//! Converts tensors to rows, and verdicts to tensors.

use axum::http::StatusCode;
use contract::bundle::BundleManifest;
use contract::classify::EntityClass;
use contract::score::{EntityScore, Verdict};
use contract::{Span, StepError, Timestamp};
use frames::table::{Column, Table};
use frames::{FeatureTable, RowLabels};

use crate::live::Served;
use crate::model;
use crate::protocol::{InferRequest, ProtocolError, TensorMetadata};
use crate::tensor::{self, Flat};

/// Input with all features in contract order, `[rows, features]`.
pub const FEATURES: &str = "features";
/// Optional input: end of each row's window in milliseconds since 1970, `[rows]`.
pub const TIME: &str = "time";
/// Optional input: entity of each row, `[rows]`.
pub const ENTITY: &str = "entity";
/// Optional input of `task: classify`: the declared class of each row's entity, such as its image,
/// `[rows]`.
pub const DECLARED: &str = "declared";

/// A named output.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Its data type.
    pub datatype: &'static str,
    /// One element for each row.
    pub data: Flat,
}

impl Served {
    /// Returns the inputs: one tensor with all features, or one for each feature.
    pub fn inputs(&self) -> Vec<TensorMetadata> {
        let columns = self.manifest.contract.columns.len();
        let columns = i64::try_from(columns).unwrap_or(i64::MAX);
        let mut inputs = vec![
            TensorMetadata { name: FEATURES.into(), datatype: "FP64", shape: vec![-1, columns] },
            TensorMetadata { name: TIME.into(), datatype: "INT64", shape: vec![-1] },
            TensorMetadata { name: ENTITY.into(), datatype: "BYTES", shape: vec![-1] },
        ];
        if self.is_classify() {
            inputs.push(TensorMetadata {
                name: DECLARED.into(),
                datatype: "BYTES",
                shape: vec![-1],
            });
        }
        inputs
    }

    /// Returns the outputs.
    pub fn outputs(&self) -> Vec<TensorMetadata> {
        let outputs = self.describe(&[]).into_iter();
        outputs
            .map(|Output { name, datatype, .. }| TensorMetadata { name, datatype, shape: vec![-1] })
            .collect()
    }

    /// Makes rows from a request's tensors; `binary` contains the data that is not in the JSON.
    ///
    /// Without `time`, the rows are `step` apart in their order; without `entity`, they belong to
    /// one entity.
    pub fn rows(
        &self,
        request: &InferRequest,
        mut binary: &[u8],
    ) -> Result<FeatureTable, ProtocolError> {
        let contract = &self.manifest.contract;
        self.check_contract(request)?;
        let (mut matrix, mut times, mut entities, mut declared) = (None, None, None, None);
        let mut columns: Vec<Option<Vec<f64>>> = vec![None; contract.columns.len()];
        for tensor in &request.inputs {
            let data = tensor::elements(tensor, &mut binary)?;
            let column = contract.columns.iter().position(|column| column.name == tensor.name);
            match (tensor.name.as_str(), column, data) {
                (FEATURES, _, Flat::Numbers(values)) => matrix = Some((tensor, values)),
                (TIME, _, Flat::Numbers(values)) => times = Some(values),
                (ENTITY, _, Flat::Texts(values)) => entities = Some(values),
                (DECLARED, _, Flat::Texts(values)) if self.is_classify() => {
                    declared = Some(values);
                }
                (_, Some(column), Flat::Numbers(values)) => columns[column] = Some(values),
                (name, ..) => {
                    let optional = if self.is_classify() {
                        format!("`{TIME}`, `{ENTITY}` and `{DECLARED}`")
                    } else {
                        format!("`{TIME}` and `{ENTITY}`")
                    };
                    return Err(ProtocolError::bad_request(format!(
                        "input `{name}` is unknown or has the wrong datatype: the model takes \
                         `{FEATURES}` or its features by name, {optional}"
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
        self.table(columns, Keys { times, entities, declared })
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
        Keys { times, entities, declared }: Keys,
    ) -> Result<FeatureTable, ProtocolError> {
        let contract = &self.manifest.contract;
        let rows = columns.first().map_or(0, Vec::len);
        let lengths = [
            (TIME, times.as_ref().map_or(rows, Vec::len)),
            (ENTITY, entities.as_ref().map_or(rows, Vec::len)),
            (DECLARED, declared.as_ref().map_or(rows, Vec::len)),
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
        let labels = declared.map(|label| RowLabels {
            label,
            scenario: vec![String::new(); rows],
            excluded: vec![false; rows],
        });
        Ok(FeatureTable { contract: contract.clone(), table, warm_up, labels })
    }

    /// Scores rows, starting from the state after training, each with the model of its entity's
    /// shard.
    pub fn judge(&self, rows: &FeatureTable) -> Result<Vec<EntityScore>, StepError> {
        let mut judged: Vec<(usize, EntityScore)> = Vec::with_capacity(rows.rows());
        for (shard, model) in &self.parts {
            let Some(shard) = shard else { return model::judge(model, rows) };
            let is_held: Vec<bool> =
                rows.table.entities.iter().map(|entity| shard.holds(entity)).collect();
            let of_entity = |row: &usize| is_held[rows.table.entity[*row] as usize];
            let own: Vec<usize> = (0..rows.rows()).filter(of_entity).collect();
            if !own.is_empty() {
                let scores = model::judge(model, &rows.select(&own))?;
                judged.extend(own.into_iter().zip(scores));
            }
        }
        judged.sort_by_key(|(row, _)| *row);
        Ok(judged.into_iter().map(|(_, score)| score).collect())
    }

    /// Scores the rows of several requests in one call, with the same results as [`Served::judge`]
    /// for each.
    pub fn judge_apart(
        &self,
        requests: &[&FeatureTable],
    ) -> Vec<Result<Vec<EntityScore>, StepError>> {
        match self.parts.as_slice() {
            [(None, model)] => model::judge_apart(model, requests),
            _ => requests.iter().map(|rows| self.judge(rows)).collect(),
        }
    }

    fn is_classify(&self) -> bool {
        self.manifest.classify.is_some()
    }

    /// Writes verdicts as outputs.
    pub fn describe(&self, scores: &[EntityScore]) -> Vec<Output> {
        if self.is_classify() { classes(scores) } else { anomalies(&self.manifest, scores) }
    }
}

/// The inputs of each row besides its features.
#[derive(Debug)]
struct Keys {
    times: Option<Vec<f64>>,
    entities: Option<Vec<String>>,
    declared: Option<Vec<String>>,
}

fn output(name: impl Into<String>, datatype: &'static str, data: Flat) -> Output {
    Output { name: name.into(), datatype, data }
}

fn numbers(scores: &[EntityScore], of: impl Fn(&EntityScore) -> f64) -> Flat {
    Flat::Numbers(scores.iter().map(of).collect())
}

fn flags(scores: &[EntityScore], of: impl Fn(&EntityScore) -> bool) -> Flat {
    numbers(scores, |score| f64::from(u8::from(of(score))))
}

fn texts(scores: &[EntityScore], of: impl Fn(&EntityScore) -> String) -> Flat {
    Flat::Texts(scores.iter().map(of).collect())
}

fn reasons(score: &EntityScore) -> String {
    serde_json::to_string(&score.causes).unwrap_or_else(|_| "[]".to_owned())
}

fn anomalies(manifest: &BundleManifest, scores: &[EntityScore]) -> Vec<Output> {
    let mut outputs = vec![
        output("score", "FP64", numbers(scores, score_of)),
        output("threshold", "FP64", numbers(scores, |score| threshold_of(manifest, score))),
        output("alarm", "BOOL", flags(scores, |score| score.verdict == Verdict::Anomalous)),
        output("completeness", "FP64", numbers(scores, |score| score.completeness)),
        output("reasons", "BYTES", texts(scores, reasons)),
    ];
    for member in &manifest.members {
        let decision = numbers(scores, |score| {
            let found = score.members.iter().find(|other| other.kind == member.kind);
            found.map_or(f64::NAN, |found| found.decision)
        });
        outputs.push(output(format!("member:{}", member.kind), "FP64", decision));
    }
    outputs
}

fn classes(scores: &[EntityScore]) -> Vec<Output> {
    let of = |said: fn(&EntityClass) -> &str| {
        texts(scores, |score| score.class.as_ref().map_or("", said).to_owned())
    };
    let probability =
        |score: &EntityScore| score.class.as_ref().map_or(f64::NAN, |class| class.probability);
    vec![
        output("class", "BYTES", of(EntityClass::name)),
        output("nearest", "BYTES", of(|class| &class.nearest)),
        output("probability", "FP64", numbers(scores, probability)),
        output("mismatch", "BOOL", flags(scores, EntityScore::is_mismatch)),
        output("completeness", "FP64", numbers(scores, |score| score.completeness)),
        output("reasons", "BYTES", texts(scores, reasons)),
    ]
}

/// Returns the combined score, or the sum of the votes if the bundle combines models by votes.
fn score_of(score: &EntityScore) -> f64 {
    match (score.verdict, score.combined) {
        (Verdict::NoData, _) => f64::NAN,
        (_, Some(combined)) => combined.score,
        (_, None) => score.votes.to_string().parse().unwrap_or(f64::NAN),
    }
}

fn threshold_of(manifest: &BundleManifest, score: &EntityScore) -> f64 {
    let votes = || manifest.vote.alarm_at.to_string().parse().unwrap_or(f64::NAN);
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
