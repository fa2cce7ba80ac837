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


TRAIN = 3200  # rows; two days and a few hours


def data():
    """Training rows and 300 test rows of three signals with a drift, a job twice a day and two faults."""
    random = np.random.default_rng(3)
    count = TRAIN + 300
    time = np.arange(count)
    noise = random.normal(size=(count, 3))
    for row in range(1, count):
        noise[row] += 0.6 * noise[row - 1]
    rows = np.column_stack([
        50 + 10 * np.sin(time / 230) + 2 * noise[:, 0],
        1e3 + 0.4 * time + 30 * noise[:, 1],
        np.round(np.maximum(0, noise[:, 2]), 0),
    ])
    for job in range(390, count, 740):
        rows[job : job + 6, 2] += 12
    rows[TRAIN + 60 : TRAIN + 85, 0] += 40
    rows[TRAIN + 210 : TRAIN + 230, 1:] += [500, 6]
    return np.round(rows, 3)[:TRAIN], np.round(rows, 3)[TRAIN:]


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
        # Departures are remembered in half precision.
        result[row] = np.clip(difference / usual, -30, 30).astype(np.float16)
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


def ridge(lengths):
    """There are many rows for each feature: a sixth of the default over all windows, a third over the newest rows."""
    return 0.3 / (6 if lengths == WINDOWS else 3)


def fit(rows, ridge):
    """The score of rows whose mean is the usual one, or another."""
    mean, deviation = rows.mean(0), np.maximum(rows.std(0), ridge)
    inverse = np.linalg.inv(np.linalg.cholesky(np.cov(rows.T) + ridge * np.eye(rows.shape[1])))

    def score(rows, mean=mean):
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
        result[low:high] = fit(np.r_[train[:low], train[high:]], ridge(lengths))(train[low:high])
    return np.r_[result, fit(train, ridge(lengths))(test)]


def bounded(long, short, count):
    """Scores of the windows, at most so far above the highest of the 5 newest short ones as in 99 of 100 training rows."""
    highest = np.array([short[max(0, row - 4) : row + 1].max() for row in range(len(short))])
    most = np.quantile((long - highest)[min(60, count // 10) : count], 0.99)
    return np.minimum(long, highest + most)


def lowered(scores, rows, count):
    """Scores by the distance from the second nearest extreme of training, where that is less than from the mean."""
    features = windows(rows, WINDOWS)
    score, size = fit(features[:count], ridge(WINDOWS)), (features**2).sum(1)
    warm = min(60, count // 10)
    hours = [range(max(warm, hour), min(hour + 60, count)) for hour in range(0, count, 60)]
    furthest = np.array([max(hour, key=lambda row: size[row]) for hour in hours if len(hour)])
    furthest = furthest[np.argsort(-size[furthest], kind="stable")][:256]
    # They are remembered in single precision.
    extremes = features[furthest].astype(np.float32).astype(float)
    floor = float(np.float32(np.quantile(scores[:count], 0.9)))
    result = scores.copy()
    for row in np.flatnonzero(size >= (extremes**2).sum(1).min()):
        # What is less than half a day apart is the same state.
        of_others = extremes[abs(furthest - row) >= 720] if row < count else extremes
        nearer = [score(features[row : row + 1], extreme)[0] for extreme in of_others]
        nearer = min(0, np.sort(nearer)[1] - score(features[row : row + 1])[0])
        result[row] = min(scores[row], max(scores[row] + nearer, floor))
    print("lowered:", (result < scores - 1e-9).sum(), "of them in test:", (result < scores - 1e-9)[count:].sum())
    return result


def runs(flags):
    return np.flatnonzero(np.diff(np.r_[0, flags.astype(int), 0])).reshape(-1, 2)


def fit_tail(scores):
    """Start, scale and peaks a day of an exponential tail, censored at the 90th percentile."""
    start = np.quantile(scores, 1 - max(0.02, min(0.1, 30 / len(scores))))
    peaks = np.array([scores[a:b].max() - start for a, b in runs(scores > start)])
    censor = np.quantile(peaks, 0.9)
    scale = np.minimum(peaks, censor).sum() / (peaks <= censor).sum()
    return start, scale, len(peaks) / len(scores) * 86400 / STEP


def judge(long, short, level, count):
    warm = min(60, count // 10)
    train = long[warm:count]
    start, deviation, peaks_per_day = fit_tail(train)
    passed = lambda per_day: start + max(0, deviation * np.log(peaks_per_day / per_day))
    stay_below = max(0, passed(2) - np.quantile(train, 0.99))
    # At most three days of hourly maxima, and at least 36 hours: expected ones where there are fewer.
    seen = len(train) // 60
    missing = max(0, 36 - seen)
    ranks = [(2 * index + 1) * (seen + missing) // (2 * missing) + 1 for index in range(missing)]
    expected = [passed(rank / (seen + missing) * 24) for rank in ranks]
    # They are remembered in single precision.
    single = lambda values: np.asarray(values).astype(np.float32).astype(float)
    maxima = deque(single(expected + list(train[-seen * 60 :].reshape(seen, 60).max(1))), maxlen=72)
    gate = np.quantile(short[warm:count], 0.9)
    bare = np.quantile(level[warm:count], 0.95)
    recent, standing, ended, rows = deque(short[count - 4 : count], maxlen=5), False, False, 0
    alarms, thresholds, block = [], [], []
    # An alarm in the 30 rows after another needs a score above its highest one, or an urgent one.
    urgent_above, rearming, highest = max(0, deviation * np.log(2 * 7)), 0, 0.0
    for row in range(count, len(long)):
        # As many of them are above it as alarms are expected: two a day.
        above = len(maxima) / 24 * 2 - 1
        largest = np.sort(maxima)[::-1]
        threshold = np.interp(above, range(len(largest)), largest)
        again = max(threshold, min(highest, threshold + urgent_above)) if rearming else threshold
        thresholds.append(threshold - stay_below if rows else again)
        recent.append(short[row])
        gate_open = max(recent) > gate
        newest = np.average(level[row - 2 : row + 1], weights=[1, 2, 3])
        may = newest > bare if standing or ended else gate_open
        before, standing = standing, bool(long[row] > thresholds[-1] and may)
        ended = bool((ended or before) and not standing and gate_open)
        alarms.append(standing)
        held_back = not rows and rearming and may and not standing and long[row] > threshold
        if standing:
            highest = max(long[row], highest) if rows or rearming else long[row]
        rearming = 30 if standing else max(0, rearming - 1)
        rows = rows + 1 if standing else 0
        if not held_back and (rows <= 1 or rows > 720):
            block.append(long[row])
            if len(block) == 60:
                maxima.append(float(single(max(block))))
                block = []
    levels = {
        "tail_start": start,
        "tail_scale": deviation,
        "peaks_per_day": peaks_per_day,
        "stay_below": stay_below,
    }
    return levels, np.array(thresholds), alarms


def main():
    train, test = data()
    mean, spread = scale(train)
    scaled = np.clip((np.r_[train, test] - mean) / spread, -30, 30)
    count = len(train)
    rows = departures(scaled, count)
    long, short = scores(rows, count, WINDOWS), scores(rows, count, GATE_WINDOWS)
    long = lowered(bounded(long, short, count), rows, count)
    levels, thresholds, alarms = judge(long, short, scores(rows, count, ()), count)
    lists = {"long": long[count:], "short": short[count:], "thresholds": thresholds}
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
