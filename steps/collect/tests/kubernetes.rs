//! The source `kubernetes` against a fake API server.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use frames::samples::text_number;
use serde_json::{Value, json};
use support::Place;

const NOW: &str = "2026-11-21T09:00:00Z";

/// A request as it came in.
#[derive(Debug, Clone)]
struct Request {
    path: String,
    /// Parameters of the URL, as they are written there.
    parameters: BTreeMap<String, String>,
    authorization: String,
}

/// A reply: status, header lines (each ends with `\r\n`) and body.
type Answer = (u16, &'static str, Vec<u8>);

/// A server on a free port of 127.0.0.1; it ends when this is dropped.
struct Server {
    port: u16,
    asked: Arc<Mutex<Vec<Request>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    fn start(answer: impl Fn(&Request) -> Answer + Send + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let (asked, ended) =
            (Arc::<Mutex<Vec<Request>>>::default(), Arc::new(AtomicBool::new(false)));
        let server = Self { port, asked: Arc::clone(&asked), ended: Arc::clone(&ended) };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                drop(serve(client, &asked, &answer));
            }
        });
        Ok(server)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener; if that fails, the listener has already ended.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(
    mut client: TcpStream,
    asked: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Answer,
) -> Result<()> {
    let mut reader = BufReader::new(&client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let request = Request {
        path: path.to_owned(),
        parameters: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        authorization: head
            .lines()
            .find_map(|line| line.strip_prefix("authorization: "))
            .unwrap_or_default()
            .to_owned(),
    };
    asked.lock().unwrap().push(request.clone());
    let (status, headers, body) = answer(&request);
    write!(
        client,
        "HTTP/1.1 {status} x\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )?;
    client.write_all(&body)?;
    Ok(client.flush()?)
}

fn ok(value: &Value) -> Answer {
    (200, "", value.to_string().into_bytes())
}

fn status(code: u16, reason: &str, message: &str) -> Answer {
    let body = json!({"kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code});
    (code, "", body.to_string().into_bytes())
}

fn pod(name: &str, image: &str, digest: &str, started: &str) -> Value {
    json!({
        "metadata": {
            "namespace": "shop", "name": name,
            "labels": {"app.kubernetes.io/name": "front", "pod-template-hash": "5f7"},
            "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5f7", "controller": true}],
            "managedFields": [{"x": 1}],
        },
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": image}, {"name": "proxy", "image": "envoy"}]},
        "status": {
            "phase": "Running", "startTime": started,
            "containerStatuses": [{"name": "c", "imageID": format!("docker.io/library/x@{digest}"), "restartCount": 3}],
        },
    })
}

/// A cluster of three pods on two pages, one of which starts in the range, and one that waits.
fn cluster(request: &Request) -> Answer {
    let pods = match (request.path.as_str(), request.parameters.get("continue").map(String::as_str))
    {
        ("/api/v1/nodes", _) => {
            return ok(&json!({"metadata": {}, "items": [{
                "metadata": {"name": "n1"},
                "status": {"images": [
                    {"names": ["docker.io/library/x@sha256:aa", "docker.io/library/nginx:1"], "sizeBytes": 70_000_000},
                ]},
            }]}));
        }
        (_, None) => {
            let mut waiting = pod("waits-0", "redis", "", "2026-11-21T08:00:00Z");
            waiting["status"] = json!({"phase": "Pending"});
            let first = pod("web-0", "nginx:1", "sha256:aa", "2026-11-20T00:00:00Z");
            return ok(&json!({"metadata": {"continue": "more=="}, "items": [first, waiting]}));
        }
        (_, Some(_)) => [
            pod("web-1", "redis:7", "sha256:bb", "2026-11-21T08:58:02Z"),
            pod("web-2", "redis:7", "sha256:bb", "2026-11-21T09:30:00Z"),
        ],
    };
    ok(&json!({"metadata": {"continue": ""}, "items": pods}))
}

fn document(url: &str, more: &str) -> String {
    format!(
        "step: 10s\nrange: 5m\nsources:\n  pods:\n    kubernetes:\n      url: {url}\n      retries: 1\n{more}"
    )
}

#[test]
fn pods_have_their_image_its_size_and_their_owner_from_their_start_on() -> Result<()> {
    let server = Server::start(cluster)?;
    let more = "      columns: [image_size_bytes, containers, restarts]\n      page_size: 2\n      selector: 'app=web'\n";
    let place = Place::new(&document(&server.url(), more))?;
    let samples = place.samples(NOW, &[])?;
    assert_eq!(samples.table.entities, ["shop/web-0", "shop/web-1"]);
    let times: Vec<String> = samples.table.times.iter().map(ToString::to_string).collect();
    assert_eq!(times, ["2026-11-21T08:55:10Z", "2026-11-21T08:58:10Z"]);
    let values = |name: &str| samples.table.column(name).unwrap().values.clone();
    assert_eq!((values("containers"), values("restarts")), (vec![2.0; 2], vec![3.0; 2]));
    let sizes = values("image_size_bytes");
    assert!((sizes[0] - 7e7).abs() < 1.0 && sizes[1].is_nan(), "{sizes:?}");
    assert_eq!(samples.labels.unwrap(), ["nginx:1", "redis:7"]);
    let outcome = place.outcome()?;
    assert_eq!(
        (&outcome["counts"]["pods"], &outcome["counts"]["requests"]),
        (&2.into(), &3.into())
    );
    assert!(outcome["warnings"][0].as_str().unwrap().contains("1 of 2 pods have no image size"));
    let asked = server.asked();
    assert_eq!(asked[1].parameters["limit"], "2");
    assert_eq!(asked[1].parameters["labelSelector"], "app%3Dweb");
    assert_eq!(asked[2].parameters["continue"], "more%3D%3D");

    for (label, expected) in [("owner", "web"), ("{pod_label: app.kubernetes.io/name}", "front")] {
        let place = Place::new(&document(&server.url(), &format!("      label: {label}\n")))?;
        assert_eq!(place.samples(NOW, &[])?.labels.unwrap(), [expected; 2]);
    }
    Ok(())
}

#[test]
fn pod_metadata_is_joined_to_windows_of_other_sources() -> Result<()> {
    let server = Server::start(cluster)?;
    let table = "  metrics:\n    table: {path: x.csv, time: time, entity: pod, columns: [cpu]}\n";
    let place = Place::new(&format!("{}{table}", document(&server.url(), "")))?;
    let mut rows = String::from("time,pod,cpu\n");
    for minute in 56..60 {
        for pod in ["shop/web-0", "shop/web-1", "shop/other"] {
            rows.push_str(&format!("2026-11-21T08:{minute}:00Z,{pod},1\n"));
        }
    }
    place.file("x.csv", rows)?;
    let samples = place.samples(NOW, &[])?;
    assert_eq!(samples.table.rows(), 12, "the cluster's list makes no row of its own");
    let sizes = &samples.table.column("image_size_bytes").unwrap().values;
    let labels = samples.labels.as_ref().unwrap();
    for row in 0..12 {
        let (entity, time) = (samples.table.entity_of(row), samples.table.times[row].to_string());
        let expected = match entity {
            "shop/web-0" => "nginx:1",
            "shop/web-1" if time.as_str() > "2026-11-21T08:58:02Z" => "redis:7",
            _ => "",
        };
        assert_eq!(labels[row], expected, "{entity} {time}");
        assert_eq!(sizes[row].is_nan(), entity != "shop/web-0", "{entity} {time}");
    }
    Ok(())
}

#[test]
fn labels_of_nodes_are_texts_of_the_windows_of_other_sources() -> Result<()> {
    let server = Server::start(|request| {
        let node = |name: &str, made: &str, labels: Value| json!({"metadata": {"name": name, "creationTimestamp": made, "labels": labels}});
        let control = json!({"node-role.kubernetes.io/control-plane": "", "pool": "a"});
        match request.path.as_str() {
            "/api/v1/nodes" => ok(&json!({"metadata": {}, "items": [
                node("n1", "2026-11-20T00:00:00Z", control),
                node("n2", "2026-11-21T08:58:02Z", json!({"pool": "b"})),
                node("n9", "2026-11-21T09:30:00Z", json!({"pool": "b"})),
            ]})),
            path => status(404, "NotFound", path),
        }
    })?;
    let document = format!(
        "step: 10s\nrange: 5m\nsources:\n  nodes:\n    kubernetes: {{url: '{}', objects: nodes}}\n    \
         entity: {{texts: {{role: node-role.kubernetes.io/control-plane, pool: pool}}}}\n  metrics:\n    \
         table: {{path: x.csv, time: time, entity: node, columns: [cpu]}}\n",
        server.url()
    );
    let place = Place::new(&document)?;
    let mut rows = String::from("time,node,cpu\n");
    for minute in 56..60 {
        for node in ["n1", "n2", "n3"] {
            rows.push_str(&format!("2026-11-21T08:{minute}:00Z,{node},1\n"));
        }
    }
    place.file("x.csv", rows)?;
    let samples = place.samples(NOW, &[])?;
    assert_eq!((samples.table.rows(), samples.labels.is_some()), (12, false));
    let text = |name: &str, row: usize| {
        let value = samples.table.column(name).unwrap().values[row];
        Some(value).filter(|value| !value.is_nan())
    };
    for row in 0..12 {
        let is_late = samples.table.times[row].to_string().as_str() > "2026-11-21T08:58:02Z";
        let (role, pool) = match samples.table.entity_of(row) {
            "n1" => ("node-role.kubernetes.io/control-plane", "a"),
            "n2" if is_late => ("", "b"),
            _ => ("", ""),
        };
        assert_eq!((text("role", row), text("pool", row)), (text_number(role), text_number(pool)));
    }
    assert_eq!(place.outcome()?["counts"]["nodes"], 2);
    Ok(())
}

#[test]
fn expired_list_restarts_and_gzip_is_unpacked() -> Result<()> {
    let pages = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pages);
    let server = Server::start(move |request| {
        let is_next = request.parameters.contains_key("continue");
        if is_next && count.fetch_add(1, Ordering::SeqCst) == 0 {
            return status(410, "Expired", "The provided continue parameter is too old");
        }
        let (code, _, body) = cluster(request);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&body).unwrap();
        (code, "Content-Encoding: gzip\r\n", packed.finish().unwrap())
    })?;
    let samples = Place::new(&document(&server.url(), ""))?.samples(NOW, &[])?;
    assert_eq!(samples.table.entities, ["shop/web-0", "shop/web-1"]);
    assert_eq!(server.asked().len(), 5, "nodes, two pages of which one expired, and both again");
    Ok(())
}

