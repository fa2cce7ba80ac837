//! Telegram and Slack, tested against the documentation of their requests and replies:
//! <https://core.telegram.org/bots/api#making-requests>,
//! <https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>.

use fs_err as fs;
use serde_json::json;

use super::double::{Answer, Double};
use super::support::{FILE, Pipeline};
use super::{AT_ONCE, run};

const TOKEN: &str = "123456789:AAF-hunter2_hunter2";
const WEBHOOK: &str = "/services/T00000000/B00000000/hunter2hunter2";

pub(crate) const TELEGRAM_OK: Answer = Answer(
    200,
    "Content-Type: application/json\r\n",
    r#"{"ok":true,"result":{"message_id":7,"date":1795248000,"chat":{"id":-1001,"type":"supergroup"}}}"#,
);
const SLACK_OK: Answer = Answer(200, "Content-Type: text/html\r\n", "ok");

/// A pipeline that sends alerts to a chat and to a file.
pub(crate) fn telegram(double: &Double, further: &str) -> Pipeline {
    let url = double.url();
    let channels = format!(
        "    - telegram: {{chat: '-1001', url: '{url}', timeout: 2s, token: {{file: token}}{further}}}\n{FILE}"
    );
    let pipeline = Pipeline::new(AT_ONCE, &channels).unwrap();
    fs::write(pipeline.folder().join("token"), format!("{TOKEN}\n")).unwrap();
    pipeline
}

fn slack(double: &Double) -> Pipeline {
    let url = double.url();
    let channels =
        format!("    - slack: {{webhook: {{file: webhook}}, url: '{url}', timeout: 2s}}\n{FILE}");
    let pipeline = Pipeline::new(AT_ONCE, &channels).unwrap();
    fs::write(pipeline.folder().join("webhook"), format!("{}{WEBHOOK}\n", double.url())).unwrap();
    pipeline
}

#[test]
fn telegram_is_asked_as_the_bot_api_wants_it() {
    let double = Double::new(TELEGRAM_OK);
    let pipeline = telegram(&double, ", topic: 42");
    pipeline.score(0, ["a", "."]).unwrap();
    let done = run(&pipeline, 1);
    done.result.clone().unwrap();
    assert!(!done.kept.contains("hunter2"));
    let asked = double.asked();
    let texts: Vec<_> = done.messages.sent.iter().map(|sent| sent.message.text.clone()).collect();
    assert_eq!((asked.len(), texts.len()), (2, 2));
    for (request, text) in asked.iter().zip(&texts) {
        assert_eq!(request.method, "POST");
        assert_eq!(request.path, format!("/bot{TOKEN}/sendMessage"));
        assert_eq!(
            request.json(),
            json!({
                "chat_id": "-1001",
                "message_thread_id": 42,
                "text": text,
                "link_preview_options": {"is_disabled": true},
                "disable_notification": true,
            })
        );
    }
}

#[test]
fn a_text_is_no_longer_than_telegram_takes() {
    let double = Double::new(TELEGRAM_OK);
    let pipeline = telegram(&double, "");
    let rules = format!("{AT_ONCE}  templates: {{text: \"{{{{ 'x' * 9000 }}}}\"}}\n");
    let channels = format!(
        "    - telegram: {{chat: '@a_channel', url: '{}', token: {{file: token}}}}\n",
        double.url()
    );
    pipeline.document(&rules, &channels).unwrap();
    pipeline.score(0, ["a"]).unwrap();
    run(&pipeline, 0).result.unwrap();
    let text = double.asked()[0].json()["text"].as_str().unwrap().to_owned();
    assert_eq!((text.chars().count(), text.ends_with('\u{2026}')), (4096, true));
}

#[test]
fn telegrams_retry_after_is_kept_and_is_no_failure() {
    let double = Double::new(TELEGRAM_OK);
    double.answers(Some(Answer(
        429,
        "",
        r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 90","parameters":{"retry_after":90}}"#,
    )));
    let pipeline = telegram(&double, "");
    pipeline.score(0, ["a"]).unwrap();
    let limited = run(&pipeline, 0);
    limited.result.clone().unwrap();
    assert_eq!(limited.messages.pending.len(), 1);
    assert_eq!(pipeline.told().unwrap().len(), 1, "the other channel gets it, and nothing else");
    double.answers(Some(TELEGRAM_OK));
    assert_eq!(double.asked().len(), 1);
    assert_eq!(run(&pipeline, 1).sent(), 0);
    assert!(double.asked().is_empty(), "it got no request");
    assert_eq!(run(&pipeline, 2).sent(), 1);
    assert_eq!(double.asked().len(), 1);
    assert_eq!(run(&pipeline, 3).sent(), 0);
}

