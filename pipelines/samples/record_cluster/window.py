#!/usr/bin/env python3
"""Prints the time that a recording of a scenario log covers: window.py LOG.csv

The first fault comes after as much normal time as the faults take, and a minute follows the last one. Seconds since 1970.
"""

import csv
import datetime
import sys


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


with open(sys.argv[1]) as file:
    rows = list(csv.DictReader(file))
first, last = min(seconds(row["start"]) for row in rows), max(seconds(row["end"]) for row in rows)
print(int(2 * first - last), int(last) + 65)
