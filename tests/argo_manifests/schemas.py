"""Validates objects against the published schemas of Kubernetes, strictly: an unknown field is an error.

Reads a JSON list of objects from the file that is named, and prints one line for each that is refused.
"""

import json
import sys

import kubernetes_validate

with open(sys.argv[1], encoding="utf-8") as file:
    objects = json.load(file)
for thing in objects:
    try:
        kubernetes_validate.validate(thing, "1.34", strict=True)
    except kubernetes_validate.ValidationError as error:
        name = thing.get("metadata", {}).get("name")
        print(f"{thing.get('kind')}/{name}: {error.message}")