#[test]
fn a_list_that_always_expires_ends_as_unavailable() -> Result<()> {
    let server = Server::start(|request| {
        if request.parameters.contains_key("continue") {
            return status(410, "Expired", "too old");
        }
        cluster(request)
    })?;
    let said = Place::new(&document(&server.url(), ""))?.fails(NOW, &[], 4)?;
    assert!(said.contains("expired before it was read") && said.contains("page_size"), "{said}");
    Ok(())
}

#[test]
fn token_is_read_for_each_request_and_never_shown() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let token = folder.path().join("token");
    fs_err::write(&token, "old-secret-token\n")?;
    let file = token.clone();
    let server = Server::start(move |request| {
        if request.authorization == "Bearer new-secret-token" {
            return cluster(request);
        }
        // The token is replaced during the first request.
        fs_err::write(&file, "new-secret-token\n").unwrap();
        status(401, "Unauthorized", "bad token old-secret-token")
    })?;
    let setting = format!("      auth: {{bearer_token: {{file: {}}}}}\n", token.display());
    let place = Place::new(&document(&server.url(), &setting))?;
    place.samples(NOW, &[])?;
    assert_eq!(server.asked()[0].authorization, "Bearer old-secret-token");

    let refusing = Server::start(|_| status(401, "Unauthorized", "bad token new-secret-token"))?;
    let said = Place::new(&document(&refusing.url(), &setting))?.fails(NOW, &[], 2)?;
    assert!(said.contains("401") && !said.contains("secret-token"), "{said}");
    Ok(())
}

