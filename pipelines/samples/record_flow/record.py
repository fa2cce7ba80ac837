#!/usr/bin/env python3
"""Records the flow sample; see README.md beside this file.

    record.py OUT [--seconds 1080] [--seed 7]

A small cluster of addresses talks over the loopback device of a network namespace of its own: pods
ask servers, and from time to time one of them scans ports, guesses passwords, sends data out or
mines. tcpdump captures the packets, nfpcapd and nfdump make flows of them: OUT/flow.csv.gz, and
OUT/scenarios.csv says which address did what, when. Needs root and the Debian packages that
README.md names.
"""

import argparse
import asyncio
import csv
import datetime
import gzip
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

PODS = [f"10.20.0.{number}" for number in range(11, 21)]
MONITOR, BACKUP = "10.20.0.31", "10.20.0.32"
WEB, SHOP, DATABASE, CACHE, DNS, SHELL = (f"10.20.1.{number}" for number in range(1, 7))
UPDATES, SINK, POOL = "198.51.100.20", "203.0.113.5", "203.0.113.77"
ADDRESSES = [*PODS, MONITOR, BACKUP, WEB, SHOP, DATABASE, CACHE, DNS, SHELL, UPDATES, SINK, POOL]
# Address, port, and how many bytes an answer has.
SERVICES = {
    (WEB, 80): (500, 20_000), (SHOP, 8080): (200, 4_000), (DATABASE, 5432): (100, 30_000),
    (CACHE, 6379): (20, 2_000), (SHELL, 22): (400, 900), (UPDATES, 443): (2_000, 200_000),
    (SINK, 443): (50, 100), (POOL, 3333): (150, 300), (BACKUP, 873): (20, 40),
    **{(pod, 9100): (3_000, 9_000) for pod in PODS},
}
KINDS = ["port_scan", "brute_force", "exfiltration", "mining"]


async def answer(sizes, reader, writer):
    try:
        while await reader.read(65_536):
            writer.write(bytes(random.randint(*sizes)))
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


class Names(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        self.transport.sendto(data + bytes(random.randint(16, 200)), address)


async def talk(source, target, sent, rounds=1, pause=0.0):
    """Opens a connection, asks so often, closes it."""
    try:
        reader, writer = await asyncio.open_connection(*target, local_addr=(source, 0))
    except OSError:
        return
    try:
        for _ in range(rounds):
            writer.write(bytes(sent))
            await writer.drain()
            await asyncio.wait_for(reader.read(65_536), 5)
            if pause:
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
    except (OSError, asyncio.TimeoutError):
        pass
    finally:
        writer.close()


async def resolve(source):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=(source, 0), remote_addr=(DNS, 53))
    transport.sendto(bytes(random.randint(30, 60)))
    await asyncio.sleep(0.2)
    transport.close()


async def pod(source):
    """Works as pods do: mostly the same few servers, now and then something else."""
    busy = random.uniform(0.5, 1.5)
    while True:
        await asyncio.sleep(random.expovariate(0.45 * busy))
        kind = random.random()
        if kind < 0.25:
            await resolve(source)
        elif kind < 0.5:
            await talk(source, (SHOP, 8080), random.randint(100, 1_500), random.randint(1, 4), 0.1)
        elif kind < 0.7:
            await talk(source, (DATABASE, 5432), random.randint(60, 900), random.randint(1, 12), 0.05)
        elif kind < 0.85:
            await talk(source, (CACHE, 6379), random.randint(30, 300), random.randint(1, 6))
        elif kind < 0.95:
            await talk(source, (WEB, 80), random.randint(200, 900))
        elif kind < 0.97:
            await talk(source, (UPDATES, 443), random.randint(300, 3_000), 3)
        elif kind < 0.98:
            # Somebody deploys by hand, and mistypes the port.
            await talk(source, (SHELL, 2222), 100)
            await talk(source, (SHELL, 22), random.randint(200, 2_000), 5, 0.3)
        else:
            await talk(source, (DATABASE, 5432), random.randint(20_000, 300_000), 2)


async def monitor():
    while True:
        await asyncio.gather(*(talk(MONITOR, (address, 9100), 200) for address in PODS))
        await asyncio.sleep(10)


async def backup():
    while True:
        await asyncio.sleep(random.uniform(40, 80))
        source = random.choice(PODS)
        for _ in range(random.randint(3, 8)):
            await talk(source, (BACKUP, 873), random.randint(100_000, 900_000))


