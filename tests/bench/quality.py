"""Measures a document and its peers on all sets of a data folder; see quality.sh.

A set is a training table, a test table with labels and the distance of its rows. Nothing but ROC-AUC
and average precision knows the labels of the test table.
"""

import argparse
import gzip
import json
import math
import os
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

import changes
import held_out

SAVED = Path(__file__).with_name("quality.json")
FIGURES = {
    "roc_auc": ("ROC-AUC", ".3f"),
    "average_precision": ("average precision", ".3f"),
    "false_alarm_ratio": ("normal rows alarmed", ".2%"),
    "events_found": ("events found", ".0%"),
    "f1": ("F1", ".3f"),
    "false_episodes_per_day": ("false episodes a day", ".1f"),
}
ENDS = (".csv", ".csv.gz", ".parquet")
# Seconds between rows of the pairs in a folder of this name.
STEPS = {"asd": 300}


# The sets.


def read(path):
    return pd.read_parquet(path) if path.name.endswith(".parquet") else pd.read_csv(path)


def pairs(folder):
    """Pairs of tables that lie in a folder."""
    tables = {}
    for path in sorted(folder.iterdir()):
        end = next((end for end in ENDS if path.name.endswith(end)), None)
        if end:
            tables[path.name.removesuffix(end)] = path
    for stem, path in tables.items():
        name = stem.removesuffix("_train")
        if name != stem and f"{name}_test" in tables:
            yield name, STEPS.get(folder.name, 60), read(path), read(tables[f"{name}_test"])


def nezha(folder):
    """Pods of Nezha: the minute of an injection and the two after it are an event. Trained on the last
    330 minutes, which have no faults; of the other rows only the hundred before them count as normal."""
    for table in sorted(folder.glob("*_pods*.csv.gz")):
        rows = pd.read_csv(table)
        faults = json.loads(next(folder.glob(table.name.split("_")[0] + "*faults.json")).read_text())
        rows["minute"] = rows.TimeStamp // 60
        columns = [c for c in rows.select_dtypes("number").columns if c not in ("TimeStamp", "minute")]
        for pod, of_pod in rows.groupby("PodName"):
            of_pod = of_pod.drop_duplicates("minute").set_index("minute").sort_index()[columns]
            of_pod = of_pod.reindex(range(of_pod.index[0], of_pod.index[-1] + 1)).ffill(limit=3)
            cut = len(of_pod) - 330
            label = pd.Series(np.nan, of_pod.index)
            label.iloc[cut - 100 : cut] = 0
            for fault in faults:
                at = int(fault["inject_timestamp"]) // 60
                if fault["inject_pod"] == pod:
                    label.loc[at : at + 2] = 1
            test = of_pod.iloc[:cut].assign(label=label.iloc[:cut])
            if (test.label == 1).any():
                yield pod.split("-")[0], 60, of_pod.iloc[cut:], test


def nab(folder):
    """Infrastructure series of the Numenta benchmark, one column each; trained on the first 15 %."""
    with tarfile.open(next(folder.glob("*.tar.xz"))) as archive:
        texts = {m.name: archive.extractfile(m) for m in archive.getmembers() if m.isfile()}
        windows = json.load(next(f for name, f in texts.items() if name.endswith("combined_windows.json")))
        for series, spans in sorted(windows.items()):
            file = next((f for name, f in texts.items() if name.endswith("/" + series)), None)
            if file is None or not re.search("realAWS|realKnown", series) or re.search("taxi|rogue|ambient|grok", series):
                continue
            rows = pd.read_csv(file, parse_dates=["timestamp"]).drop_duplicates("timestamp").set_index("timestamp")
            step = rows.index.to_series().diff().median()
            rows = rows.resample(step).mean()
            label = sum((rows.index >= a) & (rows.index <= b) for a, b in spans) if spans else np.zeros(len(rows))
            cut = max(400, int((0.1 if "machine_temp" in series else 0.15) * len(rows)))
            test = rows.iloc[cut:].assign(label=(np.asarray(label) > 0).astype(int)[cut:])
            if test.label.any():
                yield Path(series).stem, int(step.total_seconds()), rows.iloc[:cut], test