#[test]
fn server_refusal_is_quoted_with_a_hint() -> Result<()> {
    let message = "pods is forbidden: User \"ro\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
    let server = Server::start(move |_| status(403, "Forbidden", message))?;
    let said = Place::new(&document(&server.url(), ""))?.fails(NOW, &[], 2)?;
    assert!(said.contains("cannot list resource") && said.contains("ClusterRole"), "{said}");

    let busy = Server::start(|_| (429, "Retry-After: 0\r\n", b"busy".to_vec()))?;
    let said = Place::new(&document(&busy.url(), ""))?.fails(NOW, &[], 4)?;
    assert!(said.contains("429") && said.contains("2 attempts"), "{said}");
    assert_eq!(busy.asked().len(), 2);

    let page = Server::start(|_| (200, "", b"<html>login</html>".to_vec()))?;
    let said = Place::new(&document(&page.url(), ""))?.fails(NOW, &[], 2)?;
    assert!(said.contains("web page"), "{said}");

    let empty = Server::start(|_| ok(&json!({"metadata": {}, "items": null})))?;
    let said =
        Place::new(&document(&empty.url(), "      namespaces: [a]\n"))?.fails(NOW, &[], 3)?;
    assert!(said.contains("no pod with the given namespaces and labels is running"), "{said}");
    assert_eq!(empty.asked()[1].path, "/api/v1/namespaces/a/pods");

    let outside = document("x", "").replace("      url: x\n", "");
    let said = Place::new(&outside)?.fails(NOW, &[], 2)?;
    assert!(
        said.contains("not a pod with a service account") && said.contains("kubectl proxy"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_kubeconfig_names_the_server_and_the_token() -> Result<()> {
    let server = Server::start(cluster)?;
    let place = Place::new(&document("x", "").replace("url: x", "kubeconfig: config"))?;
    place.file(
        "config",
        format!(
            "current-context: a\ncontexts: [{{name: a, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: '{}'}}}}]\n\
             users: [{{name: u, user: {{token: a-secret-token}}}}]\n",
            server.url()
        ),
    )?;
    place.samples(NOW, &[])?;
    assert_eq!(server.asked()[0].authorization, "Bearer a-secret-token");
    Ok(())
}
