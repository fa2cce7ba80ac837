"""Makes adaptive.json: the adaptive model computed with numpy, row by row.

    pip install numpy==2.4.6
    python make_adaptive.py
"""

import json
from collections import deque
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

STEP, WINDOWS, GATE_WINDOWS = 60.0, (5, 15, 30), (5,)


def data():
    """1,600 training rows and 300 test rows of three signals with a drift and two faults."""
    random = np.random.default_rng(3)
    count = 1900
    time = np.arange(count)
    noise = random.normal(size=(count, 3))
    for row in range(1, count):
        noise[row] += 0.6 * noise[row - 1]
    rows = np.column_stack([
        50 + 10 * np.sin(time / 230) + 2 * noise[:, 0],
        1e3 + 0.4 * time + 30 * noise[:, 1],
        np.round(np.maximum(0, noise[:, 2]), 0),
    ])
    rows[1700:1725, 0] += 40
    rows[1810:1830, 1:] += [500, 6]
    return np.round(rows, 3)[:1600], np.round(rows, 3)[1600:]


def scale(train):
    mean, deviation = train.mean(0), train.std(0)
    spread = train.max(0) - train.min(0)
    constant = np.maximum(0.01 * np.abs(mean), 1e-6)
    return mean, np.where(spread > 0, np.maximum(deviation, 0.01 * spread), constant)


def departures(scaled, count):
    rate = lambda hours, most: 1 - 0.5 ** (1 / max(240, min(most, hours * 3600 / STEP)))
    mean, variance = np.zeros(scaled.shape[1]), np.ones(scaled.shape[1])
    result = np.empty_like(scaled)
    for row, values in enumerate(scaled):
        usual = np.maximum(np.sqrt(variance), 0.5)
        difference = values - mean
        result[row] = np.clip(difference / usual, -30, 30)
        innovation = np.clip(difference, -3.5 * usual, 3.5 * usual)
        mean = mean + rate(12, count) * innovation
        variance = variance + rate(24, np.inf) * (innovation**2 - variance)
    return result


def windows(rows, lengths):
    blocks = [rows]
    for length in lengths:
        mean, deviation = np.empty_like(rows), np.empty_like(rows)
        for row in range(length - 1):
            mean[row], deviation[row] = rows[: row + 1].mean(0), rows[: row + 1].std(0)
        view = sliding_window_view(rows, length, axis=0)
        mean[length - 1 :], deviation[length - 1 :] = view.mean(-1), view.std(-1)
        blocks += [mean, deviation]
    return np.hstack(blocks)


def fit(rows):
    mean, deviation = rows.mean(0), np.maximum(rows.std(0), 0.3)
    inverse = np.linalg.inv(np.linalg.cholesky(np.cov(rows.T) + 0.3 * np.eye(rows.shape[1])))

    def score(rows):
        distance = (((rows - mean) @ inverse.T) ** 2).sum(1)
        squares = (((rows - mean) / deviation) ** 2).sum(1)
        return 0.5 * (np.log(distance + 1e-9) + np.log(squares + 1e-9))

    return score


def scores(rows, count, lengths):
    """Training rows by models without their fold, then the test rows by the whole model."""
    features = windows(rows, lengths)
    train, test = features[:count], features[count:]
    bounds = [count * fold // 4 for fold in range(5)]
    result = np.empty(count)
    for low, high in zip(bounds, bounds[1:]):
        result[low:high] = fit(np.r_[train[:low], train[high:]])(train[low:high])
    return np.r_[result, fit(train)(test)]


def runs(flags):
    return np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0])).reshape(-1, 2)


def tail(excess, threshold, per_day):
    peaks = np.sort([excess[a:b].max() - threshold for a, b in runs(excess > threshold)])
    count = len(peaks)
    mean = peaks.mean()
    moment = (peaks * (count - 1 - np.arange(count)) / (count - 1)).mean()
    ratio = mean / (mean - 2 * moment)
    deviation = 2 * mean * moment / (mean - 2 * moment)
    shape = np.clip(2 - ratio, -0.5, 0.5)
    expected = per_day * STEP / 86400 / (count / len(excess))
    return max(threshold, threshold + deviation * (expected**-shape - 1) / shape)


class Offset:
    def __init__(self, first, usual):
        blocks = min(144, len(first) // 30)
        medians = np.median(first[: blocks * 30].reshape(blocks, 30), 1)
        self.usual, self.ring, self.block = usual, deque(medians, maxlen=blocks), []

    def value(self):
        return self.usual + np.clip(np.median(np.array(self.ring)) - self.usual, -0.5, 1.0)

    def push(self, score):
        self.block.append(score)
        if len(self.block) == 30:
            self.ring.append(np.median(self.block))
            self.block = []


def judge(long, short, level, count):
    warm = min(60, count // 10)
    usual = np.median(long[warm:count])
    offset, excess = Offset(long[:count], usual), np.empty(len(long))
    for row in range(count):
        excess[row] = long[row] - offset.value()
        offset.push(long[row])
    train = excess[warm:count]
    threshold = np.quantile(train, 1 - max(0.02, min(0.1, 30 / len(train))))
    alarm = tail(train, threshold, 2)
    page = max(alarm, tail(train, threshold, 1 / 7))
    stay = min(alarm, np.quantile(train, 0.99))
    gate = np.quantile(short[warm:count], 0.95)
    bare = np.quantile(level[warm:count], 0.95)
    recent, standing, ended, rows, alarms = deque(short[count - 4 : count], maxlen=5), False, False, 0, []
    for row in range(count, len(long)):
        excess[row] = long[row] - offset.value()
        recent.append(short[row])
        gate_open = max(recent) > gate
        may = max(level[row - 2 : row + 1]) > bare if standing or ended else gate_open
        before, standing = standing, bool(excess[row] > (stay if standing else alarm) and may)
        ended = bool((ended or before) and not standing and gate_open)
        alarms.append(standing)
        rows = rows + 1 if standing else 0
        if rows == 0 or rows > 1440:
            offset.push(long[row])
    levels = {"usual": usual, "alarm": alarm, "stay": stay, "page": page}
    return levels, excess[count:], alarms


def main():
    train, test = data()
    mean, spread = scale(train)
    scaled = np.clip((np.r_[train, test] - mean) / spread, -30, 30)
    count = len(train)
    rows = departures(scaled, count)
    long, short = scores(rows, count, WINDOWS), scores(rows, count, GATE_WINDOWS)
    levels, excess, alarms = judge(long, short, scores(rows, count, ()), count)
    lists = {"long": long[count:], "short": short[count:], "excess": excess}
    expected = {
        "train": train.tolist(),
        "test": test.tolist(),
        "training_scores": long[:count].round(9).tolist(),
        "levels": levels,
        **{name: values.round(9).tolist() for name, values in lists.items()},
        "alarms": alarms,
    }
    text = json.dumps(expected, separators=(",", ":"))
    Path(__file__).with_name("adaptive.json").write_text(text + "\n")
    print(levels, sum(alarms), [len(values) for values in (train, test)])


main()
