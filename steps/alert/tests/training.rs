//! Messages about trainings.
#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use contract::{Outcome, StepError};
use support::{FILE, Pipeline, minute, outcomes};

const AT_ONCE: &str = "  for: 1\n  resolve_after: 1\n  cool_down: 0s\n";

#[test]
fn training_is_notified_once_and_only_if_enabled() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    let refusal = StepError::refused("its average precision on test is too low");
    let trainings: [(_, _, _); 4] = [
        (Some(outcomes::deployment(true)), None, "cluster: new model is live"),
        (
            Some(outcomes::deployment(false)),
            None,
            "cluster: training finished, the live model stays",
        ),
        (
            Some(outcomes::deployment(false)),
            Some(("deploy", &refusal)),
            "cluster: new model was refused",
        ),
        (None, Some(("validate", &refusal)), "cluster: training was refused"),
    ];
    for (number, (deployment, refusal, title)) in (0..).zip(trainings) {
        let mut args = pipeline.args(minute(number));
        args.ended = outcomes::training(pipeline.folder(), deployment.as_ref(), refusal);
        let tell = || {
            let told = pipeline.told().unwrap().len();
            alert::run(&args, &mut Outcome::start("alert")).unwrap();
            pipeline.told().unwrap().split_off(told)
        };
        pipeline.document(AT_ONCE, FILE).unwrap();
        assert!(tell().is_empty());
        let rules = format!("{AT_ONCE}  training: [promoted, finished, refused, failed]\n");
        pipeline.document(&rules, FILE).unwrap();
        assert_eq!(tell().iter().map(|one| one.title.as_str()).collect::<Vec<_>>(), [title]);
        assert!(tell().is_empty(), "the same training again");
    }
}

#[test]
fn training_without_outcome_has_failed() {
    let pipeline = Pipeline::new(&format!("{AT_ONCE}  training: [failed]\n"), FILE).unwrap();
    let mut args = pipeline.args(minute(0));
    args.ended = vec![pipeline.folder().join("nowhere.json")];
    alert::run(&args, &mut Outcome::start("alert")).unwrap();
    assert_eq!(
        pipeline.told().unwrap()[0].text,
        "cluster: training failed\na task ended without an error message"
    );
}
