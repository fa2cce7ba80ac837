use document::sources::Entity;
use document::sources::tetragon::{EventEntity, TetragonSource};

use super::*;

fn said(line: &str, settings: &TetragonSource) -> Result<Said, Bad> {
    parse(line.as_bytes(), &Rules::new(settings, &Entity::default()))
}

fn event(line: &str) -> Event {
    match said(line, &TetragonSource::default()) {
        Ok(Said::Event(event)) => event,
        other => panic!("{line}: {other:?}"),
    }
}

/// An exec with more fields of its process.
fn exec(more: &str) -> String {
    format!(
        r#"{{"process_exec": {{"process": {{"exec_id":"bm9kZTox", "pid":7, "flags":"execve clone", {more}}}, "parent":{{"binary":"/tmp/parent","exec_id":"x"}}}}, "node_name":"n1", "time":"2026-11-29T19:00:00.137456789Z"}}"#
    )
}

fn is_temporary(more: &str) -> bool {
    match event(&exec(more)).what {
        What::Exec { is_temporary, .. } => is_temporary,
        other => panic!("{other:?}"),
    }
}

fn call(key: &str, call: &str) -> String {
    format!(
        r#"{{"{key}":{{"process":{{"exec_id":"a","pid":1}},{call}}},"node_name":"n1","time":"2026-11-29T19:00:01Z"}}"#
    )
}

