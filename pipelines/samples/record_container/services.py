"""The services of the container sample: which instances run, how each is started, and how it is used."""

import os
import pathlib
import shutil
import subprocess

POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")

# kind, image, settings and load of each instance. `start` is in seconds after the recording began;
# `stop` ends an instance before the recording does. A load is (pattern, requests per second, share
# of writes, bytes of a value, connections).
STEADY, WAVES, BURSTS, IDLE = "steady", "waves", "bursts", "idle"
LATE = 1230


def instance(kind, name, load, start=0, stop=None, image=None, **settings):
    return dict(kind=kind, name=name, load=load, start=start, stop=stop, image=image or IMAGES[kind], **settings)


IMAGES = {
    "mysql": "docker.io/library/mariadb:10.11",
    "postgresql": "docker.io/library/postgres:15",
    "nginx": "docker.io/library/nginx:1.22",
    "apache": "docker.io/library/httpd:2.4",
    "redis": "docker.io/library/redis:7.0",
    "memcached": "docker.io/library/memcached:1.6",
    "mosquitto": "docker.io/library/eclipse-mosquitto:2.0",
    "python": "registry.example/shop/recommend-python:3.11",
    "node": "registry.example/shop/basket-node:20",
}

INSTANCES = [
    instance("mysql", "orders-db-0", (STEADY, 6, 0.2, 200, 3), buffer="128M"),
    instance("mysql", "users-db-0", (WAVES, 9, 0.5, 400, 2), buffer="64M"),
    instance("mysql", "reports-db-0", (BURSTS, 12, 0.05, 900, 4), buffer="256M"),
    instance("mysql", "wiki-db-0", (IDLE, 1, 0.3, 300, 1), start=60, buffer="32M"),
    instance("mysql", "stock-db-0", (STEADY, 3, 0.6, 150, 2), start=20, buffer="48M"),
    instance("mysql", "audit-db-0", (BURSTS, 6, 0.8, 500, 2), start=40, buffer="96M"),
    instance("mysql", "staging-db-0", (IDLE, 1, 0.5, 200, 2), start=130, buffer="192M"),
    instance("postgresql", "catalog-pg-0", (STEADY, 6, 0.2, 200, 3), buffer="128MB"),
    instance("postgresql", "ledger-pg-0", (WAVES, 8, 0.7, 300, 2), buffer="64MB"),
    instance("postgresql", "search-pg-0", (BURSTS, 12, 0.05, 900, 5), buffer="256MB"),
    instance("postgresql", "grafana-pg-0", (IDLE, 1, 0.3, 200, 1), start=90, buffer="32MB"),
    instance("postgresql", "prices-pg-0", (STEADY, 3, 0.5, 150, 2), start=30, buffer="48MB"),
    instance("postgresql", "jobs-pg-0", (BURSTS, 6, 0.7, 500, 2), start=50, buffer="96MB"),
    instance("postgresql", "keycloak-pg-0", (IDLE, 1, 0.5, 150, 2), start=140, buffer="192MB"),
    instance("nginx", "web-7c9d8f6b5d-kx2vp", (STEADY, 15, 0.0, 2_000, 4), workers=2),
    instance("nginx", "web-7c9d8f6b5d-q8zrt", (WAVES, 20, 0.0, 2_000, 4), workers=2),
    instance("nginx", "static-5f4c9b7d8c-l2m4n", (BURSTS, 10, 0.0, 60_000, 2), workers=1),
    instance("nginx", "docs-6d8f7c5b9-w7h2j", (IDLE, 1, 0.0, 12_000, 1), start=120, workers=1),
    instance("nginx", "assets-68d7f9c5b4-t4n7q", (BURSTS, 14, 0.0, 6_000, 3), start=25, workers=2),
    instance("nginx", "fonts-7f9b6c8d5-m2x9k", (STEADY, 5, 0.0, 30_000, 2), start=45, workers=1),
    instance("nginx", "status-5d6c9f8b7-z6r3w", (IDLE, 1, 0.0, 1_500, 2), start=135, workers=2),
    instance("apache", "legacy-0", (STEADY, 12, 0.0, 3_000, 3), mpm="event"),
    instance("apache", "intranet-84c7d5f9b-b6x9s", (WAVES, 15, 0.0, 9_000, 3), mpm="prefork"),
    instance("apache", "mirror-0", (BURSTS, 8, 0.0, 70_000, 2), mpm="event"),
    instance("apache", "forms-5b7f9d6c8-zt4qk", (IDLE, 1, 0.0, 4_000, 1), start=150, mpm="prefork"),
    instance("apache", "wiki-0", (STEADY, 7, 0.0, 20_000, 2), start=35, mpm="prefork"),
    instance("apache", "downloads-0", (BURSTS, 10, 0.0, 12_000, 3), start=55, mpm="prefork"),
    instance("apache", "handbook-0", (IDLE, 1, 0.0, 8_000, 2), start=125, mpm="event"),
    instance("redis", "session-redis-0", (STEADY, 25, 0.3, 200, 3), append="no"),
    instance("redis", "queue-redis-0", (WAVES, 20, 0.8, 900, 2), append="yes"),
    instance("redis", "cache-redis-0", (BURSTS, 30, 0.1, 4_000, 3), append="no"),
    instance("redis", "flags-redis-0", (IDLE, 1, 0.1, 60, 1), start=100, append="yes"),
    instance("redis", "carts-redis-0", (STEADY, 12, 0.5, 1_500, 2), start=20, append="yes"),
    instance("redis", "limits-redis-0", (BURSTS, 18, 0.6, 80, 2), start=60, append="yes"),
    instance("redis", "leases-redis-0", (IDLE, 1, 0.4, 400, 2), start=145, append="no"),
    instance("memcached", "pages-memcached-0", (STEADY, 25, 0.2, 1_000, 3), threads=4),
    instance("memcached", "query-memcached-0", (WAVES, 20, 0.4, 300, 2), threads=4),
    instance("memcached", "thumbs-memcached-0", (BURSTS, 15, 0.1, 8_000, 2), threads=2),
    instance("memcached", "tokens-memcached-0", (IDLE, 1, 0.3, 100, 1), start=85, threads=4),
    instance("memcached", "routes-memcached-0", (STEADY, 10, 0.1, 3_000, 2), start=40, threads=2),
    instance("memcached", "feeds-memcached-0", (BURSTS, 20, 0.3, 900, 3), start=65, threads=4),
    instance("memcached", "spare-memcached-0", (IDLE, 1, 0.2, 2_000, 2), start=115, threads=2),
    instance("mosquitto", "sensors-mqtt-0", (STEADY, 15, 1.0, 100, 2), keep="false"),
    instance("mosquitto", "fleet-mqtt-0", (WAVES, 20, 1.0, 300, 4), keep="true"),
    instance("mosquitto", "doors-mqtt-0", (IDLE, 1, 1.0, 40, 1), start=70, keep="true"),
    instance("mosquitto", "lights-mqtt-0", (BURSTS, 15, 1.0, 60, 3), start=30, keep="false"),
    instance("mosquitto", "trucks-mqtt-0", (STEADY, 10, 1.0, 800, 2), start=50, keep="true"),
    instance("mosquitto", "alarms-mqtt-0", (BURSTS, 8, 1.0, 150, 2), start=75, keep="true"),
    instance("mosquitto", "spare-mqtt-0", (IDLE, 1, 1.0, 90, 2), start=105, keep="false"),
    instance("python", "recommend-6b8c9d7f5-n4v8c", (STEADY, 6, 0.2, 2_000, 2), style="threads"),
    instance("python", "pricing-7f6d5c8b9-h3t6w", (WAVES, 8, 0.1, 500, 2), style="asyncio"),
    instance("python", "invoices-5c9b8d7f6-r2k7m", (BURSTS, 5, 0.5, 9_000, 2), style="threads"),
    instance("python", "mailer-84f7c6d5b-j9p3x", (IDLE, 1, 0.0, 300, 1), start=110, style="asyncio"),
    instance("python", "ranking-66d9c8b7f-k5w2n", (STEADY, 9, 0.3, 800, 3), start=25, style="asyncio"),
    instance("python", "exports-7c8b6f9d5-v9t4m", (BURSTS, 8, 0.2, 3_000, 2), start=60, style="asyncio"),
    instance("python", "reports-58b7d6c9f-q3z8h", (IDLE, 1, 0.1, 600, 2), start=95, style="threads"),
    instance("node", "basket-6d7f8c9b5-v5n2q", (STEADY, 10, 0.2, 2_000, 3), memory="keep"),
    instance("node", "checkout-7b9c8d6f5-x8w4z", (WAVES, 12, 0.3, 700, 2), memory="keep"),
    instance("node", "events-5d8f7b6c9-m6h3k", (BURSTS, 10, 0.6, 6_000, 2), memory="drop"),
    instance("node", "admin-9c8b7d6f5-t2q5r", (IDLE, 1, 0.0, 300, 1), start=80, memory="drop"),
    instance("node", "profile-7d9f6b8c5-f7k2z", (STEADY, 6, 0.4, 900, 2), start=35, memory="drop"),
    instance("node", "search-ui-6c8d7b9f5-p4v6x", (BURSTS, 14, 0.1, 2_500, 3), start=70, memory="keep"),
    instance("node", "preview-5f9d8c7b6-w2m5t", (IDLE, 1, 0.2, 1_200, 2), start=120, memory="keep"),
    # After the training: one new instance of each kind, with yet another load.
    instance("mysql", "blog-db-0", (WAVES, 5, 0.3, 600, 2), LATE, buffer="96M"),
    instance("postgresql", "tracker-pg-0", (STEADY, 4, 0.4, 400, 2), LATE + 20, buffer="96MB"),
    instance("nginx", "shop-6f5d4c8b7-c8r5t", (STEADY, 8, 0.0, 7_000, 2), LATE + 40, workers=2),
    instance("apache", "archive-0", (STEADY, 6, 0.0, 15_000, 2), LATE + 60, mpm="event"),
    instance("redis", "locks-redis-0", (WAVES, 15, 0.5, 100, 2), LATE + 80, append="no"),
    instance("memcached", "users-memcached-0", (STEADY, 12, 0.3, 600, 2), LATE + 100, threads=4),
    instance("mosquitto", "meters-mqtt-0", (STEADY, 8, 1.0, 200, 2), LATE + 120, keep="false"),
    instance("python", "tagger-7d6c5b9f8-g4z7n", (STEADY, 4, 0.1, 1_000, 2), LATE + 140, style="threads"),
    instance("node", "gateway-8f7d6c5b9-d3m9v", (STEADY, 7, 0.1, 1_500, 2), LATE + 160, memory="keep"),
    # A pod that lives four minutes, as those of a batch job do.
    instance("redis", "batch-redis-29384-f6k2w", (STEADY, 20, 0.6, 500, 2), LATE + 90, LATE + 330, append="no"),
    # Two pods whose image does not say what they are: a redis under the name of nginx, and an
    # nginx in which somebody starts to compute hashes five minutes after its start.
    instance("redis", "assets-5c7d9f8b6-p9s4l", (STEADY, 10, 0.4, 300, 2), LATE + 30,
             image=IMAGES["nginx"], append="no"),
    instance("nginx", "landing-7b6f5d9c8-y7c3h", (STEADY, 6, 0.0, 3_000, 2), LATE - 200, workers=1, miner=LATE + 120),
]

