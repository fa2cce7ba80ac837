//! A slow or lossy network device, by `tc`.

use std::process::{Command, Output};
use std::time::Duration;

use contract::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, needs};
use crate::file::ScenarioFile;
use crate::worker::Stop;

/// A queueing discipline on a device, removed at the end. Needs root and the kernel's `sch_tbf` (for
/// a rate) or `sch_netem` (for delay and loss).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// Network device, such as `eth0`.
    pub device: String,
    /// Highest rate in kbit/s. Exclusive with delay and loss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_kbit: Option<u32>,
    /// Added delay in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_milliseconds: Option<u32>,
    /// Share of packets that are lost, above 0 to 100 per cent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_percent: Option<f64>,
}

impl Network {
    fn discipline(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(rate) = self.rate_kbit {
            words.extend(["tbf", "rate"].map(str::to_owned));
            words.push(format!("{rate}kbit"));
            words.extend(["burst", "32kbit", "latency", "400ms"].map(str::to_owned));
            return words;
        }
        words.push("netem".to_owned());
        if let Some(delay) = self.delay_milliseconds {
            words.extend(["delay".to_owned(), format!("{delay}ms")]);
        }
        if let Some(loss) = self.loss_percent {
            words.extend(["loss".to_owned(), format!("{loss}%")]);
        }
        words
    }

    fn tc(&self, action: &str, discipline: &[String]) -> Result<Output, StepError> {
        let place = ["qdisc", action, "dev", self.device.as_str(), "root"];
        let output = Command::new("tc").args(place).args(discipline).output();
        output.map_err(|error| {
            StepError::unavailable(format!("cannot start `tc`: {error}"))
                .hint("install it, for example with: apt-get install iproute2")
        })
    }
}

impl Fault for Network {
    fn check(&self, _: &ScenarioFile) -> Result<(), String> {
        let impairs = self.delay_milliseconds.is_some() || self.loss_percent.is_some();
        if self.rate_kbit.is_some() == impairs {
            return Err("rate_kbit: set either a rate, or delay and loss".to_owned());
        }
        if self.loss_percent.is_some_and(|loss| !(loss > 0.0 && loss <= 100.0)) {
            return Err("loss_percent: must be above 0 and at most 100".to_owned());
        }
        Ok(())
    }

    fn prepare(&self) -> Result<(), StepError> {
        needs("tc", "-V", "iproute2")?;
        let device = std::path::Path::new("/sys/class/net").join(&self.device);
        if device.exists() {
            return Ok(());
        }
        Err(StepError::usage(format!("network.device: no network device `{}`", self.device))
            .hint("`ip link` lists the devices"))
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        let added = self.tc("add", &self.discipline())?;
        if !added.status.success() {
            let cause = String::from_utf8_lossy(&added.stderr).trim().replace('\n', ", ");
            let hint = if cause.contains("unknown") {
                "this kernel lacks the queueing discipline (sch_netem or sch_tbf)"
            } else {
                "run it as root, on a device without a queueing discipline of its own"
            };
            return Err(
                StepError::usage(format!("`tc` failed on `{}`: {cause}", self.device)).hint(hint)
            );
        }
        while !stop.wait(Duration::from_secs(1)) {}
        let removed = self.tc("del", &[])?;
        if removed.status.success() {
            return Ok(());
        }
        let cause = String::from_utf8_lossy(&removed.stderr).trim().replace('\n', ", ");
        Err(StepError::unavailable(format!("`tc` cannot restore `{}`: {cause}", self.device))
            .hint(format!("restore it by hand: tc qdisc del dev {} root", self.device)))
    }
}
