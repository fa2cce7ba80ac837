"""Asks a running endpoint with the clients that people use; prints what differs, and ends with 1 then.

    clients.py http://127.0.0.1:PORT
"""

import asyncio
import sys

import numpy as np
import tritonclient.http as triton
from kserve import InferenceRESTClient, RESTConfig, InferInput, InferRequest
from tritonclient.utils import InferenceServerException

URL = sys.argv[1]
HOST = URL.removeprefix("http://")
MODEL = "cluster"
ROWS = np.array([[0.5, 0.5], [9.0, 0.5]])
ALARMS = [False, True]


def check(what, found, expected):
    if found != expected:
        raise SystemExit(f"{what}: {found!r}, not {expected!r}")


def by_triton():
    client = triton.InferenceServerClient(HOST)
    check("live", client.is_server_live(), True)
    check("ready", client.is_server_ready(), True)
    check("model ready", client.is_model_ready(MODEL), True)
    check("unknown model ready", client.is_model_ready("other"), False)
    check("extensions", client.get_server_metadata()["extensions"], ["binary_tensor_data"])
    metadata = client.get_model_metadata(MODEL)
    check("inputs", metadata["inputs"][0], {"name": "features", "datatype": "FP64", "shape": [-1, 2]})
    outputs = [output["name"] for output in metadata["outputs"]]
    for binary_in in (True, False):
        for binary_out in (True, False):
            for compression in (None, "gzip", "deflate"):
                features = triton.InferInput("features", list(ROWS.shape), "FP64")
                features.set_data_from_numpy(ROWS, binary_data=binary_in)
                wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in outputs]
                reply = client.infer(MODEL, [features], outputs=wanted, request_id="a1", request_compression_algorithm=compression)
                case = f"binary in {binary_in}, out {binary_out}, {compression}"
                check(f"alarm, {case}", reply.as_numpy("alarm").tolist(), ALARMS)
                check(f"score, {case}", reply.as_numpy("score").shape, (2,))
                check(f"id, {case}", reply.get_response()["id"], "a1")
                reasons = reply.as_numpy("reasons")[1]
                check(f"reasons, {case}", b"memory_used_bytes" in (reasons if isinstance(reasons, bytes) else reasons.encode()), True)
    # Without named outputs all come, as binary by default.
    features = triton.InferInput("features", list(ROWS.shape), "FP64")
    features.set_data_from_numpy(ROWS)
    check("default outputs", client.infer(MODEL, [features]).as_numpy("alarm").tolist(), ALARMS)
    # One tensor for each feature, of other types.
    named = []
    for name, column, kind, dtype in (("memory_used_bytes", 0, "FP32", np.float32), ("cpu_busy_ratio", 1, "FP64", np.float64)):
        tensor = triton.InferInput(name, [2], kind)
        tensor.set_data_from_numpy(ROWS[:, column].astype(dtype))
        named.append(tensor)
    check("features by name", client.infer(MODEL, named).as_numpy("alarm").tolist(), ALARMS)
    wrong = triton.InferInput("features", [2, 3], "FP64")
    wrong.set_data_from_numpy(np.zeros((2, 3)))
    for case, ask, words in (
        ("wrong shape", lambda: client.infer(MODEL, [wrong]), "expected [rows, 2]"),
        ("unknown model", lambda: client.infer("other", [features]), "no model `other`"),
        ("unknown version", lambda: client.infer(MODEL, [features], model_version="9"), "is not live"),
    ):
        try:
            ask()
        except InferenceServerException as error:
            check(case, words in str(error), True)
        else:
            raise SystemExit(f"{case}: no error")
    client.close()


async def by_kserve():
    for protocol in ("v2",):
        client = InferenceRESTClient(RESTConfig(protocol=protocol, retries=0))
        check("kserve ready", await client.is_server_ready(URL), True)
        check("kserve live", await client.is_server_live(URL), True)
        check("kserve model ready", await client.is_model_ready(URL, MODEL), True)
        for binary in (True, False):
            features = InferInput("features", list(ROWS.shape), "FP64")
            features.set_data_from_numpy(ROWS, binary_data=binary)
            reply = await client.infer(URL, InferRequest(MODEL, [features], request_id="k1"), model_name=MODEL)
            output = next(output for output in reply.outputs if output.name == "alarm")
            check(f"kserve alarm, binary {binary}", output.as_numpy().tolist(), ALARMS)
            check(f"kserve id, binary {binary}", reply.id, "k1")
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    reply = await client.infer(URL, {"instances": ROWS.tolist()}, model_name=MODEL)
    check("kserve v1", [row["verdict"] for row in reply["predictions"]], ["normal", "anomalous"])


by_triton()
asyncio.run(by_kserve())
print("all clients agree")
