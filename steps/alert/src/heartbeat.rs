//! A dead man's switch: a request to a server that raises an alarm if it receives none, and the
//! watchdog alert of an Alertmanager. Both are sent while windows are scored, and not while scoring
//! has stopped, so they also detect that Lynceus does not run.

use std::path::Path;

use client::{Request, read_secret};
use contract::{Outcome, StepError, Timestamp};
use document::heartbeat::Heartbeat;
use document::http::Http;
use document::sections::Alert as Sections;
use document::{HttpUrl, UrlError};

use crate::channels::{Channel, Failure, http};

const FIELD: &str = "alerts.heartbeat";

/// Sends both; `now` is the time of the run. A failure to send is only a warning, because the service that
/// expects them raises the alarm.
pub(crate) fn send(
    document: &Sections,
    folder: &Path,
    channels: &mut [Box<dyn Channel>],
    now: Timestamp,
    outcome: &mut Outcome,
) {
    if let Some(heartbeat) = &document.alerts.heartbeat
        && let Err(failure) = beat(heartbeat, folder)
    {
        outcome.warn(format!("the heartbeat was not sent: {}", failure.error));
    }
    for channel in channels {
        if let Some(Err(failure)) = channel.beat(&document.name, now) {
            outcome.warn(format!("the watchdog was not sent: {}", failure.error));
        }
    }
}

fn beat(heartbeat: &Http<Heartbeat>, folder: &Path) -> Result<(), Failure> {
    let text = read_secret(&heartbeat.own.ping, folder)?;
    let wrong = |what: &str| {
        StepError::usage(format!("`{FIELD}.ping` {what}"))
            .hint("the file or variable must contain the URL of the check")
    };
    let url: HttpUrl = text.parse().map_err(|e: UrlError| wrong(&e.to_string()))?;
    let server = &heartbeat.server;
    if !url.has_origin_of(&server.url) {
        return Err(wrong(&format!("is not on `{}`", server.url))
            .hint(format!("name its server in {FIELD}.url"))
            .into());
    }
    let path = url.url().path().to_owned();
    let mut request = Request::get(url);
    request.secrets.push(path);
    http::send(server, FIELD, folder, &request, |server, reply| {
        if reply.is_success() {
            return Ok(());
        }
        Err(server.refusal(&request, &reply, &reply.text()))
    })
}
