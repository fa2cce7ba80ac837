//! Which version becomes live, and the reported reason.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::path::Path;

use contract::deployment::Deployment;
use contract::steps::{CollectArgs, DeployArgs};
use contract::{ErrorKind, Outcome, ShardNumber, StepError, read_json, write_json};
use fs_err as fs;
use store::{AliasRecord, Change, Registry};
use support::{Pipeline, minute};

const KEEP: &str = "{max_false_alarm_ratio: 0.1, max_regression: 0.02}";
const STOP: &str = "{max_regression: 0.02, on_worse: stop}";

fn run(pipeline: &Pipeline, bundle: &str, now: i64) -> (Result<(), StepError>, Outcome) {
    let mut outcome = Outcome::start("deploy");
    let result = deploy::run(&pipeline.args(bundle, now), &mut outcome);
    (result, outcome)
}

fn deployed(pipeline: &Pipeline, bundle: &str, now: i64) -> Deployment {
    run(pipeline, bundle, now).0.unwrap();
    written(pipeline)
}

fn written(pipeline: &Pipeline) -> Deployment {
    read_json(&pipeline.folder().join("deployment.json")).unwrap()
}

fn live(pipeline: &Pipeline) -> Option<AliasRecord> {
    let store = pipeline.store().unwrap();
    Registry::new(&store, "cluster").alias("live").unwrap()
}

fn versions(pipeline: &Pipeline) -> Vec<String> {
    let store = pipeline.store().unwrap();
    Registry::new(&store, "cluster").versions().unwrap()
}

#[test]
fn first_version_is_promoted_if_its_false_alarm_ratio_is_low_enough() {
    let pipeline = Pipeline::new(false, KEEP).unwrap();
    pipeline.bundle("one", 1.0).unwrap();
    let deployment = deployed(&pipeline, "one", 300);
    assert!(deployment.promoted && deployment.live);
    assert_eq!(
        deployment.why,
        "it is the first; it calls 1 % of normal validation rows anomalous, 10 % are allowed"
    );
    let record = live(&pipeline).unwrap();
    assert_eq!(
        (record.version, record.since, record.by.as_str()),
        (deployment.version, minute(300), "deploy")
    );
    assert_eq!(record.why, deployment.why);
}

#[test]
fn first_version_with_too_many_false_alarms_is_registered_and_ends_the_run() {
    for labelled in [false, true] {
        let pipeline = Pipeline::new(labelled, "{max_false_alarm_ratio: 0.001}").unwrap();
        pipeline.bundle("one", 1.0).unwrap();
        let error = run(&pipeline, "one", 300).0.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused, "nothing is scored, so it is no success");
        let deployment = written(&pipeline);
        assert!(!deployment.promoted && !deployment.live);
        assert!(error.message.contains("only 0.1 % are allowed"), "{error:?}");
        assert!(error.message.contains("no model is live yet, and it calls"), "{error:?}");
        let hint = error.hint.unwrap();
        let by_hand = format!("lynceus models promote cluster {}", deployment.version);
        assert!(hint.contains("`gate.max_false_alarm_ratio`") && hint.contains(&by_hand), "{hint}");
        assert_eq!(live(&pipeline), None);
        assert_eq!(versions(&pipeline), [deployment.version]);
    }
}

#[test]
fn a_better_challenger_takes_over_and_a_worse_one_does_not() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    pipeline.bundle("blind", 50.0).unwrap();
    pipeline.bundle("sharp", 1.0).unwrap();
    pipeline.bundle("blinder", 90.0).unwrap();
    let first = deployed(&pipeline, "blind", 300);
    let second = deployed(&pipeline, "sharp", 301);
    assert!(second.promoted, "{}", second.why);
    assert_eq!(second.champion, Some(first.version));
    let comparison = second.comparison.unwrap();
    assert_eq!(
        (comparison.part.as_str(), comparison.figure.as_str()),
        ("test", "average_precision")
    );
    assert!(comparison.challenger > comparison.champion, "{comparison:?}");
    assert_eq!(comparison.challenger, second.figures["test"].get("average_precision").copied());

    let (result, outcome) = run(&pipeline, "blinder", 302);
    result.unwrap();
    let third = written(&pipeline);
    assert!(!third.promoted && !third.live);
    assert!(third.why.contains("more than 0.02 below the champion's"), "{}", third.why);
    assert!(outcome.warnings[0].contains(&third.why));
    assert_eq!(live(&pipeline).unwrap().version, second.version);
    assert_eq!(versions(&pipeline).len(), 3, "it is kept");
}

