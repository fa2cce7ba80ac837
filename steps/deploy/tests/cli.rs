//! The program as the runner and pods run it.
#![expect(clippy::unwrap_used, reason = "a test may")]

#[expect(dead_code, reason = "the other test program uses the rest")]
mod support;

use std::process::{Command, Stdio};

use contract::artifact::files_below;
use contract::steps::DeployArgs;
use contract::{Outcome, read_json};
use fs_err as fs;
use support::Pipeline;

fn command(args: &DeployArgs) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deploy"));
    command.args(contract::step::command_line(args).unwrap()).stdin(Stdio::null());
    command
}

#[test]
fn exit_codes_match_error_kinds() {
    let pipeline = Pipeline::new(true, "{on_worse: stop}").unwrap();
    pipeline.bundle("sharp", 1.0).unwrap();
    pipeline.bundle("blind", 50.0).unwrap();
    let mut args = pipeline.args("sharp", 300);
    args.common.outcome = Some(pipeline.folder().join("outcome.json"));
    let output = command(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
    let outcome: Outcome = read_json(&pipeline.folder().join("outcome.json")).unwrap();
    assert_eq!(outcome.counts["promoted"], 1);
    assert_eq!(outcome.details["deployment"]["live"], true);

    let worse = command(&pipeline.args("blind", 301)).output().unwrap();
    assert_eq!(worse.status.code(), Some(3));
    let text = String::from_utf8(worse.stderr).unwrap();
    assert!(text.contains("is registered but not promoted: its average precision"), "{text}");

    let absent = command(&pipeline.args("absent", 302)).output().unwrap();
    assert_eq!(absent.status.code(), Some(2));
    let elsewhere = DeployArgs { store: "ftp://host/store".into(), ..pipeline.args("sharp", 300) };
    assert_eq!(command(&elsewhere).output().unwrap().status.code(), Some(2));
}

#[test]
fn killed_run_repeated_gives_the_same_result() {
    let undisturbed = Pipeline::new(true, "{}").unwrap();
    let disturbed = Pipeline::new(true, "{}").unwrap();
    let mut kills = 0;
    let bundles = [("v0", 60.0), ("v1", 40.0), ("v2", 1.0), ("v3", 90.0), ("v4", 1.01)];
    for ((bundle, blindness), now) in bundles.into_iter().zip(300..) {
        for pipeline in [&undisturbed, &disturbed] {
            pipeline.bundle(bundle, blindness).unwrap();
        }
        assert!(command(&undisturbed.args(bundle, now)).output().unwrap().status.success());
        for attempt in 0..10_u32 {
            let mut child =
                command(&disturbed.args(bundle, now)).stderr(Stdio::null()).spawn().unwrap();
            // Each attempt is killed at another point, from before the first write to after the
            // last.
            for spin in 0..400_009 * attempt {
                std::hint::black_box(spin);
            }
            child.kill().unwrap();
            kills += usize::from(child.wait().unwrap().code().is_none());
        }
        let output = command(&disturbed.args(bundle, now)).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let read =
            |pipeline: &Pipeline, file: &str| fs::read(pipeline.folder().join(file)).unwrap();
        let file = "deployment.json";
        assert_eq!(read(&disturbed, file), read(&undisturbed, file), "{bundle}");
        let stored = files_below(&undisturbed.folder().join("store")).unwrap();
        assert_eq!(files_below(&disturbed.folder().join("store")).unwrap(), stored);
        for file in stored {
            let file = format!("store/{file}");
            assert_eq!(read(&disturbed, &file), read(&undisturbed, &file), "{file}");
        }
    }
    assert!(kills > 10, "{kills} kills: too few to show anything");
}
