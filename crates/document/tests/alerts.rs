//! The section `alerts` of a document.

/// A document with these lines in its section `alerts`.
fn with_alerts(lines: &str) -> Result<document::Document, contract::StepError> {
    document::parse(
        "pipeline.yaml",
        &format!(
            "format: 1\nname: cluster\nstep: 1m\nrange: 1d\nsources: {{main: {{recording: {{path: r}}, \
             queries: [{{name: load, promql: node_load1}}]}}}}\nfeatures: [{{raw: {{columns: ['*']}}}}]\n\
             models: {{z_score: {{}}}}\nvote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\n\
             alerts:\n{lines}"
        ),
    )
}

#[test]
fn channels_name_their_secrets_and_never_hold_them() {
    let document = with_alerts(
        "  send: first\n  repeat: 4h\n  time_zone: Europe/Brussels\n  training: [promoted, refused]\n\
         \x20 silences:\n    - {entity: 'node-*', kinds: [drift], until: 2026-11-22T00:00:00Z}\n\
         \x20 links: {grafana: 'https://g/d/x?from={from}&to={to}&var-entity={entity}'}\n\
         \x20 templates: {title: '{{ title | upper }}'}\n\
         \x20 channels:\n\
         \x20   - telegram: {chat: '-1001', token: {file: secrets/telegram}}\n\
         \x20   - slack: {webhook: {env: SLACK_WEBHOOK}}\n\
         \x20   - alertmanager: {url: 'http://alertmanager.monitoring:9093', labels: {team: platform}}\n\
         \x20   - webhook: {url: 'https://host/hook', signing_key: {file: key}}\n\
         \x20   - email: {host: mail, from: a@b, to: [c@d], username: u, password: {env: SMTP_PASSWORD}}\n\
         \x20   - stdout\n",
    )
    .unwrap();
    assert_eq!(document.alerts.channels.len(), 6);
    for lines in [
        "  channels:\n    - telegram: {chat: '1', token: hunter2}\n",
        "  channels:\n    - telegram: {chat: '1', token: {value: hunter2}}\n",
        "  channels:\n    - telegram: {chat: '1', token: {env: 'hunter2:x'}}\n",
        "  channels:\n    - slack: {webhook: https://hooks.slack.com/hunter2}\n",
        "  channels:\n    - webhook: {url: 'https://u:hunter2@host'}\n",
    ] {
        let error = with_alerts(lines).unwrap_err();
        assert!(error.message.contains("pipeline.yaml:1"), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}

#[test]
fn invalid_alert_settings_are_refused_with_place() {
    for (lines, words) in [
        (
            "  time_zone: Europe/Brussel\n",
            "`alerts.time_zone`: `Europe/Brussel` is not a time zone",
        ),
        ("  templates: {text: '{{ nosuch }}'}\n", "`alerts.templates.text`: line 1, column 4"),
        ("  links: {a: 'https://g/{node}'}\n", "`{node}` is not a placeholder"),
        ("  links: {a: 'javascript:x'}\n", "neither http:// nor https://"),
        ("  repeat: 0s\n", "`alerts.repeat`"),
        (
            "  silences:\n    - {from: 2026-01-02T00:00:00Z, until: 2026-01-01T00:00:00Z}\n",
            "is not after",
        ),
        ("  channels:\n    - telegram: {chat: me, token: {env: T}}\n", "neither a chat id"),
        ("  channels:\n    - alertmanager: {url: 'host:9093'}\n", "does not begin with http"),
        (
            "  channels:\n    - alertmanager: {url: 'http://h', labels: {entity: x}}\n",
            "is a label that Lynceus sets: choose another name",
        ),
        (
            "  channels:\n    - email: {host: h, from: a@b, to: []}\n",
            "is empty: name at least one recipient",
        ),
        (
            "  channels:\n    - email: {host: h, from: a@b, to: [c@d], security: none, username: u, password: {env: P}}\n",
            "unencrypted",
        ),
        (
            "  kinds: [anomaly]\nscoring: {drift: {retrain: {}}}\n",
            "which `alerts.kinds` leaves out",
        ),
        (
            "  kinds: [drift]\nscoring: {drift: {retrain: {pause: 0s}}}\n",
            "`scoring.drift.retrain.pause`: must be greater than 0s",
        ),
    ] {
        let error = with_alerts(lines).unwrap_err();
        assert!(error.message.starts_with("pipeline.yaml:1"), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}
