//! Are faults injected as in the scenario file, and is nothing left behind after any kill?

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use contract::Timestamp;
use rand::{Rng as _, SeedableRng as _};
use scenario::log::{End, ScenarioLog};

/// Longest wait for the processes of a killed runner to end.
const CLEAN_UP: Duration = Duration::from_secs(20);

const FAULTS: &str = "
format: 1
name: quick
pause: 100ms
log: log.csv
steps:
  - {label: cpu, for: 700ms, local: {cpu: {workers: 2, load_percent: 50}}}
  - {label: storm, for: 500ms, local: {process_storm: {workers: 1}}}
  - {label: memory, for: 500ms, local: {memory: {workers: 1, memory_mib: 32}}}
  - {label: disk, for: 500ms, local: {disk: {workers: 1, disk_mib: 16, folder: FOLDER}}}
  - {label: io, for: 500ms, local: {io: {workers: 1, disk_mib: 16, folder: FOLDER}}}
  - {label: leak, for: 300ms, local: {memory_leak: {mib_per_second: 8, up_to_mib: 64}}}
  - {label: dropped, for: 300ms, local: {short_processes: {per_second: 50, folder: FOLDER}}}
  - {label: scan, for: 300ms, local: {connections: {ports: [4444, 5555], per_second: 50}}}
  - {label: shell, for: 300ms, local: {reverse_shell: {per_second: 50}}}
";

struct Lab {
    folder: tempfile::TempDir,
    /// Identifies this lab in the environment of all its processes.
    mark: String,
}

impl Lab {
    fn new(faults: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let faults = faults.replace("FOLDER", &folder.path().display().to_string());
        fs_err::write(folder.path().join("faults.yaml"), faults)?;
        let mark = format!("LYNCEUS_SCENARIO_TEST={}", folder.path().display());
        Ok(Self { folder, mark })
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("faults.yaml")
    }

    fn log(&self) -> ScenarioLog {
        ScenarioLog::new(&self.folder.path().join("log.csv"))
    }

