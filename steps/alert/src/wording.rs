//! Adds texts and links to messages, as the document sets them.

use contract::time::time_zone;
use contract::{Span, StepError, Timestamp};
use document::sections::Alert as Sections;
use document::template::{self, AlertContext, CauseContext, Context, LinkContext};
use jiff::tz::TimeZone;

use crate::message::{Alert, Link, Message, Status};
use crate::text;

/// Time before an alert that a link includes.
const BEFORE: Span = Span::from_seconds(1800);
/// Time after an alert that a link includes.
const AFTER: Span = Span::from_seconds(300);
/// Value of all entities in a link, in Grafana's form.
const ALL_ENTITIES: &str = "$__all";

/// Settings of a document for the texts of its messages.
#[derive(Debug)]
pub struct Wording<'a> {
    document: &'a Sections,
    zone: TimeZone,
}

impl<'a> Wording<'a> {
    /// Takes the settings of a document.
    pub fn new(document: &'a Sections) -> Result<Self, StepError> {
        let zone = time_zone(&document.alerts.time_zone).map_err(|e| {
            StepError::usage(format!("`alerts.time_zone`: {e}"))
                .hint("use a name of the IANA time zone database, such as Europe/Brussels or UTC")
        })?;
        Ok(Self { document, zone })
    }

    /// Puts links, title and text into a message.
    pub fn apply(&self, mut message: Message) -> Message {
        for alert in &mut message.alerts {
            let to = alert.ended.unwrap_or(message.time);
            alert.links = self.links(&alert.entity, alert.since, to);
        }
        if let Some(first) = message.alerts.first() {
            let alone = message.alerts.iter().all(|alert| alert.entity == first.entity);
            let entity = if alone { first.entity.clone() } else { ALL_ENTITIES.to_owned() };
            let since = message.alerts.iter().map(|alert| alert.since).min();
            message.links = self.links(&entity, since.unwrap_or(message.from), message.time);
        }
        message.title = text::title(&message);
        message.text = text::body(&message, &self.zone);
        let templates = &self.document.alerts.templates;
        if templates.title.is_some() || templates.text.is_some() {
            let context = self.context(&message);
            let filled = |template: &Option<String>, usual: &str| {
                let Some(template) = template else { return usual.to_owned() };
                template::render(template, &context).unwrap_or_else(|error| {
                    // The template was tested when the document was read; the default text has the
                    // same content.
                    tracing::warn!("{error}");
                    usual.to_owned()
                })
            };
            message.title = one_line(&filled(&templates.title, &context.title));
            message.text = filled(&templates.text, &context.text);
            // No channel accepts a message without text.
            if message.text.trim().is_empty() {
                message.text.clone_from(&context.text);
            }
            if message.title.is_empty() {
                message.title.clone_from(&context.title);
            }
        }
        message
    }

    fn links(&self, entity: &str, since: Timestamp, to: Timestamp) -> Vec<Link> {
        let (from, to) = ((since - BEFORE).ms().to_string(), (to + AFTER).ms().to_string());
        let fill = |(name, link): (&String, &String)| Link {
            name: name.clone(),
            url: link
                .replace("{pipeline}", &encoded(&self.document.name))
                .replace("{from}", &from)
                .replace("{to}", &to)
                .replace("{entity}", &encoded(entity)),
        };
        self.document.alerts.links.iter().map(fill).collect()
    }

    fn context(&self, message: &Message) -> Context {
        let training = message.training.as_ref();
        let why = training.map(|training| training.why.clone());
        let channel = message.channel.as_ref().and_then(|channel| channel.why.clone());
        Context {
            title: message.title.clone(),
            text: message.text.clone(),
            pipeline: message.pipeline.clone(),
            time: text::shown(message.time, &self.zone),
            version: message.version.clone(),
            urgent: message.urgent,
            alerts: message.alerts.iter().map(|alert| self.alert(alert)).collect(),
            training: training.map_or("", crate::training::word).to_owned(),
            why: why.or(channel).unwrap_or_default(),
            links: message.links.iter().map(link).collect(),
        }
    }

    fn alert(&self, alert: &Alert) -> AlertContext {
        let shown = |time| text::shown(time, &self.zone);
        AlertContext {
            entity: alert.entity.clone(),
            kind: kind_name(alert).to_owned(),
            status: match alert.status {
                Status::Firing => "firing",
                Status::Resolved => "resolved",
            }
            .to_owned(),
            urgent: alert.urgent,
            since: shown(alert.since),
            ended: alert.ended.map(shown).unwrap_or_default(),
            duration: alert
                .ended
                .map(|ended| text::length(ended - alert.since))
                .unwrap_or_default(),
            causes: alert.causes.iter().map(cause).collect(),
            links: alert.links.iter().map(link).collect(),
        }
    }
}

/// Returns the word for an alert's kind in templates and labels.
pub(crate) fn kind_name(alert: &Alert) -> &'static str {
    match alert.kind {
        crate::state_machine::Kind::Anomaly => "anomaly",
        crate::state_machine::Kind::NoData => "no_data",
        crate::state_machine::Kind::Drift => "drift",
        crate::state_machine::Kind::ScoringStopped => "scoring_stopped",
        crate::state_machine::Kind::Mismatch => "mismatch",
        crate::state_machine::Kind::FeatureMissing => "feature_missing",
    }
}

fn cause(cause: &contract::score::Cause) -> CauseContext {
    let (value, usual) = text::value_and_usual(cause);
    CauseContext {
        feature: cause.feature.clone(),
        value,
        usual,
        share: cause.share,
        text: text::words(cause),
    }
}

fn link(link: &Link) -> LinkContext {
    LinkContext { name: link.name.clone(), url: link.url.clone() }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Encodes text for any place in a URL: everything but RFC 3986's unreserved characters.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_in_url_is_escaped() {
        assert_eq!(encoded("node-1.x_y~"), "node-1.x_y~");
        assert_eq!(encoded("a b&c=/\u{e9}"), "a%20b%26c%3D%2F%C3%A9");
        assert_eq!(encoded(ALL_ENTITIES), "%24__all");
    }
}
