"""Checks that each window was scored exactly once: no minute between the first and the last is missing,
and no object was written twice. Reads what `mc --json ls --versions` says of the scores.
"""

import collections
import datetime
import json
import sys

versions = collections.Counter()
for line in open(sys.argv[1], encoding="utf-8"):
    entry = json.loads(line)
    if entry.get("status") != "success":
        sys.exit(f"mc: {line}")
    versions[entry["key"].rsplit("/", 1)[-1]] += 1
times = sorted(
    datetime.datetime.strptime(name, "%Y%m%dT%H%M%SZ.json") for name in versions if name.endswith("Z.json")
)
if not times:
    sys.exit("no window was scored")
minutes = int((times[-1] - times[0]).total_seconds() // 60)
wanted = {times[0] + datetime.timedelta(minutes=minute) for minute in range(minutes + 1)}
missing = sorted(wanted - set(times))
twice = sorted(name for name, count in versions.items() if count > 1)
print(f"{len(times)} windows from {times[0]} to {times[-1]}: {len(missing)} missing, {len(twice)} written twice")
if missing or twice:
    sys.exit(f"missing: {[str(time) for time in missing]}, written twice: {twice}")