PORTS = dict(mysql=3306, postgresql=5432, nginx=80, apache=80, redis=6379, memcached=11211, mosquitto=1883,
             python=8080, node=3000)
USERS = dict(mysql="mysql", postgresql="postgres", redis="redis", memcached="memcache", mosquitto="mosquitto")


def prepare(item, folder):
    """Makes the files of an instance and returns its command."""
    kind, address = item["kind"], item["address"]
    folder.mkdir(parents=True)
    command = globals()[f"_{kind}"](item, folder, address)
    if user := USERS.get(kind):
        subprocess.run(["chown", "-R", f"{user}:", str(folder)], check=True)
        command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command]
    return command


def _mysql(item, folder, address):
    subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={folder}", "--auth-root-authentication-method=normal",
                    "--skip-test-db"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return ["mariadbd", "--no-defaults", f"--datadir={folder}", f"--socket={folder}/s", f"--pid-file={folder}/pid",
            f"--bind-address={address}", "--skip-grant-tables", f"--innodb-buffer-pool-size={item['buffer']}",
            f"--tmpdir={folder}", "--innodb-log-file-size=16M"]


def _postgresql(item, folder, address):
    subprocess.run(["chown", "postgres:", str(folder)], check=True)
    subprocess.run(["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", str(POSTGRES / "initdb"), "-D",
                    str(folder / "data"), "-A", "trust", "--no-sync"], check=True, stdout=subprocess.DEVNULL,
                   cwd=folder)
    with open(folder / "data/pg_hba.conf", "a") as file:
        file.write("host all all 10.77.0.0/16 trust\n")
    return [str(POSTGRES / "postgres"), "-D", str(folder / "data"), "-h", address, "-k", str(folder),
            "-c", f"shared_buffers={item['buffer']}"]


