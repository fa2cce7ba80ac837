"""Detection on two small public tables of nodes, beside the plain rule "a column more than 2 standard deviations from its mean".

`node_tables.sh` says where the tables come from. Features are made by `lynceus`, and the models of the larger table are trained and
scored by it. The smaller one has fewer rows than it trains on: there the score of `z_score` is computed here, by the same formula.
"""

import csv
import datetime
import math
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

LYNCEUS = os.environ["LYNCEUS"]
# The first windows of the excerpt are the only ones before the first fault.
K3S_TRAIN_UNTIL = 1772204250
K3S_NUMBERS = [
    "avg_cpu", "avg_mem", "net_bytes_in", "net_bytes_out", "exec_count", "unique_process_count", "tmp_exec_count",
    "outbound_connect_count", "mining_port_count",
]
KIND_BUSY_PERCENT = 4.0
QUANTILE = "{quantile: {share: 0.99}}"
A_DAY = "{false_alarms: {per_day: 24, page_per_day: 2}}"


def lynceus(folder, *flags):
    done = subprocess.run([LYNCEUS, *flags], cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"lynceus {' '.join(flags)}: {done.stderr.strip().splitlines()[-2:]}")
    return done.stdout


def document(folder, name, step, columns, settings, features, model, threshold):
    (folder / f"{name}.yaml").write_text(
        f"format: 1\nname: {name}\nstep: {step}\nrange: 2d\nnow: last_row\n"
        f"sources: {{rows: {{table: {{path: train.csv, time: timestamp, time_format: seconds, entity: node, {settings}"
        f"columns: [{', '.join(columns)}]}}}}}}\n"
        f"features: {features}\nmodels: {{{model}}}\nvote: {{combine: votes, threshold: {threshold}}}\n"
        "gate: {max_false_alarm_ratio: 1}\nsplit: {validation: 0.2, test: 0.1, gap: 0s}\n"
    )


def scored(folder, name, table):
    text = lynceus(folder, "predict", f"{name}.yaml", table, "--output", "csv")
    return list(csv.DictReader(text.splitlines()))


def area(scores):
    """The area under the ROC curve of (score, is positive); ties count half."""
    positive = [score for score, is_positive in scores if is_positive]
    negative = [score for score, is_positive in scores if not is_positive]
    if not positive or not negative:
        return float("nan")
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return wins / len(positive) / len(negative)


def plain_rule(train, rows, columns):
    """Says of each row whether some column is more than 2 standard deviations from its mean in the training."""
    of = {column: [float(row[column]) for row in train] for column in columns}
    mean = {column: statistics.fmean(values) for column, values in of.items()}
    spread = {column: statistics.pstdev(values) for column, values in of.items()}
    return [any(abs(float(row[c]) - mean[c]) > 2 * spread[c] for c in columns) for row in rows]


def write(path, rows):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def k3s(data, folder):
    rows = list(csv.DictReader(open(data / "k3s_windows_excerpt.csv")))
    for row in rows:
        row.pop("syscall_feature_vector")
    train = [row for row in rows if int(row["timestamp"]) < K3S_TRAIN_UNTIL]
    later = rows[len(train):]
    write(folder / "train.csv", rows)
    print(f"k3s: {len(train)} rows of three nodes to train on, {len(later)} later ones")
    is_faulty = [row["label"] != "normal" for row in later]
    say_shares("plain rule", is_faulty, plain_rule(train, later, K3S_NUMBERS))
    for name, features in [
        ("whole distances from the peers", "[peers: {window: 5m}]"),
        ("changes (own)", "[peers: {window: 2m, own: true}]"),
        ("columns", "[raw]"),
    ]:
        document(folder, "k3s", "10s", K3S_NUMBERS, "label: label, ", features, "z_score: {threshold: 2}", QUANTILE)
        table = made(folder, "k3s", max(int(row["timestamp"]) for row in rows))
        columns = [column for column in table[0] if column not in KEYS]
        before = [row for row in table if row["time"].timestamp() <= K3S_TRAIN_UNTIL]
        # A window that no row of the table lies in has no label of its own.
        after = [row for row in table if row["time"].timestamp() > K3S_TRAIN_UNTIL and not row["excluded"]]
        scales = {column: scale([row[column] for row in before]) for column in columns}
        scored = [(distances(row, scales), row["label"]) for row in after]
        of = lambda *labels: area([(score(z), label != "normal") for z, label in scored if z and label in ("normal", *labels)])
        both, leak, chaos = of("memory_leak", "network_chaos"), of("memory_leak"), of("network_chaos")
        print(f"  {name}: {len(scored)} rows, ROC-AUC {both:.2f}, memory leak {leak:.2f}, network chaos {chaos:.2f}")
        say_shares("  plain rule on them", [label != "normal" for _, label in scored], [max(z, default=0) > 2 for z, _ in scored])