#[test]
fn worse_challenger_with_on_worse_stop_is_registered_and_refused() {
    let pipeline = Pipeline::new(true, STOP).unwrap();
    pipeline.bundle("sharp", 1.0).unwrap();
    pipeline.bundle("blind", 50.0).unwrap();
    let first = deployed(&pipeline, "sharp", 300);
    for _ in 0..2 {
        let error = run(&pipeline, "blind", 301).0.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.contains(&written(&pipeline).version), "{error}");
        assert!(error.hint.is_some());
        assert_eq!(live(&pipeline).unwrap().version, first.version);
        assert_eq!(versions(&pipeline).len(), 2);
    }
}

#[test]
fn without_labels_the_share_of_inliers_decides() {
    let pipeline = Pipeline::new(false, KEEP).unwrap();
    pipeline.bundle("one", 1.0).unwrap();
    pipeline.bundle("two", 50.0).unwrap();
    deployed(&pipeline, "one", 300);
    let second = deployed(&pipeline, "two", 301);
    let comparison = second.comparison.unwrap();
    assert_eq!((comparison.part.as_str(), comparison.figure.as_str()), ("test", "inlier_ratio"));
    assert!(second.promoted, "it calls fewer rows anomalous: {}", second.why);
}

#[test]
fn a_version_that_is_live_already_changes_nothing() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    pipeline.bundle("one", 1.0).unwrap();
    deployed(&pipeline, "one", 300);
    let before = live(&pipeline);
    let again = deployed(&pipeline, "one", 301);
    assert!(again.live && !again.promoted);
    assert_eq!(again.why, "it is live already, since 2026-11-21T13:00:00Z");
    assert_eq!(live(&pipeline), before);
    let store = pipeline.store().unwrap();
    assert_eq!(Registry::new(&store, "cluster").history("live").unwrap().len(), 1);
}

#[test]
fn champion_of_another_contract_is_not_compared_and_the_reason_is_given() {
    let mut pipeline = Pipeline::new(true, KEEP).unwrap();
    pipeline.bundle("old", 1.0).unwrap();
    let first = deployed(&pipeline, "old", 300);
    pipeline.change_contract().unwrap();
    pipeline.bundle("new", 1.0).unwrap();
    let (result, outcome) = run(&pipeline, "new", 301);
    result.unwrap();
    let second = written(&pipeline);
    assert!(second.promoted);
    assert_eq!((second.comparison, second.champion), (None, Some(first.version)));
    for words in ["another feature contract", "column 2 is `load`, expected `cpu_busy_ratio`"] {
        assert!(second.why.contains(words), "{}", second.why);
        assert!(outcome.warnings[0].contains(words), "{:?}", outcome.warnings);
    }
}

#[test]
fn unusable_champion_does_not_stop_a_deployment() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    pipeline.bundle("one", 1.0).unwrap();
    pipeline.bundle("two", 1.1).unwrap();
    let first = deployed(&pipeline, "one", 300);
    let folder = pipeline.folder().join("store/models/cluster/versions").join(&first.version);
    fs::write(folder.join("z_score.safetensors"), b"broken").unwrap();
    let (result, outcome) = run(&pipeline, "two", 301);
    result.unwrap();
    assert!(written(&pipeline).promoted);
    assert!(outcome.warnings[0].contains("z_score.safetensors"), "{:?}", outcome.warnings);
}

