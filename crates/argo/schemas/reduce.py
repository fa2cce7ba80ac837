"""Makes fields.json, the fields that `lynceus lint` knows, from published schemas.

    python3 crates/argo/schemas/reduce.py SCHEMA DEFINITIONS > crates/argo/schemas/fields.json

SCHEMA is api/jsonschema/schema.json of Argo Workflows 4.1.2:
https://raw.githubusercontent.com/argoproj/argo-workflows/v4.1.2/api/jsonschema/schema.json

DEFINITIONS is kubernetes_validate/kubernetes-json-schema/v1.34.0-local/_definitions.json of the
Python package kubernetes-validate 1.34.1, which tests/support/python.sh installs. It is the OpenAPI
of Kubernetes as a JSON schema.

    python3 crates/argo/schemas/reduce.py --check crates/argo/schemas/fields.json DEFINITIONS

compares the fields of Kubernetes with DEFINITIONS, as a test does.

The result keeps names, types and required fields of the kinds that may be in an overlay, and
nothing else. KServe and kustomize publish no schema, so their fields are listed here.
"""

import json
import sys

ARGO = "io.argoproj.workflow.v1alpha1."
CORE = "io.k8s.api.core.v1."
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
ARGO_KINDS = ["ClusterWorkflowTemplate", "CronWorkflow", "Workflow", "WorkflowEventBinding", "WorkflowTemplate"]
GROUPS = {
    "v1",
    "apps/v1",
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "networking.k8s.io/v1",
    "policy/v1",
    "rbac.authorization.k8s.io/v1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1",
}

# Types whose schema says less, or more, than the servers do.
TYPES = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "integer-or-string"},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "quantity"},
    # A list of items; Argo takes any value as an item.
    ARGO + "Item": {},
}
# Argo's AnyString: it also reads numbers and booleans.
SCALARS = [("Parameter", "value"), ("Parameter", "default"), ("SuppliedValueFrom", None)]


def reduced(schema):
    """Returns a schema with nothing but types, fields and what is required."""
    made = {}
    if "$ref" in schema:
        return {"$ref": schema["$ref"].rsplit("/", 1)[1]}
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next(one for one in kind if one != "null")
    if kind:
        made["type"] = kind
    if "properties" in schema:
        made["properties"] = {name: reduced(it) for name, it in schema["properties"].items()}
    for name in ["items", "additionalProperties"]:
        if isinstance(schema.get(name), dict):
            made[name] = reduced(schema[name])
    if schema.get("required"):
        made["required"] = schema["required"]
    return made


def references(schema):
    if "$ref" in schema:
        yield schema["$ref"]
    for it in schema.get("properties", {}).values():
        yield from references(it)
    for name in ["items", "additionalProperties"]:
        if name in schema:
            yield from references(schema[name])


def renamed(schema, names):
    """Returns a schema with other names of the definitions that it refers to."""
    if "$ref" in schema:
        return {"$ref": names.get(schema["$ref"], schema["$ref"])}
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: renamed(it, names) for name, it in made["properties"].items()}
    for name in ["items", "additionalProperties"]:
        if name in made:
            made[name] = renamed(made[name], names)
    return made


def read(definitions):
    made = {name: TYPES.get(name, reduced(schema)) for name, schema in definitions.items()}
    for schema in made.values():
        # Servers write it; what is in it does not matter in a manifest.
        if "kind" in schema.get("properties", {}) and "status" in schema["properties"]:
            schema["properties"]["status"] = {}
    return made


def fields(**given):
    return {"type": "object", "properties": given}


def kserve(kubernetes):
    """The fields of an InferenceService (serving.kserve.io/v1beta1)."""
    text, whole = {"type": "string"}, {"type": "integer"}
    labels = {"type": "object", "additionalProperties": text}
    own = dict(minReplicas=whole, maxReplicas=whole, scaleTarget=whole, scaleMetric=text,
               scaleMetricType=text, containerConcurrency=whole, timeout=whole,
               canaryTrafficPercent=whole, labels=labels, annotations=labels)
    others = ["autoScaling", "batcher", "deploymentStrategy", "huggingface", "lightgbm", "logger", "model",
              "onnx", "paddle", "pmml", "pytorch", "sklearn", "tensorflow", "triton", "workerSpec", "xgboost"]
    predictor = kubernetes[CORE + "PodSpec"]["properties"] | own | {name: {} for name in others}
    spec = fields(predictor=fields(**predictor), transformer={}, explainer={})
    return fields(apiVersion=text, kind=text, metadata={"$ref": META}, spec=spec, status={})


