"""Runs the same work in Lynceus and in Python and prints both sides with their ratios; see peers.sh.

Every part runs as a process of its own, so that its CPU seconds and peak memory are its own. On a
busy machine compare CPU seconds: wall seconds are medians of several runs, but of that machine.
"""

import argparse
import gzip
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

THREADS = 2
ROWS, COLUMNS, MANY = 10_661, 25, 1_000_000
BUILT = Path(os.environ["BUILT"])
LYNCEUS, DETECTORS, QUALITY = BUILT / "lynceus", BUILT / "examples/detectors", BUILT / "examples/quality"
KINDS = ("autoencoder", "isolation_forest", "one_class_svm")
START = "2026-01-01T00:00:00Z"
LATER = "2026-02-01T00:00:00Z"


def rows_of(path):
    import numpy as np

    if path is None:
        random = np.random.default_rng(0)
        t = np.arange(ROWS)[:, None] / 60
        waves = np.sin(t * random.uniform(0.01, 2, 12) + random.uniform(0, 6, 12))
        return waves @ random.normal(size=(12, COLUMNS)) + 0.3 * random.normal(size=(ROWS, COLUMNS))
    with gzip.open(path, "rt") as file:
        values = np.genfromtxt(file, delimiter=",", skip_header=1)[:ROWS]
    chosen = np.sort(np.argsort(-values.var(axis=0))[:COLUMNS])
    return np.ascontiguousarray(values[:, chosen])


def many_of(rows):
    """A million different rows, each between two of the given ones.

    Repeated rows would flatter code with branches: a processor learns ten thousand paths by heart.
    """
    import numpy as np

    random = np.random.default_rng(1)
    one, other = random.integers(0, len(rows), (2, MANY))
    return rows[one] + random.uniform(size=(MANY, 1)) * (rows[other] - rows[one])


# One process, timed from outside.


