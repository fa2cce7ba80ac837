//! Bundles: made, written, read, refused, scored.

use std::path::Path;

use crate::support::{
    all_detectors, bundle, candidate, detectors, labelled_bundle, mean, normal, recipe, table,
    votes,
};
use contract::bundle::BundleManifest;
use contract::rules::BestBy;
use contract::score::Verdict;
use contract::{ErrorKind, artifact};
use models::{Bundle, Candidate, ScoreOptions, ScoreState, Tensors};
use proptest::prelude::*;

const OPTIONS: ScoreOptions = ScoreOptions { min_completeness: 0.5, threads: 2 };

#[test]
fn a_bundle_finds_the_fault_and_names_its_feature() {
    let table = table(300, 250);
    for vote in [votes(), mean()] {
        let bundle = bundle(vote).unwrap();
        let scores = bundle.score(&table, &mut ScoreState::default(), OPTIONS).unwrap();
        assert_eq!(scores.len(), 300);
        let alarms = scores.iter().filter(|score| score.verdict == Verdict::Anomalous).count();
        assert!((45..60).contains(&alarms), "{alarms} alarms");
        let fault = &scores[260];
        assert_eq!(fault.verdict, Verdict::Anomalous);
        assert_eq!(fault.causes[0].feature, "memory_bytes");
        assert_eq!((fault.causes[0].unit.as_str(), fault.causes.len()), ("bytes", 3));
        assert!(fault.causes[0].value.unwrap() > fault.causes[0].usual_high);
        assert!(fault.members.iter().all(|member| (0.0..=1.0).contains(&member.calibrated)));
        assert!(scores[10].causes.is_empty(), "a normal window needs no causes");
    }
}

