"""Makes reference.json: what scikit-learn, numpy and PyTorch say about a small data set.

    pip install numpy==2.4.6 scikit-learn==1.9.1 torch==2.15.0
    python make_reference.py

The rows come from a formula (sums of sines with a fixed pseudo-random sequence), rounded to four
places so that every reader sees the same numbers; nothing in them is measured.
"""

import json
import math
import platform

import numpy as np
import sklearn
import torch
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

COLUMNS = 6


def sequence(seed):
    state = seed
    while True:
        state = (1103515245 * state + 12345) % 2**31
        yield state / 2**31


def make_rows(count, seed, anomalous):
    noise = sequence(seed)
    rows, labels = [], []
    for row in range(count):
        t = row / 40
        base = [math.sin(t), math.cos(t), math.sin(t) * math.cos(t), 3 + math.sin(2 * t), 0.5, t % 1]
        values = [b + 0.1 * (next(noise) + next(noise) + next(noise) - 1.5) for b in base]
        values[4] = 0.5
        odd = anomalous and row % 10 == 3
        if odd:
            # A departure of a size that no detector finds every time.
            values[row % 4] += 0.9 * (1 if next(noise) > 0.5 else -1) * (0.5 + next(noise))
        rows.append([round(v, 4) for v in values])
        labels.append(odd)
    return rows, labels


def network(train):
    """PyTorch's loss at each step and weights after them, from the weights given here."""
    start = sequence(5)
    sizes = [COLUMNS, 4, 2, 4, COLUMNS]
    layers = [torch.nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]
    initial = []
    with torch.no_grad():
        for layer in layers:
            for tensor in (layer.weight, layer.bias):
                values = [round(next(start) - 0.5, 4) for _ in range(tensor.numel())]
                tensor.copy_(torch.tensor(values).reshape(tensor.shape))
            initial.append({"weight": layer.weight.flatten().tolist(), "bias": layer.bias.tolist()})
    parts = []
    for layer in layers[:-1]:
        parts += [layer, torch.nn.ReLU()]
    model = torch.nn.Sequential(*parts, layers[-1])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    rows = torch.tensor(MinMaxScaler().fit_transform(train), dtype=torch.float32)
    losses = []
    for _ in range(20):
        for batch in rows.split(64):
            optimiser.zero_grad()
            loss = torch.nn.functional.mse_loss(model(batch), batch)
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    final = [{"weight": l.weight.flatten().tolist(), "bias": l.bias.tolist()} for l in layers]
    return {"initial": initial, "learning_rate": 1e-2, "batch": 64, "losses": losses, "final": final}


def main():
    train, _ = make_rows(500, 1, False)
    test, labels = make_rows(300, 2, True)
    train, test = np.array(train), np.array(test)
    reference = {
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit_learn": sklearn.__version__,
            "torch": torch.__version__.split("+")[0],
        },
        "train": train.tolist(),
        "test": test.tolist(),
        "anomalous": labels,
    }
    scaler = MinMaxScaler().fit(train)
    # scikit-learn measures a constant column by 1, Lynceus by a tenth: left out of the comparison.
    columns = [0, 1, 2, 3, 5]
    reference["svm_columns"] = columns
    reference["one_class_svm"] = []
    for nu, gamma in [(0.05, 0.2), (0.3, 1.0), (0.01, 5.0)]:
        scaled = [MinMaxScaler().fit(train[:, columns]).transform(part[:, columns]) for part in (train, test)]
        model = OneClassSVM(nu=nu, gamma=gamma, tol=1e-6).fit(scaled[0])
        decision = -model.decision_function(scaled[1])
        reference["one_class_svm"].append(
            {"nu": nu, "gamma": gamma, "support_vectors": int(model.n_support_[0]), "decision": decision.tolist()}
        )
    standard = StandardScaler().fit(train[:, columns])
    z = standard.transform(test[:, columns])
    square = (z**2).mean(axis=1)
    reference["mean_square_z"] = square.tolist()
    covariance = np.cov(standard.transform(train[:, columns]).T, bias=True) + 0.1 * np.eye(len(columns))
    distance = np.einsum("ij,jk,ik->i", z, np.linalg.inv(covariance), z)
    reference["log_mahalanobis"] = np.log(distance).tolist()
    aucs, scores = [], []
    for seed in range(20):
        forest = IsolationForest(n_estimators=50, max_samples=256, random_state=seed).fit(train[:, columns])
        score = -forest.score_samples(test[:, columns])
        aucs.append(roc_auc_score(labels, score))
        scores.append(score)
    reference["isolation_forest"] = {
        "roc_auc_mean": float(np.mean(aucs)),
        "roc_auc_deviation": float(np.std(aucs)),
        "mean_score": np.mean(scores, axis=0).tolist(),
    }
    rounded = np.round(square, 1)
    reference["quality"] = {
        "scores_with_ties": rounded.tolist(),
        "roc_auc": roc_auc_score(labels, rounded),
        "average_precision": average_precision_score(labels, rounded),
    }
    reference["autoencoder"] = network(train)
    with open("reference.json", "w") as file:
        json.dump(reference, file)
        file.write("\n")


main()
