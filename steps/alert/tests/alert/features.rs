//! Features that have no value, and why there is no data.

use alert::message::Message;
use contract::Outcome;
use store::scores;

use super::{AT_ONCE, sent};
use crate::support::{FILE, Pipeline, VERSION, minute, window};

#[test]
fn missing_feature_has_its_own_message_and_resolution() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    pipeline.score(0, [".", "m", "m", "."]).unwrap();
    let texts: Vec<String> = sent(&pipeline, 9).into_iter().map(|message| message.text).collect();
    assert_eq!(
        texts,
        [
            format!(
                "cluster has no value of load\nsince 2026-11-21 08:01 UTC\n\
                 it is scored by its other features\nmodel {VERSION}"
            ),
            format!(
                "cluster has values of all features again\n\
                 without them from 2026-11-21 08:01 UTC to 08:03 UTC (2m)\nmodel {VERSION}"
            ),
        ]
    );
}

#[test]
fn missing_feature_comes_before_the_anomaly_of_the_same_window() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    let mut odd = window(minute(0), "a");
    odd.entities[0].missing = vec!["disk_free_bytes".to_owned()];
    scores::write_once(&pipeline.store().unwrap(), &odd).unwrap();
    let [message] = <[Message; 1]>::try_from(sent(&pipeline, 0)).unwrap();
    assert_eq!(
        message.title,
        "cluster: all of it has no value of disk_free_bytes, all of it is anomalous"
    );
}

#[test]
fn feature_that_stays_away_for_the_declared_time_is_proposed_to_be_trained_without() {
    let rules = "  for: 1\n  propose_training_after: 10m\n";
    let pipeline = Pipeline::new(rules, FILE).unwrap();
    pipeline.score(0, std::iter::repeat_n("m", 30)).unwrap();
    let messages = sent(&pipeline, 29);
    assert_eq!(messages.len(), 2, "it begins, and a training is proposed once");
    assert!(messages[0].alerts[0].why.is_none());
    assert_eq!(
        messages[1].text,
        format!(
            "cluster still has no value of load\nsince 2026-11-21 08:00 UTC\n\
             it is scored by its other features\n\
             train a model without them: lynceus run cluster --set sources.main.queries.load=null\n\
             model {VERSION}"
        )
    );
    assert_eq!(messages[1].time, minute(10));
}

#[test]
fn no_data_message_has_the_reason_of_the_source() {
    let pipeline = Pipeline::new(AT_ONCE, FILE).unwrap();
    let mut odd = window(minute(0), "n");
    odd.entities[0].reason = Some("incomplete: query `load`: store is down".to_owned());
    scores::write_once(&pipeline.store().unwrap(), &odd).unwrap();
    let [message] = <[Message; 1]>::try_from(sent(&pipeline, 0)).unwrap();
    assert!(
        message.text.contains("\nincomplete: query `load`: store is down\n"),
        "{}",
        message.text
    );
    let mut outcome = Outcome::start("alert");
    alert::run(&pipeline.args(minute(0)), &mut outcome).unwrap();
    assert_eq!(outcome.counts["firing"], 1);
}