def process(command, runs=1, before=None):
    """Runs a command and returns wall and CPU seconds (medians) and peak MiB, and what it said."""
    figures, said = [], ""
    for _ in range(runs):
        if before:
            before()
        start = time.perf_counter()
        temporary = tempfile.TemporaryFile
        with temporary("w+") as out, temporary("w+") as err, tempfile.NamedTemporaryFile("r") as memory:
            # A child begins with the peak memory of its parent, and this one's is large.
            small = ["/usr/bin/time", "-q", "-o", memory.name, "-f", "%M"]
            child = subprocess.Popen([*small, *map(str, command)], stdout=out, stderr=err)
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0), err.seek(0)
            said, peak = out.read(), memory.read().split()
            if child.returncode != 0:
                sys.exit(f"{' '.join(map(str, command))} failed:\n{err.read()[-2000:]}")
        wall = time.perf_counter() - start
        figures.append((wall, usage.ru_utime + usage.ru_stime, int(peak[-1]) / 1024))
    middle = [sorted(column)[len(figures) // 2] for column in zip(*figures)]
    return {"seconds": middle[0], "cpu_seconds": middle[1], "peak_mib": middle[2]}, said


def python(part, *arguments):
    return [sys.executable, __file__, "--threads", THREADS, "--part", part, *arguments]


# Parts that run in a Python process of their own.


def fit_autoencoder(rows):
    import torch
    from sklearn.preprocessing import MinMaxScaler

    torch.manual_seed(0)
    scaler = MinMaxScaler().fit(rows)
    values = torch.tensor(scaler.transform(rows), dtype=torch.float32)
    columns = rows.shape[1]
    model = torch.nn.Sequential(torch.nn.Linear(columns, 6), torch.nn.ReLU(), torch.nn.Linear(6, columns))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        for batch in values[torch.randperm(len(values))].split(256):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(model(batch), batch).backward()
            optimiser.step()
    return scaler, model


def score_autoencoder(fitted, rows):
    import torch

    scaler, model = fitted
    values = torch.tensor(scaler.transform(rows), dtype=torch.float32)
    with torch.no_grad():
        return ((model(values) - values) ** 2).mean(1).numpy()


def fit_forest(rows):
    from sklearn.ensemble import IsolationForest
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    forest = IsolationForest(n_estimators=50, max_samples=256, random_state=0, n_jobs=THREADS)
    return make_pipeline(StandardScaler(), forest).fit(rows)


def fit_svm(rows):
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import OneClassSVM

    return make_pipeline(StandardScaler(), OneClassSVM(nu=0.05, gamma=1 / rows.shape[1])).fit(rows)


def detectors(rows_file, many_file):
    """Fitting and scoring in one process: a JSON line for each work."""
    import numpy as np
    import torch
    from joblib import parallel_backend

    torch.set_num_threads(THREADS)
    rows = np.fromfile(rows_file).reshape(-1, COLUMNS)
    many = np.fromfile(many_file).reshape(-1, COLUMNS)

    def median(work, name, runs=3):
        seconds, cpu, result = [], time.process_time(), None
        for _ in range(runs):
            start = time.perf_counter()
            result = work()
            seconds.append(time.perf_counter() - start)
        cpu = (time.process_time() - cpu) / runs
        print(json.dumps({"work": name, "seconds": sorted(seconds)[runs // 2], "cpu_seconds": cpu}))
        return result

    svm = median(lambda: fit_svm(rows), "one_class_svm fit")
    median(lambda: svm.decision_function(rows), "one_class_svm score")
    forest = median(lambda: fit_forest(rows), "isolation_forest fit")
    with parallel_backend("threading", n_jobs=THREADS):
        median(lambda: forest.score_samples(many), "isolation_forest score 1M")
    encoder = median(lambda: fit_autoencoder(rows), "autoencoder fit")
    median(lambda: score_autoencoder(encoder, rows), "autoencoder score")


def train(dataset, folder):
    """What `train` and `select` do: fit three, set thresholds on the validation rows, save."""
    import joblib
    import numpy as np
    import pyarrow.parquet as parquet
    import torch

    torch.set_num_threads(THREADS)

    def read(part):
        table = parquet.read_table(Path(dataset) / f"{part}.parquet")
        names = [name for name in table.column_names if name.startswith("c")]
        return np.column_stack([table[name].to_numpy() for name in names])

    rows, validation = read("train"), read("validation")
    encoder, forest, svm = fit_autoencoder(rows), fit_forest(rows), fit_svm(rows)
    scores = (
        score_autoencoder(encoder, validation),
        -forest.score_samples(validation),
        -svm.decision_function(validation),
    )
    thresholds = [float(np.quantile(score, 0.99)) for score in scores]
    joblib.dump((encoder[0], forest, svm, thresholds, [np.sort(score) for score in scores]), f"{folder}/models.joblib")
    torch.save(encoder[1], f"{folder}/autoencoder.pt")


def tick(folder, row_file):
    """Models from disk, one row, the vote."""
    import joblib
    import pyarrow.parquet as parquet
    import torch

    scaler, forest, svm, thresholds, _ = joblib.load(f"{folder}/models.joblib")
    model = torch.load(f"{folder}/autoencoder.pt", weights_only=False)
    table = parquet.read_table(row_file)
    names = [name for name in table.column_names if name.startswith("c")]
    import numpy as np

    row = np.column_stack([table[name].to_numpy() for name in names])[-1:]
    scores = (score_autoencoder((scaler, model), row)[0], -forest.score_samples(row)[0], -svm.decision_function(row)[0])
    votes = sum(weight for score, threshold, weight in zip(scores, thresholds, (6, 3, 1)) if score > threshold)
    print(json.dumps({"anomalous": votes >= 9}))


def windows(folder, table_file, out):
    """What a whole scoring run does: a table, three scores and the vote of every row, one JSON a window."""
    import joblib
    import numpy as np
    import pyarrow.csv as csv
    import torch

    torch.set_num_threads(THREADS)
    scaler, forest, svm, thresholds, references = joblib.load(f"{folder}/models.joblib")
    model = torch.load(f"{folder}/autoencoder.pt", weights_only=False)
    table = csv.read_csv(table_file)
    names = [name for name in table.column_names if name.startswith("c")]
    rows = np.column_stack([table[name].to_numpy() for name in names])
    scores = (score_autoencoder((scaler, model), rows), -forest.score_samples(rows), -svm.decision_function(rows))
    calibrated = [np.searchsorted(known, score) / len(known) for known, score in zip(references, scores)]
    votes = sum(weight * (score > threshold) for score, threshold, weight in zip(scores, thresholds, (6, 3, 1)))
    of_window = {}
    for index, (end, entity) in enumerate(zip(table["time"].to_pylist(), table["entity"].to_pylist())):
        of_window.setdefault(end, []).append(
            {
                "entity": entity,
                "anomalous": bool(votes[index] >= 9),
                "scores": [float(score[index]) for score in scores],
                "calibrated": [float(score[index]) for score in calibrated],
            }
        )
    Path(out).mkdir(exist_ok=True)
    for end, entities in of_window.items():
        part = Path(out) / f"{end}.part"
        part.write_text(json.dumps({"time": end, "entities": entities}))
        part.rename(part.with_suffix(".json"))


def rank(train_file, test_file):
    """ROC-AUC and average precision of each peer on one labelled set."""
    import numpy as np
    import pyarrow.csv as csv
    import pyarrow.parquet as parquet
    from pyod.models.copod import COPOD
    from pyod.models.ecod import ECOD
    from pyod.models.hbos import HBOS
    from pyod.models.pca import PCA
    from sklearn.metrics import average_precision_score, roc_auc_score

    def read(path):
        table = parquet.read_table(path) if path.endswith(".parquet") else csv.read_csv(path)
        columns = {name: table[name].to_numpy() for name in table.column_names}
        label = columns.pop("label", None)
        values = np.column_stack([column.astype(float) for column in columns.values()])
        return np.nan_to_num(values), label

    rows, _ = read(train_file)
    test, label = read(test_file)
    anomalous = np.array([str(value) not in ("0", "0.0") for value in label])
    mean, deviation = rows.mean(0), np.maximum(rows.std(0), 0.01)
    scores = {"sum of squared z-scores": (((test - mean) / deviation) ** 2).sum(1)}
    scores["autoencoder (PyTorch)"] = score_autoencoder(fit_autoencoder(rows), test)
    scores["isolation forest (scikit-learn)"] = -fit_forest(rows).score_samples(test)
    scores["one-class SVM (scikit-learn)"] = -fit_svm(rows).decision_function(test)
    # PyOD's PCA divides by the deviation of constant columns.
    moving = rows.std(0) > 0
    for detector in (ECOD(), COPOD(), HBOS(), PCA()):
        name = f"{type(detector).__name__} (PyOD)"
        scores[name] = detector.fit(rows[:, moving]).decision_function(test[:, moving])
    figures = {
        name: {
            "roc_auc": roc_auc_score(anomalous, np.nan_to_num(score)),
            "average_precision": average_precision_score(anomalous, np.nan_to_num(score)),
        }
        for name, score in scores.items()
    }
    print(json.dumps(figures))


# The comparison.

DOCUMENT = """format: 1
name: peers
step: 1m
range: {days}d
sources: {{main: {{table: {{path: {path}, start: {start}}}}}}}
features: [raw: {{columns: ["*"]}}]
split: {{validation: 0.2, test: 0.05, gap: 0s}}
models:
  autoencoder: {{layers: [6], epochs: 10, batch: 256, learning_rate: 0.001, scaling: min_max}}
  isolation_forest: {{trees: 50, samples: 256, scaling: z_score}}
  one_class_svm: {{nu: 0.05, scaling: z_score}}
vote:
  combine: votes
  weights: {{autoencoder: 0.6, isolation_forest: 0.3, one_class_svm: 0.1}}
  alarm_at: 0.9
  threshold: {{quantile: {{share: 0.99}}}}
scoring: {{every: 1m, delay: 0s, catch_up: 1h}}
"""


def of_detectors(rows, work):
    files = [work / "rows.f64", work / "many.f64"]
    rows.astype("<f8").tofile(files[0])
    many_of(rows).astype("<f8").tofile(files[1])
    ours, theirs = {}, {}
    for part in ("svm", "forest", "autoencoder"):
        _, said = process([DETECTORS, *files, COLUMNS, THREADS, part])
        ours |= {line["work"]: line for line in map(json.loads, said.splitlines())}
    _, said = process(python("detectors", *map(str, files)))
    theirs |= {line["work"]: line for line in map(json.loads, said.splitlines())}
    return [(name, ours[name], theirs[name]) for name in theirs if name in ours]


def step(name, *flags):
    return [LYNCEUS, "step", name, *flags]


def of_processes(rows, work, runs):
    """The whole training, from the data set's Parquet files to saved models, and one tick."""
    table, document = work / "table.csv", work / "document.yaml"
    with open(table, "w") as file:
        file.write(",".join(f"c{column:02}" for column in range(COLUMNS)) + "\n")
        for row in rows:
            file.write(",".join(map(repr, map(float, row))) + "\n")
    document.write_text(DOCUMENT.format(path=table, start=START, days=len(rows) // 1440 + 1))
    doc = ["--document", document]
    dataset, bundle, store = work / "dataset", work / "bundle", f"file://{work / 'store'}"
    samples, features = work / "samples.parquet", work / "features.parquet"
    process(step("collect", *doc, "--samples", samples, "--now", LATER))
    process(step("feature", *doc, "--samples", samples, "--features", features))
    validation = ["--validation", work / "validation.json", "--now", LATER]
    process(step("validate", *doc, "--features", features, "--dataset", dataset, *validation))
    threads = ["--threads", THREADS]
    ours = {"seconds": 0.0, "cpu_seconds": 0.0, "peak_mib": 0.0}
    candidates = []
    commands = []
    for kind in KINDS:
        candidate = work / kind
        candidates += ["--candidate", candidate]
        flags = [*doc, "--dataset", dataset, "--model", kind, "--seed", 7, "--candidate", candidate]
        commands.append(step("train", *flags, *threads))
    commands.append(step("select", *doc, "--dataset", dataset, *candidates, "--bundle", bundle, *threads))
    for command in commands:
        figures, _ = process(command, runs)
        ours["seconds"] += figures["seconds"]
        ours["cpu_seconds"] += figures["cpu_seconds"]
        ours["peak_mib"] = max(ours["peak_mib"], figures["peak_mib"])
    theirs, _ = process(python("train", str(dataset), str(work)), runs)
    training = ("train three, Parquet to models on disk", ours, theirs)

    deployment = ["--deployment", work / "deployment.json", "--now", LATER]
    process(step("deploy", *doc, "--bundle", bundle, "--dataset", dataset, "--store", store, *deployment))
    # The table's last window, scored by the live version; each run from the same state.
    before, last = (
        time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(1_767_225_600 + 60 * (len(rows) - back)))
        for back in (2, 1)
    )
    row = work / "row.parquet"
    process(step("collect", *doc, "--samples", work / "one.parquet", "--now", last, "--start", before))
    process(step("feature", *doc, "--samples", work / "one.parquet", "--features", row))
    state = [work / "store/scores", work / "store/state"]

    def forget():
        subprocess.run(["rm", "-rf", *map(str, state)], check=True)

    flags = ["--features", row, "--store", store, "--now", last, "--scored", work / "scored.json"]
    ours, _ = process(step("score", *doc, *flags), 5 * runs, forget)
    theirs, _ = process(python("tick", str(work), str(row)), runs)
    tick = ("one tick, models from disk", ours, theirs)
    return [training, tick, *of_ticks(rows, work, runs, forget)]


def of_ticks(rows, work, runs, forget):
    """The whole of a scoring run, from a table to score objects and messages: `lynceus score`."""
    document, store, out = work / "document.yaml", f"file://{work / 'store'}", work / "scored"
    first = 1_767_225_600 + 60 * len(rows)
    lines, many = [], many_of(rows)
    for name, minutes, entities in (
        ("one window, table to score objects", 1, 1),
        ("1,000 entities in one window", 1, 1000),
        ("1,440 windows in one go", 1440, 1),
    ):
        table, overlay = work / "due.csv", work / "due.yaml"
        with open(table, "w") as file:
            file.write("time,entity," + ",".join(f"c{column:02}" for column in range(COLUMNS)) + "\n")
            for number, row in zip(range(minutes * entities), many):
                end = first + 60 * (number // entities + 1)
                file.write(f"{end},node-{number % entities:04}," + ",".join(map(repr, map(float, row))) + "\n")
        overlay.write_text(
            f"sources: {{main: {{table: {{path: {table}, time: time, time_format: seconds, entity: entity, start: null}}}}}}\n"
            f"scoring: {{catch_up: 2d}}\nalerts: {{channels: [{{file: {{path: {work / 'told.jsonl'}}}}}]}}\n"
        )
        since, at = (
            time.strftime("%Y-%m-%dT%H:%M:00Z", time.gmtime(end)) for end in (first, first + 60 * minutes)
        )
        flags = ["--overlay", overlay, "--store", store, "--since", since, "--at", at, "--threads", THREADS]
        ours, said = process([LYNCEUS, "score", document, *flags], 2 * runs + 1, forget)
        if not said.startswith(f"{minutes} windows scored"):
            sys.exit(f"{name}: {said}")
        theirs, _ = process(python("windows", str(work), str(table), str(out)), runs)
        lines.append((name, ours, theirs))
    return lines


def of_sets(folder, work):
    """ROC-AUC and average precision by detector, mean over the sets of a folder."""
    ends = (".csv", ".csv.gz", ".parquet")
    tables = {}
    for path in sorted(Path(folder).iterdir()):
        end = next((end for end in ends if path.name.endswith(end)), None)
        if end:
            tables[path.name.removesuffix(end)] = path
    pairs = {name.removesuffix("_train"): name for name in tables if name.endswith("_train")}
    by_set = {}
    for name, train_name in pairs.items():
        if f"{name}_test" in tables:
            files = [str(tables[train_name]), str(tables[f"{name}_test"])]
            by_set[name] = json.loads(process(python("rank", *files))[1])
    for name, flags in {"Lynceus, default": [], "Lynceus, profile aligo": ["--set", "profile=aligo"]}.items():
        file = work / "quality.json"
        process([QUALITY, folder, "--json", file, "--threads", THREADS, *flags])
        for set_name, figures in json.loads(file.read_text())["sets"].items():
            if set_name in by_set:
                by_set[set_name][name] = {key: figures[key] for key in ("roc_auc", "average_precision")}
    names = sorted({name for figures in by_set.values() for name in figures})

    def mean(name, key):
        values = [figures[name][key] for figures in by_set.values()]
        return sum(values) / len(values)

    means = {name: {key: mean(name, key) for key in ("roc_auc", "average_precision")} for name in names}
    return {"sets": by_set, "mean": means}


def show(result):
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    print(f"{result['machine']}, {THREADS} threads; {versions}\n")
    print("| work | Lynceus wall / CPU s | MiB | Python wall / CPU s | MiB | ratio wall / CPU |")
    print("|---|---|---|---|---|---|")
    for line in result["work"]:
        cells = [line["name"]]
        for side in (line["lynceus"], line["python"]):
            peak = f"{side['peak_mib']:.0f}" if "peak_mib" in side else ""
            cells += [f"{side['seconds']:.4f} / {side['cpu_seconds']:.3f}", peak]
        print("| " + " | ".join([*cells, f"{line['ratio_wall']:.1f} / {line['ratio_cpu']:.1f}"]) + " |")
    for folder, figures in result["data"].items():
        print(f"\n{folder}, mean of {len(figures['sets'])} sets\n\n| detector | ROC-AUC | average precision |\n|---|---|---|")
        for name, mean in sorted(figures["mean"].items(), key=lambda item: -item[1]["roc_auc"]):
            print(f"| {name} | {mean['roc_auc']:.4f} | {mean['average_precision']:.4f} |")


def compare(arguments):
    rows = rows_of(arguments.rows)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        lines = of_detectors(rows, work) + of_processes(rows, work, arguments.runs)
        data = {folder: of_sets(folder, work) for folder in arguments.data}

    def ratio(mine, other, key):
        # Linux counts CPU time in hundredths of a second in one of the two places.
        return other[key] / max(mine[key], 1e-3)

    peers = ("numpy", "scikit-learn", "torch", "pyod", "pyarrow")
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version()} | {name: metadata.version(name) for name in peers},
        "rows": list(rows.shape),
        "work": [
            {
                "name": name,
                "lynceus": mine,
                "python": other,
                "ratio_wall": ratio(mine, other, "seconds"),
                "ratio_cpu": ratio(mine, other, "cpu_seconds"),
            }
            for name, mine, other in lines
        ],
        "data": data,
    }
    show(result)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")


def main():
    global THREADS
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", default=[])
    parser.add_argument("--rows")
    parser.add_argument("--json")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", nargs="+")
    arguments = parser.parse_args()
    THREADS = arguments.threads
    os.environ["OMP_NUM_THREADS"] = str(THREADS)
    if arguments.part:
        name, *files = arguments.part
        parts = {"detectors": detectors, "train": train, "tick": tick, "windows": windows, "rank": rank}
        parts[name](*files)
    else:
        compare(arguments)


main()
