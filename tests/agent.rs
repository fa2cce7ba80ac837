//! Agents of nodes that are killed repeatedly: is every sample exactly once in the store and in the
//! database?

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use contract::{Span, TimeRange, Timestamp};
use frames::Samples;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::database_server as server;

/// Nodes, each with its own agent.
const NODES: [&str; 4] = ["n1", "n2", "n3", "n4"];
const KILLS: usize = 100;
const STEP: Span = Span::from_seconds(1);
/// Longer than any wait of a successful test.
const TOO_LONG: Duration = Duration::from_mins(2);

/// What a node's exporter served, and which events its Tetragon wrote.
#[derive(Debug, Default)]
struct Served {
    /// Number of scrapes; the value of each scrape is its number.
    scrapes: u32,
    /// Programs that were started, by the end of their window.
    execs: BTreeMap<Timestamp, f64>,
    events: u64,
}

/// A node: an exporter whose every reply is another number, and a log of Tetragon that grows with
/// each reply.
struct Node {
    name: &'static str,
    folder: PathBuf,
    address: SocketAddr,
    served: Arc<(Mutex<Served>, Condvar)>,
}

impl Node {
    fn start(name: &'static str, folder: &Path) -> Result<Self> {
        let folder = folder.join(name);
        fs_err::create_dir_all(folder.join("log"))?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let served = Arc::new((Mutex::new(Served::default()), Condvar::new()));
        let node = Self { name, folder, address, served };
        let (served, log) = (Arc::clone(&node.served), node.log());
        std::thread::spawn(move || {
            // Requests are answered one after another, so a reply to this test comes after all
            // earlier replies.
            for stream in listener.incoming().flatten() {
                // A client that was killed needs no reply.
                drop(answer(stream, name, &log, &served));
            }
        });
        Ok(node)
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log/tetragon.log")
    }

    /// Writes the document of the node's agent.
    fn document(&self, database: &str) -> Result<()> {
        let (address, log) = (self.address, self.log());
        let text = format!(
            "format: 1\nname: node\nstep: {STEP}\nrange: 1h\nsources:\n\
             \x20 metrics: {{exporter: {{endpoints: ['http://{address}/metrics'], metrics: [{{name: number, \
             metric: sample_number}}]}}, entity: {{labels: [nodename]}}}}\n\
             \x20 processes: {{tetragon: {{path: '{}', follow: true, lateness: 3s}}}}\n\
             features: [raw]\nmodels: {{z_score: {{}}}}\n\
             vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\n\
             exports: {{database: {{postgres: {{server: {{url: '{database}'}}, samples: true}}}}}}\n",
            log.display()
        );
        Ok(fs_err::write(self.folder.join("node.yaml"), text)?)
    }

    fn agent(&self, store: &Path, more: &[&str]) -> Command {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_agent"));
        agent.current_dir(&self.folder).args(["node.yaml", "--node", self.name]);
        agent.args(["--listen", "127.0.0.1:0", "--spool", "spool"]).args(more);
        agent.arg("--store").arg(store).stdout(Stdio::null()).stderr(Stdio::null());
        agent
    }

    fn scrapes(&self) -> u32 {
        self.served.0.lock().unwrap_or_else(PoisonError::into_inner).scrapes
    }

    /// Waits until the exporter has had this number of scrapes.
    fn wait(&self, scrapes: u32) -> Result<()> {
        let (served, changed) = &*self.served;
        let served = served.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(served, TOO_LONG, |it| it.scrapes < scrapes);
        ensure!(!waited.unwrap_or_else(PoisonError::into_inner).1.timed_out(), "no scrape comes");
        Ok(())
    }

    /// Waits until every earlier scrape request is answered; also starts programs.
    fn settle(&self) -> Result<()> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"GET /settle HTTP/1.1\r\n\r\n")?;
        stream.read_to_end(&mut Vec::new())?;
        Ok(())
    }

    /// Rotates Tetragon's file as Tetragon does.
    fn rotate(&self, number: usize) -> Result<()> {
        let name = format!("tetragon-2026-11-29T10-00-{number:02}.000.log");
        Ok(fs_err::rename(self.log(), self.folder.join("log").join(name))?)
    }

    /// Starts and kills the agent repeatedly; returns the scrapes that each process got.
    fn torment(&self, store: &Path, kills: usize, random: &mut ChaCha8Rng) -> Result<Vec<Life>> {
        let mut lives = Vec::new();
        for kill in 0..kills {
            let first = self.scrapes() + 1;
            let mut agent = self.agent(store, &[]).spawn()?;
            self.wait(first + random.random_range(0..3) - 1)?;
            // The time of the kill is the subject of the test, so this sleep is not
            // synchronisation.
            std::thread::sleep(Duration::from_micros(random.random_range(0..60_000)));
            stop(&mut agent)?;
            self.settle()?;
            lives.push(Life { first, last: self.scrapes() });
            if kill % 8 == 3 {
                self.rotate(kill)?;
            }
        }
        Ok(lives)
    }

    /// Runs the agent until no rows are pending.
    fn settle_down(&self, store: &Path) -> Result<Life> {
        let first = self.scrapes() + 1;
        for steps in ["6", "1", "1", "1", "1", "1"] {
            let status = self.agent(store, &["--steps", steps]).status()?;
            ensure!(status.success(), "{status}");
            let waiting = contract::artifact::files_below(&self.folder.join("spool"))?;
            if !waiting.iter().any(|name| name.ends_with(".parquet")) {
                return Ok(Life { first, last: self.scrapes() });
            }
        }
        anyhow::bail!("segments of {} wait forever", self.name)
    }
}

