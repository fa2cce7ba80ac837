//! The counted parts of one line of the export.
//!
//! The encoder writes protobuf's JSON: fields that are zero, empty or false are left out, 64-bit
//! integers are texts, and there are spaces anywhere.

mod shape;

use contract::Timestamp;

use super::rules::{Rules, hash};
use shape::{Call, Line, Text};

/// Content of a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// Something that is counted.
    Event(Event),
    /// A process that was running before Tetragon started: no program was started.
    Earlier,
    /// An event of an unknown kind.
    Unknown,
}

/// Why a line is not an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is not an event.
    Broken(String),
    /// It is an event without a time.
    NoTime,
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) time: Timestamp,
    /// The node, or the pod.
    pub(super) entity: String,
    /// Number of events of the line.
    pub(super) weight: f64,
    /// Equal for the same event read twice; `None` if the event has no identity.
    pub(super) key: Option<u64>,
    pub(super) what: What,
}

/// What happened. Texts are stored as hashes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// A program was started.
    Exec { program: u64, is_temporary: bool, in_container: bool },
    /// A connection was made; `column` is that of the named event, if it has one.
    Connect { destination: u64, is_mining: bool, column: Option<usize> },
    /// Any other event; without a `column` it counts as other events.
    Other { column: Option<usize> },
    /// Number of events of this node that Tetragon left out.
    Dropped(f64),
    /// Tetragon starts or stops leaving out the events of a control group.
    Throttled { group: u64, begins: bool },
}

/// Reads a line.
pub(super) fn parse(line: &[u8], rules: &Rules<'_>) -> Result<Said, Bad> {
    let parsed: Line<'_> =
        serde_json::from_slice(line).map_err(|error| Bad::Broken(error.to_string()))?;
    match &parsed.log {
        Some(Text(inner)) => {
            let inner: Line<'_> = serde_json::from_str(inner.trim())
                .map_err(|error| Bad::Broken(format!("in `log`: {error}")))?;
            said(&inner, rules)
        }
        None => said(&parsed, rules),
    }
}

/// Returns the time of a line, of whatever kind its event is; `None` for a line that is not an
/// event.
pub(super) fn time(line: &[u8]) -> Option<Timestamp> {
    let parsed: Line<'_> = serde_json::from_slice(line).ok()?;
    let of = |line: &Line<'_>| line.time.as_ref()?.0.parse().ok();
    match &parsed.log {
        Some(Text(inner)) => of(&serde_json::from_str(inner.trim()).ok()?),
        None => of(&parsed),
    }
}

fn said(line: &Line<'_>, rules: &Rules<'_>) -> Result<Said, Bad> {
    let Some(Text(written)) = &line.time else { return Err(Bad::NoTime) };
    let time: Timestamp = written.parse().map_err(Bad::Broken)?;
    let node = rules.node(&line.node_name.0);
    let event = |what| Event { time, entity: node.to_owned(), weight: 1.0, key: None, what };
    if let Some(limit) = &line.rate_limit_info {
        let dropped = limit.number_of_dropped_process_events.0 as f64;
        return Ok(Said::Event(event(What::Dropped(dropped))));
    }
    if let Some(throttle) = &line.process_throttle {
        let group = hash([throttle.cgroup.0.as_bytes()]);
        let begins = throttle.kind.0.ends_with("START");
        return Ok(Said::Event(event(What::Throttled { group, begins })));
    }
    let flags = line.process_exec.as_ref().map_or("", |exec| &*exec.process.flags.0);
    if flags.split_whitespace().any(|flag| flag == "procFS") {
        return Ok(Said::Earlier);
    }
    let Some((kind, call)) = line.call() else { return Ok(Said::Unknown) };
    let process = &call.process;
    let entity = match (&process.pod, rules.by_pod) {
        (Some(pod), true) => format!("{}/{}", pod.namespace.0, pod.name.0),
        _ => node.to_owned(),
    };
    let weight = line.aggregation_info.as_ref().map_or(1.0, |it| it.count.0.max(1) as f64);
    let name = call.name(kind, rules);
    let key = (!process.exec_id.0.is_empty()).then(|| {
        let (id, kind_name) = (process.exec_id.0.as_bytes(), kind.name().as_bytes());
        match kind {
            // A process with one id starts a program, or exits, only once.
            Kind::Exec | Kind::Exit => hash([kind_name, id]),
            Kind::Kprobe
            | Kind::Tracepoint
            | Kind::Lsm
            | Kind::Uprobe
            | Kind::Usdt
            | Kind::Loader => hash([kind_name, id, written.as_bytes(), name.as_bytes()]),
        }
    });
    Ok(Said::Event(Event { time, entity, weight, key, what: call.what(kind, name, rules) }))
}

/// Kinds of events that have a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Exec,
    Exit,
    Kprobe,
    Tracepoint,
    Lsm,
    Uprobe,
    Usdt,
    Loader,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Exec => "exec",
            Self::Exit => "exit",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
            Self::Lsm => "lsm",
            Self::Uprobe => "uprobe",
            Self::Usdt => "usdt",
            Self::Loader => "loader",
        }
    }
}

