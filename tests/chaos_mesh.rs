//! Does the scenario log record what Chaos Mesh did, for any course of its object? A local
//! Kubernetes API returns the object's states, one for each read.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::workspace::Workspace;

const FILE: &str = "
format: 1
name: lab
steps:
  - label: memory_stress
    for: 1s
    chaos_mesh:
      kind: StressChaos
      spec: {mode: one, selector: {namespaces: [shop]}, stressors: {memory: {workers: 4, size: 4096MB}}}
";

const OBJECT: &str = "/apis/chaos-mesh.org/v1alpha1/namespaces/lab/stresschaos/w-0";
const POD: &str = "/api/v1/namespaces/shop/pods/web-1";

/// Reply of the API: the status, and the body.
pub(crate) type Reply = (u16, Value);

/// An API on this machine.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Api {
    /// Starts an API that answers the nth request of a path with its nth reply, and then with the last.
    fn start(paths: Vec<(&'static str, Vec<Reply>)>) -> Result<Self> {
        let mut counts = vec![0; paths.len()];
        Self::answering(move |path| {
            let Some(index) = paths.iter().position(|(known, _)| *known == path) else {
                return refusal(404, &format!("{path} not found"));
            };
            let (_, replies) = &paths[index];
            let reply = replies[counts[index].min(replies.len() - 1)].clone();
            counts[index] += 1;
            reply
        })
    }

    /// Starts an API that answers requests of a path.
    pub(crate) fn answering(mut reply: impl FnMut(&str) -> Reply + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                // A client that disconnects does not affect the test.
                drop(stream.and_then(|stream| answer(stream, &mut reply)));
            }
        });
        Ok(Self { address, is_over, thread: Some(thread) })
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(mut stream: TcpStream, reply: &mut dyn FnMut(&str) -> Reply) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let (status, body) = reply(first.split(' ').nth(1).unwrap_or_default());
    let body = body.to_string();
    let head = "content-type: application/json\r\nconnection: close";
    write!(stream, "HTTP/1.1 {status} x\r\n{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// An error `Status` as in Kubernetes.
pub(crate) fn refusal(code: u16, message: &str) -> Reply {
    (code, json!({"kind": "Status", "status": "Failure", "message": message, "code": code}))
}

/// A `StressChaos` with the events of its one target, each an operation with its time of
/// 2020-01-01.
fn object(desired: &str, phase: &str, events: &[(&str, &str)]) -> Value {
    let event = |(operation, time): &(&str, &str)| {
        let timestamp = format!("2020-01-01T{time}Z");
        json!({"type": "Succeeded", "operation": operation, "timestamp": timestamp})
    };
    let events: Vec<Value> = events.iter().map(event).collect();
    let record = json!({"id": "shop/web-1/app", "phase": phase, "events": events});
    json!({
        "kind": "StressChaos",
        "metadata": {"name": "w-0", "finalizers": ["chaos-mesh/records"]},
        "status": {"experiment": {"desiredPhase": desired, "containerRecords": [record]}},
    })
}

const APPLY: (&str, &str) = ("Apply", "10:00:03");
const RECOVER: (&str, &str) = ("Recover", "10:05:41");

fn fresh() -> Reply {
    (200, json!({"metadata": {"name": "w-0"}, "status": {"experiment": {"desiredPhase": "Run"}}}))
}

fn injected() -> Value {
    object("Run", "Injected", &[APPLY])
}

fn recovered() -> Value {
    object("Stop", "Not Injected", &[APPLY, RECOVER])
}

fn paused(mut object: Value) -> Value {
    object["metadata"]["annotations"] = json!({"experiment.chaos-mesh.org/pause": "true"});
    object
}

/// Result of a fault: the exit code, the output, and the rows of the log.
struct Recorded {
    code: Option<i32>,
    said: String,
    rows: Vec<String>,
    json: Vec<Value>,
}

/// Records a fault whose object passes through these states.
fn record(states: Vec<Reply>, pod: Reply) -> Result<Recorded> {
    let api = Api::start(vec![(OBJECT, states), (POD, vec![pod])])?;
    let workspace = Workspace::new()?;
    fs_err::write(workspace.path().join("lab.yaml"), FILE)?;
    let url = format!("http://{}", api.address);
    let Output { status, stderr, .. } = workspace.output(&[
        "scenario",
        "record",
        "lab.yaml",
        "--id",
        "w-0",
        "--step",
        "0",
        "--seconds",
        "1",
        "--object",
        "w-0",
        "--namespace",
        "lab",
        "--kubernetes",
        &url,
        "--every",
        "1ms",
        "--patience",
        "0s",
    ])?;
    let read = |ending: &str| {
        let path = workspace.store().join(format!("scenarios/lab.{ending}"));
        fs_err::read_to_string(path).unwrap_or_default()
    };
    let json = read("jsonl").lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let rows = read("csv").lines().skip(1).map(str::to_owned).collect();
    Ok(Recorded { code: status.code(), said: String::from_utf8(stderr)?, rows, json })
}

fn well() -> Reply {
    (200, json!({"metadata": {"namespace": "shop", "name": "web-1"}, "status": {}}))
}

const COMPLETED: &str = "2020-01-01T10:00:03Z,2020-01-01T10:05:41Z,memory_stress,shop/web-1";

#[test]
fn fault_that_is_taken_back_has_the_times_of_its_events() -> Result<()> {
    // A request to an API server that is briefly unavailable is retried.
    let away = refusal(503, "the server is starting");
    let states = vec![fresh(), away, (200, injected()), (200, recovered())];
    let recorded = record(states, well())?;
    assert_eq!((recorded.code, recorded.rows), (Some(0), vec![COMPLETED.to_owned()]));
    assert_eq!(recorded.json[0]["outcome"], "completed");
    Ok(())
}

#[test]
fn selector_without_match_has_no_row_and_a_reason() -> Result<()> {
    let mut nothing = fresh().1;
    nothing["status"]["conditions"] =
        json!([{"type": "Selected", "status": "False", "reason": "no pod is selected"}]);
    let recorded = record(vec![(200, nothing)], well())?;
    assert_eq!((recorded.code, recorded.rows), (Some(3), Vec::new()));
    let words = "`memory_stress`: the selector matched no target: no pod is selected";
    assert!(recorded.said.contains(words), "{}", recorded.said);
    Ok(())
}

#[test]
fn stuck_finalizer_makes_the_time_a_transition() -> Result<()> {
    let mut stuck = injected();
    stuck["metadata"]["deletionTimestamp"] = "2020-01-01T10:01:00Z".into();
    let recorded = record(vec![(200, injected()), (200, stuck)], well())?;
    assert_eq!(recorded.code, Some(3), "{}", recorded.said);
    let [row] = recorded.rows.as_slice() else { anyhow::bail!("{:?}", recorded.rows) };
    assert!(row.starts_with("2020-01-01T10:00:03Z,"), "{row}");
    assert!(row.ends_with(",transition,shop/web-1"), "its end is unknown: {row}");
    for words in ["deleted at 2020-01-01T10:01:00Z", "finalizer chaos-mesh/records", "may continue"]
    {
        assert!(recorded.said.contains(words), "{words}: {}", recorded.said);
    }
    Ok(())
}

#[test]
fn paused_time_is_no_fault() -> Result<()> {
    let out = [APPLY, ("Recover", "10:02:00")];
    let again = [&out[..], &[("Apply", "10:03:00"), RECOVER]].concat();
    let states = vec![
        (200, injected()),
        (200, paused(object("Stop", "Not Injected", &out))),
        (200, object("Run", "Injected", &again[..3])),
        (200, object("Stop", "Not Injected", &again)),
    ];
    let recorded = record(states, well())?;
    let rows = [
        "2020-01-01T10:00:03Z,2020-01-01T10:02:00Z,memory_stress,shop/web-1",
        "2020-01-01T10:03:00Z,2020-01-01T10:05:41Z,memory_stress,shop/web-1",
    ];
    assert_eq!((recorded.code, recorded.rows), (Some(0), rows.map(str::to_owned).to_vec()));

    let for_ever = vec![(200, paused(object("Stop", "Not Injected", &out)))];
    let recorded = record(for_ever, well())?;
    assert_eq!((recorded.code, recorded.rows), (Some(3), vec![rows[0].to_owned()]));
    assert!(recorded.said.contains("`StressChaos/w-0` is paused"), "{}", recorded.said);
    Ok(())
}

#[test]
fn stressor_that_ran_out_of_memory_ends_its_fault() -> Result<()> {
    let mut pod = well().1;
    pod["status"]["containerStatuses"] = json!([{"name": "app", "restartCount": 1, "lastState":
        {"terminated": {"reason": "OOMKilled", "finishedAt": "2020-01-01T10:02:30Z"}}}]);
    let recorded = record(vec![(200, recovered())], (200, pod.clone()))?;
    let rows = [
        "2020-01-01T10:00:03Z,2020-01-01T10:02:30Z,memory_stress,shop/web-1",
        "2020-01-01T10:02:30Z,2020-01-01T10:05:41Z,transition,shop/web-1",
    ];
    assert_eq!((recorded.code, recorded.rows), (Some(0), rows.map(str::to_owned).to_vec()));
    let words = "memory of `shop/web-1` ran out at 2020-01-01T10:02:30Z";
    assert!(recorded.said.contains(words), "{}", recorded.said);
    assert_eq!(recorded.json[0]["outcome"]["failed"], words);

    // A pod that ran out of memory before or after the fault does not count.
    pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["finishedAt"] =
        "2020-01-01T09:00:00Z".into();
    let recorded = record(vec![(200, recovered())], (200, pod))?;
    assert_eq!(recorded.rows, [COMPLETED]);

    let forbidden = refusal(403, "pods \"web-1\" is forbidden");
    let recorded = record(vec![(200, recovered())], forbidden)?;
    assert_eq!((recorded.code, recorded.rows), (Some(0), vec![COMPLETED.to_owned()]));
    assert!(recorded.said.contains("Cannot check whether the memory"), "{}", recorded.said);
    Ok(())
}

#[test]
fn object_that_is_deleted_midway_ends_its_fault() -> Result<()> {
    let gone = refusal(404, "stresschaos.chaos-mesh.org \"w-0\" not found");
    let recorded = record(vec![(200, injected()), gone.clone()], well())?;
    assert_eq!(recorded.code, Some(3), "{}", recorded.said);
    let row = recorded.rows.first().context("a row")?;
    assert!(row.starts_with("2020-01-01T10:00:03Z,") && row.contains(",memory_stress,"), "{row}");
    assert_eq!(recorded.json[0]["outcome"], "stopped");
    assert!(recorded.said.contains("was deleted before its end"), "{}", recorded.said);

    let recorded = record(vec![fresh(), gone.clone()], well())?;
    assert_eq!((recorded.code, recorded.rows), (Some(3), Vec::new()));
    assert!(recorded.said.contains("was deleted before it was injected"), "{}", recorded.said);

    let recorded = record(vec![gone], well())?;
    assert_eq!((recorded.code, recorded.rows), (Some(3), Vec::new()));
    assert!(recorded.said.contains("there is no `StressChaos/w-0`"), "{}", recorded.said);
    Ok(())
}

#[test]
fn missing_permission_error_quotes_kubernetes() -> Result<()> {
    let words = "stresschaos \"w-0\" is forbidden: User \"x\" cannot get resource";
    let recorded = record(vec![refusal(403, words)], well())?;
    assert_eq!((recorded.code, recorded.rows), (Some(2), Vec::new()));
    assert!(recorded.said.contains(words), "{}", recorded.said);
    Ok(())
}