def kustomize():
    """The fields of a Kustomization (kustomize.config.k8s.io/v1beta1)."""
    text = {"type": "string"}
    texts = {"type": "array", "items": text}
    labels = {"type": "object", "additionalProperties": text}
    lists = {"type": "array"}
    target = fields(group=text, version=text, kind=text, name=text, namespace=text, labelSelector=text,
                    annotationSelector=text)
    patch = fields(path=text, patch=text, target=target, options={"type": "object"})
    image = fields(name=text, newName=text, newTag=text, tagSuffix=text, digest=text)
    order = fields(order=text, legacySortOptions={"type": "object"})
    return fields(
        apiVersion=text, kind=text, metadata={"type": "object"}, openapi={"type": "object"}, namePrefix=text,
        nameSuffix=text, namespace=text, commonLabels=labels, commonAnnotations=labels, labels=lists,
        patchesStrategicMerge=texts, patchesJson6902=lists, patches={"type": "array", "items": patch},
        images={"type": "array", "items": image}, replacements=lists, replicas=lists, vars=lists,
        sortOptions=order, resources=texts, components=texts, crds=texts, bases=texts, configMapGenerator=lists,
        secretGenerator=lists, helmGlobals={"type": "object"}, helmCharts=lists,
        helmChartInflationGenerator=lists, generatorOptions={"type": "object"}, configurations=texts,
        generators=texts, transformers=texts, validators=texts, buildMetadata=texts)


def repository(argo):
    """The settings of an artifact repository, which Argo reads from a ConfigMap."""
    bucket = argo[ARGO + "S3Artifact"]["properties"] | {"keyFormat": {"type": "string"}, "keyPrefix": {"type": "string"}}
    others = {name: {"type": "object"} for name in ["artifactory", "azure", "gcs", "hdfs", "oss"]}
    return fields(archiveLogs={"type": "boolean"}, s3=fields(**bucket), **others)


def main(schema, definitions):
    with open(schema, encoding="utf-8") as file:
        argo = read(json.load(file)["definitions"])
    with open(definitions, encoding="utf-8") as file:
        published = json.load(file)["$defs"]
    kubernetes = read(published)
    for name, field in SCALARS:
        if field:
            argo[ARGO + name]["properties"][field] = {"type": "scalar"}
    argo[ARGO + "Parameter"]["properties"]["enum"]["items"] = {"type": "scalar"}
    # Argo has some definitions of Kubernetes of another version: these, and those that refer to them,
    # have names of their own.
    names, before = {}, None
    while before != len(names):
        before = len(names)
        for name in argo.keys() & kubernetes.keys():
            if renamed(argo[name], names) != kubernetes[name]:
                names[name] = "argo." + name
    all_of = dict(kubernetes)
    all_of.update({names.get(name, name): renamed(it, names) for name, it in argo.items()})
    all_of["kserve.InferenceService"] = kserve(kubernetes)
    all_of["kustomize.Kustomization"] = kustomize()
    all_of["argo.ArtifactRepository"] = renamed(repository(argo), names)
    kinds = {f"argoproj.io/v1alpha1/{kind}": ARGO + kind for kind in ARGO_KINDS}
    kinds["serving.kserve.io/v1beta1/InferenceService"] = "kserve.InferenceService"
    kinds["kustomize.config.k8s.io/v1beta1/Kustomization"] = "kustomize.Kustomization"
    kinds["kustomize.config.k8s.io/v1alpha1/Component"] = "kustomize.Kustomization"
    for name, it in published.items():
        for known in it.get("x-kubernetes-group-version-kind", []):
            version = "/".join(part for part in [known["group"], known["version"]] if part)
            if version in GROUPS and not known["kind"].endswith("List") and ".meta." not in name:
                kinds[f"{version}/{known['kind']}"] = name
    reached, open_names = set(), [*kinds.values(), "argo.ArtifactRepository"]
    while open_names:
        name = open_names.pop()
        if name not in reached:
            reached.add(name)
            open_names.extend(references(all_of[name]))

    def line(value):
        return json.dumps(value, separators=(",", ":"))

    print("{\"source\":" + line("Argo Workflows 4.1.2 and Kubernetes 1.34 (Apache-2.0), by reduce.py") + ",")
    print("\"kinds\":{\n" + ",\n".join(f"{line(kind)}:{line(kinds[kind])}" for kind in sorted(kinds)) + "},")
    print("\"definitions\":{\n" + ",\n".join(f"{line(name)}:{line(all_of[name])}" for name in sorted(reached)) + "}}")


def check(made, definitions):
    """Prints the definitions of Kubernetes that are not those of the published schema."""
    with open(made, encoding="utf-8") as file:
        made = json.load(file)["definitions"]
    with open(definitions, encoding="utf-8") as file:
        kubernetes = read(json.load(file)["$defs"])
    own = {name: it for name, it in made.items() if name.startswith("io.k8s.")}
    for name, it in own.items():
        if it != kubernetes.get(name):
            print(f"{name} is not as published")
    print(f"{len(own)} definitions")


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(*sys.argv[2:])
    else:
        main(*sys.argv[1:])
