#!/usr/bin/env python3
"""Writes what strace saw in the shape of Tetragon's JSON export: events.py FOLDER OUT...

FOLDER gets a file `<node>.jsonl.gz` for each node. The events are real: programs that were started, their ends,
and connections. The lines are made here, not by Tetragon: `execve` and `exit` as `process_exec` and `process_exit`,
`connect` to an internet address as the `process_kprobe` of `tcp_connect`. What strace does not say is left out.
"""

import base64
import datetime
import gzip
import json
import pathlib
import re
import sys

LINE = re.compile(r"^(\d+) +(\d+\.\d+) (.*)$")
EXEC = re.compile(r'^execve\("((?:[^"\\]|\\.)*)", \[(.*?)\](?:, .*)?\) += 0')
CONNECT4 = re.compile(r'^connect\(\d+, \{sa_family=AF_INET, sin_port=htons\((\d+)\), sin_addr=inet_addr\("([^"]+)"\)')
ENDED = re.compile(r"^\+\+\+ (?:exited with (\d+)|killed by (SIG\w+))")
TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')


def time(seconds):
    whole, fraction = seconds.split(".")
    at = datetime.datetime.fromtimestamp(int(whole), datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{at}.{fraction:0<9}Z"


def events(node, path):
    begun, processes = {}, {}
    for text in path.read_text(errors="replace").splitlines():
        found = LINE.match(text)
        if not found:
            continue
        pid, seconds, call = found.groups()
        if call.endswith("<unfinished ...>"):
            begun[pid] = call[: -len("<unfinished ...>")]
            continue
        resumed = re.match(r"^<\.\.\. \w+ resumed>(.*)$", call)
        if resumed:
            call = begun.pop(pid, "") + resumed[1]
        program, connection, ended = EXEC.match(call), CONNECT4.match(call), ENDED.match(call)
        if program:
            identity = base64.b64encode(f"{node}:{seconds.replace('.', '')}000:{pid}".encode()).decode()
            words = [word.encode().decode("unicode_escape", "replace") for word in TEXT.findall(program[2])[1:]]
            flags = "execve" if pid in processes else "execve clone"
            processes[pid] = {
                "exec_id": identity,
                "pid": int(pid),
                "uid": 0,
                "binary": program[1],
                "arguments": " ".join(words),
                "flags": flags,
                "start_time": time(seconds),
            }
            if not processes[pid]["arguments"]:
                del processes[pid]["arguments"]
            yield seconds, {"process_exec": {"process": processes[pid]}}
        elif connection:
            process = processes.get(pid, {"pid": int(pid)})
            address = {
                "family": "AF_INET",
                "type": "SOCK_STREAM",
                "protocol": "IPPROTO_TCP",
                "daddr": connection[2],
                "dport": int(connection[1]),
                "state": "TCP_SYN_SENT",
            }
            kprobe = {
                "process": process,
                "function_name": "tcp_connect",
                "args": [{"sock_arg": address}],
                "action": "KPROBE_ACTION_POST",
                "policy_name": "connect",
            }
            yield seconds, {"process_kprobe": kprobe}
        elif ended and pid in processes:
            ending = {"process": processes.pop(pid)}
            if ended[2]:
                ending["signal"] = ended[2]
            elif ended[1] != "0":
                ending["status"] = int(ended[1])
            ending["time"] = time(seconds)
            yield seconds, {"process_exit": ending}


def main(folder, *outs):
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    for node in sorted({node.name for out in outs for node in pathlib.Path(out).glob("node-*")}):
        paths = [path for out in outs for path in sorted(pathlib.Path(out, node).glob("strace.*.txt"))]
        found = [event for path in paths for event in events(node, path)]
        found.sort(key=lambda event: event[0])
        with open(f"{folder}/{node}.jsonl.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, 0) as packed:
            for seconds, event in found:
                line = {**event, "node_name": node, "time": time(seconds)}
                packed.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")


main(*sys.argv[1:])
