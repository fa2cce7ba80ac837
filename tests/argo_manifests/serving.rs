//! The endpoint of a live model in a cluster: is it complete, would Kubernetes accept it, and does
//! the lint find errors in it?

use anyhow::{Context as _, Result, ensure};
use argo::lint::File;
use argo::{Options, Serving, yaml};
use pipelines::cli::manifest_findings;
use serde_json::Value;

use super::broken::Break;
use super::{cluster, readers};

const SERVE: &str = "cluster/serve.yaml";

fn files(serving: Serving) -> Result<Vec<File>> {
    let options = Options { serving: Some(serving), ..Options::default() };
    let manifests = argo::generate_with(&[cluster(&[])?], options)?;
    Ok(manifests.into_iter().map(|m| File { name: m.path, text: m.text }).collect())
}

fn objects(serving: Serving) -> Result<Vec<Value>> {
    let files = files(serving)?;
    let file = files.iter().find(|file| file.name == SERVE).context(SERVE)?;
    let read = yaml::documents(&file.text).into_iter().map(|(_, text)| yaml::read(&text));
    Ok(read.collect::<Result<_, _>>()?)
}

#[test]
fn endpoint_manifests_have_no_finding_and_the_schemas_accept_them() -> Result<()> {
    for (serving, expected) in [
        (
            Serving::Deployment,
            &["Deployment", "Service", "HorizontalPodAutoscaler", "NetworkPolicy"][..],
        ),
        (Serving::Kserve, &["InferenceService", "NetworkPolicy"]),
    ] {
        assert_eq!(manifest_findings(&files(serving)?), []);
        let mut objects = objects(serving)?;
        let kinds: Vec<&str> = objects.iter().filter_map(|it| it["kind"].as_str()).collect();
        assert_eq!(kinds, expected);
        // KServe's own kind is not in the schemas of Kubernetes.
        objects.retain(|object| object["kind"] != "InferenceService");
        let Some(said) = readers::refused_by_schema(&objects)? else { continue };
        assert_eq!(said, "");
    }
    Ok(())
}

#[test]
fn endpoint_is_not_written_unless_asked_for() -> Result<()> {
    assert!(super::files(&[])?.iter().all(|file| !file.name.ends_with("serve.yaml")));
    Ok(())
}

fn every_one_is_found(serving: Serving, breaks: &[Break]) -> Result<()> {
    for (name, file, from, to, rule) in breaks {
        let mut files = files(serving)?;
        let broken = files.iter_mut().find(|other| other.name == *file).context(*file)?;
        ensure!(broken.text.contains(from), "{name}: `{from}` does not stand in {file}");
        broken.text = broken.text.replacen(from, to, 1);
        let findings = manifest_findings(&files);
        ensure!(
            findings.iter().any(|finding| finding.rule == *rule),
            "{name}: expected [{rule}], found {findings:#?}"
        );
    }
    Ok(())
}

#[test]
fn broken_deployments_services_and_scalers_are_found() -> Result<()> {
    every_one_is_found(
        Serving::Deployment,
        &[
            ("misspelt field", SERVE, "readinessProbe:", "readynessProbe:", "fields"),
            ("wrong API", SERVE, "apps/v1", "apps/v1beta1", "kind"),
            ("unknown flag", SERVE, "- --alias", "- --allias", "command"),
            ("loopback", SERVE, "0.0.0.0:8080", "127.0.0.1:8080", "command"),
            ("another port", SERVE, "containerPort: 8080", "containerPort: 8081", "command"),
            (
                "no token",
                SERVE,
                "        - --token-file\n        - /etc/lynceus/serve/token\n",
                "",
                "security",
            ),
            ("token of nowhere", SERVE, "mountPath: /etc/lynceus/serve", "mountPath: /x", "secret"),
            ("not a health endpoint", SERVE, "/v2/health/ready", "/ready", "settings"),
            ("probe of no port", SERVE, "port: http1", "port: http2", "reference"),
            (
                "port without a container",
                SERVE,
                "targetPort: http1",
                "targetPort: http",
                "reference",
            ),
            (
                "scaler without a target",
                SERVE,
                "    kind: Deployment\n    name: lynceus-cluster-serve",
                "    kind: Deployment\n    name: x",
                "reference",
            ),
            ("bounds the wrong way round", SERVE, "maxReplicas: 6", "maxReplicas: 1", "value"),
            ("may be root", SERVE, "runAsNonRoot: true", "runAsNonRoot: false", "security"),
            (
                "writable root",
                SERVE,
                "readOnlyRootFilesystem: true",
                "readOnlyRootFilesystem: false",
                "security",
            ),
            ("no port is allowed", SERVE, "    - port: 8080", "    - port: 80", "network"),
        ],
    )
}

#[test]
fn broken_inference_services_are_found() -> Result<()> {
    every_one_is_found(
        Serving::Kserve,
        &[
            ("misspelt field", SERVE, "minReplicas:", "minReplica:", "fields"),
            ("container of another name", SERVE, "kserve-container", "serve", "name"),
            ("figure of Knative", SERVE, "scaleMetric: cpu", "scaleMetric: concurrency", "value"),
            ("no replica", SERVE, "minReplicas: 2", "minReplicas: 0", "value"),
            (
                "long name",
                SERVE,
                "name: lynceus-cluster-serve",
                "name: lynceus-cluster-serve-of-a-long-long-name",
                "name",
            ),
            ("unknown flag", SERVE, "- --pipeline", "- --pipelines", "command"),
        ],
    )
}
