"""Sets with changes whose truth is known, and with cut training, made of pairs of tables; see quality.py.

A set is its name, the seconds between its rows, a training table and a test table with labels. All
numbers are drawn from seeds, so that every run measures the same sets.
"""

import numpy as np
import pandas as pd

DAY = 86400


def parts(test):
    return test.drop(columns="label").astype(float), test.label.to_numpy(float).copy()


def deviations(train):
    """Standard deviation of each column, at least a hundredth of its range, and the columns that move."""
    deviation = np.maximum(train.std(ddof=0), 0.01 * (train.max() - train.min())).to_numpy()
    return deviation, np.flatnonzero(deviation > 0)


def shifts(random, deviation, columns, low, high):
    """Changes of some columns by some deviations, seven in ten of them upwards."""
    signs = random.choice([-1, 1], len(columns), p=[0.3, 0.7])
    return random.uniform(low, high, len(columns)) * deviation[columns] * signs


def lasting(number, step, train, test, hours=0):
    """Two level changes that stay until the end, at once or over some hours; the hour after each does not
    count, and what follows is normal."""
    random = np.random.default_rng((50 if hours else 5) + number)
    rows, label = parts(test)
    known, count = label.copy(), len(rows)
    deviation, moving = deviations(train)
    values = rows.to_numpy().copy()
    for part in range(2):
        for _ in range(100):
            at = int(random.uniform(0.1 + 0.4 * part, 0.5 + 0.4 * part) * count)
            if not (known[max(0, at - 120) : at + 300] == 1).any():
                break
        columns = random.choice(moving, min(len(moving), random.integers(1, 9)), replace=False)
        share = np.clip((np.arange(count) - at + 1) * step / max(hours * 3600, step), 0, 1)
        values[:, columns] += share[:, None] * shifts(random, deviation, columns, 1, 6)
        hour = slice(at, at + int(3600 / step))
        label[hour] = np.where(known[hour] == 1, 1, np.nan)
    return train, rows.assign(**dict(zip(rows.columns, values.T)), label=label)


def long(number, step, train, test):
    """Three events of 840 to 3,000 minutes in place of the labelled ones, which do not count."""
    random = np.random.default_rng(11 + number)
    rows, label = parts(test)
    label[label == 1] = np.nan
    deviation, moving = deviations(train)
    values = rows.to_numpy().copy()
    for part in range(3):
        at = int((0.1 + 0.3 * part + 0.1 * random.uniform()) * len(rows))
        event = slice(at, at + int(random.uniform(840, 3000) * 60 / step))
        columns = random.choice(moving, min(len(moving), random.integers(2, 8)), replace=False)
        values[event, columns] += shifts(random, deviation, columns, 1.5, 4)
        label[event] = 1
    return train, rows.assign(**dict(zip(rows.columns, values.T)), label=label)


def ticks(_, step, train, test):
    """A column that was constant moves for three rows 20 times a day from day 3 on, away from events."""
    rows, label = parts(test)
    constant = [c for c in rows if train[c].nunique() == 1 and rows[c].nunique() == 1]
    if not constant:
        return None
    day = int(DAY / step)
    values = rows[constant[0]].to_numpy().copy()
    for at in range(3 * day, len(rows) - 5, day // 20):
        if not (label[max(0, at - 60) : at + 60] == 1).any():
            values[at : at + 3] += 0.3
    return train, rows.assign(**{constant[0]: values}, label=label)


def halves(_, step, train, test):
    """Trained on the first half of the test part with its anomalies, measured on the second."""
    half = len(test) // 2
    return test.iloc[:half].drop(columns="label"), test.iloc[half:]


def cut(hours):
    """Trained on the last hours of the training part alone."""

    def change(_, step, train, test):
        count = int(hours * 3600 / step)
        return (train.tail(count), test) if 50 <= count < len(train) else None

    return change


CHANGES = {
    "trained for an hour": cut(1),
    "trained for two hours": cut(2),
    "trained for a day": cut(24),
    "trained for three days": cut(72),
    "trained on a half with anomalies": halves,
    "a constant column ticks": ticks,
    "lasting changes": lasting,
    "ramps of six hours": lambda *of_set: lasting(*of_set, hours=6),
    "long events": long,
}


def changed(group, of_group):
    """The group's sets with each change, by the group's name and the change."""
    found = {}
    for change, of in CHANGES.items():
        made = []
        for number, (name, step, train, test) in enumerate(of_group):
            tables = of(number, step, train, test)
            # Without both labels nothing can be ranked.
            if tables and tables[1].label.dropna().nunique() == 2:
                made.append((name, step, *tables))
        if made:
            found[f"{group}: {change}"] = made
    return found


def entities(of_group):
    """The sets of a group as the entities of one set, each named in the column `entity`."""
    parts = [[table.assign(entity=name) for table in tables] for name, _, *tables in of_group]
    return "entities", of_group[0][1], *(pd.concat(tables) for tables in zip(*parts))
