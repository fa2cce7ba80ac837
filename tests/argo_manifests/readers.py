"""Reads manifests as others do: YAML 1.1, as kubectl, and Argo's objects as hera, field by field.

Prints what YAML 1.1 makes of each file, as JSON by file name; ends with 1 if hera knows a field not.
"""

import json
import sys

import yaml
from hera.workflows import models


def lost(given, kept, path):
    """Yields what stands in a manifest and is no field of the model, or another value there."""
    if isinstance(given, dict):
        for name, value in given.items():
            if not isinstance(kept, dict) or name not in kept:
                yield f"{path}.{name}: no such field"
            else:
                yield from lost(value, kept[name], f"{path}.{name}")
    elif isinstance(given, list):
        if not isinstance(kept, list) or len(kept) != len(given):
            yield f"{path}: another list"
        else:
            for index, (one, other) in enumerate(zip(given, kept)):
                yield from lost(one, other, f"{path}[{index}]")
    elif given != kept:
        yield f"{path}: {given!r} is read as {kept!r}"


read, misfits = {}, []
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        read[path] = [document for document in yaml.safe_load_all(file) if document is not None]
    for document in read[path]:
        model = getattr(models, document["kind"], None)
        if document["apiVersion"] == "argoproj.io/v1alpha1":
            # hera 5 builds on pydantic 1, whose names these are.
            if hasattr(model, "model_validate"):
                kept = model.model_validate(document).model_dump_json(by_alias=True, exclude_none=True)
            else:
                kept = model.parse_obj(document).json(by_alias=True, exclude_none=True)
            kept = json.loads(kept)
            misfits += lost(document, kept, f"{path}: {document['kind']}")
print("\n".join(misfits), file=sys.stderr)
json.dump(read, sys.stdout)
sys.exit(1 if misfits else 0)
