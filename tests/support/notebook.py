"""Runs the code cells of a notebook in the order of the file, as Jupyter does, and prints what they print.

    python tests/support/notebook.py NOTEBOOK.ipynb
"""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    cells = json.load(file)["cells"]
names: dict = {"__name__": "__main__"}
for number, cell in enumerate(cells, 1):
    if cell["cell_type"] == "code":
        exec(compile("".join(cell["source"]), f"cell {number}", "exec"), names)
