"""A forest of scikit-learn behind kserve's own server: the peer of serve.sh.

    python tests/bench/serve.py PORT COLUMNS
"""

import sys

import numpy as np
from kserve import InferOutput, InferResponse, Model, ModelServer
from sklearn.ensemble import RandomForestClassifier

PORT, COLUMNS = int(sys.argv[1]), int(sys.argv[2])
chance = np.random.default_rng(7)
ROWS = chance.normal(size=(2000, COLUMNS))


class Forest(Model):
    def __init__(self):
        super().__init__("flow")
        self.forest = RandomForestClassifier(100, random_state=7, n_jobs=1).fit(ROWS, ROWS[:, 0] > 1)
        self.ready = True

    def predict(self, payload, headers=None, response_headers=None):
        scores = self.forest.predict_proba(payload.inputs[0].as_numpy())[:, 1]
        output = InferOutput("score", list(scores.shape), "FP64", data=scores.tolist())
        return InferResponse(payload.id or "0", self.name, [output])


if __name__ == "__main__":
    ModelServer(http_port=PORT, enable_grpc=False, workers=1).start([Forest()])
