"""Sets that nobody looked at when settings were chosen; see quality.py and README.md.

Each folder has the layout of its publisher. A reader gives the group of each set, its name, the seconds between its
rows, a training table and a test table with labels. Training tables and columns are chosen without the labels, except
that runs with an injected fault are no training rows.
"""

import json
import re

import numpy as np
import pandas as pd


def plain(train, test):
    """Both tables with short names of columns, without columns that lack values in more than half of training."""
    known = [c for c in train.columns if c != "label" and train[c].notna().mean() > 0.5]
    names = [f"c{i:02}" for i in range(len(known))]
    label = test.label.to_numpy()
    return train[known].set_axis(names, axis=1), test[known].set_axis(names, axis=1).assign(label=label)


def first_part(rows, label, step):
    """One series, trained on its first 15 % and at least 400 rows, as the series of Numenta."""
    count = max(400, int(0.15 * len(rows)))
    test = rows.iloc[count:].assign(label=label.iloc[count:])
    if len(test) >= 100 and test.label.nunique() == 2:
        yield step, *plain(rows.iloc[:count], test)


def psm(folder):
    """Pooled Server Metrics: trained on the first half of the test table without its labels."""
    rows, label = (pd.read_csv(next(folder.glob(f"{part}.csv*"))) for part in ("test", "test_label"))
    rows = rows.drop(columns="timestamp_(min)").assign(label=label.label[: len(rows)])
    half = len(rows) // 2
    yield "Pooled Server Metrics", "application-server", 60, *plain(rows.iloc[:half], rows.iloc[half:])


# Pods of 2022-08-23 whose rows settings were chosen with.
SEEN = re.compile("2022-08-23 (cart|checkout|frontend|recommendation)")


