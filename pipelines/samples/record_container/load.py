"""Clients of the container sample: open-loop requests in the pattern of each instance."""

import asyncio
import json
import math
import random
import sys
import time

from services import BURSTS, IDLE, PORTS, WAVES


def rate(pattern, usual, seconds, phase):
    """Returns the requests per second that a pattern asks for at a time."""
    if pattern == WAVES:
        return usual * (1 + 0.8 * math.sin(2 * math.pi * (seconds / 420 + phase)))
    if pattern == BURSTS:
        return usual * 2.2 if (seconds / 150 + phase) % 1 < 0.3 else usual * 0.15
    if pattern == IDLE:
        return 1.0 if (seconds / 60 + phase) % 1 < 0.1 else 0.05
    return usual


class Socket:
    """A connection that a request and its reply go over."""

    def __init__(self, address, port, encode, complete):
        self.place, self.encode, self.complete = (address, port), encode, complete
        self.reader = None

    async def request(self, write, size):
        if self.reader is None:
            self.reader, self.writer = await asyncio.open_connection(*self.place)
        self.writer.write(self.encode(write, size))
        await self.complete(self.reader)
        if random.random() < 0.02:
            await self.close()

    async def close(self):
        if self.reader:
            self.writer.close()
            self.reader = None


class Lines:
    """A client program that reads a statement a line and is kept open."""

    def __init__(self, command, encode):
        self.command, self.encode, self.process = command, encode, None

    async def request(self, write, size):
        if self.process is None or self.process.returncode is not None:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL)
        self.process.stdin.write(self.encode(write, size))
        await self.process.stdin.drain()

    async def close(self):
        if self.process:
            self.process.kill()
            await self.process.wait()
            self.process = None


async def http_reply(reader):
    length = 0
    while (line := await reader.readline()).strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    await reader.readexactly(length)


async def redis_reply(reader):
    line = await reader.readline()
    if line.startswith(b"$") and int(line[1:]) >= 0:
        await reader.readexactly(int(line[1:]) + 2)


async def memcached_reply(reader):
    line = await reader.readline()
    if line.startswith(b"VALUE"):
        await reader.readexactly(int(line.split()[3]) + 2)
        await reader.readline()


def static_page(host):
    return lambda write, size: f"GET /{random.randrange(20)}.html HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def application(host):
    return lambda write, size: (
        f"GET /{'write' if write else 'read'}/{random.randint(size // 2, size)} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())


def redis(write, size):
    key = f"key:{random.randrange(3000)}"
    words = ["SET", key, "v" * random.randint(size // 2, size)] if write else ["GET", key]
    return (f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)).encode()


def memcached(write, size):
    key, size = f"key:{random.randrange(3000)}", random.randint(size // 2, size)
    return f"set {key} 0 600 {size}\r\n{'v' * size}\r\n".encode() if write else f"get {key}\r\n".encode()


def sql(write, size):
    row = random.randrange(5000)
    if write:
        return f"insert into item (k, v) values ({row}, '{'v' * random.randint(size // 2, size)}');\n".encode()
    if random.random() < 0.1:
        return f"select k, count(*), max(length(v)) from item where k < {row} group by k order by 2 desc limit 20;\n".encode()
    return f"select v from item where id = {row};\n".encode()


def message(write, size):
    return ("m" * random.randint(size // 2, size) + "\n").encode()


def client(item):
    kind, address = item["kind"], item["address"]
    port = PORTS[kind]
    if kind == "mysql":
        return Lines(["mariadb", "--no-defaults", "-h", address, "-u", "root", "--force", "-n", "shop"], sql)
    if kind == "postgresql":
        return Lines(["psql", "-q", "-h", address, "-U", "postgres", "postgres"], sql)
    if kind == "mosquitto":
        return Lines(["mosquitto_pub", "-h", address, "-t", f"readings/{random.randrange(9)}", "-q", "1", "-l"], message)
    if kind == "redis":
        return Socket(address, port, redis, redis_reply)
    if kind == "memcached":
        return Socket(address, port, memcached, memcached_reply)
    encode = static_page(address) if kind in ("nginx", "apache") else application(address)
    return Socket(address, port, encode, http_reply)


TABLE = "create table item (id {serial} primary key, k int, v text); create index item_k on item (k);"


async def fill(item):
    """Makes the table of a database, and the readers of a broker's messages."""
    kind, address = item["kind"], item["address"]
    if kind == "mysql":
        command = ["mariadb", "--no-defaults", "-h", address, "-u", "root", "-e",
                   "create database shop; use shop; " + TABLE.format(serial="int auto_increment")]
    elif kind == "postgresql":
        command = ["psql", "-q", "-h", address, "-U", "postgres", "-c", TABLE.format(serial="serial"), "postgres"]
    elif kind == "mosquitto":
        for _ in range(item["load"][4]):
            await asyncio.create_subprocess_exec("mosquitto_sub", "-h", address, "-t", "#",
                                                 stdout=asyncio.subprocess.DEVNULL)
        return
    else:
        return
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    await process.wait()


async def connection(item, begin, phase):
    pattern, usual, writes, size, count = item["load"]
    link = client(item)
    while item["stop"] is None or time.time() - begin < item["stop"]:
        pause = random.expovariate(max(rate(pattern, usual, time.time() - begin, phase), 0.02) / count)
        await asyncio.sleep(min(pause, 30))
        try:
            await asyncio.wait_for(link.request(random.random() < writes, size), 20)
        except (OSError, EOFError, ValueError, asyncio.TimeoutError):
            await link.close()
            await asyncio.sleep(2)
    await link.close()


async def drive(item, begin):
    await asyncio.sleep(max(0, begin + item["start"] - time.time()))
    while True:
        try:
            (await asyncio.open_connection(item["address"], PORTS[item["kind"]]))[1].close()
            break
        except OSError:
            await asyncio.sleep(1)
    await asyncio.sleep(1)
    await fill(item)
    phase = random.random()
    await asyncio.gather(*(connection(item, begin, phase) for _ in range(item["load"][4])))


async def main():
    plan = json.load(open(sys.argv[1]))
    random.seed(plan["seed"])
    await asyncio.wait_for(asyncio.gather(*(drive(item, plan["begin"]) for item in plan["instances"])), plan["seconds"] + 60)


asyncio.run(main())
