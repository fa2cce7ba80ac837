//! The lease of a sender: concurrent runs must not send the same message twice.
//!
//! A run that has something to send writes its lease into the state by compare-and-set, and removes
//! it with its last write. A run that was killed leaves its lease in the state. A run on the same
//! machine checks whether the process still exists; on another machine, the lease expires [`LEASE`]
//! later, measured in evaluation times.

use std::path::Path;

pub use contract::alerts::Lease;
use contract::{Span, Timestamp};
use fs_err as fs;

/// Time after which a lease expires. A run stops sending well before
/// ([`crate::outbox::SENDING_SECONDS`]).
pub const LEASE: Span = Span::from_seconds(180);

/// Makes the lease of this process.
pub fn of_this_process(now: Timestamp) -> Lease {
    Lease { since: now, process: process(std::process::id()) }
}

/// Returns whether the holder of a lease may still be sending.
///
/// The evaluation times of two runs may be in any order, and far apart if one of them backfills, so
/// the lease of another machine is valid only near its own time.
pub fn is_held(lease: &Lease, now: Timestamp) -> bool {
    let near = now < lease.since + LEASE && now > lease.since - LEASE;
    lease.process.as_deref().and_then(runs).unwrap_or(near)
}

/// Returns whether a process of this machine still runs; `None` for a process of another machine.
fn runs(recorded: &str) -> Option<bool> {
    let (number, _) = recorded.strip_prefix(&place()?)?.split_once(' ')?;
    Some(process(number.parse().ok()?).as_deref() == Some(recorded))
}

/// Returns a description that is unique to a process; `None` if it does not run.
fn process(number: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name in parentheses may contain any character; the fields after it do not. A zombie
    // counts as ended.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    // proc(5): the start time is field 22, the state field 3.
    let start = fields.nth(18)?;
    (state != "Z").then_some(())?;
    Some(format!("{}{number} {start}", place()?))
}

/// Describes the scope in which process ids are unique: this boot of the machine, and this PID
/// namespace.
fn place() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link(Path::new("/proc/self/ns/pid")).ok()?;
    Some(format!("{} {} ", boot.trim(), namespace.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_ms(1000 * seconds)
    }

    #[test]
    fn a_lease_is_held_near_its_own_time_alone() {
        let lease = Lease { since: at(1000), process: None };
        for (now, held) in [(1000, true), (1179, true), (1180, false), (821, true), (820, false)] {
            assert_eq!(is_held(&lease, at(now)), held, "{now}");
        }
    }

    #[test]
    fn a_process_that_ended_holds_nothing_and_one_elsewhere_may() {
        let own = of_this_process(at(0));
        assert!(
            is_held(&own, at(1)) && is_held(&own, at(100_000)),
            "whatever time it takes for now"
        );
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let place = place().unwrap();
        let gone = Lease { process: Some(format!("{place}{} 1", child.id())), ..own.clone() };
        child.wait().unwrap();
        assert!(!is_held(&gone, at(1)));
        let elsewhere = Lease { process: Some("boot pid:[1] 7 1".into()), ..own };
        assert!(is_held(&elsewhere, at(1)));
    }
}
