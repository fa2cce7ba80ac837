//! Scenario files, their timetables, their logs, and what Chaos Mesh says.

#![expect(clippy::unwrap_used, reason = "a test may")]

use std::path::Path;

use contract::{ErrorKind, Span, Timestamp};
use proptest::prelude::*;
use scenario::chaos::{Asked, ChaosMesh, Ended, Settings, Watch, manifests};
use scenario::file::ScenarioFile;
use scenario::log::{End, Record, ScenarioLog};
use scenario::timetable;
use serde_json::{Value, json};

const SMALL: &str = "
format: 1
name: small
lead_in: 1m
pause: 2m
repeat: 2
order: shuffled
steps:
  - {label: cpu, for: 3m, local: {cpu: {workers: 2}}}
  - {label: leak, for: 3m, local: {memory_leak: {mib_per_second: 1, up_to_mib: 100}}}
  - {label: scan, for: 3m, local: {connections: {ports: [22], per_second: 5}}}
";

fn read(text: &str) -> Result<ScenarioFile, contract::StepError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("small.yaml");
    fs_err::write(&path, text).unwrap();
    ScenarioFile::read(&path)
}

fn refusal(from: &str, to: &str) -> String {
    assert!(SMALL.contains(from), "{from}");
    let error = read(&SMALL.replacen(from, to, 1)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Usage);
    error.to_string()
}

#[test]
fn shipped_scenario_files_are_read_and_have_a_timetable() {
    let pipelines = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines");
    let mut count = 0;
    for folder in ["scenarios", "samples/record_cluster", "samples/record_node"] {
        for entry in fs_err::read_dir(pipelines.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            // The others are pipelines and workloads.
            let is_scenario = path.extension().is_some_and(|extension| extension == "yaml")
                && fs_err::read_to_string(&path).unwrap().contains("\nsteps:\n");
            if is_scenario {
                let file = ScenarioFile::read(&path).unwrap();
                assert!(!timetable::make(&file, None).entries.is_empty());
                count += 1;
            }
        }
    }
    assert!(count >= 6);
}

#[test]
fn step_beyond_the_limits_names_field_and_limit() {
    for (from, to, words) in [
        ("workers: 2", "workers: 9", "cpu.workers: 9 is above `limits.workers`, 4"),
        ("workers: 2", "workers: 0", "cpu.workers: must be at least 1"),
        ("up_to_mib: 100", "up_to_mib: 4000", "4000 is above `limits.memory_mib`, 1024"),
        ("per_second: 5", "per_second: 501", "501 is above `limits.per_second`, 500"),
        ("for: 3m", "for: 31m", "is longer than `limits.duration`, 30m"),
        ("for: 3m", "for: 0s", "must be greater than 0s"),
        ("ports: [22]", "ports: []", "must have at least one port"),
        ("ports: [22]", "host: 10.0.0.1, ports: [22]", "neither a loopback address"),
        ("ports: [22]", "host: example.com, ports: [22]", "nor one of `allowed_hosts`"),
        ("name: small", "name: Small", "`name`"),
        ("repeat: 2", "repeat: 0", "must be at least 1"),
        ("local: {cpu: {workers: 2}}", "target: x", "exactly one of `local` and `chaos_mesh`"),
        ("{cpu:", "{cpuu:", "did you mean `cpu`?"),
    ] {
        let message = refusal(from, to);
        assert!(message.contains(words), "{to}: {message}");
    }
    let allowed = SMALL.replace("ports: [22]", "host: test-host, ports: [22]");
    read(&format!("{allowed}allowed_hosts: [test-host]\n")).unwrap();
}

#[test]
fn timetable_runs_every_step_in_every_repeat_and_its_order_depends_on_the_seed_alone() {
    let file = read(SMALL).unwrap();
    let made = timetable::make(&file, None);
    assert_eq!(made, timetable::make(&file, None));
    assert_eq!(made.total, "31m".parse::<Span>().unwrap());
    for repeat in 0..2 {
        let of_repeat = made.entries.iter().filter(|entry| entry.repeat == repeat);
        let mut steps: Vec<usize> = of_repeat.map(|entry| entry.step).collect();
        steps.sort_unstable();
        assert_eq!(steps, [0, 1, 2]);
    }
    let orders: std::collections::BTreeSet<Vec<usize>> = (0..20)
        .map(|seed| {
            let file = ScenarioFile { seed, ..file.clone() };
            timetable::make(&file, None).entries.iter().map(|entry| entry.step).collect()
        })
        .collect();
    assert!(orders.len() > 5, "{orders:?}");
}