KEYS = ["time", "entity", "warm_up", "label", "scenario", "excluded"]


def made(folder, name, last):
    """Returns the features of the table, row by row, as the steps make them."""
    import pyarrow.parquet

    now = datetime.datetime.fromtimestamp(-(-last // 10) * 10, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    lynceus(folder, "step", "collect", "--document", f"{name}.yaml", "--samples", "samples.parquet", "--now", now)
    lynceus(folder, "step", "feature", "--document", f"{name}.yaml", "--samples", "samples.parquet", "--features", "features.parquet")
    return pyarrow.parquet.read_table(folder / "features.parquet").to_pylist()


def is_there(value):
    return value is not None and not math.isnan(value)


def scale(values):
    """Centre and spread, as `z_score` takes them."""
    values = [value for value in values if is_there(value)] or [0.0]
    centre, spread = statistics.fmean(values), statistics.pstdev(values)
    return (centre, spread) if spread > 1e-12 * max(map(abs, values)) else (values[0], 0.1 * max(abs(values[0]), 1.0))


def distances(row, scales):
    """Returns how many spreads each column of a row that is there is away from its centre."""
    there = [(row[column], *of) for column, of in scales.items() if is_there(row[column])]
    return [abs(value - centre) / spread for value, centre, spread in there]


def score(zs):
    """The mean of squares; a column within 2 standard deviations counts a hundredth."""
    return sum(z * z if z > 2 else 0.01 * z * z for z in zs) / len(zs)


def say_shares(name, is_faulty, found):
    share = lambda wanted: sum(f for f, faulty in zip(found, is_faulty) if faulty == wanted) / max(is_faulty.count(wanted), 1)
    print(f"  {name}: {share(True):.2f} of the faulty and {share(False):.2f} of the normal rows are anomalous")


def kind(data, folder):
    tables = {}
    for name in ["production_baseline", "normal_behavior", "fault_test"]:
        tables[name] = list(csv.DictReader(open(data / f"kind_{name}.csv")))
    train, columns = tables["production_baseline"], ["cpu", "mem", "net_out", "net_in", "latency"]
    write(folder / "train.csv", sorted(train, key=lambda row: float(row["timestamp"])))
    for name in ["normal_behavior", "fault_test"]:
        write(folder / f"{name}.csv", sorted(tables[name], key=lambda row: float(row["timestamp"])))
    print(f"kind: trained on {len(train)} rows of two nodes; normal {len(tables['normal_behavior'])}, stressed {len(tables['fault_test'])}")
    count(tables["fault_test"], plain_rule(train, tables["fault_test"], ["cpu", "mem", "latency"]), "plain rule, stressed")
    normal = plain_rule(train, tables["normal_behavior"], ["cpu", "mem", "latency"])
    print(f"  plain rule, normal: {sum(normal)} of {len(normal)}")
    features = "[raw: {columns: [cpu, mem, latency]}, rate: {columns: [net_out, net_in]}]"
    for name, model, threshold in [
        ("z_score 2, quantile .99", "z_score: {threshold: 2}", QUANTILE),
        ("z_score 2, 24 a day", "z_score: {threshold: 2}", A_DAY),
        ("adaptive, 24 a day", "adaptive: {}", A_DAY),
    ]:
        document(folder, "kind", "5s", columns, "", features, model, threshold)
        try:
            lynceus(folder, "run", "kind.yaml")
            stressed, normal = (scored(folder, "kind", f"{table}.csv") for table in ["fault_test", "normal_behavior"])
        except RuntimeError as error:
            print(f"  {name}: {error}")
            continue
        # The score of a window is that of its last row.
        cpu = {(row["node"], int(-(-float(row["timestamp"]) // 5) * 5)): row for row in tables["fault_test"]}
        rows = [cpu.get((row["entity"], seconds(row["time"]))) for row in stressed]
        both = [(row, of["verdict"] == "anomalous") for row, of in zip(rows, stressed) if row]
        count([row for row, _ in both], [found for _, found in both], f"{name}, stressed")
        print(f"  {name}, normal: {sum(row['verdict'] == 'anomalous' for row in normal)} of {len(normal)}")


def seconds(text):
    return int(datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp())


def count(rows, found, name):
    busy = [f for row, f in zip(rows, found) if float(row["cpu"]) >= KIND_BUSY_PERCENT]
    other = [f for row, f in zip(rows, found) if float(row["cpu"]) < KIND_BUSY_PERCENT]
    print(f"  {name}: {sum(busy)} of {len(busy)} with {KIND_BUSY_PERCENT:.0f} % of processor or more, {sum(other)} of {len(other)} others")


def main():
    data = pathlib.Path(sys.argv[1])
    for measure in [k3s, kind]:
        with tempfile.TemporaryDirectory() as folder:
            measure(data, pathlib.Path(folder))


main()