#[test]
fn a_higher_decision_never_calibrates_lower() {
    for bundle in [bundle(votes()).unwrap(), labelled_bundle().unwrap()] {
        let scores = bundle.score(&table(300, 200), &mut ScoreState::default(), OPTIONS).unwrap();
        for member in 0..scores[0].members.len() {
            let mut pairs: Vec<(f64, f64)> = scores
                .iter()
                .map(|score| &score.members[member])
                .map(|member| (member.decision, member.calibrated))
                .collect();
            pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let kind = &scores[0].members[member].kind;
            assert!(pairs.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{kind}");
            assert!(pairs[0].1 < pairs[299].1, "{kind}: what is far off is unusual");
        }
    }
}

#[test]
fn a_row_with_too_many_gaps_or_in_warm_up_is_no_data_and_teaches_nothing() {
    let bundle = bundle(mean()).unwrap();
    let mut with_gaps = table(120, 120);
    for column in &mut with_gaps.table.columns[..2] {
        column.values[50] = f64::NAN;
    }
    with_gaps.table.columns[0].values[60] = f64::INFINITY;
    with_gaps.warm_up[0] = true;
    let scores = bundle.score(&with_gaps, &mut ScoreState::default(), OPTIONS).unwrap();
    for row in [0, 50] {
        assert_eq!(scores[row].verdict, Verdict::NoData);
        assert!(scores[row].members.is_empty() && scores[row].combined.is_none());
    }
    assert!((scores[50].completeness - 1.0 / 3.0).abs() < 1e-12);
    assert_ne!(scores[60].verdict, Verdict::NoData, "two of three are enough");
}

#[test]
fn column_that_vanishes_is_named_and_alarms_nothing_in_bundles_that_judge_row_by_row() {
    for vote in [votes(), mean()] {
        let bundle = bundle(vote).unwrap();
        let mut rows = table(120, 120);
        rows.table.columns[2].values[20..].fill(f64::NAN);
        let mut state = ScoreState::default();
        // In two pieces: what is missing is remembered from tick to tick.
        let first = rows.select(&(0..30).collect::<Vec<_>>());
        let mut scores = bundle.score(&first, &mut state, OPTIONS).unwrap();
        let mut tensors = Tensors::default();
        state.write("live.", &mut tensors).unwrap();
        let mut state = ScoreState::read("live.", &mut tensors).unwrap();
        let later = rows.select(&(30..120).collect::<Vec<_>>());
        scores.extend(bundle.score(&later, &mut state, OPTIONS).unwrap());
        for (row, score) in scores.iter().enumerate() {
            let expected: &[&str] = if row >= 35 { &["requests_per_second"] } else { &[] };
            assert_eq!(score.missing, expected, "row {row}");
            assert!(score.causes.iter().all(|cause| cause.value.is_some()), "row {row}");
        }
        let alarms = scores[20..].iter().filter(|it| it.verdict == Verdict::Anomalous).count();
        assert!(alarms <= 10, "{alarms} of 100 windows");
    }
}

#[test]
fn scoring_in_pieces_from_the_state_is_scoring_in_one_go() {
    let whole = table(300, 280);
    for vote in [votes(), mean()] {
        let bundle = bundle(vote).unwrap();
        let mut once = ScoreState::default();
        let expected = bundle.score(&whole, &mut once, OPTIONS).unwrap();
        let mut state = ScoreState::default();
        let mut found = Vec::new();
        for start in (0..300).step_by(37) {
            let rows: Vec<usize> = (start..(start + 37).min(300)).collect();
            found.extend(bundle.score(&whole.select(&rows), &mut state, OPTIONS).unwrap());
            let mut tensors = Tensors::default();
            state.write("live.", &mut tensors).unwrap();
            let bytes = tensors.encode("").unwrap();
            let mut tensors = Tensors::decode("", &bytes).unwrap();
            state = ScoreState::read("live.", &mut tensors).unwrap();
            tensors.finish().unwrap();
        }
        assert_eq!(found, expected);
        assert_eq!(state, once);
    }
}

#[test]
fn tables_scored_in_one_call_get_the_scores_of_each_alone_and_a_refused_one_is_refused_alone() {
    let mut gaps = table(40, 30);
    gaps.table.columns.iter_mut().for_each(|column| column.values[3] = f64::NAN);
    gaps.warm_up[0] = true;
    let mut other = table(10, 10);
    other.contract.columns[1].unit = "kibibytes".into();
    let tables = [table(60, 50), gaps, other, table(0, 0), table(1, 0)];
    let tables: Vec<&frames::FeatureTable> = tables.iter().collect();
    for bundle in [bundle(votes()), bundle(mean()), labelled_bundle()].map(Result::unwrap) {
        let found = bundle.score_apart(&tables, OPTIONS);
        assert_eq!(found.len(), tables.len());
        for (table, found) in tables.iter().zip(&found) {
            let alone = bundle.score(table, &mut ScoreState::default(), OPTIONS);
            // Rows without data have no numbers, and those equal nothing: their words do.
            assert_eq!(format!("{found:?}"), format!("{alone:?}"));
        }
        let refused = found.iter().filter(|it| it.is_err()).count();
        assert_eq!(refused, 1);
    }
    let none = bundle(votes()).unwrap().score_apart(&[], OPTIONS);
    assert!(none.is_empty());
}

#[test]
fn the_state_of_another_bundle_is_not_used() {
    let (one, other) = (bundle(mean()).unwrap(), bundle(votes()).unwrap());
    let table = table(100, 100);
    let mut state = ScoreState::default();
    one.score(&table, &mut state, OPTIONS).unwrap();
    let expected = other.score(&table, &mut ScoreState::default(), OPTIONS).unwrap();
    assert_eq!(other.score(&table, &mut state, OPTIONS).unwrap(), expected);
}

#[test]
fn features_of_another_contract_are_refused_by_their_first_difference() {
    let bundle = bundle(votes()).unwrap();
    let mut other = table(10, 10);
    other.contract.columns[1].unit = "megabytes".to_owned();
    let error = bundle.score(&other, &mut ScoreState::default(), OPTIONS).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("`memory_bytes` is in `megabytes`"), "{error}");
}

