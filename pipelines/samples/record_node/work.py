#!/usr/bin/env python3
"""The usual work of a node: a small web service, clients of the other nodes, jobs that start programs."""

import http.client
import http.server
import math
import os
import random
import subprocess
import sys
import threading
import time

NUMBER = int(sys.argv[1])
OTHERS = [number for number in (1, 2, 3) if number != NUMBER]
RANDOM = random.Random(1000 + NUMBER)
FOLDER = "/srv/work"
STARTED = time.time()


class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        size = 400 if self.path == "/health" else 2000 + 18000 * (hash(self.path) % 7) // 7
        body = b"x" * size
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        with open(f"{FOLDER}/access.log", "a") as log:
            log.write(f"{time.time():.3f} {self.client_address[0]} {self.path}\n")


def pause(mean):
    time.sleep(min(4 * mean, RANDOM.expovariate(1 / mean)))


def clients():
    """Asks the other nodes over kept connections, in waves of seven minutes."""
    kept = {}
    while True:
        wave = 1 + 0.5 * math.sin(2 * math.pi * (time.time() - STARTED) / 420 + 0.4 * NUMBER)
        pause(0.5 / wave)
        other = RANDOM.choice(OTHERS)
        try:
            if other not in kept or RANDOM.random() < 0.05:
                kept[other] = http.client.HTTPConnection(f"10.77.0.{other}", 8080, timeout=5)
            kept[other].request("GET", f"/item/{RANDOM.randrange(40)}")
            kept[other].getresponse().read()
        except (OSError, http.client.HTTPException):
            kept.pop(other, None)


def writer():
    """Writes records durably, and begins again when there are many."""
    count = 0
    while True:
        pause(2.0)
        count += 1
        mode = "wb" if count % 300 == 0 else "ab"
        with open(f"{FOLDER}/records.bin", mode) as file:
            file.write(os.urandom(RANDOM.randrange(2000, 30000)))
            file.flush()
            os.fsync(file.fileno())


def run(command):
    subprocess.run(command, shell=True, cwd=FOLDER, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def probes():
    while True:
        pause(6.0)
        run(f"test -r access.log && curl -s --max-time 3 http://10.77.0.{RANDOM.choice(OTHERS)}:8080/health")


def jobs():
    all_jobs = [
        "tail -n 200 access.log | cut -d' ' -f2 | sort | uniq -c > clients.txt",
        "gzip -c access.log > access.log.gz; tail -n 500 access.log > kept; mv kept access.log",
        "ls -l | wc -l; df . > space.txt; date >> space.txt",
        "find . -name '*.partial' -mmin +5; head -c 4000 records.bin | sha256sum > sum.txt",
    ]
    while True:
        pause(22.0)
        run(RANDOM.choice(all_jobs))


server = http.server.ThreadingHTTPServer(("0.0.0.0", 8080), Shop)
for work in (clients, writer, probes, jobs):
    threading.Thread(target=work, daemon=True).start()
server.serve_forever()
