"""Runs the work of `detectors.rs` in scikit-learn and PyTorch on the same rows and prints ratios.

    pip install numpy==2.4.6 scikit-learn==1.9.1 torch==2.15.0
    cargo build --release -p train --example detectors
    python steps/train/examples/detectors.py [rows.csv.gz]

Without a file the rows come from a formula (10,661 x 25, twelve shared waves and noise). With one,
its 25 columns of highest variance are taken, as the paper's table has 25. Both sides use the same
number of threads; wall seconds are medians, CPU
seconds means. On a busy machine compare CPU seconds.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time

THREADS = int(os.environ.get("MEASURE_THREADS", "2"))
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))

import numpy as np
import torch
from joblib import parallel_backend
from sklearn.ensemble import IsolationForest
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

ROWS, COLUMNS, MANY = 10_661, 25, 1_000_000


def rows_of(path):
    if path is None:
        random = np.random.default_rng(0)
        t = np.arange(ROWS)[:, None] / 60
        waves = np.sin(t * random.uniform(0.01, 2, 12) + random.uniform(0, 6, 12))
        return waves @ random.normal(size=(12, COLUMNS)) + 0.3 * random.normal(size=(ROWS, COLUMNS))
    with gzip.open(path, "rt") as file:
        values = np.genfromtxt(file, delimiter=",", skip_header=1)[:ROWS]
    chosen = np.sort(np.argsort(-values.var(axis=0))[:COLUMNS])
    return np.ascontiguousarray(values[:, chosen])


def median(work, runs=3):
    seconds, cpu = [], time.process_time()
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return (sorted(seconds)[runs // 2], (time.process_time() - cpu) / runs), result


def autoencoder(rows):
    torch.manual_seed(0)
    values = torch.tensor(MinMaxScaler().fit_transform(rows), dtype=torch.float32)
    model = torch.nn.Sequential(torch.nn.Linear(COLUMNS, 6), torch.nn.ReLU(), torch.nn.Linear(6, COLUMNS))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        for batch in values[torch.randperm(len(values))].split(256):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(model(batch), batch).backward()
            optimiser.step()
    return model


def many_of(rows):
    """A million different rows, each between two of the given ones.

    Repeated rows would flatter code with branches: a processor learns ten thousand paths by heart.
    """
    random = np.random.default_rng(1)
    one, other = random.integers(0, len(rows), (2, MANY))
    return rows[one] + random.uniform(size=(MANY, 1)) * (rows[other] - rows[one])


def peers(rows, many):
    torch.set_num_threads(THREADS)
    scaler = StandardScaler().fit(rows)
    z, many = scaler.transform(rows), scaler.transform(many)
    figures = {}
    figures["one_class_svm fit"], svm = median(lambda: OneClassSVM(nu=0.05, gamma=1 / COLUMNS).fit(z))
    figures["one_class_svm score"], _ = median(lambda: svm.decision_function(z))
    forest = IsolationForest(n_estimators=50, max_samples=256, random_state=0, n_jobs=THREADS)
    figures["isolation_forest fit"], _ = median(lambda: forest.fit(z))
    with parallel_backend("threading", n_jobs=THREADS):
        figures["isolation_forest score 1M"], _ = median(lambda: forest.score_samples(many))
    figures["autoencoder fit"], model = median(lambda: autoencoder(rows))
    values = torch.tensor(MinMaxScaler().fit_transform(rows), dtype=torch.float32)
    with torch.no_grad():
        figures["autoencoder score"], _ = median(lambda: ((model(values) - values) ** 2).mean(1))
    return figures


def ours(rows, many):
    program = os.environ.get("MEASURE_PROGRAM", "target/release/examples/detectors")
    figures = {}
    with tempfile.NamedTemporaryFile() as file, tempfile.NamedTemporaryFile() as many_file:
        rows.astype("<f8").tofile(file.name)
        many.astype("<f8").tofile(many_file.name)
        for part in ("svm", "forest", "autoencoder"):
            command = [program, file.name, many_file.name, str(COLUMNS), str(THREADS), part]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            for line in lines.splitlines():
                figure = json.loads(line)
                figures[figure["work"]] = (figure["seconds"], figure["cpu_seconds"], figure["peak_mib"])
    return figures


def main():
    rows = rows_of(sys.argv[1] if len(sys.argv) > 1 else None)
    many = many_of(rows)
    mine = ours(rows, many)
    theirs = peers(rows, many)
    print(f"{THREADS} threads, {rows.shape[0]} x {rows.shape[1]}")
    print("| work | Lynceus wall / CPU s | peak MiB | Python wall / CPU s | ratio wall / CPU |")
    print("|---|---|---|---|---|")
    for work, (wall, cpu, memory) in mine.items():
        their_wall, their_cpu = theirs[work]
        ratio = f"{their_wall / wall:.1f} / {their_cpu / max(cpu, 1e-3):.1f}"
        print(f"| {work} | {wall:.4f} / {cpu:.3f} | {memory:.0f} | {their_wall:.4f} / {their_cpu:.3f} | {ratio} |")


main()