/// The numbers that one process got.
#[derive(Debug, Clone, Copy)]
struct Life {
    first: u32,
    last: u32,
}

fn stop(agent: &mut Child) -> Result<()> {
    ensure!(agent.try_wait()?.is_none(), "the agent ended by itself");
    agent.kill()?;
    agent.wait()?;
    Ok(())
}

/// Answers a scrape with the next number; programs are started before any reply.
fn answer(
    mut stream: TcpStream,
    node: &str,
    log: &Path,
    (served, changed): &(Mutex<Served>, Condvar),
) -> Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        ensure!(count > 0, "the client is gone");
        request.extend_from_slice(&buffer[..count]);
    }
    let mut now = served.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..=now.events % 3 {
        start_program(&mut now, node, log)?;
    }
    if request.starts_with(b"GET /metrics ") {
        now.scrapes += 1;
        let number = now.scrapes;
        let body = format!("node_uname_info{{nodename=\"{node}\"}} 1\nsample_number {number}\n");
        let length = body.len();
        drop(stream.write_all(
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").as_bytes(),
        ));
        changed.notify_all();
    }
    Ok(())
}

/// Writes the start of a program in Tetragon's format.
fn start_program(served: &mut Served, node: &str, log: &Path) -> Result<()> {
    let now = Timestamp::from_ms(jiff::Timestamp::now().as_millisecond());
    let number = served.events;
    let line = format!(
        "{{\"process_exec\":{{\"process\":{{\"exec_id\":\"{node}-{number}\",\"pid\":{number},\"binary\":\"/usr/bin/sort\",\
         \"flags\":\"execve clone\",\"start_time\":\"{now}\"}}}},\"node_name\":\"{node}\",\"time\":\"{now}\"}}\n"
    );
    let mut file = fs_err::OpenOptions::new().create(true).append(true).open(log)?;
    file.write_all(line.as_bytes())?;
    served.events += 1;
    let floor = now.floor(STEP);
    *served.execs.entry(if floor == now { now } else { floor + STEP }).or_default() += 1.0;
    Ok(())
}

/// Reads a column of all segments of a recorder; a duplicate time is an error.
fn recorded(store: &Path, source: &str, node: &str, column: &str) -> Result<Rows> {
    let folder = store.join("samples/node").join(source).join(node);
    let mut rows = Rows::new();
    for name in contract::artifact::files_below(&folder)? {
        let table = Samples::read(&folder.join(&name))?.table;
        let column = table.column(column).context("no such column")?;
        for (time, value) in table.times.iter().zip(&column.values) {
            ensure!(rows.insert(*time, *value).is_none(), "{node}: {time} is there twice");
        }
    }
    Ok(rows)
}

/// Values by time.
type Rows = BTreeMap<Timestamp, f64>;

/// Reads a column of a node in the database.
fn loaded(server: &server::Postgres, (database, node, column): (&str, &str, &str)) -> Result<Rows> {
    let sql = format!(
        "SELECT round(extract(epoch FROM time) * 1000)::bigint, {column} FROM lynceus.node WHERE entity = '{node}' AND {column} IS NOT NULL"
    );
    let text = server.run(database, &sql)?;
    let row = |line: &str| -> Result<(Timestamp, f64)> {
        let (time, value) = line.split_once('|').context("no row")?;
        Ok((Timestamp::from_ms(time.parse()?), value.parse()?))
    };
    text.lines().map(row).collect()
}

