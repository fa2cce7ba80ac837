//! The replay page in a real browser: it plays, loses its connection, resumes, and jumps.

#![expect(clippy::unwrap_used, reason = "a test may")]

#[path = "../../../tests/support/browser.rs"]
mod browser;
mod support;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use support::{Server, labelled};

/// Plays the page in a frame, as a person would, and reports what was seen.
const HARNESS: &str = r#"<!DOCTYPE html><title>harness</title><body><iframe id="page" src="/replay" style="width:1400px;height:900px"></iframe><script>
"use strict";
const frame = document.getElementById("page"), said = [];
const wait = (is_done) => new Promise((done) => { const look = () => is_done() ? done() : setTimeout(look, 20); look(); });
frame.onload = async () => {
  const doc = frame.contentDocument, $ = (id) => doc.getElementById(id), status = $("status");
  try {
    new MutationObserver(() => said.push(status.textContent)).observe(status, { childList: true, characterData: true, subtree: true });
    await wait(() => !$("play").disabled);
    $("rate").value = "100";
    $("play").click();
    await wait(() => status.textContent === "All rows are replayed");
    const matrix = ["m00", "m01", "m10", "m11"].map((id) => Number($(id).textContent));
    const bars = [...doc.querySelectorAll(".bar")].map((bar) => bar.textContent);
    const progress = $("progress").value;
    $("restart").click();
    $("jump").click();
    await wait(() => $("verdict").textContent !== "–" && status.textContent.startsWith("Stopped"));
    const jumped = [status.textContent, $("verdict").textContent];
    $("step").click();
    await wait(() => status.textContent === "Stopped after row 7 of 10");
    const stepped = Number($("progress").value);
    $("rate").value = "0.5";
    $("play").click();
    const playing = $("play").textContent;
    $("play").click();
    const paused = [playing, $("play").textContent, Number($("progress").value)];
    const wide = [];
    for (const width of [360, 800, 1400]) {
      frame.style.width = `${width}px`;
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      if (doc.documentElement.scrollWidth > doc.documentElement.clientWidth) wide.push(width);
    }
    const view = frame.contentWindow, short = (e) => e.outerHTML.slice(0, 80), style = (e) => view.getComputedStyle(e);
    const unreachable = [...doc.querySelectorAll("button, select, [tabindex]")].filter((e) => { e.focus(); return doc.activeElement !== e || e.tabIndex !== 0 || style(e).outlineStyle === "none"; }).map(short);
    // What the browser tells a screen reader.
    const named = [...doc.querySelectorAll("button, select, progress, section, [role]")].map((e) => [e.computedRole, e.computedName]);
    const unscoped = [...doc.querySelectorAll("th:not([scope])")].map(short);
    const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
    const light = (colour) => { const [r, g, b] = colour.map((v) => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4); return .2126 * r + .7152 * g + .0722 * b; };
    const ground = (e) => { for (; e; e = e.parentElement) { const c = parts(style(e).backgroundColor); if (c.length < 4 || c[3] > .99) return c.slice(0, 3); } return [255, 255, 255]; };
    const written = [...doc.body.querySelectorAll("*")].filter((e) => e.tagName !== "SCRIPT" && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
    const pale = written.filter((e) => { const [a, b] = [light(parts(style(e).color).slice(0, 3)), light(ground(e))].sort((x, y) => y - x); return (a + .05) / (b + .05) < 4.5; }).map(short);
    await fetch("/report", { method: "POST", body: JSON.stringify({ said, matrix, bars, progress, jumped, stepped, paused, wide, unreachable, named, unscoped, pale, texts: written.length, ground: style(doc.body).backgroundColor, live: status.getAttribute("aria-live") }) });
  } catch (error) {
    await fetch("/report", { method: "POST", body: JSON.stringify({ error: String(error), said }) });
  }
};
</script>"#;

/// Rows after which the first connection of the replay is cut.
const CUT_AFTER: usize = 4;

/// Stands between browser and server: serves the harness, cuts the first replay, takes the report.
struct Between {
    server: SocketAddr,
    is_cut: AtomicBool,
    report: Mutex<Sender<Value>>,
}

impl Between {
    fn start(server: SocketAddr) -> (SocketAddr, Receiver<Value>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = channel();
        let between =
            Arc::new(Self { server, is_cut: AtomicBool::new(false), report: Mutex::new(sender) });
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let between = Arc::clone(&between);
                // A browser that goes away in the middle does not matter to the test.
                std::thread::spawn(move || drop(between.answer(stream)));
            }
        });
        (address, receiver)
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut head, mut length) = (String::new(), 0);
        let mut line = String::new();
        while reader.read_line(&mut line)? > 2 {
            let lower = line.to_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if !lower.starts_with("connection:") {
                head.push_str(&line);
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let path = head.split_whitespace().nth(1).unwrap_or_default().to_owned();
        match path.as_str() {
            "/drive" => reply(stream, "text/html; charset=utf-8", HARNESS),
            "/report" => {
                let report = serde_json::from_slice(&body).unwrap_or_default();
                drop(self.report.lock().unwrap().send(report));
                reply(stream, "text/plain", "")
            }
            _ => {
                let head = format!("{head}Connection: close\r\n\r\n");
                let cuts =
                    path.starts_with("/replay/events") && !self.is_cut.swap(true, Ordering::SeqCst);
                self.forward(stream, &[head.as_bytes(), &body].concat(), cuts)
            }
        }
    }

    /// Hands a request on and the reply back; a connection to be cut ends in the middle.
    fn forward(&self, mut stream: TcpStream, request: &[u8], cuts: bool) -> std::io::Result<()> {
        let mut server = TcpStream::connect(self.server)?;
        server.write_all(request)?;
        let (mut buffer, mut seen) = (vec![0; 4096], Vec::new());
        loop {
            let read = server.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..read])?;
            seen.extend_from_slice(&buffer[..read]);
            let rows = seen.windows(10).filter(|part| *part == b"event: row").count();
            if cuts && rows >= CUT_AFTER {
                return stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }
}