proptest! {
    #[test]
    fn pilot_runs_each_step_once_within_its_time(minutes in 2_i64..60) {
        let file = read(SMALL).unwrap();
        let pilot = Span::from_seconds(minutes * 60);
        let made = timetable::make(&file, Some(pilot));
        prop_assert_eq!(made.entries.len(), 3);
        prop_assert!(made.total.ms() <= pilot.ms() + 10, "{}", made.total);
        for pair in made.entries.windows(2) {
            prop_assert!(pair[0].offset + pair[0].duration <= pair[1].offset);
        }
    }
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn record(id: &str, start: &str) -> Record {
    Record {
        id: id.to_owned(),
        scenario: "small".to_owned(),
        executor: "local".to_owned(),
        kind: "cpu".to_owned(),
        label: "cpu".to_owned(),
        target: "node-a".to_owned(),
        parameters: json!({}),
        requested_start: time(start),
        requested_duration: Span::from_seconds(60),
        guard: Span::ZERO,
        start: time(start),
        end: None,
        outcome: None,
    }
}

#[test]
fn fault_without_an_end_becomes_a_transition_and_its_log_has_each_fault_once() {
    let folder = tempfile::tempdir().unwrap();
    let log = ScenarioLog::new(&folder.path().join("log.csv"));
    let mut first = record("a-0", "2026-11-29T10:00:00Z");
    log.started(&first).unwrap();
    first.end = Some(time("2026-11-29T10:01:00Z"));
    first.outcome = Some(End::Completed);
    log.ended(&first).unwrap();
    log.started(&record("a-1", "2026-11-29T10:05:00Z")).unwrap();
    // The CSV of a kill between both files lacks the line; it comes from the JSON lines.
    fs_err::remove_file(folder.path().join("log.csv")).unwrap();
    let lost = log.reconcile().unwrap();
    assert_eq!(lost.len(), 1);
    assert_eq!(log.reconcile().unwrap(), []);
    assert_eq!(
        fs_err::read_to_string(log.csv()).unwrap(),
        "start,end,label,target\n\
         2026-11-29T10:00:00Z,2026-11-29T10:01:00Z,cpu,node-a\n\
         2026-11-29T10:05:00Z,2026-11-29T10:06:00Z,transition,node-a\n"
    );
}

#[test]
fn target_with_a_comma_is_one_cell_of_the_log() {
    let mut fault = record("a-0", "2026-11-29T10:00:00Z");
    fault.target = "shop/web,shop/api".to_owned();
    assert_eq!(fault.csv_lines().unwrap(), [""; 0], "it has not ended");
    fault.end = Some(time("2026-11-29T10:01:00Z"));
    let line = "2026-11-29T10:00:00Z,2026-11-29T10:01:00Z,cpu,\"shop/web,shop/api\"\n";
    assert_eq!(fault.csv_lines().unwrap(), [line]);
}

#[test]
fn guard_time_after_a_fault_is_a_transition_and_shorter_than_the_pause() {
    let mut fault = record("a-0", "2026-11-29T10:00:00Z");
    (fault.end, fault.guard) = (Some(time("2026-11-29T10:01:00Z")), Span::from_seconds(30));
    let lines = [
        "2026-11-29T10:00:00Z,2026-11-29T10:01:00Z,cpu,node-a\n",
        "2026-11-29T10:01:00Z,2026-11-29T10:01:30Z,transition,node-a\n",
    ];
    assert_eq!(fault.csv_lines().unwrap(), lines);
    let text = SMALL.replace("{label: cpu, for: 3m,", "{label: cpu, for: 3m, guard: 90s,");
    assert_eq!(read(&text).unwrap().steps[0].guard, Span::from_seconds(90));
    let message = read(&text.replace("90s", "2m")).unwrap_err().to_string();
    assert!(message.contains("steps.0.guard`: must be shorter than `pause`, 2m"), "{message}");
}

#[test]
fn loads_go_to_this_machine_unless_a_host_is_named() {
    let text = SMALL.replace(
        "local: {connections: {ports: [22], per_second: 5}}",
        "local: {http_load: {port: 80, per_second: 5}}",
    );
    let fault = serde_json::to_value(&read(&text).unwrap().steps[2].local).unwrap();
    assert_eq!(fault["http_load"]["host"], "127.0.0.1");
}

#[test]
fn second_runner_and_foreign_log_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let log = ScenarioLog::new(&folder.path().join("log.csv"));
    assert!(!log.is_running());
    assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0, "a question writes nothing");
    let lease = log.lease().unwrap();
    assert!(log.is_running());
    assert!(log.lease().unwrap_err().message.contains("another scenario"));
    drop(lease);
    assert!(!log.is_running());
    fs_err::write(log.csv(), "start,end,label,target\n").unwrap();
    assert!(log.lease().unwrap_err().message.contains("not written by a scenario"));
}

