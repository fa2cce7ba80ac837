//! Connections to ports of a test host, as a scan or a mining program makes them.

use std::net::TcpStream;
use std::time::Duration;

use contract::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, address, is_allowed, loopback, within};
use crate::file::ScenarioFile;
use crate::worker::Stop;

/// Timeout of a connection attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Connections to each of some ports in turn; whether they are accepted does not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connections {
    /// Host: a loopback address, or one of `allowed_hosts`.
    #[serde(default = "loopback")]
    pub host: String,
    /// Ports.
    pub ports: Vec<u16>,
    /// Connections per second, at least 1.
    pub per_second: u32,
}

impl Fault for Connections {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        if self.ports.is_empty() {
            return Err("ports: must have at least one port".to_owned());
        }
        is_allowed(&self.host, file)?;
        within("per_second", self.per_second.into(), "per_second", file.limits.per_second.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        address(&self.host, 0).map(drop)
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        let distance = Duration::from_secs(1) / self.per_second;
        let mut target = address(&self.host, 0)?;
        for port in self.ports.iter().cycle() {
            target.set_port(*port);
            // A refused connection also counts, because it caused network traffic.
            drop(TcpStream::connect_timeout(&target, CONNECT_TIMEOUT));
            if stop.wait(distance) {
                break;
            }
        }
        Ok(())
    }
}