fn reply(mut stream: TcpStream, kind: &str, text: &str) -> std::io::Result<()> {
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
    )
}

/// A browser that ends with the test.
struct Browser {
    child: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn open(url: &str, is_dark: bool) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--disable-background-networking", "--no-first-run"])
            // 0 is dark and 1 is light.
            .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!is_dark)))
            // Scripts see the names and roles that a screen reader is told.
            .arg("--enable-blink-features=ComputedAccessibilityInfo")
            // Keeps it open after the page is loaded.
            .arg("--remote-debugging-port=0")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Plays ten rows in a browser of a colour scheme; returns what was seen.
fn played(is_dark: bool) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("validation.parquet");
    labelled(&table);
    let server = Server::start(true, &["--replay", table.to_str().unwrap()]);
    let (address, report) = Between::start(server.address);
    let browser = Browser::open(&format!("http://{address}/drive"), is_dark);
    let report = report.recv_timeout(Duration::from_mins(2)).unwrap();
    drop(browser);
    assert_eq!(report["error"], Value::Null, "{report:#}");
    report
}

#[test]
fn page_that_loses_its_connection_counts_each_row_once() {
    if !browser::wanted() {
        return;
    }
    let report = played(false);
    let said = report["said"].to_string();
    assert!(said.contains("Connection lost; trying again"), "{said}");
    // Eight normal rows and two of an attack, none twice and none left out.
    let matrix: Vec<u64> =
        report["matrix"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
    assert_eq!(matrix[0] + matrix[1], 8, "{report:#}");
    assert_eq!((matrix[2], matrix[3]), (0, 2), "{report:#}");
    assert_eq!(report["progress"], 10);
    assert!(report["bars"].to_string().contains("scan right2"), "{report:#}");
    assert_eq!(
        report["jumped"],
        json!(["Stopped after row 6 of 10", "Right: called anomalous, is scan"])
    );
    assert_eq!(report["stepped"], 7, "a step is one row");
    assert_eq!(report["paused"], json!(["Pause", "Play", 7]));
    accessible(&report, "rgb(255, 255, 255)");
}

#[test]
fn page_in_the_dark_is_dark_and_as_readable() {
    if browser::wanted() {
        accessible(&played(true), "rgb(15, 20, 25)");
    }
}

/// Checks what a person without a mouse, a large screen or good eyes needs, in a colour scheme.
fn accessible(report: &Value, ground: &str) {
    assert_eq!(report["ground"], ground);
    for trouble in ["wide", "unreachable", "unscoped", "pale"] {
        assert_eq!(report[trouble], json!([]), "{trouble}");
    }
    assert!(report["texts"].as_u64() > Some(30), "{report:#}");
    assert_eq!(report["live"], "polite", "a screen reader is told of each row in its turn");
    let expected = [
        ("status", ""),
        ("progressbar", "Rows replayed"),
        ("group", "Controls"),
        ("button", "Play"),
        ("button", "Step"),
        ("button", "Next attack"),
        ("button", "Restart"),
        ("combobox", "Speed"),
        ("region", "Right and wrong"),
        ("region", "Confusion matrix"),
        ("region", "Current row"),
        ("region", "Features of the current row"),
    ];
    assert_eq!(report["named"], json!(expected));
}

#[test]
fn a_validator_finds_nothing_wrong_with_the_page() {
    if !browser::wanted() {
        return;
    }
    let serve = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = Command::new(serve.join("../../tests/support/html_validate.sh")).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let program = String::from_utf8(found.stdout).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let rules = r#"{"root": true, "extends": ["html-validate:standard", "html-validate:a11y"]}"#;
    fs_err::write(folder.path().join(".htmlvalidate.json"), rules).unwrap();
    let page = include_str!("../src/replay.html");
    for (text, is_right) in [(page, true), (page.replace("</h2>", "").as_str(), false)] {
        fs_err::write(folder.path().join("replay.html"), text).unwrap();
        let mut command = Command::new(program.trim());
        let output = command.current_dir(folder.path()).arg("replay.html").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.success(), is_right, "{said}");
    }
}

