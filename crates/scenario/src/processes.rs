//! Finds and ends every process that a fault started, even if its parent has changed.

use std::collections::BTreeMap;

use contract::StepError;
use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

/// Rounds of killing, because a process storm starts new processes in the meantime; then rounds of
/// waiting, about 30 s in total, for processes that end only after their disk writes finish.
const ROUNDS: usize = 200;
const WAITING_ROUNDS: usize = 600;

/// Makes this process the subreaper of its descendants, so that descendants whose parent ends can
/// still be found.
pub(crate) fn adopt_descendants() -> Result<(), StepError> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| {
        StepError::unavailable(format!("cannot become a subreaper: {error}"))
            .hint("run it on Linux 3.4 or later, outside a sandbox that forbids prctl")
    })
}

/// Kills all descendants of this process and returns how many are left, which is 0 except for
/// processes in uninterruptible sleep. The caller must have [adopted](adopt_descendants) them.
pub(crate) fn kill_descendants() -> usize {
    let own = std::process::id();
    for round in 0..ROUNDS + WAITING_ROUNDS {
        let found = descendants(own);
        if found.is_empty() {
            return 0;
        }
        for pid in found.iter().filter_map(|pid| Pid::from_raw(i32::try_from(*pid).ok()?)) {
            // An error means that the process has already ended.
            kill_process(pid, Signal::KILL).unwrap_or_default();
        }
        reap();
        let pause_ms = if round < ROUNDS { 5 } else { 50 };
        std::thread::sleep(std::time::Duration::from_millis(pause_ms));
    }
    descendants(own).len()
}

/// Waits for children that have ended, without blocking.
pub(crate) fn reap() {
    while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::NOHANG) {}
}

/// Returns the descendants of a process, from the parents in `/proc/*/stat`; zombies are left out.
fn descendants(root: u32) -> Vec<u32> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    for entry in entries.filter_map(Result::ok) {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        if let Some(parent) = parent_of(&stat) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            found.push(child);
            next.push(child);
        }
    }
    found
}

/// Returns the parent in a line of `/proc/PID/stat`: `pid (name) state parent ...`, where the name
/// may contain any character; `None` for a zombie.
fn parent_of(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z").then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_line_with_brackets_in_the_name_gives_the_parent() {
        assert_eq!(parent_of("42 (a) b) S 7 42 42 0"), Some(7));
        assert_eq!(parent_of("42 (sh) Z 7 42 42 0"), None);
        assert_eq!(parent_of("nonsense"), None);
    }
}
