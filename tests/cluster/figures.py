"""Says what became of workflows, of what tests/cluster.sh saw of them (JSON lines, the last word on each
counts).

figures.py FILE count CLOCK      how many of a clock's workflows succeeded
figures.py FILE clock CLOCK      how they ended, and seconds from the scheduled minute to their end
figures.py FILE one NAME         seconds and pods of one workflow
figures.py FILE message CLOCK    messages of those that failed, newest first
"""

import datetime
import json
import statistics
import sys


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


file, what, name = sys.argv[1:]
known = {}
try:
    for line in open(file, encoding="utf-8"):
        try:
            workflow = json.loads(line)
        except ValueError:
            continue
        known[workflow["uid"]] = workflow
except FileNotFoundError:
    pass
workflows = sorted(known.values(), key=lambda workflow: workflow["created"])
of_clock = [workflow for workflow in workflows if workflow["clock"] == name]
ended = [workflow for workflow in of_clock if workflow["finished"]]
good = [workflow for workflow in ended if workflow["phase"] == "Succeeded"]
if what == "count":
    print(len(good))
elif what == "clock":
    took = sorted(seconds(it["finished"]) - seconds(it["scheduled"]) for it in good)
    pods = sorted(len(it["pods"]) for it in good)
    late = f", scheduled to Succeeded: median {statistics.median(took):.0f} s, longest {took[-1]:.0f} s" if took else ""
    each = f", {pods[0]} to {pods[-1]} pods each" if pods else ""
    print(f"{len(good)} of {len(ended)} ticks succeeded{late}{each}")
elif what == "one":
    for workflow in workflows:
        if workflow["name"] == name:
            took = seconds(workflow["finished"]) - seconds(workflow["created"])
            print(f"{workflow['phase']} after {took:.0f} s in {len(workflow['pods'])} pods: {', '.join(workflow['pods'])}")
elif what == "message":
    for workflow in reversed(ended):
        if workflow["phase"] != "Succeeded":
            print(workflow["message"])
else:
    sys.exit(f"unknown: {what}")
