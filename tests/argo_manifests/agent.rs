//! The agents of a pipeline whose sources are recorded: are they complete, would Kubernetes accept
//! them, and does the lint find errors in them?

use anyhow::{Context as _, Result, ensure};
use argo::lint::{File, Finding};
use argo::yaml;
use document::{Changes, Document};
use pipelines::cli::manifest_findings;
use serde_json::{Value, json};

use super::broken::Break;
use super::{readers, repository};

const AGENT: &str = "node/agent/agent.yaml";

fn node(sets: &[&str]) -> Result<Document> {
    let changes = Changes { overlays: Vec::new(), sets: sets.to_vec() };
    let mut document = document::read_with(&repository().join("pipelines/node.yaml"), &changes)?;
    document.sample = None;
    Ok(document)
}

fn files(sets: &[&str]) -> Result<Vec<File>> {
    let manifests = argo::generate(&[node(sets)?])?;
    Ok(manifests.into_iter().map(|m| File { name: m.path, text: m.text }).collect())
}

fn objects(sets: &[&str]) -> Result<Vec<Value>> {
    let files = files(sets)?;
    let file = files.iter().find(|file| file.name == AGENT).context(AGENT)?;
    let read = yaml::documents(&file.text).into_iter().map(|(_, text)| yaml::read(&text));
    Ok(read.collect::<Result<_, _>>()?)
}

/// Returns the lint's findings in the agents.
fn findings(sets: &[&str]) -> Result<Vec<Finding>> {
    let mut findings = manifest_findings(&files(sets)?);
    findings.retain(|finding| finding.file == AGENT);
    Ok(findings)
}

fn pod(objects: &[Value]) -> Result<&Value> {
    let agent = objects.iter().find(|object| object["kind"] == "DaemonSet").context("DaemonSet")?;
    Ok(&agent["spec"]["template"]["spec"])
}

