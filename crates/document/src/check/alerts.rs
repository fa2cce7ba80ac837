//! Whether the section `alerts` makes sense.

use contract::Span;

use super::{Problem, Problems, check_url, problem, require};
use crate::alerts::{
    AlertKind, AlertmanagerChannel, Alerts, Channel, EmailChannel, Secret, SmtpSecurity,
};
use crate::{Document, template};

/// What a link may name.
const PLACEHOLDERS: [&str; 4] = ["pipeline", "entity", "from", "to"];

pub(super) fn check(alerts: &Alerts, problems: &mut Problems) {
    for (path, windows) in
        [("alerts.for", alerts.for_windows), ("alerts.resolve_after", alerts.resolve_after)]
    {
        problems.add(require(windows >= 1, path, || "must be at least 1".to_owned()));
    }
    let repeat = alerts.repeat.unwrap_or(Span::from_seconds(1));
    problems.add(longer_than_nothing(repeat, "alerts.repeat"));
    if jiff::tz::TimeZone::get(&alerts.time_zone).is_err() {
        let unknown = format!("`{}` is no time zone", alerts.time_zone);
        problems.add(Err(problem("alerts.time_zone", unknown)
            .hint("take a name of the IANA database such as Europe/Brussels or UTC")));
    }
    for (name, link) in &alerts.links {
        let path = format!("alerts.links.{name}");
        problems.add(check_link(link).map_err(|what| problem(&path, what)));
    }
    let templates =
        [("title", alerts.templates.title.as_ref()), ("text", alerts.templates.text.as_ref())];
    for (field, template) in templates {
        let checked = template.map_or(Ok(()), |template| template::check(template));
        let path = format!("alerts.templates.{field}");
        problems.add(checked.map_err(|error| problem(&path, error.to_string())));
    }
    for (index, silence) in alerts.silences.iter().enumerate() {
        if let (Some(from), Some(until)) = (silence.from, silence.until) {
            let path = format!("alerts.silences.{index}.until");
            let message = || format!("`{until}` is not after `{from}`");
            problems.add(require(from < until, &path, message));
        }
    }
    for (index, channel) in alerts.channels.iter().enumerate() {
        problems.add(check_channel(channel, &format!("alerts.channels.{index}")));
    }
}

/// Scoring that stops is told after a while.
pub(super) fn check_stalled(document: &Document) -> Result<(), Problem> {
    longer_than_nothing(document.scoring.stalled_after, "scoring.stalled_after")
}

/// A training that starts by itself starts with the drift alert, so that somebody hears why.
pub(super) fn check_retrain(document: &Document) -> Result<(), Problem> {
    let Some(retrain) = &document.scoring.drift.retrain else { return Ok(()) };
    longer_than_nothing(retrain.pause, "scoring.drift.retrain.pause")?;
    if document.alerts.kinds.contains(&AlertKind::Drift) {
        return Ok(());
    }
    let what = "a training starts with the drift alert, which `alerts.kinds` leaves out";
    Err(problem("scoring.drift.retrain", what.to_owned())
        .hint("write kinds: [anomaly, no_data, drift] in alerts"))
}

fn longer_than_nothing(span: Span, path: &str) -> Result<(), Problem> {
    require(span > Span::ZERO, path, || "must be longer than nothing".to_owned())
}

fn check_link(link: &str) -> Result<(), String> {
    if !link.starts_with("http://") && !link.starts_with("https://") {
        return Err("is neither http:// nor https://".to_owned());
    }
    for part in link.split('{').skip(1) {
        let name = part.split_once('}').map_or(part, |(name, _)| name);
        if !PLACEHOLDERS.contains(&name) {
            return Err(format!("`{{{name}}}` stands for nothing; {}", known()));
        }
    }
    Ok(())
}

fn known() -> String {
    let names: Vec<_> = PLACEHOLDERS.iter().map(|name| format!("{{{name}}}")).collect();
    format!("there are {}", names.join(", "))
}