def petshop(folder):
    """Metrics of a shop of microservices: trained on the first half of the time without an issue; the
    40 columns that move most. The issues are runs of their own and follow one another here."""
    with tempfile.TemporaryDirectory() as work, tarfile.open(next(folder.glob("*.tar.xz"))) as archive:
        archive.extractall(work, filter="data")
        for quiet in sorted(Path(work).glob("**/noissue/metrics.csv")):
            of_traffic = quiet.parent.parent
            table = lambda path: pd.read_csv(path, header=[0, 1, 2], index_col=0)
            usual = table(quiet)
            issues = [table(path) for path in sorted(of_traffic.glob("t*/issue_*/metrics.csv"))]
            known = [c for c in usual.columns if usual[c].notna().mean() > 0.8 and all(c in i.columns for i in issues)]
            known = [c for c in known if c[-1] in ("Average", "p90", "Sum", "p50")] or known
            moves = usual[known].std() / (usual[known].abs().mean() + 1e-9)
            known = list(moves.sort_values(ascending=False).index[:40])
            cut = max(30, len(usual) // 2)
            names = [f"c{i:02}" for i in range(len(known))]
            of_names = lambda rows: rows[known].set_axis(names, axis=1)
            parts = [of_names(usual).iloc[cut:].assign(label=0)] + [of_names(i).assign(label=1) for i in issues]
            train, test = of_names(usual).iloc[:cut], pd.concat(parts)
            yield of_traffic.name, 300, train.ffill(limit=3), test.ffill(limit=3)


def recording(folder):
    """Our own recording of a node and a cluster with injected faults; trained before the first."""
    scenarios = pd.read_csv(folder / "scenarios.csv", parse_dates=["start", "end"])
    for part in ("cluster", "node"):
        columns = {}
        for path in sorted((folder / part).glob("*.json.gz")):
            series = json.loads(gzip.open(path).read())["data"]["result"]
            if series:
                values = np.array(series[0]["values"], float)
                columns[path.name.removesuffix(".json.gz")] = pd.Series(values[:, 1], values[:, 0])
        rows = pd.DataFrame(columns)
        rows.index = pd.to_datetime(rows.index, unit="s", utc=True)
        label = pd.Series(0.0, rows.index)
        for scenario in scenarios.itertuples():
            label[scenario.end : scenario.end + pd.Timedelta("90s")] = np.nan
        for scenario in scenarios.itertuples():
            label[scenario.start : scenario.end] = 1
        cut = int((rows.index < scenarios.start.iloc[0]).sum())
        yield part, 5, rows.iloc[:cut], rows.iloc[cut:].assign(label=label.iloc[cut:])


OTHERS = {"nezha": nezha, "nab": nab, "petshop": petshop, "k8s-recording": recording}
# Before the name of a group whose sets no setting was chosen with.
HELD_OUT = "held out: "


def sets(data):
    """All sets of a folder, by group: name, seconds between rows, training and test table."""
    found = {}
    for folder in [data, *sorted(path for path in data.iterdir() if path.is_dir())]:
        if folder.name in held_out.READERS:
            for group, *of_set in held_out.READERS[folder.name](folder):
                found.setdefault(HELD_OUT + group, []).append(of_set)
        else:
            found[folder.name] = list(OTHERS.get(folder.name, pairs)(folder))
    return {group: of_group for group, of_group in found.items() if of_group}


# The figures, as the steps of the pipeline compute them.


def runs(flags):
    edges = np.flatnonzero(np.diff(np.r_[0, np.asarray(flags, int), 0]))
    return list(zip(edges[::2], edges[1::2]))


def figures(label, alarm, score, step):
    counts = np.isfinite(label)
    anomalous, alarm, score = label[counts] == 1, alarm[counts], np.nan_to_num(score[counts], posinf=1e300)
    hit = (alarm & anomalous).sum()
    events = runs(anomalous)
    normal = (~anomalous).sum()
    false = sum(not anomalous[a:b].any() for a, b in runs(alarm))
    return {
        "roc_auc": roc_auc_score(anomalous, score),
        "average_precision": average_precision_score(anomalous, score),
        "false_alarm_ratio": (alarm & ~anomalous).sum() / max(normal, 1),
        "events_found": sum(alarm[a:b].any() for a, b in events) / len(events),
        "f1": 2 * hit / max(alarm.sum() + anomalous.sum(), 1),
        "false_episodes_per_day": false / max(normal * step / 86400, 1e-9),
    }


# The peers: scores of scikit-learn and of two lines of numpy, all with the same threshold.


def windows(rows):
    """Rows with their means and deviations over 5 and 15 rows."""
    table = pd.DataFrame(rows)
    parts = [table]
    for length in (5, 15):
        rolling = table.rolling(length, min_periods=1)
        parts += [rolling.mean(), rolling.std(ddof=0)]
    return np.hstack([part.to_numpy() for part in parts])


def peer_scores(train, test):
    """Scores of the training and test rows by each peer."""
    mean, deviation = train.mean(0), np.maximum(train.std(0), 0.01)
    train, test = (train - mean) / deviation, (test - mean) / deviation
    random = np.random.default_rng(0)
    sample = train[np.sort(random.choice(len(train), min(5000, len(train)), replace=False))]
    neighbours = NearestNeighbors(n_neighbors=5).fit(sample)
    inverse = np.linalg.inv(np.atleast_2d(np.cov(train, rowvar=False)) + 0.1 * np.eye(train.shape[1]))
    both = [windows(np.vstack([train, test]))[part] for part in (slice(len(train)), slice(len(train), None))]
    forest = IsolationForest(n_estimators=100, max_samples=min(256, len(train)), random_state=0).fit(both[0])
    score = {
        "KNN, 5 neighbours": lambda rows, _: neighbours.kneighbors(rows)[0].mean(1),
        "Mahalanobis": lambda rows, _: np.einsum("ij,jk,ik->i", rows, inverse, rows),
        "isolation forest on windows": lambda _, part: 2.0 ** (8 * -forest.score_samples(both[part])),
        "sum of squared z-scores": lambda rows, _: (rows**2).sum(1),
    }
    return {name: (of(train, 0), of(test, 1)) for name, of in score.items()}


def robust_rule(train, test, step):
    """Alarms: more than 4 robust deviations above the median of the last 3 days of logarithms, and
    above the 99th percentile of training. The median follows by the hour, past only."""
    train, test = np.log(train + 1e-9), np.log(test + 1e-9)
    both, least, floor = np.r_[train, test], np.quantile(train, 0.99), 0.05 * train.std()
    days, hour = max(1, int(3 * 86400 / step)), max(1, int(3600 / step))
    alarm = np.zeros(len(test), bool)
    for start in range(0, len(test), hour):
        past = both[max(0, len(train) + start - days) : len(train) + start]
        centre = np.median(past)
        threshold = centre + 4 * (1.4826 * np.median(np.abs(past - centre)) + floor)
        alarm[start : start + hour] = test[start : start + hour] > max(threshold, least)
    return alarm


def peers(step, train, test):
    label = test.label.to_numpy(float)
    train, test = train.to_numpy(float), test.drop(columns="label").to_numpy(float)
    usual = np.nan_to_num(np.nanmedian(train, axis=0))
    train, test = (np.where(np.isfinite(rows), rows, usual) for rows in (train, test))
    return {
        f"{name}, robust z of 3 days": figures(label, robust_rule(*scores, step), scores[1], step)
        for name, scores in peer_scores(train, test).items()
    }


# The document.


def of_document(group, work, arguments):
    """Figures of the document on the sets of a group, which lie in one folder for each step."""
    measured = {}
    for name, step, train, test in group:
        folder = work / f"step-{step}"
        folder.mkdir(exist_ok=True)
        if "entity" in train:
            arguments = [*arguments, "--set", "sources.rows.table.entity=entity"]
        # A row without a label counts nowhere.
        labelled = test.assign(label=test.label.round().astype("Int64"))
        for part, rows in (("train", train), ("test", labelled)):
            rows.to_csv(folder / f"{name}_{part}.csv", index=False)
    for folder in sorted(work.glob("step-*")):
        step = folder.name.removeprefix("step-") + "s"
        file = work / f"{folder.name}.json"
        command = [os.environ["BUILT"] + "/examples/quality", folder, "--json", file, "--set", f"step={step}", *arguments]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        measured |= json.loads(file.read_text())["sets"]
    return measured


# The table.


def mean_of(rows, figure):
    values = [row[figure] for row in rows if row.get(figure) is not None and not math.isnan(row[figure])]
    return sum(values) / len(values) if values else math.nan


def show(results):
    print("| sets | detector | " + " | ".join(heading for heading, _ in FIGURES.values()) + " |")
    print("|---|---|" + "---|" * len(FIGURES))
    for group, of_sets in results.items():
        for detector in next(iter(of_sets.values())):
            rows = [of_set[detector] for of_set in of_sets.values() if detector in of_set]
            cells = [format(mean_of(rows, name), form) for name, (_, form) in FIGURES.items()]
            print(f"| {group}, {len(rows)} | {detector} | " + " | ".join(cells) + " |")


def compare(results, before):
    """Mean paired differences with their standard errors, and sets that are higher and lower."""
    print("\n| differences to what was saved | sets | " + " | ".join(h for h, _ in FIGURES.values()) + " |")
    print("|---|---|" + "---|" * len(FIGURES))
    groups = {**{group: [group] for group in results}, "all": list(results)}
    for title, of_title in groups.items():
        cells, count = [], 0
        for figure in FIGURES:
            pair = [
                results[group][name]["Lynceus"][figure] - old["Lynceus"][figure]
                for group in of_title
                for name, old in before.get(group, {}).items()
                if name in results[group]
            ]
            pair = np.array([difference for difference in pair if not math.isnan(difference)])
            count = max(count, len(pair))
            error = pair.std(ddof=1) / math.sqrt(len(pair)) if len(pair) > 1 else math.nan
            cells.append(f"{pair.mean():+.4f} ± {error:.4f} ({(pair > 0).sum()}:{(pair < 0).sum()})" if len(pair) else "")
        print(f"| {title} | {count} | " + " | ".join(cells) + " |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--save", action="store_true", help="keep the figures in tests/bench/quality.json")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--changes", action="store_true", help="measure sets with injected changes and cut training as well, without peers")
    parser.add_argument("--json", type=Path)
    arguments, of_example = parser.parse_known_args()
    results = {}
    found = sets(arguments.data)
    plain = set() if arguments.no_peers else set(found)
    if arguments.changes:
        for group, of_group in list(found.items()):
            if group not in OTHERS and not group.startswith(HELD_OUT):
                found |= changes.changed(group, of_group)
            if group == "nezha":
                found["nezha: pods as entities of one model"] = [changes.entities(of_group)]
    for group, of_group in found.items():
        with tempfile.TemporaryDirectory() as work:
            ours = of_document(of_group, Path(work), of_example)
        results[group] = {
            name: {"Lynceus": ours[name], **(peers(step, train, test) if group in plain else {})}
            for name, step, train, test in of_group
        }
    show(results)
    if SAVED.exists():
        compare(results, json.loads(SAVED.read_text()))
    text = lambda figures: json.dumps(figures, indent=1, sort_keys=True) + "\n"
    if arguments.json:
        arguments.json.write_text(text(results))
    if arguments.save:
        # Sets that were not measured keep their figures.
        kept = json.loads(SAVED.read_text()) if SAVED.exists() else {}
        SAVED.write_text(text(kept | results))


main()