fn chaos(text: &str) -> ChaosMesh {
    serde_saphyr::from_str(text).unwrap()
}

fn stress() -> ChaosMesh {
    chaos(
        "kind: StressChaos\nspec: {mode: one, selector: {namespaces: [shop]}, stressors: {memory: {workers: 4, size: 4096MB}}}",
    )
}

/// Shows a fault's object with a status, and gives up if it is not over.
fn seen(chaos: &ChaosMesh, status: &Value) -> Result<Ended, contract::StepError> {
    let asked = Asked {
        id: "w-0",
        scenario: "small",
        label: "memory_stress",
        target: "",
        duration: Span::from_seconds(300),
        guard: Span::ZERO,
        chaos,
    };
    let (mut watch, now) = (Watch::new(asked, "w-0"), time("2026-11-29T10:20:00Z"));
    match watch.see(Some(json!({"status": status})), now)? {
        Some(ended) => Ok(ended),
        None => watch.give_up(now),
    }
}

fn event(kind: &str, operation: &str, time: &str) -> Value {
    json!({"type": kind, "operation": operation, "message": "the cause", "timestamp": time})
}

#[test]
fn start_and_end_of_a_chaos_mesh_fault_are_those_of_its_events_not_the_requested_ones() {
    let applied = event("Succeeded", "Apply", "2026-11-29T10:00:03Z");
    let recovered = event("Succeeded", "Recover", "2026-11-29T10:05:41Z");
    let failed = event("Failed", "Apply", "2026-11-29T10:00:01Z");
    let container = |events: &[&Value]| {
        let record = json!({"id": "shop/web-1/app", "phase": "Not Injected", "events": events});
        json!({"experiment": {"desiredPhase": "Stop", "containerRecords": [record]}})
    };
    let found = seen(&stress(), &container(&[&failed, &applied, &recovered])).unwrap().records;
    assert_eq!(
        (found[0].start, found[0].end),
        (time("2026-11-29T10:00:03Z"), Some(time("2026-11-29T10:05:41Z")))
    );
    assert_eq!(found[0].target, "shop/web-1");

    let stuck = seen(&stress(), &container(&[&applied])).unwrap();
    assert_eq!(stuck.records[0].outcome, Some(End::Lost));
    assert_eq!(stuck.error.unwrap().kind, ErrorKind::Refused);
    let error = seen(&stress(), &container(&[&failed])).unwrap().error.unwrap();
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("was not injected into `shop/web-1/app`: the cause"), "{error}");

    let kill = chaos(
        "kind: PodChaos\nspec: {action: pod-kill, mode: one, selector: {namespaces: [shop]}}",
    );
    let found = seen(&kill, &container(&[&applied])).unwrap().records;
    assert_eq!(found[0].end, Some(time("2026-11-29T10:05:03Z")), "a killed pod is not taken back");
}

#[test]
fn selector_that_matches_nothing_is_named() {
    let condition = json!({"type": "Selected", "status": "False", "reason": "NoPods"});
    let status = json!({"conditions": [condition], "experiment": {"desiredPhase": "Run"}});
    let error = seen(&stress(), &status).unwrap().error.unwrap();
    assert!(error.message.contains("the selector matched no target: NoPods"), "{error}");
    assert_eq!(seen(&stress(), &json!({})).unwrap().error.unwrap().kind, ErrorKind::Refused);
}