    fn start(&self) -> Result<Child> {
        let (name, value) = self.mark.split_once('=').context("a name and a value")?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_lynceus"));
        command.args(["scenario", "run"]).arg(self.file()).env(name, value);
        Ok(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
    }

    /// Waits until no process that this lab started is left.
    fn wait_until_clean(&self) -> Result<()> {
        let deadline = Instant::now() + CLEAN_UP;
        loop {
            let left = self.processes();
            if left.is_empty() {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "processes stay behind: {left:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Returns the files that faults have left in their folder.
    fn files(&self) -> Result<Vec<String>> {
        let entries = fs_err::read_dir(self.folder.path())?;
        let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names: Vec<String> = names.collect::<Result<_>>()?;
        Ok(names.into_iter().filter(|name| name.contains("scenario")).collect())
    }

    fn processes(&self) -> Vec<String> {
        self.pids().iter().filter_map(|path| name_of(path)).collect()
    }

    fn pids(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs_err::read_dir("/proc") else { return Vec::new() };
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let is_ours = |path: &PathBuf| {
            let environment = fs_err::read(path.join("environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|it| it == self.mark.as_bytes())
        };
        paths.filter(is_ours).collect()
    }
}

/// Returns the name of a process in `/proc`.
fn name_of(path: &Path) -> Option<String> {
    fs_err::read_to_string(path.join("comm")).map(|name| name.trim().to_owned()).ok()
}

#[test]
fn every_kind_of_fault_runs_and_the_log_has_its_true_times() -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0")?;
    let port = server.local_addr()?.port();
    let load = format!("{{port: {port}, per_second: 20}}");
    let step = format!("  - {{label: load, for: 300ms, local: {{http_load: {load}}}}}\n");
    let answers = std::thread::spawn(move || {
        let mut asked = 0;
        for mut stream in server.incoming().map_while(Result::ok) {
            let mut first = [0; 4];
            // A client that only connects, or disconnects, is not a request.
            drop(stream.read_exact(&mut first));
            if &first == b"end." {
                break;
            }
            asked += usize::from(&first == b"GET ");
            drop(stream.write_all(b"HTTP/1.1 200 x\r\ncontent-length: 0\r\n\r\n"));
        }
        asked
    });
    let lab = Lab::new(&format!("{FAULTS}{step}"))?;
    let output = lab.start()?.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    TcpStream::connect(("127.0.0.1", port))?.write_all(b"end.")?;
    let asked = answers.join().map_err(|_| anyhow::anyhow!("the server broke"))?;
    ensure!(output.status.success(), "{said}");
    ensure!((1..=8).contains(&asked), "{asked} requests in 300 ms at 20 a second");
    lab.wait_until_clean()?;
    let records = lab.log().records()?;
    let labels: Vec<&str> = records.iter().map(|record| record.label.as_str()).collect();
    let all = ["cpu", "storm", "memory", "disk", "io", "leak", "dropped", "scan", "shell", "load"];
    assert_eq!(labels, all);
    let mut before = Timestamp::from_ms(0);
    for record in &records {
        assert_eq!(record.outcome, Some(End::Completed), "{said}");
        let end = record.end.context("an end")?;
        assert!(before <= record.start, "faults do not overlap");
        assert!(end - record.start >= record.requested_duration, "{record:?}");
        before = end;
    }
    let csv = fs_err::read_to_string(lab.log().csv())?;
    assert_eq!(csv.lines().count(), 1 + records.len());
    assert_eq!(lab.files()?, [""; 0], "files stay behind");
    Ok(())
}

#[test]
fn kernel_holds_what_a_fault_starts_to_the_limits_of_the_file() -> Result<()> {
    let limits = "limits: {memory_mib: 96, disk_mib: 24}\n";
    let faults = FAULTS.replace("for: 700ms", "for: 20s");
    let lab = Lab::new(&format!("{faults}{limits}"))?;
    let child = lab.start()?;
    let deadline = Instant::now() + CLEAN_UP;
    let (memory, size) = loop {
        let named = |path: &PathBuf| name_of(path).is_some_and(|it| it.contains("stress"));
        // The runner itself, which asks for the version, has no limits.
        let limits = lab.pids().into_iter().filter(named).find_map(|path| {
            let table = fs_err::read_to_string(path.join("limits")).ok()?;
            let hard = |name: &str| {
                let line = table.lines().find(|line| line.starts_with(name))?;
                line.split_whitespace().rev().nth(1)?.parse::<u64>().ok()
            };
            hard("Max address space").zip(hard("Max file size"))
        });
        if let Some(limits) = limits {
            break limits;
        }
        ensure!(Instant::now() < deadline, "no stress-ng with limits starts");
        std::thread::sleep(Duration::from_millis(10));
    };
    // Programs may map one gigabyte in addition to the requested memory.
    assert_eq!((memory, size), ((96 + 1024) << 20, 24 << 20));
    Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    assert_eq!(child.wait_with_output()?.status.code(), Some(130));
    lab.wait_until_clean()
}

#[test]
fn fault_beyond_the_limits_of_the_file_is_refused_before_anything_starts() -> Result<()> {
    for (limits, words) in [
        ("limits: {memory_mib: 16}\n", "memory.memory_mib: 32 is above `limits.memory_mib`, 16"),
        ("limits: {disk_mib: 8}\n", "disk.disk_mib: 16 is above `limits.disk_mib`, 8"),
    ] {
        let lab = Lab::new(&format!("{FAULTS}{limits}"))?;
        let output = lab.start()?.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!lab.log().csv().exists());
    }
    Ok(())
}

#[test]
fn runner_killed_at_any_moment_leaves_no_process_and_a_log_that_label_reads() -> Result<()> {
    let lab = Lab::new(FAULTS)?;
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    for _ in 0..50 {
        let mut child = lab.start()?;
        // The time of the kill is the subject of the test.
        std::thread::sleep(Duration::from_millis(generator.random_range(0..1500)));
        child.kill()?;
        child.wait()?;
        lab.wait_until_clean()?;
        assert_eq!(lab.files()?, [""; 0], "files stay behind");
    }
    let records = lab.log().records()?;
    ensure!(records.len() > 10, "only {} faults in 50 runs", records.len());
    for record in &records {
        let end = record.end.with_context(|| format!("{record:?} has no end"))?;
        assert!(record.start <= end && record.outcome.is_some(), "{record:?}");
    }
    let stopped = records.iter().filter(|record| record.outcome == Some(End::Stopped)).count();
    ensure!(stopped > 0, "no fault was cut short");
    let labels = lab.folder.path().join("labels.parquet");
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("cluster.yaml");
    let label = Command::new(env!("CARGO_BIN_EXE_lynceus"))
        .args(["step", "label", "--scenarios"])
        .arg(lab.log().csv())
        .arg("--document")
        .arg(document)
        .arg("--labels")
        .arg(labels)
        .output()?;
    ensure!(label.status.success(), "{}", String::from_utf8_lossy(&label.stderr));
    Ok(())
}

#[test]
fn worker_killed_with_its_fault_is_logged_as_a_transition() -> Result<()> {
    let faults = FAULTS.replace("for: 700ms", "for: 20s");
    let lab = Lab::new(&faults)?;
    let mut child = lab.start()?;
    let deadline = Instant::now() + CLEAN_UP;
    let worker = loop {
        let started = lab.log().records()?.len() == 1;
        if let Some(pid) = started.then(|| worker_of(child.id())).flatten() {
            break pid;
        }
        ensure!(Instant::now() < deadline, "no worker starts");
        std::thread::sleep(Duration::from_millis(10));
    };
    Command::new("kill").args(["-KILL", &worker.to_string()]).status()?;
    // The runner continues with the next fault, which stops when the runner ends.
    while lab.log().records()?.first().is_none_or(|record| record.end.is_none()) {
        ensure!(Instant::now() < deadline, "the lost fault is not logged");
        std::thread::sleep(Duration::from_millis(10));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status()?;
    assert_eq!(child.wait()?.code(), Some(130));
    assert_eq!(lab.log().records()?[0].outcome, Some(End::Lost));
    let csv = fs_err::read_to_string(lab.log().csv())?;
    assert!(csv.lines().nth(1).is_some_and(|line| line.contains(",transition,")), "{csv}");
    lab.wait_until_clean()
}

#[test]
fn reverse_shell_talks_over_loopback_alone_and_ends_with_its_runner() -> Result<()> {
    let lab = Lab::new(
        "format: 1\nname: shell\nlog: log.csv\nsteps:\n\
         \x20 - {label: shell, for: 30s, local: {reverse_shell: {per_second: 20}}}\n",
    )?;
    let mut child = lab.start()?;
    let deadline = Instant::now() + CLEAN_UP;
    let socket = loop {
        let sides =
            lab.pids().into_iter().filter(|path| name_of(path).is_some_and(|it| it == "sh"));
        let sides = sides.filter_map(|path| {
            let side = |number| fs_err::read_link(path.join("fd").join(number)).ok();
            Some([side("0")?, side("1")?, side("2")?])
        });
        // Briefly after the fork it still has the connections of its parent.
        let mut of_one = sides.filter(|[input, output, errors]| input == output && input == errors);
        let found = of_one.find_map(|[input, ..]| {
            let name = input.to_string_lossy().into_owned();
            Some(name.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
        });
        if let Some(inode) = found {
            break inode;
        }
        ensure!(Instant::now() < deadline, "no shell starts: {:?}", lab.processes());
        std::thread::sleep(Duration::from_millis(10));
    };
    let table = fs_err::read_to_string("/proc/net/tcp")?;
    let line = table.lines().find(|line| line.split_whitespace().nth(9) == Some(&socket));
    let line = line.context("the socket is no TCP connection")?;
    let ends: Vec<&str> = line.split_whitespace().skip(1).take(2).collect();
    // 127.0.0.1, as this file writes it.
    assert!(ends.iter().all(|end| end.starts_with("0100007F:")), "{line}");
    child.kill()?;
    child.wait()?;
    lab.wait_until_clean()?;
    let records = lab.log().records()?;
    assert_eq!(records[0].outcome, Some(End::Stopped), "{records:?}");
    Ok(())
}

/// Runs in a separate network namespace, which only root can create; for other users this test does
/// nothing.
#[test]
fn slow_network_is_injected_and_one_that_the_kernel_cannot_make_is_refused_with_the_reason()
-> Result<()> {
    if !Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|it| it.success()) {
        return Ok(());
    }
    let run = |name: &str, settings: &str| -> Result<(Lab, Option<i32>, String)> {
        let step =
            format!("{{label: {name}, for: 300ms, local: {{network: {{device: {settings}}}}}}}");
        let lab = Lab::new(&format!(
            "format: 1\nname: net\nlog: log.csv\npause: 10ms\nsteps: [{step}]\n"
        ))?;
        let mut command = Command::new("unshare");
        command.args(["--net", env!("CARGO_BIN_EXE_lynceus"), "scenario", "run"]).arg(lab.file());
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((lab, output.status.code(), said))
    };
    for (name, settings, module) in [
        ("slow", "lo, rate_kbit: 1000", "sch_tbf"),
        ("late", "lo, delay_milliseconds: 5", "sch_netem"),
    ] {
        let (lab, code, said) = run(name, settings)?;
        let records = lab.log().records()?;
        let outcome = records.first().and_then(|record| record.outcome.clone());
        if code == Some(0) {
            assert_eq!(outcome, Some(End::Completed), "{said}");
        } else {
            ensure!(said.contains("this kernel lacks") && said.contains(module), "{said}");
            ensure!(matches!(outcome, Some(End::Failed(_))), "{outcome:?}");
        }
    }
    let (lab, code, said) = run("gone", "eth77, rate_kbit: 1000")?;
    assert_eq!(code, Some(2), "{said}");
    ensure!(said.contains("no network device `eth77`"), "{said}");
    assert_eq!(lab.log().records()?, [], "nothing has started");
    Ok(())
}

/// Returns the child of a process.
fn worker_of(runner: u32) -> Option<u32> {
    let children = fs_err::read_to_string(format!("/proc/{runner}/task/{runner}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok()
}
