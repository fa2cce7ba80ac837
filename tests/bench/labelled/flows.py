"""Runs a table of labelled flows through the steps and through scikit-learn; see ../flows.sh."""

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
import pyarrow.parquet as parquet
from sklearn.covariance import EmpiricalCovariance
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from sklearn.tree import DecisionTreeClassifier

HERE = pathlib.Path(__file__).parent
LYNCEUS = os.environ["LYNCEUS"]
STEP_MS = 10_000
ONE_CLASS = {
    "autoencoder": "{layers: [12, 5], epochs: 100, batch: 64, learning_rate: 0.003, scaling: z_score}",
    "isolation_forest": "{}",
    "mahalanobis": "{}",
    "one_class_svm": "{}",
}
SUPERVISED = {"decision_tree": "{}", "random_forest": "{}"}
SEEDS = 5


def shares(path, cut):
    """Returns the shares of distinct windows that calibrate and that are tested on."""
    with gzip.open(path, "rt") as file:
        rows = [(int(row["source_timestamp"]), row["label"]) for row in csv.DictReader(file)]
    ends = np.array([-(-time // STEP_MS) for time, _ in rows])
    benign = ends[np.array([label == "benign" for _, label in rows]) & (ends <= cut // STEP_MS)]
    windows = np.unique(ends)
    # As few windows as calibrate: what calibrates is not fitted on.
    first = np.sort(benign)[-60]
    return np.mean((windows >= first) & (windows <= cut // STEP_MS)), np.mean(windows > cut // STEP_MS), windows[-1] * STEP_MS


def step(folder, stage, *flags):
    outcome = folder / f"{stage}.json"
    command = [LYNCEUS, "step", stage, "--document", str(folder / "flows.yaml"), "--threads", "2", "--outcome", str(outcome)]
    done = subprocess.run([*command, *flags], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{stage}: {done.stderr}")
    return json.loads(outcome.read_text())


def table(path):
    read = parquet.read_table(path).to_pydict()
    keys = {"time", "entity", "label", "scenario", "excluded", "warm_up"}
    names = sorted(set(read) - keys)
    values = np.column_stack([np.array(read[name], dtype=float) for name in names])
    malicious = np.array([label != "benign" for label in read["label"]])
    return names, np.where(np.isfinite(values), values, 0), malicious


def peers(dataset, kinds):
    names, train, _ = table(dataset / "train.parquet")
    labelled_file = dataset / "labelled.parquet"
    _, labelled, truth = table(labelled_file) if labelled_file.exists() else (names, train[:0], [])
    _, test, malicious = table(dataset / "test.parquet")
    scaler = StandardScaler().fit(train)
    scaled, tested = scaler.transform(train), scaler.transform(test)

    def autoencoder(seed):
        network = MLPRegressor(hidden_layer_sizes=(12, 5, 12), learning_rate_init=0.003, max_iter=100, batch_size=64, random_state=seed)
        return np.mean((network.fit(scaled, scaled).predict(tested) - tested) ** 2, axis=1)

    scores = {
        "autoencoder": autoencoder,
        "decision_tree": lambda seed: DecisionTreeClassifier(random_state=seed).fit(labelled, truth).predict_proba(test)[:, 1],
        "mahalanobis": lambda seed: EmpiricalCovariance().fit(scaled).mahalanobis(tested),
        "one_class_svm": lambda seed: -OneClassSVM(nu=0.05).fit(scaled).decision_function(tested),
        "isolation_forest": lambda seed: -IsolationForest(random_state=seed).fit(scaled).score_samples(tested),
        "random_forest": lambda seed: RandomForestClassifier(100, random_state=seed, n_jobs=2).fit(labelled, truth).predict_proba(test)[:, 1],
    }
    figures = {}
    for kind in kinds & scores.keys():
        found = [scores[kind](seed) for seed in range(SEEDS)]
        figures[kind] = {
            "roc_auc": float(np.mean([roc_auc_score(malicious, score) for score in found])),
            "average_precision": float(np.mean([average_precision_score(malicious, score) for score in found])),
        }
    return figures, {"features": len(names), "train": len(train), "labelled": len(labelled), "test": len(test), "test_malicious": int(malicious.sum())}


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("flows")
    arguments.add_argument("--cut", default="2022-02-25T13:45:00+00:00", help="train before this time, test after it")
    arguments.add_argument("--one-class", action="store_true", help="models that are fitted on benign flows alone")
    arguments.add_argument("--json")
    arguments = arguments.parse_args()
    kinds = ONE_CLASS if arguments.one_class else SUPERVISED
    cut = int(datetime.datetime.fromisoformat(arguments.cut).timestamp() * 1000)
    validation, test, last = shares(arguments.flows, cut)
    now = datetime.datetime.fromtimestamp(last / 1000, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        models = "\n".join(f"  {kind}: {settings}" for kind, settings in kinds.items())
        text = (HERE / "flows.yaml").read_text().replace("{{models}}", models)
        text = text.replace("{{validation}}", str(validation)).replace("{{test}}", str(test))
        (folder / "flows.yaml").write_text(text)
        path = lambda name: str(folder / name)
        collected = step(folder, "collect", "--source", arguments.flows, "--samples", path("samples.parquet"), "--now", now)
        step(folder, "feature", "--samples", path("samples.parquet"), "--features", path("features.parquet"))
        validated = step(folder, "validate", "--features", path("features.parquet"), "--dataset", path("dataset"), "--validation", path("validation.json"), "--now", now)
        for kind in kinds:
            step(folder, "train", "--dataset", path("dataset"), "--model", kind, "--seed", "7", "--candidate", path(kind))
        flags = [flag for kind in kinds for flag in ("--candidate", path(kind))]
        members = step(folder, "select", "--dataset", path("dataset"), "--bundle", path("bundle"), *flags)["details"]["test.members"]
        theirs, rows = peers(folder / "dataset", kinds.keys())
    print(f"{collected['counts']['flows']} flows, {rows}")
    for warning in validated.get("warnings", []):
        print(f"warning: {warning}")
    print(f"{'model':18}{'ROC-AUC':>10}{'sklearn':>10}{'AP':>10}{'sklearn':>10}")
    for kind in kinds:
        own, other = members[kind], theirs[kind]
        print(f"{kind:18}{own['roc_auc']:10.4f}{other['roc_auc']:10.4f}{own['average_precision']:10.4f}{other['average_precision']:10.4f}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"lynceus": members, "scikit-learn": theirs, "rows": rows}, indent=2) + "\n")


main()
