#!/usr/bin/env python3
"""Makes a large table of 1,000 entities x minutes x 5 columns: table.py ROWS FILE [--by-entity]

FILE ends in .csv or .parquet (row groups of 1,048,576 rows, which is what pyarrow writes by itself). Rows are in order of
time; with --by-entity one entity comes after the other, so that all of them have to be sorted. Seeded.
"""

import sys

import numpy
import pyarrow
import pyarrow.csv
import pyarrow.parquet

ENTITIES, COLUMNS = 1000, 5
START_MS = 1_795_219_200_000  # 2026-11-21T00:00:00Z
PART_ROWS = 1 << 20


def part(first, rows, minutes, by_entity, random):
    number = numpy.arange(first, first + rows)
    minute, entity = (number % minutes, number // minutes) if by_entity else (number // ENTITIES, number % ENTITIES)
    names = pyarrow.array([f"node-{entity:04}" for entity in range(ENTITIES)])
    columns = {
        "time": pyarrow.array(START_MS + 60_000 * minute, pyarrow.timestamp("ms", "UTC")),
        "entity": names.take(pyarrow.array(entity)),
    }
    for column in range(COLUMNS):
        wave = numpy.sin((minute + 97 * column) / 230)
        columns[f"column_{column}"] = numpy.round(10 + wave + random.random(rows), 6)
    return pyarrow.table(columns)


def main(rows, path, *flags):
    rows, random = int(rows), numpy.random.default_rng(1)
    writer = None
    for first in range(0, rows, PART_ROWS):
        table = part(first, min(PART_ROWS, rows - first), rows // ENTITIES, "--by-entity" in flags, random)
        if writer is None:
            kind = pyarrow.parquet.ParquetWriter if path.endswith(".parquet") else pyarrow.csv.CSVWriter
            writer = kind(path, table.schema)
        writer.write_table(table)
    writer.close()


main(*sys.argv[1:])
