//! Does a run that is killed at any moment end, when it is resumed, with the bytes of one that was
//! not?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use pipelines::run::{RunRecord, TaskState};
use rand::{Rng as _, SeedableRng as _};

use crate::workspace::{Workspace, differences, kill};

const TRAIN: [&str; 3] = ["run", "cluster", "--sample"];
const KILLS: usize = 50;

#[test]
fn a_run_killed_at_fifty_random_moments_ends_with_the_same_bytes() -> anyhow::Result<()> {
    let undisturbed = Workspace::new()?;
    let started = Instant::now();
    undisturbed.run(&TRAIN)?;
    let length = started.elapsed();
    let expected = undisturbed.promised()?;

    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut kills = 0;
    let mut struck = BTreeSet::new();
    while kills < KILLS {
        let workspace = Workspace::new()?;
        // A store that is killed in again and again gets further each time: outputs that are whole
        // stay. Shares of the whole length reach every stage.
        for _ in 0..8 {
            let after = length.mul_f64(random.random_range(0.0..0.6));
            if !kill(&mut workspace.lynceus(&TRAIN), after)? {
                break;
            }
            kills += 1;
            struck.extend(running(&workspace)?);
        }
        workspace.run(&TRAIN)?;
        assert_eq!(differences(&expected, &workspace.promised()?), [""; 0], "after {kills} kills");
    }
    assert!(struck.len() >= 4, "the kills struck {struck:?} alone");
    Ok(())
}

/// Returns the tasks that were running when the program was killed.
fn running(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let mut tasks = Vec::new();
    for run in fs_err::read_dir(workspace.store().join("runs/cluster")).into_iter().flatten() {
        let Ok(record) = RunRecord::read(&run?.path()) else { continue };
        let running = record.tasks.iter().filter(|task| task.state == TaskState::Running);
        tasks.extend(running.map(|task| task.name.clone()));
    }
    Ok(tasks)
}

#[test]
fn ctrl_c_prints_no_error_and_same_command_resumes() -> anyhow::Result<()> {
    // On a busy machine a run may end before the signal comes: then the next one is interrupted.
    for _ in 0..10 {
        let workspace = Workspace::new()?;
        let (code, said) = interrupted(&workspace)?;
        if code == Some(0) {
            continue;
        }
        // A signal that comes before the program listens ends it as any other; it has done nothing yet.
        if code.is_some() {
            assert_eq!(code, Some(130), "{said}");
            assert!(
                said.contains("error: interrupted\nhint: run the same command again to resume"),
                "{said}"
            );
        }
        workspace.run(&TRAIN)?;
        return Ok(());
    }
    anyhow::bail!("ten runs ended before their signal came")
}

/// Interrupts a training once its first task has a folder, so that the program listens to signals;
/// returns its exit code and its standard error.
fn interrupted(workspace: &Workspace) -> anyhow::Result<(Option<i32>, String)> {
    let mut child =
        workspace.lynceus(&TRAIN).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let runs = workspace.store().join("runs/cluster");
    let folders = |path: &Path| -> Vec<PathBuf> {
        let entries = fs_err::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    while Instant::now() < deadline && folders(&runs).iter().all(|run| folders(run).is_empty()) {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut said)?;
    Ok((child.wait()?.code(), said))
}