#[test]
fn a_bundle_that_cannot_be_used_is_not_registered() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    let bundle = pipeline.bundle("one", 1.0).unwrap();
    fs::write(bundle.join("z_score.safetensors"), b"broken").unwrap();
    let error = run(&pipeline, "one", 300).0.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("z_score.safetensors"), "{error}");
    assert!(versions(&pipeline).is_empty());
    assert!(!pipeline.folder().join("deployment.json").exists());
}

#[test]
fn a_run_that_was_killed_after_it_promoted_writes_the_same_when_run_again() {
    let undisturbed = Pipeline::new(true, KEEP).unwrap();
    let killed = Pipeline::new(true, KEEP).unwrap();
    for pipeline in [&undisturbed, &killed] {
        pipeline.bundle("blind", 50.0).unwrap();
        pipeline.bundle("sharp", 1.0).unwrap();
    }
    let first = deployed(&undisturbed, "blind", 300);
    let second = deployed(&undisturbed, "sharp", 301);
    // This run is killed after the alias was changed and before `deployment.json` was written.
    for (bundle, now, expected) in [("blind", 300, &first), ("sharp", 301, &second)] {
        deployed(&killed, bundle, now);
        fs::remove_file(killed.folder().join("deployment.json")).unwrap();
        assert_eq!(&deployed(&killed, bundle, now), expected);
    }
}

#[test]
fn concurrent_alias_change_is_not_overwritten() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    for (name, blindness) in [("one", 1.0), ("two", 1.1), ("three", 1.2)] {
        pipeline.bundle(name, blindness).unwrap();
    }
    deployed(&pipeline, "one", 300);
    deployed(&pipeline, "two", 301);
    let store = pipeline.store().unwrap();
    let registry = Registry::new(&store, "cluster");
    let rolled_back = registry.rollback("live", minute(302), "ada", None).unwrap();
    assert_eq!(rolled_back.version, pipeline.version("one").unwrap());
    let stale = AliasRecord { etag: "stale".into(), ..rolled_back.clone() };
    let version = pipeline.version("two").unwrap();
    let change =
        Change { alias: "live", version: &version, now: minute(303), by: "deploy", why: "late" };
    assert_eq!(registry.promote(&change, Some(&stale)).unwrap_err().kind, ErrorKind::LostRace);
    assert_eq!(deployed(&pipeline, "three", 304).champion, Some(rolled_back.version));
}

/// The flags for bundles of two shards, which have the same data set here.
fn of_shards(pipeline: &Pipeline, bundles: [&str; 2], now: i64) -> DeployArgs {
    let args = bundles.map(|bundle| pipeline.args(bundle, now));
    DeployArgs {
        bundle: args.iter().flat_map(|args| args.bundle.clone()).collect(),
        dataset: args.iter().flat_map(|args| args.dataset.clone()).collect(),
        ..args[0].clone()
    }
}

fn deployed_shards(pipeline: &Pipeline, bundles: [&str; 2], now: i64) -> Deployment {
    let args = of_shards(pipeline, bundles, now);
    deploy::run(&args, &mut Outcome::start("deploy")).unwrap();
    written(pipeline)
}