def nezha(folder):
    """Pods of Nezha: the minute of an injection and the two after it are an event. Trained on the last 330 minutes,
    which have no faults; of the other rows those from ten minutes after the last injection on count as normal."""
    for day in sorted(path for path in folder.iterdir() if path.is_dir()):
        faults = sum(json.loads((day / f"{day.name}-fault_list.json").read_text()).values(), [])
        minute = {id(fault): int(pd.Timestamp(fault["inject_time"]).timestamp()) // 60 for fault in faults}
        for path in sorted(day.glob("metric/*_metric.csv")):
            rows = pd.read_csv(path)
            pod, service = rows.PodName[0], rows.PodName[0].rsplit("-", 2)[0]
            of_pod = [minute[id(fault)] for fault in faults if fault["inject_pod"] == pod]
            if not of_pod or SEEN.match(f"{day.name} {service}"):
                continue
            rows["minute"] = [int(pd.Timestamp(time[:19]).timestamp()) // 60 for time in rows.Time]
            rows = rows.drop_duplicates("minute").set_index("minute").sort_index().drop(columns="TimeStamp")
            rows = rows.select_dtypes("number")
            rows = rows.reindex(range(rows.index[0], rows.index[-1] + 1)).ffill(limit=3)
            label = pd.Series(np.nan, rows.index)
            label.loc[max(minute.values()) + 10 :] = 0
            for at in of_pod:
                label.loc[at : at + 2] = 1
            test = rows.assign(label=label).iloc[:-330]
            shop = "Train Ticket" if service.startswith("ts-") else "Online Boutique"
            yield f"Nezha, {shop}", f"{day.name}-{service}", 60, *plain(rows.iloc[-330:], test)


def of_run(folder):
    """Minutes of one run of the API gateway."""
    parts = [pd.read_csv(path, index_col=0, parse_dates=True) for path in sorted(folder.glob("*_parameters.csv"))]
    return pd.concat([part.resample("1min").mean() for part in parts], axis=1).reset_index(drop=True)


def api_gateway(folder):
    """An API gateway under load: trained on the first eight normal runs. The three others are cut into ten
    pieces, each followed by one of the ten scenarios, which are anomalous as a whole."""
    normal = [of_run(folder / f"normal_datasets/part_{part}") for part in range(1, 12)]
    quiet = pd.concat(normal[8:], ignore_index=True)
    test = []
    for number, piece in enumerate(np.array_split(np.arange(len(quiet)), 10), 1):
        scenario = of_run(folder / f"anomalous_datasets/scenario_{number}")
        test += [quiet.iloc[piece].assign(label=0), scenario.assign(label=1)]
    yield "API gateway", "gateway", 60, *plain(pd.concat(normal[:8]), pd.concat(test))


def cloud_monitoring(folder):
    """Series of services of a cloud provider, one column each."""
    for path in sorted(folder.glob("*/*.csv")):
        rows = pd.read_csv(path)
        rows = rows.set_index(pd.to_datetime(rows.TimeStamp, utc=True)).sort_index()
        step = rows.index.to_series().diff().median()
        rows = rows[["Value", "Label"]].astype(float).resample(step)
        group = "minutes" if step < pd.Timedelta("1h") else "hours"
        parts = first_part(rows[["Value"]].mean(), rows.Label.max().fillna(0), int(step.total_seconds()))
        for part in parts:
            yield f"Cloud Monitoring, {group}", path.stem, *part


def donut(folder):
    """Series of an internet company, one column each, one row in five minutes."""
    for path in sorted(folder.glob("*.csv")):
        rows = pd.read_csv(path).drop_duplicates("timestamp").set_index("timestamp").sort_index()
        step = int(np.median(np.diff(rows.index)))
        rows = rows.reindex(range(rows.index[0], rows.index[-1] + 1, step))
        for part in first_part(rows[["value"]], rows.label.fillna(0), step):
            yield "Donut", path.stem, *part


def dbsherlock(folder):
    """MySQL under TPC-C: ten kinds of faults in eleven runs each. Trained on the normal rows of the odd runs of all
    kinds; the even runs of each kind are a set. The time, single cores and single interrupts are left out."""
    import scipy.io

    of_file = scipy.io.loadmat(next(folder.glob("dbsherlock_dataset_tpcc_16w.mat")))
    runs = {}
    for (kind, number), _ in np.ndenumerate(of_file["test_datasets"]):
        table = of_file["test_datasets"][kind, number][0, 0]
        columns = [str(name[0]) for name in table["field_names"].ravel()]
        rows = pd.DataFrame(table["data"], columns=columns)
        rows = rows[[c for c in columns if not re.search(r"Epoch|core #|osInterruptCount\d", c)]]
        of_region = lambda region: of_file[region][kind, number].ravel().astype(int) - 1
        normal = of_region("normal_regions")
        label = np.full(len(rows), np.nan if len(normal) else 0.0)
        label[normal[normal < len(rows)]] = 0
        label[of_region("abnormal_regions")] = 1
        runs[kind, number] = rows.assign(label=label)
    train = pd.concat([rows[rows.label == 0] for (_, number), rows in runs.items() if number % 2 == 0])
    for kind, cause in enumerate(of_file["causes"].ravel()):
        test = pd.concat([rows for (of_kind, number), rows in runs.items() if of_kind == kind and number % 2])
        yield "DBSherlock", re.sub(r"\W+", "-", str(cause[0]).lower()), 1, *plain(train, test)


def sock_shop(folder):
    """Sock Shop: ten kinds of faults in five runs each, whose second part is anomalous as a whole. Trained on the
    normal parts of the odd runs of all kinds; the even runs of each kind are a set."""
    read = lambda run, part: pd.read_csv(run / f"{part}.csv").drop(columns="time").assign(label=int(part != "normal"))
    kinds = sorted(path for path in folder.iterdir() if path.is_dir())
    train = pd.concat([read(kind / run, "normal") for kind in kinds for run in "135"])
    for kind in kinds:
        test = pd.concat([read(kind / run, part) for run in "24" for part in ("normal", "anomalous")])
        yield "Sock Shop", kind.name, 1, *plain(train, test)


READERS = {
    "psm": psm,
    "nezha-rca": nezha,
    "api-gateway": api_gateway,
    "cloud-monitoring": cloud_monitoring,
    "donut": donut,
    "dbsherlock": dbsherlock,
    "sock-shop": sock_shop,
}