async def attack(kind, source, until):
    if kind == "port_scan":
        target = random.choice([WEB, SHOP, DATABASE, SHELL, random.choice(PODS)])
        ports = random.sample(range(1, 10_000), 400)
        pause = random.choice([0.08, 0.15, 0.4])
        for port in ports:
            if time.time() > until:
                break
            await talk(source, (target, port), 1)
            await asyncio.sleep(pause)
    elif kind == "brute_force":
        target = random.choice([(SHELL, 22), (SHELL, 22), (DATABASE, 5432)])
        pause = random.choice([0.15, 0.4, 0.8])
        while time.time() < until:
            await talk(source, target, random.randint(60, 120), 3)
            await asyncio.sleep(pause)
    elif kind == "exfiltration":
        while time.time() < until:
            await talk(source, (SINK, 443), random.randint(50_000, 700_000), random.randint(1, 4))
            await asyncio.sleep(random.uniform(0.5, 3))
    else:
        while time.time() < until:
            await talk(source, (POOL, 3333), random.randint(120, 300), max(1, int(until - time.time())), 0.9)
            await asyncio.sleep(1)


async def run(seconds, scenarios):
    for (address, port), sizes in SERVICES.items():
        await asyncio.start_server(lambda r, w, sizes=sizes: answer(sizes, r, w), address, port)
    await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=(DNS, 53))
    end = time.time() + seconds
    tasks = [asyncio.create_task(task) for task in [*map(pod, PODS), monitor(), backup()]]
    order = []
    await asyncio.sleep(25)
    while time.time() + 40 < end:
        order = order or random.sample(KINDS, len(KINDS))
        kind, source = order.pop(), random.choice(PODS)
        begin = time.time()
        await attack(kind, source, begin + random.uniform(18, 28))
        scenarios.append((begin, time.time(), kind, source))
        await asyncio.sleep(random.uniform(4, 14))
    await asyncio.sleep(max(0, end - time.time()))
    for task in tasks:
        task.cancel()


def stamp(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def record(out, seconds):
    for address in ADDRESSES:
        subprocess.run(["ip", "addr", "add", f"{address}/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    capture = out / "capture.pcap"
    tcpdump = subprocess.Popen(["tcpdump", "-i", "lo", "-s", "96", "-Z", "root", "-w", str(capture)])
    time.sleep(2)
    scenarios = []
    try:
        asyncio.run(run(seconds, scenarios))
    finally:
        tcpdump.send_signal(signal.SIGINT)
        tcpdump.wait()
    flows = out / "nfdump"
    flows.mkdir()
    # A connection longer than 10 s is reported every 10 s, as Packetbeat does.
    subprocess.run(["nfpcapd", "-r", str(capture), "-w", str(flows), "-e", "10,5"], check=True)
    table = subprocess.run(
        ["nfdump", "-R", str(flows), "-B", "-q", "-O", "tstart", "-o", "csv"],
        check=True, capture_output=True, text=True, env={**os.environ, "TZ": "UTC"}).stdout
    header = ("ts,te,td,sa,da,sp,dp,pr,flg,fwd,stos,ipkt,ibyt,opkt,obyt,in,out,sas,das,smk,dmk,dtos,dir,nh,nhb,svln,dvln,"
              "ismc,odmc,idmc,osmc,mpls1,mpls2,mpls3,mpls4,mpls5,mpls6,mpls7,mpls8,mpls9,mpls10,cl,sl,al,ra,eng,exid,tr")
    # Of nfdump's 48 columns the first 15 say something of such flows.
    lines = [line.split(",")[:15] for line in [header, *table.splitlines()] if line]
    with gzip.GzipFile(out / "flow.csv.gz", "wb", compresslevel=9, mtime=0) as file:
        file.write("".join(",".join(line) + "\n" for line in lines).encode())
    with open(out / "scenarios.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["start", "end", "label", "target"])
        writer.writerows((stamp(begin), stamp(end), kind, source) for begin, end, kind, source in scenarios)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("out", type=pathlib.Path)
    arguments.add_argument("--seconds", type=float, default=1080)
    arguments.add_argument("--seed", type=int, default=7)
    arguments.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    arguments = arguments.parse_args()
    if not arguments.inside:
        arguments.out.mkdir(parents=True)
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv, "--inside"])
    random.seed(arguments.seed)
    record(arguments.out, arguments.seconds)


main()
