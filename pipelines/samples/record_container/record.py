#!/usr/bin/env python3
"""Records the container sample; see README.md beside this file.

    record.py OUT [--seconds 1980] [--scrape 10] [--seed 7] [--only KIND,...]

Each instance runs in a network namespace and in control groups of its own, as a container does, and
its accounting is written under cAdvisor's names to OUT/raw.openmetrics.gz. Needs root, control
groups of version 1 (cpuacct, memory) and the Debian packages that README.md names.
"""

import argparse
import gzip
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import services

GROUPS = [pathlib.Path("/sys/fs/cgroup") / name for name in ("cpuacct", "memory")]
TICKS = os.sysconf("SC_CLK_TCK")
BRIDGE = "lynceus-sample"
MINER = "import hashlib,time\nwhile True:\n t=time.time()+.05\n while time.time()<t: hashlib.sha256(bytes(9000)).digest()\n time.sleep(.15)\n"

TYPES = {
    "container_cpu_usage_seconds": "counter", "container_cpu_user_seconds": "counter",
    "container_cpu_system_seconds": "counter", "container_memory_working_set_bytes": "gauge",
    "container_memory_rss": "gauge", "container_memory_cache": "gauge", "container_memory_mapped_file": "gauge",
    "container_memory_failures": "counter", "container_network_receive_bytes": "counter",
    "container_network_transmit_bytes": "counter", "container_network_receive_packets": "counter",
    "container_network_transmit_packets": "counter", "container_fs_reads_bytes": "counter",
    "container_fs_writes_bytes": "counter", "container_fs_usage_bytes": "gauge", "container_processes": "gauge",
    "container_threads": "gauge", "container_sockets": "gauge", "container_file_descriptors": "gauge",
    "container_start_time_seconds": "gauge",
}


def run(*command):
    subprocess.run(command, check=True)