#[test]
fn agent_with_tetragon_sees_one_read_only_folder_of_its_node() -> Result<()> {
    assert_eq!(findings(&[])?, []);
    let objects = objects(&[])?;
    let kinds: Vec<&str> = objects.iter().filter_map(|it| it["kind"].as_str()).collect();
    assert_eq!(
        kinds,
        ["Namespace", "ServiceAccount", "ConfigMap", "ConfigMap", "NetworkPolicy", "DaemonSet"]
    );
    let enforced = &objects[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(enforced, "privileged");
    let pod = pod(&objects)?;
    assert_eq!(pod["automountServiceAccountToken"], false);
    let volumes = pod["volumes"].as_array().context("volumes")?;
    let of_node: Vec<&Value> = volumes.iter().filter(|it| it.get("hostPath").is_some()).collect();
    let events =
        json!({"name": "events", "hostPath": {"path": "/var/log/tetragon", "type": "Directory"}});
    assert_eq!(of_node, [&events]);
    let container = &pod["containers"][0];
    let mount = json!({"name": "events", "mountPath": "/var/log/tetragon", "readOnly": true});
    assert!(container["volumeMounts"].as_array().context("mounts")?.contains(&mount));
    assert_eq!(container["securityContext"]["capabilities"], json!({"drop": ["ALL"]}));
    assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
    assert_eq!(container["ports"][0]["containerPort"], 9464);
    assert_eq!(container["resources"]["requests"], json!({"cpu": "10m", "memory": "32Mi"}));
    assert_eq!(container["resources"]["limits"]["memory"], "64Mi");
    let Some(said) = readers::refused_by_schema(&objects)? else { return Ok(()) };
    assert_eq!(said, "");
    Ok(())
}

#[test]
fn agent_without_tetragon_is_admitted_by_pod_security_restricted() -> Result<()> {
    let sets = ["sources.processes=null", "features=[raw]"];
    assert_eq!(findings(&sets)?, []);
    let objects = objects(&sets)?;
    let enforced = &objects[0]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
    assert_eq!(enforced, "restricted");
    let pod = pod(&objects)?;
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert!(!pod.to_string().contains("hostPath"), "{pod}");
    Ok(())
}

#[test]
fn agent_scrapes_the_exporter_of_its_own_node() -> Result<()> {
    let objects = objects(&["sources.metrics.exporter.service='https://exporter.m:9101/own?x=1'"])?;
    let container = &pod(&objects)?["containers"][0];
    let variables = json!([
        {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    ]);
    assert_eq!(container["env"], variables);
    let arguments = container["args"].as_array().context("args")?;
    let mut sets = arguments.iter().filter_map(|text| text.as_str()?.strip_prefix("--set="));
    // The field as Kubernetes expands it on a node, and as the agent then reads it.
    let set = sets.next().context("a set field")?.replace("$(HOST_IP)", "10.1.2.3");
    let document = node(&[&set])?;
    let source = document.sources.get("metrics").and_then(|source| source.exporter.as_ref());
    let source = source.context("the source")?;
    let endpoints: Vec<String> =
        source.endpoints.iter().map(document::HttpUrl::with_its_query).collect();
    assert_eq!(
        (endpoints.as_slice(), &source.service),
        (&["https://10.1.2.3:9101/own?x=1".to_owned()][..], &None)
    );
    let policy = objects.iter().find(|it| it["kind"] == "NetworkPolicy").context("policy")?;
    let ports = json!([{"protocol": "TCP", "port": 9101}]);
    let egress = policy["spec"]["egress"].as_array().context("egress")?;
    assert!(egress.iter().any(|rule| rule["ports"] == ports), "{egress:?}");
    Ok(())
}

#[test]
fn agent_is_written_only_where_sources_are_recorded() -> Result<()> {
    assert!(super::files(&[])?.iter().all(|file| !file.name.contains("agent")));
    let named = files(&[])?;
    let own = named.iter().find(|file| file.name == "node/kustomization.yaml").context("own")?;
    assert!(!own.text.contains("agent"), "the agents have a namespace of their own: {}", own.text);
    Ok(())
}

#[test]
fn log_that_no_agent_could_follow_is_refused() -> Result<()> {
    for path in ["tetragon.log", "/tetragon.log", "'-'"] {
        let set = format!("sources.processes.tetragon.path={path}");
        let error = files(&[&set]).err().context(path)?.to_string();
        assert!(error.contains("no agent could follow"), "{path}: {error}");
    }
    Ok(())
}

const BROKEN: [Break; 20] = [
    ("misspelt field", AGENT, "livenessProbe:", "livenesProbe:", "fields"),
    ("wrong API", AGENT, "apps/v1", "apps/v1beta1", "kind"),
    (
        "value of a variable",
        AGENT,
        "- name: HOST_IP",
        "- value: x\n          name: HOST_IP",
        "value",
    ),
    ("unknown flag", AGENT, "- --spool=/spool", "- --spol=/spool", "command"),
    ("another program", AGENT, "- /agent\n", "- /collect\n", "command"),
    ("a word too many", AGENT, "- --spool=/spool", "- record\n        - --spool=/spool", "command"),
    ("loopback", AGENT, "--listen=0.0.0.0:9464", "--listen=127.0.0.1:9464", "command"),
    ("another port", AGENT, "containerPort: 9464", "containerPort: 9465", "command"),
    ("no name of the node", AGENT, "name: NODE_NAME", "name: NODE", "command"),
    ("variable of nowhere", AGENT, "name: HOST_IP", "name: HOSTIP", "reference"),
    (
        "mount of nowhere",
        AGENT,
        "mountPath: /spool\n          name: spool",
        "mountPath: /spool\n          name: spol",
        "reference",
    ),
    ("not a health endpoint", AGENT, "path: /healthz", "path: /health", "settings"),
    ("probe of no port", AGENT, "port: metrics", "port: metric", "reference"),
    (
        "log of the node writable",
        AGENT,
        "mountPath: /var/log/tetragon\n          name: events\n          readOnly: true",
        "mountPath: /var/log/tetragon\n          name: events",
        "security",
    ),
    (
        "all of the node",
        AGENT,
        "path: /var/log/tetragon\n          type",
        "path: /\n          type",
        "security",
    ),
    ("spool without a size", AGENT, "sizeLimit: 256Mi", "sizeLimit: 256MiB", "value"),
    (
        "token",
        AGENT,
        "automountServiceAccountToken: false\n      containers",
        "automountServiceAccountToken: true\n      containers",
        "security",
    ),
    (
        "capability",
        AGENT,
        "            drop:\n",
        "            add:\n            - SYS_ADMIN\n            drop:\n",
        "security",
    ),
    ("namespace that refuses", AGENT, "enforce: privileged", "enforce: restricted", "security"),
    ("no source may connect", AGENT, "    - port: 9464", "    - port: 9465", "network"),
];

#[test]
fn broken_agents_are_found() -> Result<()> {
    for (name, file, from, to, rule) in &BROKEN {
        let mut files = files(&[])?;
        let broken = files.iter_mut().find(|other| other.name == *file).context(*file)?;
        ensure!(
            broken.text.contains(from),
            "{name}: `{from}` does not stand in {file}:\n{}",
            broken.text
        );
        broken.text = broken.text.replacen(from, to, 1);
        let findings = manifest_findings(&files);
        ensure!(
            findings.iter().any(|finding| finding.rule == *rule && finding.file == *file),
            "{name}: expected [{rule}], found {findings:#?}"
        );
    }
    Ok(())
}

#[test]
fn agent_that_writes_samples_into_a_database_reaches_it_with_its_password() -> Result<()> {
    let database = |samples: bool| {
        format!(
            "exports.database.postgres={{server: {{url: 'postgresql://w@db.monitoring.svc/metrics', \
             password: {{file: /etc/lynceus/export/password}}}}, samples: {samples}}}"
        )
    };
    let with = database(true);
    assert_eq!(findings(&[&with])?, []);
    let told = |samples: bool| -> Result<(bool, bool)> {
        let objects = objects(&[&database(samples)])?;
        let pod = pod(&objects)?;
        let mounts = pod["containers"][0]["volumeMounts"].as_array().context("mounts")?;
        let policy = objects.iter().find(|it| it["kind"] == "NetworkPolicy").context("policy")?;
        let egress = policy["spec"]["egress"].to_string();
        Ok((
            mounts.iter().any(|mount| mount["mountPath"] == "/etc/lynceus/export"),
            egress.contains("5432"),
        ))
    };
    assert_eq!(told(true)?, (true, true));
    assert_eq!(told(false)?, (false, false));
    Ok(())
}