#[test]
fn agents_killed_a_hundred_times_lose_and_double_nothing_in_store_and_database() -> Result<()> {
    if server::is_off() {
        return Ok(());
    }
    let server = server::Postgres::shared()?;
    let (database, url) = server.database_to_write()?;
    let folder = tempfile::tempdir()?;
    let store = folder.path().join("store");
    let nodes = NODES.map(|name| Node::start(name, folder.path()));
    let nodes = nodes.into_iter().collect::<Result<Vec<Node>>>()?;
    let lives = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(&nodes)
            .map(|(seed, node)| {
                let (store, url) = (&store, &url);
                scope.spawn(move || -> Result<Vec<Life>> {
                    node.document(url)?;
                    let mut random = ChaCha8Rng::seed_from_u64(seed);
                    let mut lives = node.torment(store, KILLS / NODES.len(), &mut random)?;
                    lives.push(node.settle_down(store)?);
                    Ok(lives)
                })
            })
            .collect();
        threads.into_iter().map(|it| it.join().expect("no panic")).collect::<Result<Vec<_>>>()
    })?;
    for (node, lives) in nodes.iter().zip(lives) {
        let name = node.name;
        let numbers = recorded(&store, "metrics", name, "number")?;
        assert!(numbers.values().is_sorted(), "{name}: {numbers:?}");
        for (index, life) in lives.iter().enumerate() {
            // The last sample of a killed agent may be lost.
            let is_killed = index + 1 < lives.len();
            for number in life.first..=life.last {
                let is_it = |it: &&f64| (**it - f64::from(number)).abs() < 0.5;
                let count = numbers.values().filter(is_it).count();
                let may_miss = is_killed && number == life.last;
                assert!(
                    count == 1 || may_miss && count == 0,
                    "{name}: {number} {count} times, {life:?}"
                );
            }
        }
        assert_eq!(loaded(&server, (&database, name, "number"))?, numbers, "{name}");
        // No start of a program is lost: its file still exists when the agent restarts.
        let execs = recorded(&store, "processes", name, "exec_count")?;
        let last = *execs.keys().last().context("no row")?;
        let served = node.served.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (time, expected) in served.execs.range(..=last) {
            assert_eq!(execs.get(time), Some(expected), "{name}: {time}");
        }
        let all: f64 = served.execs.range(..=last).map(|(_, count)| count).sum();
        assert!((execs.values().sum::<f64>() - all).abs() < 0.5, "{name}: {all}");
        assert_eq!(loaded(&server, (&database, name, "exec_count"))?, execs, "{name}");
    }
    segments_are_copied_as_they_are(&nodes[0], folder.path(), &store)
}

#[test]
fn agent_asked_to_end_does_so_though_an_exporter_never_answers() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let text = format!(
        "format: 1\nname: node\nstep: 1s\nrange: 1h\nsources: {{metrics: {{exporter: {{endpoints: ['http://{}/'], \
         timeout: 1h}}}}}}\nfeatures: [raw]\nmodels: {{z_score: {{}}}}\n\
         vote: {{combine: votes, threshold: {{quantile: {{share: 0.99}}}}}}\n",
        listener.local_addr()?
    );
    fs_err::write(folder.path().join("node.yaml"), text)?;
    let mut agent = Command::new(env!("CARGO_BIN_EXE_agent"))
        .current_dir(folder.path())
        .args(["node.yaml", "--node", "n", "--listen", "127.0.0.1:0", "--store", "store"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // It waits for a reply.
    let _asked = listener.accept()?;
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&agent),
        rustix::process::Signal::TERM,
    )?;
    let (ended, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || ended.send(agent.wait()).is_ok());
    let status = told.recv_timeout(TOO_LONG).context("it waits for the exporter")??;
    assert!(status.success(), "{status}");
    Ok(())
}

/// The raw data of a range consists of all recorders' segments with rows of the range.
fn segments_are_copied_as_they_are(node: &Node, folder: &Path, store: &Path) -> Result<()> {
    let document = document::read(&node.folder.join("node.yaml"))?;
    let opened = store::open(&format!("file://{}", store.display()))?;
    let names = contract::artifact::files_below(&store.join("samples/node/metrics"))?;
    let time = |name: &String| {
        let (_, name) = name.rsplit_once('/')?;
        name.split_once('-')?.0.parse().ok().map(Timestamp::from_ms)
    };
    let begin = names.iter().filter_map(time).min().context("no segment")?;
    let into = folder.join("raw");
    let range = TimeRange { after: begin - STEP, until: begin + Span::from_seconds(3600) };
    let written = collect::raw::write(&document, folder, opened.as_ref(), range, &into)?;
    assert_eq!(written[0].count, names.len(), "{written:?}");
    for name in names {
        let (recorder, file) = (name.split('/').next(), name.rsplit('/').next());
        let copy = into.join("metrics").join(recorder.context(name.clone())?);
        let bytes = fs_err::read(copy.join(file.context(name.clone())?))?;
        assert_eq!(bytes, fs_err::read(store.join("samples/node/metrics").join(&name))?);
    }
    Ok(())
}