/// Returns the colours of a palette: name and red, green and blue from 0 to 1.
fn palette(css: &str) -> Vec<(String, [f64; 3])> {
    let colours = css.split(';').filter_map(|part| part.rsplit_once("--")?.1.split_once(": #"));
    let colour = |(name, hex): (&str, &str)| {
        let hex = hex.trim().trim_end_matches(['}', ' ']);
        let wide = if hex.len() == 3 {
            hex.chars().flat_map(|c| [c, c]).collect()
        } else {
            hex.to_owned()
        };
        let part =
            |at: usize| f64::from(u8::from_str_radix(&wide[at..at + 2], 16).unwrap()) / 255.0;
        (name.to_owned(), [part(0), part(2), part(4)])
    };
    colours.map(colour).collect()
}

/// Returns the contrast of two colours (WCAG 2.2, 1.4.3): 1 to 21.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let linear =
            |c: f64| if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) };
        0.2126 * linear(colour[0]) + 0.7152 * linear(colour[1]) + 0.0722 * linear(colour[2])
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn texts_are_readable_in_the_light_and_in_the_dark_palette() {
    let page = include_str!("../src/replay.html");
    let roots: Vec<&str> = page.lines().filter(|line| line.contains("--ground: #")).collect();
    assert_eq!(roots.len(), 2, "a light and a dark palette");
    assert!(roots[1].contains("prefers-color-scheme: dark"));
    for root in roots {
        let colours = palette(root);
        let of = |name: &str| colours.iter().find(|(known, _)| known == name).unwrap().1;
        for text in ["text", "soft", "right", "wrong", "focus"] {
            for ground in ["ground", "row"] {
                let found = contrast(of(text), of(ground));
                assert!(found >= 4.5, "{text} on {ground}: {found:.2}: {root}");
            }
        }
    }
}