/// Returns the schema of a kind's `spec`, closed to unknown fields: Chaos Mesh drops those in silence.
fn schema(kind: &str) -> Value {
    fn close(schema: &mut Value) {
        if schema.get("properties").is_some() {
            schema["additionalProperties"] = json!(false);
        }
        match schema {
            Value::Object(fields) => fields.values_mut().for_each(close),
            Value::Array(items) => items.iter_mut().for_each(close),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let resources: Value = serde_json::from_str(include_str!("data/chaos-mesh.json")).unwrap();
    let mut schema = resources["kinds"][kind].clone();
    assert!(schema.is_object(), "{kind}");
    schema["selector"] = resources["selector"].clone();
    close(&mut schema);
    schema
}

fn refused(kind: &str, spec: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema(kind)).unwrap();
    validator.iter_errors(spec).map(|error| error.to_string()).collect()
}

#[test]
fn schema_of_chaos_mesh_takes_each_kind_and_refuses_what_it_does_not_know() {
    let selector = json!({"namespaces": ["shop"], "labelSelectors": {"app": "web"}});
    for (kind, own) in [
        ("StressChaos", json!({"stressors": {"memory": {"workers": 4, "size": "4096MB"}}})),
        ("NetworkChaos", json!({"action": "delay", "delay": {"latency": "90ms"}})),
        ("PodChaos", json!({"action": "pod-kill"})),
        ("IOChaos", json!({"action": "latency", "volumePath": "/data", "delay": "100ms"})),
        ("DNSChaos", json!({"action": "error", "patterns": ["example.com"]})),
    ] {
        let mut spec = own.clone();
        let fields = spec.as_object_mut().unwrap();
        fields
            .extend([("mode".to_owned(), json!("one")), ("selector".to_owned(), selector.clone())]);
        assert_eq!(refused(kind, &spec), [""; 0], "{kind}");
        for (field, wrong) in
            [("mode", json!("random")), ("value", json!(2)), ("durations", json!("5m"))]
        {
            let mut spec = spec.clone();
            spec[field] = wrong;
            assert_eq!(refused(kind, &spec).len(), 1, "{kind}: {field}");
        }
        let mut spec = spec;
        spec["selector"]["namespace"] = json!("shop");
        assert_eq!(refused(kind, &spec).len(), 1, "{kind}: a misspelt selector");
    }
}

#[test]
fn workflow_creates_objects_that_chaos_mesh_accepts_and_may_do_no_more() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/scenarios/chaos-mesh.yaml");
    let file = ScenarioFile::read(&path).unwrap();
    let made = timetable::make(&file, None);
    let settings = Settings { namespace: "lab", image: "i", store: "s3://b", store_secret: "s" };
    let objects = manifests(&file, &made, &settings).unwrap();
    let kinds: Vec<&str> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(kinds, ["ServiceAccount", "Role", "RoleBinding", "Role", "RoleBinding", "Workflow"]);
    let mut checked = 0;
    for template in objects[5]["spec"]["templates"].as_array().unwrap() {
        let Some(resource) = template.get("resource") else { continue };
        let object: Value = serde_saphyr::from_str(resource["manifest"].as_str().unwrap()).unwrap();
        let kind = object["kind"].as_str().unwrap();
        assert_eq!(refused(kind, &object["spec"]), [""; 0], "{object}");
        // The next step watches the object itself, all of its targets.
        assert!(resource.get("successCondition").is_none(), "{resource}");
        checked += 1;
    }
    assert_eq!(checked, made.entries.len());
    let locks = &objects[5]["spec"]["synchronization"]["mutexes"];
    assert_eq!(*locks, json!([{"name": "lynceus-scenario"}]), "one scenario at a time");
    let rules = objects[1]["rules"].to_string();
    assert!(rules.contains("stresschaos") && !rules.contains('*'), "{rules}");
    let pods = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    assert_eq!(
        (&objects[3]["rules"], &objects[3]["metadata"]["namespace"]),
        (&pods, &json!("shop"))
    );
}

#[test]
fn chaos_mesh_step_that_chaos_mesh_would_refuse_in_silence_is_refused_here() {
    let base = "format: 1\nname: x\nsteps:\n  - label: l\n    for: 5m\n    chaos_mesh:\n      kind: StressChaos\n      spec: ";
    for (spec, words) in [
        ("{mode: random, selector: {}}", "spec.mode: must be one of one, all"),
        ("{mode: one}", "spec.selector: must be a mapping"),
        ("{mode: one, selector: {}, duration: 5m}", "spec.duration: the step's `for` sets it"),
        ("{mode: fixed, value: 2, selector: {}}", "spec.value: Chaos Mesh takes a text"),
    ] {
        let error = read(&format!("{base}{spec}\n")).unwrap_err();
        assert!(error.message.contains(words), "{spec}: {error}");
    }
}