def _nginx(item, folder, address):
    _pages(folder / "www", item["load"][3])
    (folder / "nginx.conf").write_text(
        f"worker_processes {item['workers']}; daemon off; pid {folder}/pid; error_log {folder}/error.log;\n"
        f"events {{ worker_connections 512; }}\nhttp {{ include /etc/nginx/mime.types; access_log {folder}/access.log;\n"
        f"sendfile on; gzip on; server {{ listen {address}:80; root {folder}/www; }} }}\n")
    (folder / "www").chmod(0o755)
    return ["nginx", "-c", str(folder / "nginx.conf")]


def _apache(item, folder, address):
    _pages(folder / "www", item["load"][3])
    modules = "/usr/lib/apache2/modules"
    (folder / "httpd.conf").write_text(
        f"LoadModule mpm_{item['mpm']}_module {modules}/mod_mpm_{item['mpm']}.so\n"
        f"LoadModule authz_core_module {modules}/mod_authz_core.so\nLoadModule dir_module {modules}/mod_dir.so\n"
        f"LoadModule mime_module {modules}/mod_mime.so\nTypesConfig /etc/mime.types\nServerName localhost\n"
        f"LoadModule deflate_module {modules}/mod_deflate.so\nUser www-data\nGroup www-data\n"
        f"ServerRoot {folder}\nListen {address}:80\nPidFile {folder}/pid\nErrorLog {folder}/error.log\n"
        f"DefaultRuntimeDir {folder}\nDocumentRoot {folder}/www\nLogFormat \"%h %t %r %>s %b\" common\n"
        f"CustomLog {folder}/access.log common\n<Directory {folder}/www>\nRequire all granted\n</Directory>\n")
    return ["apache2", "-f", str(folder / "httpd.conf"), "-DFOREGROUND"]


def _pages(folder, size):
    folder.mkdir()
    for number in range(20):
        (folder / f"{number}.html").write_bytes(os.urandom(size * (1 + number % 5) // 6).hex().encode())


def _redis(item, folder, address):
    return ["redis-server", "--bind", address, "--protected-mode", "no", "--dir", str(folder), "--appendonly",
            item["append"], "--save", "60 100"]


def _memcached(item, folder, address):
    return ["memcached", "-l", address, "-m", "64", "-t", str(item["threads"])]


def _mosquitto(item, folder, address):
    (folder / "mosquitto.conf").write_text(
        f"listener 1883 {address}\nallow_anonymous true\npersistence {item['keep']}\n"
        f"persistence_location {folder}/\nautosave_interval 60\nlog_dest stderr\n")
    return ["mosquitto", "-c", str(folder / "mosquitto.conf")]


def _python(item, folder, address):
    shutil.copy(pathlib.Path(__file__).parent / "app.py", folder)
    return ["/usr/bin/python3", str(folder / "app.py"), item["style"], address, str(folder)]


def _node(item, folder, address):
    shutil.copy(pathlib.Path(__file__).parent / "app.js", folder)
    return ["node", str(folder / "app.js"), item["memory"], address, str(folder)]