#[test]
fn exec_event_has_time_node_and_program() {
    let found = event(&exec(r#""binary":"/bin/ls","in_init_tree":false"#));
    assert_eq!(found.time.to_string(), "2026-11-29T19:00:00.137Z");
    assert_eq!((found.entity.as_str(), found.weight), ("n1", 1.0));
    let what = What::Exec { program: hash([b"/bin/ls"]), is_temporary: false, in_container: true };
    assert_eq!(found.what, what);
}

#[test]
fn programs_and_scripts_in_temporary_folders_and_memory_are_found() {
    for (more, expected) in [
        (r#""binary":"/tmp/miner""#, true),
        (r#""binary":"/tmpfiles/x""#, false),
        (r#""binary":"/dev/shm/a/b""#, true),
        (r#""binary":"/usr/bin/bash","arguments":"/dev/shm/x.sh""#, true),
        (r#""binary":"/usr/bin/bash","arguments":"-x ./x.sh 1","cwd":"/tmp""#, true),
        (r#""binary":"/usr/bin/bash","arguments":"-c /tmp/x.sh""#, false),
        (r#""binary":"/usr/bin/python3.11","arguments":"/var/tmp/x.py""#, true),
        (r#""binary":"/usr/bin/cat","arguments":"/tmp/x.sh""#, false),
        (
            r#""binary":"/usr/bin/x","binary_properties":{"file":{"inode":{"number":"12","links":0}}}"#,
            true,
        ),
        (
            r#""binary":"/usr/bin/x","binary_properties":{"file":{"inode":{"number":"12","links":1}}}"#,
            false,
        ),
        (r#""binary":"/proc/self/fd/3""#, true),
    ] {
        assert_eq!(is_temporary(more), expected, "{more}");
    }
}

#[test]
fn known_processes_are_not_counted_as_started_and_unknown_kinds_are_reported() {
    let settings = TetragonSource::default();
    let earlier = exec(r#""binary":"/sbin/init""#).replace("execve clone", "procFS auid");
    assert_eq!(said(&earlier, &settings), Ok(Said::Earlier));
    let old = call("process_connect", r#""destination_port":3333"#);
    assert_eq!(said(&old, &settings), Ok(Said::Unknown));
    let no_time = earlier.replace("\"time\"", "\"at\"").replace("procFS", "execve");
    assert_eq!(said(&no_time, &settings), Err(Bad::NoTime));
    assert!(matches!(said("{\"time\"", &settings), Err(Bad::Broken(_))));
    assert!(matches!(said("17", &settings), Err(Bad::Broken(_))));
}

fn connect(function: &str, argument: &str) -> What {
    let call = format!(r#""function_name":"{function}","args":[{{"int_arg":3}},{argument}]"#);
    event(&self::call("process_kprobe", &call)).what
}

#[test]
fn connections_are_found_in_each_kind_of_argument() {
    let sock = r#"{"sock_arg":{"family":"AF_INET","daddr":"10.0.0.9","dport":3333,"cookie":"18446612685"}}"#;
    let What::Connect { is_mining, column, destination } = connect("tcp_connect", sock) else {
        panic!("a connection")
    };
    assert_eq!((is_mining, column), (true, None));
    let port = sock.replace("3333", "443");
    let What::Connect { is_mining: false, destination: other, .. } = connect("tcp_connect", &port)
    else {
        panic!("a connection")
    };
    assert_ne!(destination, other, "the port is part of the destination");
    let loopback = sock.replace("10.0.0.9", "127.0.0.1");
    assert_eq!(connect("tcp_connect", &loopback), What::Other { column: None });
    let mapped = sock.replace("10.0.0.9", "::ffff:127.0.0.1");
    assert_eq!(connect("tcp_connect", &mapped), What::Other { column: None });
    assert_eq!(connect("tcp_close", sock), What::Other { column: Some(1) });
    let settings = TetragonSource {
        connect_functions: vec!["security_socket_connect".to_owned()],
        loopback: true,
        ..TetragonSource::default()
    };
    let of = |family: &str| {
        let argument = format!(
            r#""function_name":"security_socket_connect","args":[{{"sockaddr_arg":{{"family":"{family}","addr":"127.0.0.1","port":80}}}}]"#
        );
        said(&call("process_kprobe", &argument), &settings)
    };
    let is_connect = |said: Result<Said, Bad>| {
        matches!(said, Ok(Said::Event(Event { what: What::Connect { .. }, .. })))
    };
    assert!(is_connect(of("AF_INET")) && !is_connect(of("AF_UNIX")));
}

#[test]
fn system_calls_are_named_by_number_and_kernel_functions_by_their_plain_name() {
    let settings = TetragonSource {
        events: vec!["execve".to_owned(), "read".to_owned(), "ptrace".to_owned()],
        ..TetragonSource::default()
    };
    let column = |line: &str| match said(line, &settings) {
        Ok(Said::Event(Event { what: What::Other { column }, .. })) => column,
        other => panic!("{other:?}"),
    };
    let raw = |argument: &str| {
        call(
            "process_tracepoint",
            &format!(r#""subsys":"raw_syscalls","event":"sys_enter","args":[{argument}]"#),
        )
    };
    assert_eq!(column(&raw(r#"{"syscall_id":{"id":59,"abi":"x64"}}"#)), Some(0));
    assert_eq!(column(&raw(r#"{"syscall_id":{"id":221,"abi":"arm64"}}"#)), Some(0));
    assert_eq!(column(&raw(r#"{"syscall_id":{"abi":"x64"}}"#)), Some(1), "zero is left out");
    assert_eq!(column(&raw(r#"{"long_arg":"59"}"#)), Some(0));
    assert_eq!(column(&raw(r#"{"long_arg":"-1"}"#)), None);
    let kprobe = |name: &str| call("process_kprobe", &format!(r#""function_name":"{name}""#));
    assert_eq!(column(&kprobe("__x64_sys_ptrace")), Some(2));
    assert_eq!(column(&kprobe("ptrace_attach")), None);
    let tracepoint = r#""subsys":"syscalls","event":"sys_enter_ptrace""#;
    assert_eq!(column(&call("process_tracepoint", tracepoint)), Some(2));
}

#[test]
fn events_without_process_are_counted_as_skipped() {
    let line =
        |inner: &str| format!(r#"{{{inner},"node_name":"n1","time":"2026-11-29T19:00:01Z"}}"#);
    let limit = line(r#""rate_limit_info":{"number_of_dropped_process_events":"41"}"#);
    assert_eq!(event(&limit).what, What::Dropped(41.0));
    let throttle = line(r#""process_throttle":{"type":"THROTTLE_START","cgroup":"kubepods"}"#);
    assert!(matches!(event(&throttle).what, What::Throttled { begins: true, .. }));
    let stop = throttle.replace("START", "STOP");
    assert!(matches!(event(&stop).what, What::Throttled { begins: false, .. }));
}

#[test]
fn an_event_may_be_wrapped_stand_for_many_and_belong_to_a_pod() {
    let inner = exec(r#""binary":"/bin/ls","pod":{"namespace":"shop","name":"web-1"}"#);
    let wrapped = serde_json::json!({
        "log": format!("{inner}\n"), "stream": "stdout", "time": "2026-11-29T20:00:00Z",
    });
    assert_eq!(event(&wrapped.to_string()), event(&inner));
    let many = inner.replace("\"node_name\"", r#""aggregation_info":{"count":"12"},"node_name""#);
    assert!((event(&many).weight - 12.0).abs() < 1e-9);
    let settings = TetragonSource { entity: EventEntity::Pod, ..TetragonSource::default() };
    let Ok(Said::Event(of_pod)) = said(&inner, &settings) else { panic!("an event") };
    assert_eq!(of_pod.entity, "shop/web-1");
    let named = TetragonSource { node: Some("edge".to_owned()), ..TetragonSource::default() };
    let nameless = inner.replace(r#""node_name":"n1","#, "");
    let Ok(Said::Event(of_node)) = said(&nameless, &named) else { panic!("an event") };
    assert_eq!(of_node.entity, "edge");
}

#[test]
fn the_same_event_has_the_same_key_and_another_one_another() {
    let one = event(&exec(r#""binary":"/bin/ls""#));
    let again = exec(r#""binary":"/bin/ls""#).replace("00:00.137", "00:00.138");
    assert_eq!(one.key, event(&again).key, "a program is started once under one identity");
    let kprobe = call("process_kprobe", r#""function_name":"tcp_close""#);
    let later = kprobe.replace("00:01Z", "00:01.000000001Z");
    assert_ne!(event(&kprobe).key, event(&later).key);
}
