"""Makes labelled.json: what scikit-learn's trees say of rows with three classes.

    pip install numpy==2.4.6 scikit-learn==1.9.1
    python make_labelled.py > labelled.json

Values are whole 1024ths: scikit-learn rounds to single precision.
"""

import json

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

random = np.random.default_rng(5)


def rows(counts):
    classes = np.repeat([0, 1, 2], counts)
    values = random.normal(size=(len(classes), 6))
    values[:, 0] += 1.2 * (classes == 1)
    values[:, 1] += values[:, 0] * (classes == 2)
    values[:, 2] *= 1 + 1.5 * (classes == 2)
    values[:, 3] -= 0.8 * classes
    order = random.permutation(len(classes))
    return np.round(values[order] * 1024) / 1024, classes[order]


train, target = rows([303, 121, 57])
test, expected = rows([60, 40, 20])


def weights(kind, seed):
    """Weights of the classes; nudged by up to 1e-7 for every seed but the first."""
    counts = np.bincount(target)
    values = np.ones(3) if kind is None else len(target) / (3 * counts)
    nudge = np.random.default_rng(seed).uniform(-1e-7, 1e-7, 3) if seed else 0
    return dict(enumerate(values * (1 + nudge)))


trees = []
for weight in (None, "balanced"):
    found = 0
    for depth, leaf in [(5, 8), (4, 8), (6, 15), (5, 20), (4, 15), (3, 10), (4, 25), (3, 20), (2, 20), (8, 30), (7, 40)]:
        fitted = [
            DecisionTreeClassifier(
                max_depth=depth, min_samples_leaf=leaf, class_weight=weights(weight, seed), random_state=seed
            ).fit(train, target)
            for seed in range(20)
        ]
        said = [tree.predict_proba(test) for tree in fitted]
        # Lots or rounding choose among splits that are equally good: only what needed no choice, and
        # stays when the weights are nudged, is a reference.
        if found == 2 or not all(np.allclose(said[0], other, atol=1e-4) for other in said):
            continue
        found += 1
        trees.append(
            {
                "max_depth": depth,
                "min_leaf_rows": leaf,
                "class_weights": weight or "rows",
                "probability": said[0].tolist(),
                "importance": fitted[0].feature_importances_.tolist(),
            }
        )
    assert found == 2, weight
forests = [
    RandomForestClassifier(n_estimators=100, random_state=seed).fit(train, target)
    for seed in range(20)
]
accuracy = [forest.score(test, expected) for forest in forests]
forest = {
    "mean_probability": np.mean([f.predict_proba(test) for f in forests], axis=0).tolist(),
    "importance": np.mean([f.feature_importances_ for f in forests], axis=0).tolist(),
    "accuracy_mean": float(np.mean(accuracy)),
    "accuracy_deviation": float(np.std(accuracy)),
}
print(
    json.dumps(
        {
            "train": train.tolist(),
            "target": target.tolist(),
            "test": test.tolist(),
            "expected": expected.tolist(),
            "decision_tree": trees,
            "random_forest": forest,
        }
    )
)
