//! `validate`: the gate between features and training.
//!
//! Rows that are not warm-up are checked against the document's expectations, then split in order
//! of time into train, validation and test; statistics describe the train part. The report of the
//! expectations is always written; the data set is written only if the data is accepted.

mod column_checks;
mod columns;
mod expectations;
mod leakage;
mod row_checks;
mod rows;
mod split;
mod statistics;

use std::collections::BTreeMap;

use contract::steps::ValidateArgs;
use contract::validation::{Finding, Severity, Validation};
use contract::{Outcome, StepError, artifact, write_json};
use frames::{Dataset, FeatureTable};

use crate::rows::Rows;
use crate::split::{Part, Parts};

/// Name of the file in the data set that describes the train part's columns.
pub const STATISTICS_FILE: &str = "statistics.json";

/// Maximum number of failed expectations that the error describes in full.
const SHOWN_FAILURES: usize = 5;
/// Hint for an expectation that does not hold.
const EXPECTATION_HINT: &str = "correct the data, remove queries for which this source has none, or change `expectations` in the document";

/// Checks and splits a feature table.
///
/// Refuses (exit code 3) a table that cannot be read, that fails an expectation of severity
/// `error`, or that is too short to train on; an expectation on a column that is not there is a
/// usage error.
pub fn run(args: &ValidateArgs, outcome: &mut Outcome) -> Result<(), StepError> {
    let document = document::sections::Validate::read(&args.document)?;
    let rows = Rows::read(&args.features)?;
    let (table, warm_up_rows) = (&rows.table, rows.warm_up);
    outcome.count("rows", table.rows());
    outcome.count("warm_up_rows", warm_up_rows);

    let findings = expectations::check(&rows, &document, args.now)?;
    let parts = match document.classification() {
        Some(_) => split::whole(table),
        None => split::split(table, &document),
    };
    let too_few = parts.check(table, &document);
    let validation = Validation {
        format: Validation::FORMAT,
        passed: too_few.is_ok() && !findings.iter().any(Finding::refuses),
        rows: table.rows() as u64,
        warm_up_rows: warm_up_rows as u64,
        parts: parts.summaries(table),
        expectations: findings,
    };
    // The output of an earlier attempt must not be mistaken for that of this one.
    artifact::remove(&args.dataset).map_err(|e| StepError::writing(&args.dataset, &e))?;
    write_json(&args.validation, &validation)?;
    tell(&validation, &parts, outcome);
    if document.classification().is_none() && document.models.learn_from_labels() {
        warn_of_leaks(&*rows.whole()?, &document, outcome)?;
    }
    verdict(&validation)?;
    too_few?;
    let labelled = parts.labelled.as_deref().filter(|_| document.models.learn_from_labels());
    write_dataset(args, &rows, &parts, labelled)
}

/// Refuses the data if an expectation of severity `error` does not hold, naming each.
fn verdict(validation: &Validation) -> Result<(), StepError> {
    let failed: Vec<String> =
        validation.expectations.iter().filter(|f| f.refuses()).map(ToString::to_string).collect();
    let shown = failed.iter().take(SHOWN_FAILURES).cloned().collect::<Vec<_>>().join("; ");
    let more = match failed.len().saturating_sub(SHOWN_FAILURES) {
        0 => String::new(),
        more => format!("; and {more} more, which `validation.json` lists"),
    };
    let error = match failed.len() {
        0 => return Ok(()),
        1 => StepError::refused(format!("an expectation does not hold: {}", failed[0]))
            .hint(EXPECTATION_HINT),
        number => StepError::refused(format!(
            "{number} of {} expectations do not hold: {shown}{more}",
            validation.expectations.len()
        ))
        .hint(EXPECTATION_HINT),
    };
    Err(error)
}
/// Records the failed expectations of severity `warning`, and how the rows were split.
fn tell(validation: &Validation, parts: &Parts, outcome: &mut Outcome) {
    let failed = validation.expectations.iter().filter(|finding| !finding.passed);
    outcome.count("expectations", validation.expectations.len());
    outcome.count("expectations_failed", failed.clone().count());
    for finding in failed.filter(|finding| finding.severity == Severity::Warn) {
        outcome.warn(finding.to_string());
    }
    for part in Part::ALL {
        outcome.count(&format!("{}_rows", part.name()), parts.rows(part).len());
    }
    outcome.count("gap_rows", parts.gap_rows);
    outcome.count("train_left_out_rows", parts.left_out_rows);
    if parts.left_out_rows > 0 {
        let note = format!(
            "{} rows of scenarios and guard bands are left out: models learn what is normal",
            parts.left_out_rows
        );
        outcome.details.insert("train".to_owned(), note.into());
    }
}

/// Warns about label leakage.
fn warn_of_leaks(
    table: &FeatureTable,
    document: &document::sections::Validate,
    outcome: &mut Outcome,
) -> Result<(), StepError> {
    let labels = &document.labels;
    let leaks = leakage::check(table, &labels.normal, labels.scenarios.is_none());
    leaks.iter().for_each(|leak| outcome.warn(leak.sentence()));
    let figures: BTreeMap<&str, f64> =
        leaks.iter().map(|leak| (leak.what.as_str(), leak.balanced_accuracy)).collect();
    outcome.detail("leakage", &figures)
}

fn write_dataset(
    args: &ValidateArgs,
    rows: &Rows,
    parts: &Parts,
    labelled: Option<&[usize]>,
) -> Result<(), StepError> {
    let statistics = statistics::describe(rows, parts.rows(Part::Train))?;
    artifact::write_folder(&args.dataset, |folder| {
        for (file, part) in Dataset::FILES.iter().zip(Part::ALL) {
            rows.write(parts.rows(part), &folder.join(file))?;
        }
        if let Some(labelled) = labelled {
            rows.write(labelled, &folder.join(Dataset::LABELLED_FILE))?;
        }
        write_json(&folder.join(STATISTICS_FILE), &statistics)
    })
}
