//! A tick that is killed as a whole, with all its processes.

use std::time::Instant;

use anyhow::ensure;
use rand::{Rng as _, SeedableRng as _};

use super::{scored, trained};
use crate::prometheus;
use crate::workspace::{Workspace, differences, kill};

const MINUTES: u32 = 40;
const KILLS: usize = 30;

#[test]
fn ticks_killed_with_all_their_steps_leave_each_window_one_score() -> anyhow::Result<()> {
    let server = prometheus::Prometheus::start(&[])?;
    let url = format!("sources.main.prometheus.url={}", server.url());
    let arguments = |minute: u32| {
        let at = format!("2026-11-21T08:{:02}:00Z", 16 + minute);
        ["score", "node.yaml", "--since", "2026-11-21T08:15:00Z", "--set", &url, "--at", &at]
            .map(str::to_owned)
    };
    let tick = |workspace: &Workspace, minute: u32| {
        workspace.run(&arguments(minute).each_ref().map(String::as_str)).map(drop)
    };
    let (undisturbed, killed) = (trained(&server)?, trained(&server)?);
    for minute in (0..MINUTES).step_by(10).chain([MINUTES - 1]) {
        tick(&undisturbed, minute)?;
    }
    let started = Instant::now();
    tick(&killed, 0)?;
    let mut length = started.elapsed();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let mut kills = 0;
    for minute in 1..MINUTES {
        // At most two kills of a tick, then possibly one that ends.
        for _ in 0..2 {
            let words = arguments(minute);
            let mut command = killed.lynceus(&words.each_ref().map(String::as_str));
            let running = kill(&mut command, length.mul_f64(random.random_range(0.1..1.0)))?;
            kills += usize::from(running);
            // The load of the machine varies, so the length is adjusted to keep the kills within
            // the tick.
            length = length.mul_f64(if running { 1.05 } else { 0.8 });
        }
        if random.random_bool(0.3) || minute + 1 == MINUTES {
            tick(&killed, minute)?;
        }
    }
    ensure!(kills >= KILLS, "only {kills} were quick enough");
    let scores = scored(&killed)?;
    assert_eq!(differences(&scored(&undisturbed)?, &scores), [""; 0], "after {kills} kills");
    let windows = scores.keys().filter(|name| name.starts_with("scores/")).count();
    assert_eq!(windows, 6 * MINUTES as usize, "one score a window");
    Ok(())
}
