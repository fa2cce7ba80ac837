"""Times a training and a tick of `task: classify` on made-up tables; see ../containers.sh."""

import datetime
import json
import os
import pathlib
import random
import subprocess
import tempfile

LYNCEUS = os.environ["LYNCEUS"]
KINDS = ("nginx", "mysql", "redis", "node", "postgresql", "python", "mongodb", "apache")
COLUMNS = 20
START = datetime.datetime(2026, 11, 21, 8, 0, tzinfo=datetime.timezone.utc)
DOCUMENT = """
format: 1
name: kinds
task: classify
step: 10s
range: 10m
sources:
  rows:
    table: {{path: rows.csv, time: time, entity: pod, label: image}}
features:
  - raw: {{columns: ['*']}}
expectations:
  - row_count: {{min: 100}}
seed: 7
classify:
  classes: {{{classes}}}
  models: {{{models}}}
  gate: {{min_balanced_accuracy: 0.5}}
deployment: {{alias: live}}
scoring: {{every: 10s, delay: 0s, catch_up: 1h}}
alerts: {{channels: [stdout]}}
"""


def stamp(seconds):
    return (START + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def rows(file, pods, times, seed):
    """Writes rows of pods whose columns depend on their kind, with noise of the pod and of the row."""
    chance = random.Random(seed)
    centres = {kind: [random.Random(f"{kind}{c}").uniform(1, 10) for c in range(COLUMNS)] for kind in KINDS}
    own = [[chance.gauss(1, 0.1) for _ in range(COLUMNS)] for _ in range(pods)]
    for time in times:
        for pod in range(pods):
            kind = KINDS[pod % len(KINDS)]
            values = (c * o * chance.gauss(1, 0.1) for c, o in zip(centres[kind], own[pod]))
            file.write(f"{stamp(time)},pod-{pod:05d},{kind}:1," + ",".join(f"{v:.4f}" for v in values) + "\n")


def table(path, pods, times, seed):
    with open(path, "w") as file:
        file.write("time,pod,image," + ",".join(f"value_{c}" for c in range(COLUMNS)) + "\n")
        rows(file, pods, times, seed)


def step(folder, stage, *flags):
    outcome = folder / f"{stage}.json"
    command = [LYNCEUS, "step", stage, "--document", str(folder / "kinds.yaml"), "--threads", "2"]
    done = subprocess.run([*command, *flags, "--outcome", str(outcome)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{stage}: {done.stderr}")
    found = json.loads(outcome.read_text())
    return f"{found['seconds']:7.3f} s  {found['peak_memory_bytes'] / 2**20:6.0f} MiB"


def document(folder, models):
    classes = ", ".join(f"{kind}: []" for kind in KINDS)
    (folder / "kinds.yaml").write_text(DOCUMENT.format(classes=classes, models=models))


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = lambda file: str(folder / file)
        models = ("decision_tree", "random_forest", "gradient_boosting")
        document(folder, ", ".join(f"{kind}: {{}}" for kind in models))
        table(folder / "rows.csv", 1000, range(10, 610, 10), 1)
        now = stamp(600)
        step(folder, "collect", "--samples", path("samples.parquet"), "--now", now)
        step(folder, "feature", "--samples", path("samples.parquet"), "--features", path("features.parquet"))
        step(
            folder, "validate", "--features", path("features.parquet"), "--dataset", path("dataset"),
            "--validation", path("validation.json"), "--now", now,
        )
        for kind in models:
            spent = step(
                folder, "train", "--dataset", path("dataset"), "--model", kind, "--seed", "7", "--candidate", path(kind),
            )
            print(f"train 1,000 pods x 60 rows x {COLUMNS} columns, {kind:18}{spent}")
        flags = [flag for kind in models for flag in ("--candidate", path(kind))]
        print(f"select                                                       {step(folder, 'select', '--dataset', path('dataset'), '--bundle', path('bundle'), *flags)}")
        store = f"file://{folder / 'store'}"
        step(
            folder, "deploy", "--bundle", path("bundle"), "--dataset", path("dataset"), "--store", store,
            "--deployment", path("deployment.json"), "--now", now,
        )
        table(folder / "rows.csv", 10_000, range(610, 660, 10), 2)
        for tick, at in enumerate(range(610, 660, 10)):
            at = stamp(at)
            flags = ("--store", store, "--now", at)
            collected = step(folder, "collect", "--samples", path("s.parquet"), *flags)
            step(folder, "feature", "--samples", path("s.parquet"), "--features", path("f.parquet"))
            scored = step(folder, "score", "--features", path("f.parquet"), "--scored", path("scored.json"), *flags)
            print(f"tick {tick + 1}: score 10,000 containers, one window               {scored}")


main()