#[test]
fn telegram_refusal_is_reported_once_to_other_channels_without_the_token() {
    let double = Double::new(TELEGRAM_OK);
    for (answer, words) in [
        (
            Answer(401, "", r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#),
            "401 Unauthorized",
        ),
        (
            Answer(
                400,
                "",
                r#"{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}"#,
            ),
            "chat not found",
        ),
        (
            Answer(
                502,
                "",
                "<html>Bad Gateway, /bot123456789:AAF-hunter2_hunter2/sendMessage</html>",
            ),
            "not one of the bot API",
        ),
        (Answer(200, "", "<html>a proxy's page</html>"), "not one of the bot API"),
        (
            Answer(200, "", r#"{"ok":false,"description":"/bot123456789:AAF-hunter2_hunter2/"}"#),
            "/bot***/",
        ),
        (Answer(302, "Location: http://127.0.0.1:9/\r\n", ""), "302 Found"),
    ] {
        double.answers(Some(answer));
        let pipeline = telegram(&double, "");
        pipeline.score(0, ["a"]).unwrap();
        let refused = run(&pipeline, 0);
        assert!(refused.failure().contains(words), "{}", refused.failure());
        assert!(!refused.kept.contains("hunter2"), "{}", refused.kept);
        let again = run(&pipeline, 1);
        assert!(!again.failure().is_empty() && !again.kept.contains("hunter2"));
        let told = pipeline.told().unwrap();
        assert_eq!(told.len(), 2, "the alert, and once that Telegram cannot be reached");
        assert!(told[1].text.contains(words), "{}", told[1].text);
        double.answers(Some(TELEGRAM_OK));
        double.asked();
        assert_eq!(run(&pipeline, 2).sent(), 2);
        assert_eq!(double.asked().len(), 1, "told late, once");
        let back = pipeline.told().unwrap().pop().unwrap();
        assert_eq!(back.title, "cluster: channel telegram -1001 can be reached again");
    }
}

#[test]
fn silent_or_absent_server_delays_no_other_channel() {
    let double = Double::new(TELEGRAM_OK);
    double.answers(None);
    let pipeline = telegram(&double, "");
    pipeline.score(0, ["a", ".", "a"]).unwrap();
    let silent = run(&pipeline, 2);
    assert!(silent.failure().contains("no whole reply within 2s"), "{}", silent.failure());
    assert_eq!(double.asked().len(), 1, "one attempt, not one for each message");
    assert_eq!(pipeline.told().unwrap().len(), 4);
    drop(double);
    let gone = run(&pipeline, 3);
    assert!(gone.failure().contains("cannot connect"), "{}", gone.failure());
    assert!(!silent.kept.contains("hunter2") && !gone.kept.contains("hunter2"));
}

#[test]
fn a_channel_without_its_secret_stops_no_other() {
    let double = Double::new(TELEGRAM_OK);
    let pipeline = telegram(&double, "");
    pipeline.score(0, ["a"]).unwrap();
    for (content, words) in [
        (None, "token"),
        (Some(""), "contains no text"),
        (Some("two words"), "the Telegram token has the wrong format"),
    ] {
        match content {
            None => fs::remove_file(pipeline.folder().join("token")).unwrap(),
            Some(text) => fs::write(pipeline.folder().join("token"), text).unwrap(),
        }
        assert!(run(&pipeline, 0).failure().contains(words));
        assert_eq!(pipeline.told().unwrap().len(), 2);
    }
    assert!(double.asked().is_empty());
}

#[test]
fn slack_is_asked_as_an_incoming_webhook_wants_it() {
    let double = Double::new(SLACK_OK);
    let pipeline = slack(&double);
    pipeline.score(0, ["a"]).unwrap();
    let done = run(&pipeline, 0);
    done.result.clone().unwrap();
    assert!(!done.kept.contains("hunter2"));
    let asked = double.asked();
    assert_eq!((asked[0].method.as_str(), asked[0].path.as_str()), ("POST", WEBHOOK));
    let payload = asked[0].json();
    let text = payload["text"].as_str().unwrap();
    assert!(text.starts_with("*cluster is anomalous*\nsince 2026-11-21 08:00 UTC\n"), "{text}");
    assert_eq!(payload, json!({"text": text, "unfurl_links": false}));
}

#[test]
fn slack_refusal_is_reported_without_the_webhook() {
    let double = Double::new(SLACK_OK);
    for (answer, words) in [
        (Answer(403, "", "invalid_token"), "403 Forbidden: invalid_token"),
        (Answer(404, "", "no_service"), "no_service"),
        (Answer(410, "", "channel_is_archived"), "channel_is_archived"),
        (Answer(500, "", "rollup_error"), "rollup_error"),
        (Answer(200, "", "<html>/services/T00000000/B00000000/hunter2hunter2</html>"), "***"),
    ] {
        double.answers(Some(answer));
        let pipeline = slack(&double);
        pipeline.score(0, ["a"]).unwrap();
        let refused = run(&pipeline, 0);
        assert!(refused.failure().contains(words), "{}", refused.failure());
        assert!(!refused.kept.contains("hunter2"), "{}", refused.kept);
    }
    double.answers(Some(Answer(429, "Retry-After: 100\r\n", "rate_limited")));
    let pipeline = slack(&double);
    pipeline.score(0, ["a"]).unwrap();
    run(&pipeline, 0).result.unwrap();
    double.answers(Some(SLACK_OK));
    let sent: Vec<_> = (1..4).map(|minute| run(&pipeline, minute).sent()).collect();
    assert_eq!(sent, [0, 1, 0]);
}

#[test]
fn group_turned_supergroup_error_names_its_new_chat() {
    let double = Double::new(TELEGRAM_OK);
    double.answers(Some(Answer(
        400,
        "",
        r#"{"ok":false,"error_code":400,"description":"Bad Request: group chat was upgraded to a supergroup chat","parameters":{"migrate_to_chat_id":-1009876543210}}"#,
    )));
    let pipeline = telegram(&double, "");
    pipeline.score(0, ["a"]).unwrap();
    let error = run(&pipeline, 0).result.unwrap_err();
    assert!(error.message.contains("new id -1009876543210"), "{error}");
    assert_eq!(
        run(&pipeline, 1).messages.pending.len(),
        1,
        "it waits until the document is corrected"
    );
}
