//! Memory that grows until the end, like that of a program with a memory leak.

use std::time::Duration;

use contract::StepError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Fault, within};
use crate::file::ScenarioFile;
use crate::worker::Stop;

const MIB: usize = 1024 * 1024;

/// Memory that grows at a constant rate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MemoryLeak {
    /// Growth in MiB per second, at least 1.
    pub mib_per_second: u64,
    /// Size in MiB at which it stops growing; it is kept until the end.
    pub up_to_mib: u64,
}

impl Fault for MemoryLeak {
    fn check(&self, file: &ScenarioFile) -> Result<(), String> {
        within("mib_per_second", self.mib_per_second, "memory_mib", file.limits.memory_mib)?;
        within("up_to_mib", self.up_to_mib, "memory_mib", file.limits.memory_mib)
    }

    fn prepare(&self) -> Result<(), StepError> {
        Ok(())
    }

    fn run(&self, stop: &Stop) -> Result<(), StepError> {
        let mut held: Vec<Vec<u8>> = Vec::new();
        loop {
            let room = usize::try_from(self.up_to_mib).unwrap_or(usize::MAX) - held.len();
            let growth = room.min(usize::try_from(self.mib_per_second).unwrap_or(usize::MAX));
            for _ in 0..growth {
                // Bytes other than zero, so that the kernel backs every page.
                held.push(vec![1; MIB]);
            }
            if stop.wait(Duration::from_secs(1)) {
                return Ok(());
            }
        }
    }
}
