//! An Alertmanager, through its API v2: <https://prometheus.io/docs/alerting/latest/clients/>.
//!
//! Alertmanager groups, silences and repeats alerts itself, and resolves alerts that are not sent
//! again, so each run sends the firing alerts again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use contract::{Span, Timestamp};
use document::channels::alertmanager::AlertmanagerChannel;
use document::http::Http;
use serde::Serialize;

use crate::channels::{Channel, Failure, Opener, http};
use crate::message::{Alert, Message, Status};
use crate::state_machine::{Kind, Reason};
use crate::text;
use crate::wording::kind_name;

const FIELD: &str = "alerts.channels.alertmanager";
/// Time after which the alert about another channel expires: it is not sent again.
const CHANNEL_ALERT: Span = Span::from_seconds(86_400);

/// An Alertmanager.
#[derive(Debug)]
struct Alertmanager {
    name: String,
    settings: Http<AlertmanagerChannel>,
    folder: PathBuf,
}

/// An alert of the list that `POST /api/v2/alerts` accepts.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<&'static str, String>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

impl Opener for Http<AlertmanagerChannel> {
    /// Names the server by its URL.
    fn open(&self, folder: &Path) -> Box<dyn Channel> {
        let url = self.server.url.to_string();
        Box::new(Alertmanager {
            name: format!("alertmanager {}", url.trim_end_matches('/')),
            settings: self.clone(),
            folder: folder.to_owned(),
        })
    }
}

impl Alertmanager {
    /// Makes an alert. Its labels identify it, so they must not change while it fires.
    fn alert(&self, pipeline: &str, alert: &Alert, urgent: bool, now: Timestamp) -> PostableAlert {
        let alertname = match alert.kind {
            Kind::Anomaly => "LynceusAnomaly",
            Kind::NoData => "LynceusNoData",
            Kind::Drift => "LynceusDrift",
            Kind::ScoringStopped => "LynceusScoringStopped",
            Kind::Mismatch => "LynceusMismatch",
            Kind::FeatureMissing => "LynceusFeatureMissing",
        };
        let mut labels = self.labels(alertname, pipeline, if urgent { "page" } else { "warning" });
        labels.insert("kind".into(), kind_name(alert).into());
        if !alert.entity.is_empty() {
            labels.insert("entity".into(), alert.entity.clone());
        }
        let ends_at = match alert.ended {
            Some(ended) => ended.max(alert.since),
            None => now + self.settings.own.expire_after,
        };
        let causes: Vec<String> = alert.causes.iter().map(text::words).collect();
        let mut details = if causes.is_empty() { alert.drifting.clone() } else { causes };
        details.extend(alert.why.clone());
        let mut annotations = BTreeMap::from([("summary", text::of_alert(pipeline, alert))]);
        if !details.is_empty() {
            annotations.insert("description", details.join("\n"));
        }
        PostableAlert {
            labels,
            annotations,
            starts_at: alert.since,
            ends_at,
            generator_url: alert.links.first().map(|link| link.url.clone()),
        }
    }

    fn labels(&self, name: &str, pipeline: &str, severity: &str) -> BTreeMap<String, String> {
        let own = [("alertname", name), ("pipeline", pipeline), ("severity", severity)];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.settings.own.labels.clone().into_iter().chain(own).collect()
    }

    /// Returns the alerts of a message; none for a message about a training, which is not an alert.
    fn alerts(&self, message: &Message, now: Timestamp) -> Vec<PostableAlert> {
        let mut alerts = Vec::new();
        for alert in &message.alerts {
            let ends = alert.status == Status::Resolved;
            if alert.urgent && (ends || alert.reason == Reason::Worsens) {
                // The alert that was not urgent has ended: its labels differ.
                let over = Alert { ended: Some(message.time), ..alert.clone() };
                alerts.push(self.alert(&message.pipeline, &over, false, now));
            }
            alerts.push(self.alert(&message.pipeline, alert, alert.urgent, now));
        }
        if let Some(channel) = &message.channel {
            let name = match channel.refused {
                Some(_) => "LynceusMessageRefused",
                None => "LynceusChannelDown",
            };
            let mut labels = self.labels(name, &message.pipeline, "warning");
            labels.insert("channel".into(), channel.name.clone());
            let ends_at = match channel.why {
                Some(_) => now + CHANNEL_ALERT,
                None => message.time.max(channel.since),
            };
            alerts.push(PostableAlert {
                labels,
                annotations: [
                    ("summary", message.title.clone()),
                    ("description", message.text.clone()),
                ]
                .into(),
                starts_at: channel.since,
                ends_at,
                generator_url: None,
            });
        }
        alerts
    }

    fn post(&self, alerts: &[PostableAlert]) -> Result<(), Failure> {
        let server = &self.settings.server;
        let request = http::json(server.url.join("/api/v2/alerts"), &alerts)?;
        http::send(server, FIELD, &self.folder, &request, |server, reply| match reply.status {
            200 => Ok(()),
            _ => Err(server.refusal(&request, &reply, &reply.text())),
        })
    }
}

impl Alertmanager {
    /// Returns the alert that always fires: it ends by itself when no run sends it again.
    fn watchdog(&self, pipeline: &str, now: Timestamp) -> PostableAlert {
        let summary =
            format!("windows of {pipeline} are scored; this alert fires as long as they are");
        PostableAlert {
            labels: self.labels("LynceusWatchdog", pipeline, "none"),
            annotations: [("summary", summary)].into(),
            starts_at: now,
            ends_at: now + self.settings.own.expire_after,
            generator_url: None,
        }
    }
}

impl Channel for Alertmanager {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: &Message, now: Timestamp) -> Result<(), Failure> {
        let alerts = self.alerts(message, now);
        if alerts.is_empty() { Ok(()) } else { self.post(&alerts) }
    }

    fn beat(&mut self, pipeline: &str, now: Timestamp) -> Option<Result<(), Failure>> {
        self.settings.own.watchdog.then(|| self.post(&[self.watchdog(pipeline, now)]))
    }

    fn refresh(
        &mut self,
        pipeline: &str,
        firing: &[Alert],
        now: Timestamp,
    ) -> Option<Result<(), Failure>> {
        let alerts: Vec<_> =
            firing.iter().map(|alert| self.alert(pipeline, alert, alert.urgent, now)).collect();
        Some(self.post(&alerts))
    }
}