#[test]
fn figures_are_measured_with_and_without_labels() {
    let bundle = bundle(votes()).unwrap();
    let labelled = table(300, 250);
    let figures = bundle.measure(&labelled, &ScoreState::default(), &normal(), 2).unwrap();
    assert_eq!(figures["events"], 1.0);
    assert_eq!(figures["events_found"], 1.0);
    assert_eq!(figures["detection_delay_seconds_mean"], 60.0, "the first window finds it");
    assert!(figures["recall"] > 0.9 && figures["f1"] > 0.9, "{figures:?}");
    assert!(figures["roc_auc"] > 0.99 && figures["average_precision"] > 0.9, "{figures:?}");
    assert!(figures["false_alarm_ratio"] < 0.05, "{figures:?}");
    let mut unlabelled = labelled.clone();
    unlabelled.labels = None;
    let figures = bundle.measure(&unlabelled, &ScoreState::default(), &normal(), 1).unwrap();
    assert_eq!(figures.keys().collect::<Vec<_>>(), ["inlier_ratio", "rows"]);
    assert!((figures["inlier_ratio"] - 250.0 / 300.0).abs() < 0.03);
    assert_eq!(
        bundle.measure(&table(0, 0), &ScoreState::default(), &normal(), 1).unwrap()["rows"],
        0.0
    );
}

#[test]
fn the_delay_counts_from_the_start_of_the_scenario_and_not_from_the_end_of_its_guard_band() {
    let mut table = table(300, 250);
    let labels = table.labels.as_mut().unwrap();
    // A scenario from minute 247 on, with two minutes of guard on both sides of its start.
    for row in 246..250 {
        labels.label[row] = "memory".to_owned();
        labels.scenario[row] = "memory-1".to_owned();
        labels.excluded[row] = true;
    }
    let measured =
        bundle(votes()).unwrap().measure(&table, &ScoreState::default(), &normal(), 1).unwrap();
    assert_eq!(measured["detection_delay_seconds_mean"], 180.0, "it shows in minute 250");
    assert_eq!((measured["rows"], measured["events"]), (296.0, 1.0));
}

#[test]
fn rows_of_a_guard_band_count_neither_way() {
    let bundle = bundle(votes()).unwrap();
    let mut part = table(300, 250);
    let labels = part.labels.as_mut().unwrap();
    for row in 250..300 {
        labels.excluded[row] = true;
    }
    let figures = bundle.measure(&part, &ScoreState::default(), &normal(), 1).unwrap();
    assert_eq!(figures["rows"], 250.0);
    assert!(!figures.contains_key("recall"), "nothing anomalous is left: {figures:?}");
}

#[test]
fn a_bundle_folder_comes_back_and_the_same_parts_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let before = bundle(votes()).unwrap();
    before.write(&path).unwrap();
    assert_eq!(before.to_files().unwrap(), bundle(votes()).unwrap().to_files().unwrap());
    let after = Bundle::read(&path).unwrap();
    assert_eq!(after.to_files().unwrap(), before.to_files().unwrap());
    let score = |bundle: &Bundle| {
        bundle.score(&table(300, 250), &mut ScoreState::default(), OPTIONS).unwrap()
    };
    assert_eq!(score(&after), score(&before));
}

#[test]
fn invalid_bundle_parts_are_refused_with_a_reason() {
    let candidates = || -> Vec<_> {
        detectors().unwrap().iter().map(|detector| candidate(&**detector).unwrap()).collect()
    };
    let recipe = |vote| models::Recipe {
        pipeline: "small".to_owned(),
        vote,
        normal: normal(),
        provenance: bundle(votes()).unwrap().manifest().provenance.clone(),
        threads: 1,
    };
    let mut high = votes();
    high.alarm_at = "5.1".parse().unwrap();
    let mut doubled = candidates();
    doubled.push(candidate(&*detectors().unwrap()[0]).unwrap());
    let cases = [
        ("needs at least one candidate", Vec::new(), table(200, 200), votes()),
        ("two candidates are `autoencoder`", doubled, table(200, 200), votes()),
        ("no vote could raise an alarm", candidates(), table(200, 200), high),
        ("has 19 normal rows", candidates(), table(200, 19), votes()),
    ];
    for (words, candidates, calibration, vote) in cases {
        let error = models::assemble(candidates, &calibration, recipe(vote)).unwrap_err();
        assert!(error.message.contains(words), "{error}");
    }
}