#[test]
fn bundles_of_all_shards_are_one_version_with_one_decision() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    pipeline.bundle("sharp", 1.0).unwrap();
    pipeline.bundle("blind", 50.0).unwrap();
    let first = deployed_shards(&pipeline, ["sharp", "sharp"], 300);
    assert!(first.promoted, "{}", first.why);
    let rows = |deployment: &Deployment, part: &str| deployment.figures[part]["rows"];
    assert!((rows(&first, "validation") - 200.0).abs() < 1e-9, "{:?}", first.figures);

    // One of two shards is much worse, so the whole version is worse.
    let second = deployed_shards(&pipeline, ["sharp", "blind"], 301);
    assert!(!second.promoted && !second.live, "{}", second.why);
    assert_eq!(second.champion.as_deref(), Some(first.version.as_str()));
    let comparison = second.comparison.clone().unwrap();
    let alone = |bundle: &str| {
        let deployment = {
            let pipeline = Pipeline::new(true, KEEP).unwrap();
            pipeline.bundle("sharp", 1.0).unwrap();
            pipeline.bundle("blind", 50.0).unwrap();
            deployed(&pipeline, "sharp", 300);
            run(&pipeline, bundle, 301).0.unwrap();
            written(&pipeline)
        };
        deployment.comparison.and_then(|comparison| comparison.challenger)
    };
    let again = deployed_shards(&pipeline, ["blind", "sharp"], 302);
    let blind = alone("blind").unwrap();
    let challenger = comparison.challenger.unwrap();
    let champion = comparison.champion.unwrap();
    assert!((challenger - f64::midpoint(blind, champion)).abs() < 1e-9, "{blind} {comparison:?}");
    assert_eq!(again.comparison.unwrap().challenger, Some(challenger));
    assert_eq!(live(&pipeline).unwrap().version, first.version);
    assert_eq!(versions(&pipeline).len(), 3);
}

#[test]
fn version_of_another_number_of_shards_is_no_champion() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    pipeline.bundle("sharp", 1.0).unwrap();
    pipeline.bundle("sharper", 1.5).unwrap();
    let whole = deployed(&pipeline, "sharp", 300);
    let shards = deployed_shards(&pipeline, ["sharp", "sharper"], 301);
    assert!(shards.promoted && shards.why.contains("cannot be used"), "{}", shards.why);
    assert_eq!(shards.champion, Some(whole.version));
    assert_eq!(shards.comparison, None);
    let whole = deployed(&pipeline, "sharper", 302);
    assert!(whole.promoted && whole.why.contains("cannot be used"), "{}", whole.why);
}

#[test]
fn shards_without_a_data_set_each_are_refused() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    pipeline.bundle("sharp", 1.0).unwrap();
    let mut args = of_shards(&pipeline, ["sharp", "sharp"], 300);
    args.dataset.pop();
    let error = deploy::run(&args, &mut Outcome::start("deploy")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    assert!(error.message.contains("`--bundle` is given 2 times"), "{error}");
    assert!(versions(&pipeline).is_empty());
}

#[test]
fn bundles_of_a_run_are_those_that_its_list_of_shards_names() {
    let pipeline = Pipeline::new(true, KEEP).unwrap();
    pipeline.bundle("sharp", 1.0).unwrap();
    let run = pipeline.folder().join("run");
    let args = DeployArgs {
        bundle: Vec::new(),
        dataset: Vec::new(),
        run: Some(run.clone()),
        ..pipeline.args("sharp", 300)
    };
    for shard in ["shard-0", "shard-1"] {
        for (from, to) in [("sharp", "select/bundle"), ("dataset", "validate/dataset")] {
            copy(&pipeline.folder().join(from), &run.join(shard).join(to)).unwrap();
        }
    }
    let list = run.join(CollectArgs::NUMBERS);
    for wrong in [
        &[ShardNumber { index: 1, count: 2 }][..],
        &[ShardNumber { index: 1, count: 2 }, ShardNumber { index: 0, count: 2 }],
    ] {
        write_json(&list, &wrong).unwrap();
        let error = deploy::run(&args, &mut Outcome::start("deploy")).unwrap_err();
        assert!(error.message.contains("is not a list of all shards"), "{error}");
    }
    write_json(&list, &ShardNumber::all(2)).unwrap();
    deploy::run(&args, &mut Outcome::start("deploy")).unwrap();
    let of_run = written(&pipeline);
    let other = Pipeline::new(true, KEEP).unwrap();
    other.bundle("sharp", 1.0).unwrap();
    assert_eq!(of_run.version, deployed_shards(&other, ["sharp", "sharp"], 300).version);
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    for file in contract::artifact::files_below(from)? {
        let target = to.join(&file);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(from.join(&file), target)?;
    }
    Ok(())
}
