//! HTTP requests to a test server at a bounded rate.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use contract::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, address, is_allowed, loopback, within};
use crate::file::ScenarioFile;
use crate::worker::Stop;

/// Deadline of a connection, a write and a read.
const TIMEOUT: Duration = Duration::from_secs(2);

/// GET requests over plain HTTP, a connection each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpLoad {
    /// Host: a loopback address, or one of `allowed_hosts`.
    #[serde(default = "loopback")]
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path and query.
    #[serde(default = "root")]
    pub path: String,
    /// Requests per second of all workers together, at least 1.
    pub per_second: u32,
    /// Requests in flight at once, at least 1.
    #[serde(default = "one")]
    pub workers: u32,
}

fn root() -> String {
    "/".to_owned()
}

fn one() -> u32 {
    1
}

impl Fault for HttpLoad {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        is_allowed(&self.host, file)?;
        let is_path = self.path.starts_with('/') && !self.path.contains(char::is_whitespace);
        if !is_path {
            return Err("path: must start with `/` and have no spaces".to_owned());
        }
        within("workers", self.workers.into(), "workers", file.limits.workers.into())?;
        within("per_second", self.per_second.into(), "per_second", file.limits.per_second.into())
    }

    fn prepare(&self) -> Result<(), StepError> {
        let target = address(&self.host, self.port)?;
        TcpStream::connect_timeout(&target, TIMEOUT).map(drop).map_err(|error| {
            StepError::unavailable(format!(
                "cannot connect to `{}:{}`: {error}",
                self.host, self.port
            ))
            .hint("start the server under load first")
        })
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        let target = address(&self.host, self.port)?;
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
            self.path, self.host
        );
        let distance = Duration::from_secs(1) * self.workers / self.per_second;
        std::thread::scope(|scope| {
            for _ in 0..self.workers {
                scope.spawn(|| {
                    while !stop.wait(distance) {
                        // A server may fail under load; this is the purpose of the fault.
                        drop(get(&target, &request));
                    }
                });
            }
        });
        Ok(())
    }
}

fn get(target: &SocketAddr, request: &str) -> std::io::Result<u64> {
    let mut stream = TcpStream::connect_timeout(target, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    std::io::copy(&mut stream.take(1024 * 1024), &mut std::io::sink())
}
