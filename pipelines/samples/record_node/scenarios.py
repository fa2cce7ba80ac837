#!/usr/bin/env python3
"""Puts the scenario logs of all nodes into one, in order of time: scenarios.py OUT FILE.csv"""

import csv
import pathlib
import sys

rows = []
for path in sorted(pathlib.Path(sys.argv[1]).glob("node-*/scenarios.csv")):
    with open(path) as file:
        rows += [row for row in csv.DictReader(file)]
rows.sort(key=lambda row: row["start"])
with open(sys.argv[2], "w", newline="") as file:
    writer = csv.DictWriter(file, ["start", "end", "label", "target"], lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