impl<'a> Line<'a> {
    fn call(&self) -> Option<(Kind, &Call<'a>)> {
        let calls = [
            (Kind::Exec, &self.process_exec),
            (Kind::Exit, &self.process_exit),
            (Kind::Kprobe, &self.process_kprobe),
            (Kind::Tracepoint, &self.process_tracepoint),
            (Kind::Lsm, &self.process_lsm),
            (Kind::Uprobe, &self.process_uprobe),
            (Kind::Usdt, &self.process_usdt),
            (Kind::Loader, &self.process_loader),
        ];
        calls.into_iter().find_map(|(kind, call)| Some((kind, call.as_ref()?)))
    }
}

impl Call<'_> {
    /// Returns the name of the event in the form of the document.
    fn name<'s>(&'s self, kind: Kind, rules: &'s Rules<'_>) -> &'s str {
        match kind {
            Kind::Kprobe | Kind::Lsm => plain(&self.function_name.0),
            Kind::Tracepoint if self.subsys.0 == "raw_syscalls" => self.system_call(rules),
            Kind::Tracepoint => plain(&self.event.0),
            Kind::Exec | Kind::Exit | Kind::Uprobe | Kind::Usdt | Kind::Loader => kind.name(),
        }
    }

    fn system_call<'s>(&'s self, rules: &'s Rules<'_>) -> &'s str {
        let found = self.args.iter().find_map(|argument| match &argument.syscall_id {
            Some(call) => rules.system_call(&call.abi.0, call.id.0),
            // Older versions report no ABI; it is that of the node, which is mostly x64.
            None => rules.system_call("x64", argument.long_arg?.0),
        });
        found.unwrap_or("unknown")
    }

    fn what(&self, kind: Kind, name: &str, rules: &Rules<'_>) -> What {
        let column = rules.column(name);
        if kind == Kind::Exec {
            let process = &self.process;
            return What::Exec {
                program: hash([process.binary.0.as_bytes()]),
                is_temporary: self.is_temporary(rules),
                in_container: process.in_init_tree == Some(false),
            };
        }
        match self.destination().filter(|_| rules.is_connect(name)) {
            Some((address, port)) if rules.counts(address) => What::Connect {
                destination: hash([address.as_bytes(), &port.to_le_bytes()]),
                is_mining: rules.is_mining(port),
                column,
            },
            _ => What::Other { column },
        }
    }

    /// Returns address and port of the first argument that is a socket.
    fn destination(&self) -> Option<(&str, u32)> {
        self.args.iter().find_map(|argument| {
            let socket = argument.sock_arg.as_ref().or(argument.skb_arg.as_ref());
            let socket = socket.map(|socket| (&*socket.daddr.0, socket.dport));
            let address = argument.sockaddr_arg.as_ref();
            let address = address.filter(|address| address.family.0.starts_with("AF_INET"));
            socket.or_else(|| address.map(|address| (&*address.addr.0, address.port)))
        })
    }

    /// Returns whether a program was started from a folder for temporary files, or from memory: the
    /// program itself, or a script that it interprets.
    fn is_temporary(&self, rules: &Rules<'_>) -> bool {
        let process = &self.process;
        let binary = &*process.binary.0;
        let links = process
            .binary_properties
            .as_ref()
            .and_then(|it| it.file.as_ref()?.inode.as_ref()?.links);
        let is_in_memory = links.is_some_and(|links| links.0 == 0)
            || ["memfd:", "/memfd:", "/dev/fd/", "/proc/self/fd/"]
                .iter()
                .any(|start| binary.starts_with(start));
        is_in_memory
            || rules.is_temporary(binary, &process.cwd.0)
            || (is_interpreter(binary)
                && script(&process.arguments.0)
                    .is_some_and(|script| rules.is_temporary(script, &process.cwd.0)))
    }
}

/// Programs that run scripts.
const INTERPRETERS: &[&str] = &[
    "ash", "awk", "bash", "busybox", "csh", "dash", "fish", "ksh", "lua", "node", "perl", "php",
    "python", "ruby", "sh", "tclsh", "zsh",
];

fn is_interpreter(binary: &str) -> bool {
    let name = binary.rsplit('/').next().unwrap_or(binary);
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    INTERPRETERS.contains(&name)
}

/// Returns the script of an interpreter's arguments: the first that is not an option, unless the
/// program itself is given (`-c`, `-e`).
fn script(arguments: &str) -> Option<&str> {
    let words = arguments.split_whitespace();
    let mut words = words.map(|word| word.trim_matches('"'));
    words
        .find(|word| !word.starts_with('-') || ["-c", "-e"].contains(word))
        .filter(|word| !word.starts_with('-'))
}

/// Returns the name of a kernel function or tracepoint without the prefix of system calls.
fn plain(name: &str) -> &str {
    const PREFIXES: [&str; 10] = [
        "__x64_sys_",
        "__arm64_sys_",
        "__ia32_compat_sys_",
        "__ia32_sys_",
        "__se_sys_",
        "sys_enter_",
        "sys_exit_",
        "__sys_",
        "sys_",
        "bpf_lsm_",
    ];
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

#[cfg(test)]
mod tests;