/// The folder was written by the first version of the format and is never written again.
#[test]
fn a_bundle_of_format_1_is_read_and_scores_as_it_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/bundle-v1");
    let old = Bundle::read(&folder.join("bundle")).unwrap();
    let bytes = fs_err::read(folder.join("scores.json")).unwrap();
    let expected: Vec<contract::score::EntityScore> = serde_json::from_slice(&bytes).unwrap();
    let table = table(60, 50);
    let found = old.score(&table, &mut ScoreState::default(), OPTIONS).unwrap();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!((found.verdict, found.votes), (expected.verdict, expected.votes));
        for (found, expected) in found.members.iter().zip(&expected.members) {
            assert!(
                (found.decision - expected.decision).abs()
                    < 1e-9 * expected.decision.abs().max(1.0)
            );
        }
    }
    assert_eq!(found.len(), expected.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Set for detectors and for class trees with a second stage; every other one under a manifest
    /// that vouches for what was mangled.
    #[test]
    fn a_mangled_bundle_is_refused_or_scores_finitely(
        labelled: bool,
        vouched: bool,
        file in 0..7_usize,
        changes in prop::collection::vec((0.0..1.0_f64, any::<u8>()), 1..5),
        action in 0..8_u8,
    ) {
        type Files = std::collections::BTreeMap<String, Vec<u8>>;
        thread_local! {
            static FILES: [Files; 2] = [bundle(votes()), labelled_bundle()]
                .map(|bundle| bundle.unwrap().to_files().unwrap());
        }
        let original = FILES.with(|files| files[usize::from(labelled)].clone());
        let mut files = original.clone();
        let name = files.keys().nth(file % files.len()).unwrap().clone();
        let bytes = files.get_mut(&name).unwrap();
        match action {
            0 => drop(files.remove(&name)),
            1 => bytes.truncate(models::reference::whole(changes[0].0 * bytes.len() as f64)),
            _ => for (place, byte) in &changes {
                let at = models::reference::whole(place * bytes.len() as f64);
                bytes[at] = *byte;
            },
        }
        if let Some(bytes) = files.get(&name).filter(|_| vouched && name != BundleManifest::FILE) {
            let [before, after] = [&original[&name], bytes].map(|bytes| artifact::sha256(bytes));
            let manifest = String::from_utf8(files[BundleManifest::FILE].clone()).unwrap();
            let manifest = manifest.replace(&before, &after);
            files.insert(BundleManifest::FILE.to_owned(), manifest.into_bytes());
        }
        match Bundle::from_files(&files) {
            Err(error) => prop_assert_eq!(error.kind, ErrorKind::Refused, "{}", error),
            Ok(bundle) => {
                // The manifest is the one file that no hash covers: another name, number or seed
                // there may still be a bundle.
                let named = name == BundleManifest::FILE || vouched;
                prop_assert!(named || files == original, "{}", name);
                let table = table(40, 30);
                let scored = bundle.score(&table, &mut ScoreState::default(), OPTIONS);
                for score in scored.iter().flatten() {
                    let decisions = score.members.iter().map(|member| member.decision);
                    prop_assert!(decisions.clone().all(f64::is_finite), "{}", name);
                    let said = score.diagnosis.as_ref().map_or(0.0, |said| said.probability);
                    prop_assert!((0.0..=1.0).contains(&said), "{}: {}", name, said);
                }
            }
        }
    }
}

#[test]
fn candidates_are_ranked_by_labelled_rows_and_not_without_any() {
    let detectors = all_detectors().unwrap();
    let candidates: Vec<Candidate> =
        detectors.iter().map(|detector| candidate(&**detector).unwrap()).collect();
    for by in [BestBy::AveragePrecision, BestBy::RocAuc] {
        let rank = |from: usize| {
            models::rank(&candidates, &table(200, from), &recipe(votes()), by).unwrap()
        };
        let figures = rank(150);
        assert_eq!(figures.len(), candidates.len());
        assert!(figures["decision_tree"] > 0.999, "{figures:?}");
        assert!(figures.values().all(|figure| (0.0..=1.0).contains(figure)), "{figures:?}");
        assert!(rank(200).is_empty());
    }
}
