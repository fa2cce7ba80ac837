"""The Python service of the container sample: scores items for a user and answers in JSON."""

import asyncio
import http.server
import json
import random
import sys

STYLE, ADDRESS, FOLDER = sys.argv[1:4]
ITEMS = [{"id": number, "name": f"item {number}", "tags": random.sample(range(200), 8)} for number in range(4_000)]


def answer(size):
    """Ranks some items against a random profile, as a small recommender does."""
    profile = set(random.sample(range(200), 30))
    chosen = random.sample(ITEMS, 300)
    ranked = sorted(chosen, key=lambda item: len(profile.intersection(item["tags"])), reverse=True)
    return json.dumps({"items": ranked[: max(1, size // 60)]}).encode()


def keep(size):
    with open(f"{FOLDER}/orders.log", "a") as file:
        file.write("x" * size + "\n")


def handle(path):
    size = int(path.rpartition("/")[2] or 500)
    if "write" in path:
        keep(size)
    return answer(size)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = handle(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


async def serve(reader, writer):
    try:
        while line := await reader.readline():
            while (await reader.readline()).strip():
                pass
            body = handle(line.split()[1].decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, ADDRESS, 8080)
    await server.serve_forever()


if STYLE == "asyncio":
    asyncio.run(main())
else:
    http.server.ThreadingHTTPServer((ADDRESS, 8080), Handler).serve_forever()
