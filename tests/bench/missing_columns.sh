#!/usr/bin/env bash
# What a column that vanishes does to the default model: 1, 3 and 10 of 26 columns without values, from the start and midway,
# for 15 minutes, for three hours and for good.
#
#   tests/bench/missing_columns.sh DATA [--document FILE] [--set FIELD=VALUE]...
#
# DATA holds machine-1-2_train.csv.gz and machine-1-2_test.csv.gz of the Server Machine Dataset (as quality.sh reads them). Trained on
# all of the first and tested on three days of the second, around its first three events, 26 columns each. Needs python3.
set -euo pipefail
cd "$(dirname "$0")/../.."
data=$(realpath "${1:?name the folder with machine-1-2}")
[ ! -d "$data/smd" ] || data=$data/smd
. tests/bench/build.sh
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
columns=$(python3 - "$data" "$work" <<'P'
import csv
import gzip
import pathlib
import sys

data, work = map(pathlib.Path, sys.argv[1:])
DAYS = slice(3600, 3600 + 3 * 1440)  # events begin at rows 4629, 5486 and 5875


def read(part):
    with gzip.open(data / f"machine-1-2_{part}.csv.gz", "rt") as file:
        header, *rows = csv.reader(file)
    return header, rows


def write(name, header, rows):
    with open(work / f"{name}.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


header, train = read("train")
_, test = read("test")
test = test[DAYS]
# The first 26 columns that are not constant in training.
kept = [i for i in range(len(header)) if len({row[i] for row in train}) > 1][:26]
names = [header[i] for i in kept]
train = [[row[i] for i in kept] for row in train]
test = [[row[i] for i in kept] + [row[-1]] for row in test]
variants = {"00 none gone": (0, 0, 0)}
for count in (1, 3, 10):
    for start, place in ((0, "the start"), (len(test) // 2, "midway")):
        for rows, long in ((15, "15 min"), (180, "3 h"), (len(test), "ever")):
            variants[f"{count:02} from {place}, {long}"] = (count, start, rows)
for name, (count, start, rows) in variants.items():
    gone = set(list(range(0, 26, 26 // count))[:count]) if count else set()
    inside = range(start, start + rows)
    write(f"{name}_train", names, train)
    write(f"{name}_test", names + ["label"], [["" if column in gone and number in inside else cell for column, cell in enumerate(row)] for number, row in enumerate(test)])
print(",".join(names))
P
)
# Named, so that one without any value is not left out.
"$examples/quality" "$work" --set "sources.rows.table.columns=[$columns]" "${@:2}"