fn check_channel(channel: &Channel, path: &str) -> Result<(), Problem> {
    let (name, timeout, url, secret) = match channel {
        Channel::Stdout(_) => return Ok(()),
        Channel::File(file) => {
            return require(
                !file.path.as_os_str().is_empty(),
                &format!("{path}.file.path"),
                || "is empty".to_owned(),
            );
        }
        Channel::Telegram(telegram) => {
            let is_chat = telegram.chat.parse::<i64>().is_ok()
                || telegram.chat.strip_prefix('@').is_some_and(|name| !name.is_empty());
            require(is_chat, &format!("{path}.telegram.chat"), || {
                format!("`{}` is neither a chat's number nor `@name`", telegram.chat)
            })?;
            ("telegram", telegram.timeout, Some(&telegram.url), Some(("token", &telegram.token)))
        }
        Channel::Slack(slack) => ("slack", slack.timeout, None, Some(("webhook", &slack.webhook))),
        Channel::Alertmanager(server) => {
            check_alertmanager(server, &format!("{path}.alertmanager"))?;
            ("alertmanager", server.timeout, Some(&server.url), None)
        }
        Channel::Webhook(webhook) => {
            let key = webhook.signing_key.as_ref().map(|key| ("signing_key", key));
            ("webhook", webhook.timeout, Some(&webhook.url), key)
        }
        Channel::Email(email) => {
            check_email(email, &format!("{path}.email"))?;
            let password = email.password.as_ref().map(|password| ("password", password));
            ("email", email.timeout, None, password)
        }
    };
    longer_than_nothing(timeout, &format!("{path}.{name}.timeout"))?;
    if let Some(url) = url {
        check_url(url, &format!("{path}.{name}.url"))?;
    }
    secret.map_or(Ok(()), |(field, secret)| check_secret(secret, &format!("{path}.{name}.{field}")))
}

fn check_secret(secret: &Secret, path: &str) -> Result<(), Problem> {
    match secret {
        Secret::File(file) => {
            require(!file.as_os_str().is_empty(), &format!("{path}.file"), || "is empty".to_owned())
        }
        Secret::Env(name) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
            // Not repeated either: it may be the secret itself, put in the wrong place.
            require(is_name && name.chars().all(plain), &format!("{path}.env"), || {
                "is no name of an environment variable: letters, digits and `_`".to_owned()
            })
        }
    }
}

fn check_alertmanager(server: &AlertmanagerChannel, path: &str) -> Result<(), Problem> {
    require(
        server.expire_after >= Span::from_seconds(60),
        &format!("{path}.expire_after"),
        || "must be at least 1m".to_owned(),
    )?;
    for name in server.labels.keys() {
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        require(is_name, &format!("{path}.labels.{name}"), || {
            format!("`{name}` is no label name: letters, digits and `_`")
        })?;
        let own = ["alertname", "pipeline", "entity", "kind", "severity"].contains(&name.as_str());
        require(!own, &format!("{path}.labels.{name}"), || format!("`{name}` is set by Lynceus"))?;
    }
    require(
        server.bearer_token_file.is_none() || server.basic_auth.is_none(),
        &format!("{path}.basic_auth"),
        || "bearer_token_file and basic_auth exclude each other".to_owned(),
    )
}

fn check_email(email: &EmailChannel, path: &str) -> Result<(), Problem> {
    require(!email.host.is_empty(), &format!("{path}.host"), || "is empty".to_owned())?;
    require(!email.to.is_empty(), &format!("{path}.to"), || "names nobody".to_owned())?;
    for address in email.to.iter().chain([&email.from]) {
        require(address.contains('@'), path, || format!("`{address}` is no address"))?;
    }
    require(email.username.is_some() == email.password.is_some(), path, || {
        "username and password come together or not at all".to_owned()
    })?;
    let open = email.security == SmtpSecurity::None;
    require(!(open && email.username.is_some()), &format!("{path}.security"), || {
        "a password is not sent without encryption".to_owned()
    })
}
