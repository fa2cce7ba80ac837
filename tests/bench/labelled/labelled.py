"""Runs the labelled sets through the steps and through scikit-learn; see ../labelled.sh."""

import argparse
import csv
import datetime
import gzip
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.metrics import accuracy_score, average_precision_score, recall_score, roc_auc_score
from sklearn.tree import DecisionTreeClassifier

HERE = pathlib.Path(__file__).parent
LYNCEUS = os.environ["LYNCEUS"]
LEAVE_ONE_OUT = os.environ["LEAVE_ONE_OUT"]
STEP_MS = 10_000
CUT = datetime.datetime(2022, 2, 25, 13, 45, tzinfo=datetime.timezone.utc).timestamp() * 1000
MODELS = ("decision_tree", "random_forest")
CLASS_MODELS = (*MODELS, "gradient_boosting")
SEEDS = 5


def peer(kind, seed):
    if kind == "decision_tree":
        return DecisionTreeClassifier(random_state=seed)
    if kind == "gradient_boosting":
        return HistGradientBoostingClassifier(random_state=seed)
    return RandomForestClassifier(100, random_state=seed, n_jobs=2)


class Pipeline:
    """A folder in which the steps are run one after another."""

    def __init__(self, folder, document, rows, until, **changes):
        self.folder = pathlib.Path(folder)
        text = (HERE / document).read_text()
        for old, new in changes.items():
            text = text.replace(f"{{{{{old}}}}}", str(new))
        (self.folder / document).write_text(text)
        self.document = self.folder / document
        with open(self.folder / "rows.csv", "w", newline="") as file:
            csv.writer(file).writerows(rows)
        stamp = datetime.datetime.fromtimestamp(until / 1000, datetime.timezone.utc)
        now = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
        path = lambda name: str(self.folder / name)
        self.step("collect", "--source", path("rows.csv"), "--samples", path("samples.parquet"), "--now", now)
        self.step("feature", "--samples", path("samples.parquet"), "--features", path("features.parquet"))

    def validate(self, until):
        path = lambda name: str(self.folder / name)
        stamp = datetime.datetime.fromtimestamp(until / 1000, datetime.timezone.utc)
        now = stamp.strftime("%Y-%m-%dT%H:%M:%SZ")
        self.step(
            "validate", "--features", path("features.parquet"), "--dataset", path("dataset"),
            "--validation", path("validation.json"), "--now", now,
        )

    def step(self, stage, *flags):
        outcome = self.folder / f"{stage}.json"
        command = [LYNCEUS, "step", stage, "--document", str(self.document), "--threads", "2"]
        done = subprocess.run([*command, *flags, "--outcome", str(outcome)], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{stage}: {done.stderr}")
        return json.loads(outcome.read_text())

    def train(self, kind):
        dataset, candidate = str(self.folder / "dataset"), str(self.folder / kind)
        return self.step("train", "--dataset", dataset, "--model", kind, "--seed", "7", "--candidate", candidate)

    def select(self, kinds):
        flags = [flag for kind in kinds for flag in ("--candidate", str(self.folder / kind))]
        dataset, bundle = str(self.folder / "dataset"), str(self.folder / "bundle")
        return self.step("select", "--dataset", dataset, "--bundle", bundle, *flags)


def containers(path):
    lines = [line.strip().split(",") for line in open(path) if line.strip() and line[0] not in "@%"]
    kinds = np.array([line[-1] for line in lines])
    values = np.array([[float(value) for value in line[:-1]] for line in lines])
    pods = values[:, 0]
    columns = dict(memory_bytes=2, cpu_nanocores=3, logs_bytes=4, root_bytes=5, image_bytes=6, volume_bytes=13)
    counters = dict(receive_bytes=9, transmit_bytes=10, reads=11, writes=12)
    names = [*columns, *counters]
    table = values[:, [*columns.values(), *counters.values()]]
    place = np.array([np.sum(pods[:row] == pods[row]) for row in range(len(pods))])
    start = 1_640_995_200_000
    rows = [["time", "pod", "kind", *names]]
    for row in np.argsort(place, kind="stable"):
        pod = f"pod{int(pods[row])}"
        rows.append([start + place[row] * STEP_MS, pod, kinds[row], *table[row]])
    with tempfile.TemporaryDirectory() as folder:
        until = start + (place.max() + 1) * STEP_MS
        pipeline = Pipeline(folder, "container.yaml", rows, until)
        pipeline.validate(until)
        figures = {}
        for kind in MODELS:
            metrics = pipeline.train(kind)["metrics"]
            figures[kind] = {
                name: metrics[f"cross_validation.{name}"] for name in ("accuracy", "balanced_accuracy")
            }
    with tempfile.TemporaryDirectory() as folder:
        pipeline = Pipeline(folder, "kinds.yaml", rows, until)
        command = [LEAVE_ONE_OUT, str(pipeline.document), str(pipeline.folder / "features.parquet")]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        for kind in CLASS_MODELS:
            values = {f"classify {name}": value for name, value in found[kind].items()}
            figures.setdefault(kind, {}).update(values)
    # The same features: counters as rates over the step, nothing before the first.
    rates = np.zeros((len(pods), len(counters)))
    for pod in set(pods):
        of = np.flatnonzero(pods == pod)
        rates[of[1:]] = np.maximum(np.diff(table[of, len(columns):], axis=0), 0) / (STEP_MS / 1000)
    features = np.hstack([table[:, : len(columns)], rates])
    for kind in CLASS_MODELS:
        found = []
        for seed in range(SEEDS):
            truth, said = [], []
            for pod in sorted(set(pods)):
                out = pods == pod
                if len(set(pods[kinds == kinds[out][0]])) < 2:
                    continue
                truth.extend(kinds[out])
                said.extend(peer(kind, seed).fit(features[~out], kinds[~out]).predict(features[out]))
            recalls = recall_score(truth, said, average=None, labels=sorted(set(truth)))
            found.append((accuracy_score(truth, said), np.mean(recalls)))
        accuracy, balanced = np.mean(found, axis=0)
        figures[kind]["scikit-learn accuracy"] = accuracy
        figures[kind]["scikit-learn balanced_accuracy"] = balanced
    return figures


def flows(path):
    names = ["flow_final", "network_bytes", "network_transport", "event_duration", "destination_port", "source_port"]
    with gzip.open(path, "rt") as file:
        lines = list(csv.DictReader(file))
    table = [[line[f"source_{name}"] for name in names] for line in lines]
    times = np.array([int(line["source_timestamp"]) for line in lines])
    malicious = np.array([line["label"] != "benign" for line in lines])
    rows = [["time", "flow", "label", *names]]
    for number in np.argsort(times, kind="stable"):
        rows.append([times[number], f"f{number}", lines[number]["label"], *table[number]])
    # The document's shares are of distinct windows; the cut is at a time.
    ends = -(-times // STEP_MS)
    windows = np.unique(ends)
    test = np.mean(windows > CUT // STEP_MS)
    benign = ends[~malicious & (ends <= CUT // STEP_MS)]
    # As few windows as calibrate: what calibrates is not fitted on.
    validation = np.mean((windows >= np.sort(benign)[-22]) & (windows <= CUT // STEP_MS))
    with tempfile.TemporaryDirectory() as folder:
        until = (windows[-1] + 1) * STEP_MS
        pipeline = Pipeline(folder, "flow.yaml", rows, until, validation=validation, test=test)
        pipeline.validate(until)
        for kind in MODELS:
            pipeline.train(kind)
        outcome = pipeline.select(MODELS)
        validated = json.loads((pathlib.Path(folder) / "validation.json").read_text())
    members = outcome["details"]["test.members"]
    figures = {kind: dict(members[kind]) for kind in MODELS}
    values = np.array([[float(value or "nan") for value in row] for row in table])
    values = np.where(np.isfinite(values), values, 0)
    train, test = times < CUT, times >= CUT
    for kind in MODELS:
        found = []
        for seed in range(SEEDS):
            scores = peer(kind, seed).fit(values[train], malicious[train]).predict_proba(values[test])[:, 1]
            found.append((roc_auc_score(malicious[test], scores), average_precision_score(malicious[test], scores)))
        auc, precision = np.mean(found, axis=0)
        figures[kind]["scikit-learn roc_auc"], figures[kind]["scikit-learn average_precision"] = auc, precision
    figures["rows"] = {part["part"]: part["rows"] for part in validated["parts"]}
    return figures


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("containers")
    arguments.add_argument("flows", nargs="?")
    arguments.add_argument("--json")
    arguments = arguments.parse_args()
    figures = {"containers": containers(arguments.containers)}
    if arguments.flows:
        figures["flows"] = flows(arguments.flows)
    for name, models in figures.items():
        for model, values in models.items():
            # No entity may have got its class, and then there is no time until it did.
            shown = "  ".join(f"{figure} {'none' if value is None else f'{value:.4f}'}" for figure, value in values.items())
            print(f"{name:12}{model:16}{shown}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(figures, indent=2) + "\n")


main()
