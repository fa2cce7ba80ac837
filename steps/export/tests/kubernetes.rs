//! The sink `kubernetes` against a server that answers as the API server of a cluster does.

#![expect(clippy::unwrap_used, reason = "a test may")]

mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use contract::classify::{EntityClass, Unknown};
use contract::score::{Cause, EntityScore, Verdict, WindowScore};
use serde_json::Value;
use store::scores;
use support::{Place, minute, scored};

/// A request: method, path, media type and body.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    method: String,
    path: String,
    media_type: String,
    body: Value,
}

/// An API server on a free port; it ends with the test.
struct Api {
    port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Api {
    /// Starts a server that answers with a status and a body.
    fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = Arc::clone(&asked);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&client) else { continue };
                let (status, body) = answer(&request);
                seen.lock().unwrap().push(request);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                let mut client: TcpStream = client;
                // The server ignores a client that has disconnected.
                drop(client.write_all(format!("{head}{body}").as_bytes()));
            }
        });
        Self { port, asked }
    }

    fn sink(&self, settings: &str) -> String {
        let port = self.port;
        format!(
            "  pods: {{kubernetes: {{url: 'http://127.0.0.1:{port}', retries: 0, {settings}}}}}\n"
        )
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn read(client: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(client);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_lowercase().starts_with(name))?;
        Some(line.split_once(": ")?.1.to_owned())
    };
    let length = header("content-length:").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut words = head.split(' ').map(str::to_owned);
    Some(Asked {
        method: words.next()?,
        path: words.next()?,
        media_type: header("content-type:").unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// Answers as a cluster whose pods all exist.
fn pod(_: &Asked) -> (u16, String) {
    (200, r#"{"kind":"Pod","metadata":{"name":"web-0","uid":"0f3e-1"}}"#.to_owned())
}

/// Answers as an API server that refuses a request for a reason.
fn failure(status: u16, reason: &str) -> (u16, String) {
    let said =
        format!(r#""kind":"Status","apiVersion":"v1","status":"Failure","reason":"{reason}""#);
    (status, format!(r#"{{{said},"message":"{reason}","code":{status}}}"#))
}

/// Returns a verdict that was reached in a minute.
fn verdict(entity: &str, since: i64, class: Option<&str>, declared: &str) -> EntityScore {
    let cause = |feature: &str| Cause {
        feature: feature.to_owned(),
        share: 0.3,
        value: Some(1.0),
        unit: String::new(),
        usual_low: 0.0,
        usual_high: 0.5,
    };
    EntityScore {
        class: Some(EntityClass {
            class: class.map(str::to_owned),
            unknown: class.is_none().then_some(Unknown::Unclear),
            nearest: "redis".to_owned(),
            probability: 0.976_54,
            declared: Some(declared.to_owned()),
            since: minute(since),
            first_seen: minute(1),
            windows: 7,
            mismatch: class.is_some_and(|class| class != declared),
        }),
        causes: ["cpu", "memory", "reads"].map(cause).into(),
        ..scored(entity, Verdict::Anomalous)
    }
}

/// Scores a minute and exports it; returns the warnings.
fn export(place: &Place, number: i64, entities: Vec<EntityScore>) -> Vec<String> {
    let window = WindowScore::new("cluster", minute(number), "v1", entities);
    assert!(scores::write_once(&place.store(), &window).unwrap());
    place.scored_to(number);
    place.export(number)
}

fn place(sinks: &str) -> Place {
    let place = Place::new(sinks, 100);
    assert_eq!(place.export(100), [""; 0]);
    place
}

#[test]
fn a_pod_whose_class_changes_is_annotated_and_a_mismatch_is_an_event() {
    let api = Api::start(pod);
    let place = place(&api.sink("events: true, annotations: true"));
    let entities = vec![
        verdict("shop/web-0", 101, Some("redis"), "nginx"),
        verdict("shop/db-0", 101, Some("mysql"), "mysql"),
        verdict("shop/new-0", 101, None, "nginx"),
        // This verdict was reached earlier, and was published then.
        verdict("shop/old-0", 90, Some("redis"), "nginx"),
    ];
    assert_eq!(export(&place, 101, entities), [""; 0]);
    let asked = api.asked();
    let short: Vec<String> = asked.iter().map(|it| format!("{} {}", it.method, it.path)).collect();
    assert_eq!(
        short,
        [
            "PATCH /api/v1/namespaces/shop/pods/web-0",
            "POST /api/v1/namespaces/shop/events",
            "PATCH /api/v1/namespaces/shop/pods/db-0",
            "PATCH /api/v1/namespaces/shop/pods/new-0",
        ]
    );
    assert_eq!(asked[0].media_type, "application/merge-patch+json");
    let set = |at: usize, name: &str| {
        asked[at].body["metadata"]["annotations"][format!("lynceus.dev/{name}")].clone()
    };
    assert_eq!(set(0, "class"), "redis");
    assert_eq!(set(0, "class-probability"), "0.977");
    assert_eq!(set(0, "class-since"), minute(101).to_string());
    assert_eq!(set(0, "mismatch"), "declares nginx");
    assert_eq!((set(2, "class"), set(2, "mismatch")), ("mysql".into(), Value::Null));
    assert_eq!(set(3, "class"), "unknown");
    let event = &asked[1].body;
    assert_eq!((&event["reason"], &event["type"]), (&"ClassMismatch".into(), &"Warning".into()));
    assert_eq!(event["involvedObject"]["uid"], "0f3e-1");
    let message = event["message"].as_str().unwrap();
    assert!(message.contains("declared nginx, behaves like redis (probability 0.98)"), "{message}");
    assert!(message.ends_with("as cpu, memory, reads say"), "{message}");
    let name = event["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("web-0.") && name.len() == 22, "{name}");
    assert_eq!(place.exported().sinks[0].published, 4);
}

#[test]
fn events_alone_change_no_pod_and_what_is_gone_or_there_already_is_no_failure() {
    let api = Api::start(|asked| match (asked.method.as_str(), asked.path.as_str()) {
        ("GET", "/api/v1/namespaces/shop/pods/gone-0") => failure(404, "NotFound"),
        ("GET", _) => pod(asked),
        ("POST", "/api/v1/namespaces/old/events") => {
            let cause = r#"{"reason":"NamespaceTerminating","message":"namespace old is being terminated"}"#;
            let said = r#""kind":"Status","reason":"Forbidden","message":"forbidden""#;
            (403, format!(r#"{{{said},"details":{{"causes":[{cause}]}}}}"#))
        }
        _ => failure(409, "AlreadyExists"),
    });
    let place = place(&api.sink("events: true"));
    let entities = vec![
        verdict("shop/gone-0", 101, Some("redis"), "nginx"),
        verdict("shop/web-0", 101, Some("redis"), "nginx"),
        verdict("shop/db-0", 101, Some("mysql"), "mysql"),
        verdict("no-pod", 101, Some("redis"), "nginx"),
        verdict("../secrets", 101, Some("redis"), "nginx"),
        verdict("old/web-0", 101, Some("redis"), "nginx"),
    ];
    assert_eq!(export(&place, 101, entities), [""; 0]);
    let asked = api.asked();
    let methods: Vec<&str> = asked.iter().map(|it| it.method.as_str()).collect();
    assert_eq!(methods, ["GET", "GET", "POST", "GET", "POST"]);
}

#[test]
fn an_account_without_the_right_is_told_once_and_the_window_comes_again() {
    let allowed = Arc::new(Mutex::new(false));
    let now = Arc::clone(&allowed);
    let api = Api::start(move |asked| {
        if *now.lock().unwrap() {
            return pod(asked);
        }
        let said = r#"{"kind":"Status","message":"pods \"web-0\" is forbidden: cannot patch"}"#;
        (403, said.to_owned())
    });
    let place = place(&api.sink("annotations: true"));
    let warnings = export(&place, 101, vec![verdict("shop/web-0", 101, Some("redis"), "nginx")]);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("`exports.pods`") && warnings[0].contains("cannot patch"));
    assert!(place.exported().sinks[0].exported_to < minute(101), "the window comes again");
    *allowed.lock().unwrap() = true;
    api.asked();
    place.scored_to(101);
    assert_eq!(place.export(102), [""; 0]);
    assert_eq!(api.asked()[0].path, "/api/v1/namespaces/shop/pods/web-0");
    assert_eq!(place.exported().sinks[0].exported_to, minute(101));
}

#[test]
fn a_pod_that_takes_nothing_more_keeps_the_others_from_nothing() {
    let api = Api::start(|asked| {
        let is_full = asked.path.ends_with("/pods/full-0");
        if is_full { failure(422, "Invalid") } else { pod(asked) }
    });
    let place = place(&api.sink("annotations: true"));
    let entities = ["shop/full-0", "shop/web-0"];
    let entities = entities.map(|entity| verdict(entity, 101, Some("redis"), "redis"));
    let warnings = export(&place, 101, entities.into());
    assert!(warnings.len() == 1 && warnings[0].contains("422"), "{warnings:?}");
    let paths: Vec<String> = api.asked().into_iter().map(|asked| asked.path).collect();
    assert_eq!(paths.len(), 2);
    assert!(paths[1].ends_with("/pods/web-0"));
    assert_eq!(place.exported().sinks[0].exported_to, minute(101), "it would be refused again");
}

#[test]
fn a_pod_that_another_writer_changes_and_a_busy_server_are_asked_again() {
    for (status, reason) in [(409, "Conflict"), (429, "TooManyRequests")] {
        let left = Arc::new(Mutex::new(1_u32));
        let api = Api::start(move |asked| {
            let mut left = left.lock().unwrap();
            let is_refused = *left > 0;
            *left = left.saturating_sub(1);
            if is_refused { failure(status, reason) } else { pod(asked) }
        });
        let place = place(&api.sink("annotations: true").replace("retries: 0", "retries: 1"));
        let entities = vec![verdict("shop/web-0", 101, Some("redis"), "redis")];
        assert_eq!(export(&place, 101, entities), [""; 0], "{reason}");
        assert_eq!(api.asked().len(), 2, "{reason}");
    }
}

#[test]
fn a_server_that_is_no_api_server_is_told_and_nothing_counts_as_gone() {
    let api = Api::start(|_| (404, "<html>404 Not Found</html>".to_owned()));
    let place = place(&api.sink("annotations: true"));
    let entities = vec![verdict("shop/web-0", 101, Some("redis"), "nginx")];
    let warnings = export(&place, 101, entities);
    assert!(warnings.len() == 1 && warnings[0].contains("404"), "{warnings:?}");
    assert!(place.exported().sinks[0].exported_to < minute(101), "the window comes again");
}