class Instance:
    def __init__(self, item, folder):
        self.item, self.folder, self.process, self.started = item, folder, None, None
        self.name = item["name"]
        self.space = f"{BRIDGE}-{item['number']}"
        self.groups = [group / BRIDGE / self.name for group in GROUPS]
        # Bytes that processes read and wrote: of those that ended, and of those that run.
        self.ended, self.running = [0, 0], {}

    def prepare(self):
        """Makes its files, as the image of a container holds them before it starts."""
        self.command = services.prepare(self.item, self.folder)

    def start(self):
        number, address = self.item["number"], self.item["address"]
        run("ip", "netns", "add", self.space)
        run("ip", "-n", BRIDGE, "link", "add", f"veth{number}", "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "-n", BRIDGE, "link", "set", f"veth{number}", "master", "bridge", "up")
        run("ip", "-n", self.space, "addr", "add", f"{address}/16", "dev", "eth0")
        for device in ("lo", "eth0"):
            run("ip", "-n", self.space, "link", "set", device, "up")
        for group in self.groups:
            group.mkdir(parents=True)
        self.process = self.spawn(self.command)
        self.started = time.time()

    def spawn(self, command):
        join = " && ".join(f"echo $$ > {group}/cgroup.procs" for group in self.groups)
        log = open(self.folder.parent / f"{self.name}.log", "ab")
        return subprocess.Popen(
            # `ip netns exec` hides /sys/fs/cgroup: the groups are joined before.
            ["sh", "-c", f'{join} && exec ip netns exec {self.space} "$@"', "sh", *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder, start_new_session=True)

    def pids(self):
        return [int(pid) for pid in (self.groups[0] / "cgroup.procs").read_text().split()]

    def stop(self):
        if self.process is None:
            return
        for _ in range(50):
            for pid in self.pids():
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            if not self.pids():
                break
            time.sleep(0.1)
        self.process.wait()
        self.process = None
        for group in self.groups:
            group.rmdir()
        run("ip", "netns", "del", self.space)

    def values(self):
        """Returns (metric, further labels, value) of what the kernel accounts for."""
        cpu, memory = self.groups
        stat = dict(line.split() for line in (cpu / "cpuacct.stat").read_text().splitlines())
        page = {key: int(value) for key, value in (line.split() for line in (memory / "memory.stat").read_text().splitlines())}
        usage = int((memory / "memory.usage_in_bytes").read_text())
        rows = [
            ("container_cpu_usage_seconds_total", {}, int((cpu / "cpuacct.usage").read_text()) / 1e9),
            ("container_cpu_user_seconds_total", {}, int(stat["user"]) / TICKS),
            ("container_cpu_system_seconds_total", {}, int(stat["system"]) / TICKS),
            ("container_memory_working_set_bytes", {}, max(0, usage - page["total_inactive_file"])),
            ("container_memory_rss", {}, page["total_rss"]),
            ("container_memory_cache", {}, page["total_cache"]),
            ("container_memory_mapped_file", {}, page["total_mapped_file"]),
            ("container_memory_failures_total", {"failure_type": "pgfault"}, page["total_pgfault"]),
            ("container_memory_failures_total", {"failure_type": "pgmajfault"}, page["total_pgmajfault"]),
        ]
        used = sum(entry.lstat().st_blocks * 512 for entry in self.folder.rglob("*") if not entry.is_dir())
        rows.append(("container_fs_usage_bytes", {}, used))
        return rows + self.processes() + [("container_start_time_seconds", {}, int(self.started))]

    def processes(self):
        pids, threads, files, sockets, network, running = self.pids(), 0, 0, 0, None, {}
        for pid in pids:
            proc = pathlib.Path(f"/proc/{pid}")
            try:
                threads += len(os.listdir(proc / "task"))
                for entry in os.listdir(proc / "fd"):
                    files += 1
                    try:
                        sockets += os.readlink(proc / "fd" / entry).startswith("socket:")
                    except FileNotFoundError:
                        pass
                network = network or (proc / "net/dev").read_text()
                io = dict(line.split(": ") for line in (proc / "io").read_text().splitlines())
                running[pid] = [int(io["read_bytes"]), int(io["write_bytes"])]
            except (FileNotFoundError, ProcessLookupError):
                pass
        for pid in self.running.keys() - running.keys():
            self.ended = [sum(pair) for pair in zip(self.ended, self.running[pid])]
        self.running = running
        reads, writes = (sum(figures) for figures in zip(self.ended, *running.values()))
        rows = [("container_fs_reads_bytes_total", {}, reads), ("container_fs_writes_bytes_total", {}, writes),
                ("container_processes", {}, len(pids)), ("container_threads", {}, threads),
                ("container_file_descriptors", {}, files), ("container_sockets", {}, sockets)]
        for line in (network or "").splitlines():
            device, _, figures = line.partition(":")
            if device.strip() == "eth0":
                figures = [int(figure) for figure in figures.split()]
                for metric, place in (("receive_bytes", 0), ("receive_packets", 1), ("transmit_bytes", 8), ("transmit_packets", 9)):
                    rows.append((f"container_network_{metric}_total", {"interface": "eth0"}, figures[place]))
        return rows


def record(instances, seconds, scrape, begin):
    """Starts and stops instances on time and returns the samples by metric."""
    samples = {}
    tick = begin
    while tick <= begin + seconds:
        time.sleep(max(0, tick - time.time()))
        for instance in instances:
            item, age = instance.item, time.time() - begin
            if instance.started is None and age >= item["start"]:
                instance.start()
            if instance.process and item["stop"] and age >= item["stop"]:
                instance.stop()
            if instance.process and item.get("miner") and age >= item["miner"]:
                item["miner"] = None
                instance.spawn(["/usr/bin/python3", "-c", MINER])
        for instance in instances:
            if instance.process is None:
                continue
            labels = dict(namespace="shop", pod=instance.name, container=instance.item["kind"], image=instance.item["image"])
            if instance.item["image"] == services.IMAGES["nginx"]:
                labels["container"] = "nginx"
            stamp = time.time()
            for metric, further, value in instance.values():
                key = ",".join(f'{name}="{text}"' for name, text in sorted({**labels, **further}.items()))
                samples.setdefault(metric, {}).setdefault(key, []).append((stamp, value))
        print(f"{tick - begin:.0f} s: {sum(i.process is not None for i in instances)} instances", file=sys.stderr, flush=True)
        tick += scrape
    return samples


def write(samples, path):
    with gzip.open(path, "wt", compresslevel=9) as file:
        for metric in sorted(samples):
            family = metric.removesuffix("_total")
            file.write(f"# TYPE {family} {TYPES[family]}\n")
            for key, points in sorted(samples[metric].items()):
                for stamp, value in points:
                    file.write(f"{metric}{{{key}}} {value:.10g} {stamp:.3f}\n")
        file.write("# EOF\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seconds", type=int, default=1980)
    parser.add_argument("--scrape", type=int, default=10)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", default="")
    flags = parser.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="lynceus-sample-"))
    work.chmod(0o755)
    chosen = [item for item in services.INSTANCES if not flags.only or item["kind"] in flags.only.split(",")]
    instances = []
    for number, item in enumerate(chosen, 2):
        item.update(number=number, address=f"10.77.0.{number}")
        instances.append(Instance(item, work / item["name"]))
    clients = None
    run("ip", "netns", "add", BRIDGE)
    try:
        run("ip", "-n", BRIDGE, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", BRIDGE, "addr", "add", "10.77.0.1/16", "dev", "bridge")
        run("ip", "-n", BRIDGE, "link", "set", "bridge", "up")
        for instance in instances:
            instance.prepare()
        begin = int(time.time() / flags.scrape + 1) * flags.scrape
        plan = work / "plan.json"
        plan.write_text(json.dumps(dict(instances=chosen, begin=begin, seed=flags.seed, seconds=flags.seconds)))
        load = pathlib.Path(__file__).parent / "load.py"
        clients = subprocess.Popen(["ip", "netns", "exec", BRIDGE, "/usr/bin/python3", str(load), str(plan)], start_new_session=True)
        samples = record(instances, flags.seconds, flags.scrape, begin)
        flags.out.mkdir(parents=True, exist_ok=True)
        write(samples, flags.out / "raw.openmetrics.gz")
    finally:
        if clients:
            os.killpg(clients.pid, signal.SIGKILL)
            clients.wait()
        for instance in instances:
            instance.stop()
        for group in GROUPS:
            if (group / BRIDGE).exists():
                (group / BRIDGE).rmdir()
        run("ip", "netns", "del", BRIDGE)
        shutil.rmtree(work)


main()
