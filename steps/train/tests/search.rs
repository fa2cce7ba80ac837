//! Searches are deterministic, use only the validation part, and improve the result.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use contract::step::Common;
use contract::steps::TrainArgs;
use contract::{ErrorKind, Outcome, StepError, Timestamp, artifact, read_json};
use frames::{Dataset, FeatureTable, RowLabels, Table};
use serde_json::Value;
use support::contract;
use tempfile::TempDir;

/// Rows of three waves and noise that follows one of them; anomalous rows break that relation.
fn part(first: usize, rows: usize, labelled: bool) -> FeatureTable {
    let names = ["one", "two", "noise"];
    let contract = contract(&names, "zero");
    let mut table = Table::empty(names);
    let entity = table.entity_index("");
    let odd = |row: usize| labelled && row % 50 < 5;
    for row in 0..rows {
        let at = (first + row) as f64;
        let noise = ((first + row) * 7919 % 1009) as f64 / 1009.0;
        let wave = (at * 0.31).sin();
        let other = if odd(row) { -wave } else { wave };
        table.times.push(Timestamp::from_ms(i64::try_from(first + row).unwrap() * 60_000));
        table.entity.push(entity);
        for (column, value) in table.columns.iter_mut().zip([wave, other + 0.1 * noise, noise]) {
            column.values.push(value);
        }
    }
    let labels = labelled.then(|| RowLabels {
        label: (0..rows).map(|row| if odd(row) { "broken" } else { "normal" }.to_owned()).collect(),
        scenario: vec![String::new(); rows],
        excluded: vec![false; rows],
    });
    FeatureTable { contract, table, warm_up: vec![false; rows], labels }
}

struct Place(TempDir);

impl Place {
    fn new(labelled: bool, search: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dataset = Dataset {
            train: part(0, 2000, false),
            validation: part(2000, 500, labelled),
            test: part(2500, 0, false),
        };
        fs_err::create_dir(folder.path().join("dataset")).unwrap();
        dataset.write(&folder.path().join("dataset")).unwrap();
        let document = format!(
            "format: 1\nname: search\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, \
             queries: [{{name: load, promql: node_load1}}]}}}}\nfeatures: [raw]\n\
             models:\n  mahalanobis: {{ridge: 100, search: {search}}}\n  isolation_forest: {{trees: 20, search: {search}}}\n\
             vote: {{combine: mean, threshold: {{quantile: {{share: 0.99}}}}}}\n"
        );
        fs_err::write(folder.path().join("document.yaml"), document).unwrap();
        Self(folder)
    }

    fn train(&self, model: &str, threads: u16) -> Result<Outcome, StepError> {
        let args = TrainArgs {
            document: self.0.path().join("document.yaml"),
            dataset: self.0.path().join("dataset"),
            model: model.to_owned(),
            seed: 7,
            candidate: self.candidate(model, threads),
            common: Common { threads, ..Common::default() },
        };
        let mut outcome = Outcome::start("train");
        train::run(&args, &mut outcome).map(|()| outcome)
    }

    fn candidate(&self, model: &str, threads: u16) -> std::path::PathBuf {
        self.0.path().join(format!("{model}-{threads}"))
    }

    fn trials(&self, model: &str) -> Vec<Value> {
        read_json(&self.candidate(model, 1).join("trials.json")).unwrap()
    }
}

#[test]
fn a_search_makes_the_same_candidate_on_any_number_of_threads() {
    for labelled in [false, true] {
        let place = Place::new(labelled, "{trials: 10}");
        for model in ["mahalanobis", "isolation_forest"] {
            let bytes = [1, 2, 3].map(|threads| {
                place.train(model, threads).unwrap();
                artifact::sha256_path(&place.candidate(model, threads)).unwrap()
            });
            assert!(bytes.iter().all(|hash| *hash == bytes[0]), "{model} {labelled}");
        }
    }
}

#[test]
fn the_best_trial_is_kept_and_the_documents_own_is_never_dropped() {
    let place = Place::new(true, "{trials: 10}");
    let outcome = place.train("mahalanobis", 1).unwrap();
    let trials = place.trials("mahalanobis");
    assert_eq!((trials.len(), outcome.counts["trials"]), (10, 10));
    let of = |name: &str| trials.iter().map(|trial| trial[name].clone()).collect::<Vec<_>>();
    assert!(of("metric").iter().all(|metric| *metric == "average_precision"));
    assert_eq!(of("rows")[0], 2000, "the document's own is in every round");
    let value = |trial: &Value| trial["value"].as_f64().unwrap();
    let kept: Vec<&Value> = trials.iter().filter(|trial| trial["kept"] == true).collect();
    let last = trials.iter().filter(|trial| trial["rows"] == 2000);
    assert_eq!(kept.len(), 1);
    assert!(last.clone().all(|trial| value(trial) <= value(kept[0])));
    assert!(last.count() < 10, "most trials end early");
    // With a ridge of 100 the distance ignores the relations between columns.
    assert!(value(kept[0]) > value(&trials[0]) + 0.1, "{trials:?}");
    let manifest: Value =
        read_json(&place.candidate("mahalanobis", 1).join("candidate.json")).unwrap();
    assert_eq!(manifest["parameters"]["ridge"], kept[0]["parameters"]["ridge"]);
    assert!(outcome.details["trials"][0]["seconds"].is_number());
}

#[test]
fn without_labels_injected_faults_rank_the_trials() {
    let place = Place::new(false, "{trials: 10}");
    place.train("mahalanobis", 1).unwrap();
    let trials = place.trials("mahalanobis");
    assert_eq!(trials[0]["metric"], "injected_faults");
    let kept = trials.iter().find(|trial| trial["kept"] == true).unwrap();
    assert!(kept["parameters"]["ridge"].as_f64().unwrap() < 2.0, "{kept}");
}

#[test]
fn impossible_search_is_reported() {
    let place = Place::new(false, "{trials: 10, metric: average_precision}");
    let error = place.train("mahalanobis", 1).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.message.contains("needs labelled anomalies"), "{}", error.message);
    let error = Place::new(false, "{trials: 0}").train("mahalanobis", 1).unwrap_err();
    assert!(error.message.contains("trials"), "{}", error.message);
}
