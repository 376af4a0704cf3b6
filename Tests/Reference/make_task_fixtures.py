"""Golden data of DinoTasks: the formulas of the official evaluations, written out again in numpy and torch, on small made-up sets.

    python3 make_task_fixtures.py ../Fixtures/tasks/golden.json        (numpy, torch, scikit-learn)

knn: eval_knn.py's weighted vote. retrieval: the Oxford/Paris mean average precision with junk, precision at k. whitening: utils.PCA with an
uncentred covariance. gem: eval_copy_detection.py's feature. logistic, ill_conditioned, two_classes: scikit-learn's LogisticRegression. rate: CosineAnnealingLR.
thumbnail: Pillow's sizes, thumbnail_pixels: its pixels. rescale: torch's bilinear interpolation by a factor.
"""
import json
import sys

import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(0)


def floats(a):
    return [float(np.float32(x)) for x in np.asarray(a).reshape(-1)]


def knn():
    classes, d = 7, 12
    centres = rng.standard_normal((classes, d))
    train_labels, test_labels = rng.integers(0, classes, 90), rng.integers(0, classes, 33)
    train = (centres[train_labels] + 1.2 * rng.standard_normal((90, d))).astype(np.float32)
    test = (centres[test_labels] + 1.2 * rng.standard_normal((33, d))).astype(np.float32)
    a = torch.nn.functional.normalize(torch.tensor(train), dim=1)
    b = torch.nn.functional.normalize(torch.tensor(test), dim=1)
    results = []
    for k in (1, 5, 20, 60):
        similarity, indices = (b @ a.T).topk(k, largest=True, sorted=True)
        votes = torch.zeros(len(test), classes)
        labels = torch.tensor(train_labels)[indices]
        votes.scatter_add_(1, labels, (similarity / 0.07).exp())
        most, order = votes.sort(1, True)
        # Classes without votes are left out: the original's sort of 1,000 puts any of them there.
        correct = order.eq(torch.tensor(test_labels)[:, None]) & (most > 0)
        results.append({"k": k, "predictions": order[:, 0].tolist(), "top1": float(correct[:, :1].sum()) / len(test),
                        "top5": float(correct[:, :min(5, k)].sum()) / len(test)})
    return {"classes": classes, "width": d, "train": floats(train), "train_labels": train_labels.tolist(), "test": floats(test),
            "test_labels": test_labels.tolist(), "results": results}


def average_precision(ranks, count):
    total = 0.0
    for j, rank in enumerate(ranks):
        left = 1.0 if rank == 0 else j / rank
        total += (left + (j + 1) / (rank + 1)) / (2.0 * count)
    return total


def retrieval():
    images, queries = 40, 9
    rankings, truth = [], []
    for q in range(queries):
        order = rng.permutation(images)
        parts = rng.permutation(images)
        sizes = [(3, 2, 4), (0, 5, 0), (1, 0, 3), (0, 0, 2), (6, 6, 6), (1, 1, 0), (2, 3, 10), (0, 1, 39), (4, 0, 0)][q]
        easy, hard, junk = np.split(parts, np.cumsum(sizes))[:3]
        rankings.append(order.tolist())
        truth.append({"easy": easy.tolist(), "hard": hard.tolist(), "junk": junk.tolist()})
    ks = [1, 5, 10]
    scores = {}
    for name, ok, ignore in (("easy", ["easy"], ["junk", "hard"]), ("medium", ["easy", "hard"], ["junk"]), ("hard", ["hard"], ["junk", "easy"])):
        aps, precisions = [], []
        for order, t in zip(rankings, truth):
            positives, junk = sum((t[k] for k in ok), []), sum((t[k] for k in ignore), [])
            if not positives:
                continue
            places = np.flatnonzero(np.isin(order, positives))
            bad = np.flatnonzero(np.isin(order, junk))
            places = np.array([p - (bad < p).sum() for p in places])
            aps.append(average_precision(places, len(positives)))
            precisions.append([(places + 1 <= min(max(places + 1), k)).sum() / min(max(places + 1), k) for k in ks])
        scores[name] = {"map": float(np.mean(aps)), "mp": np.mean(precisions, axis=0).tolist()}
    return {"imlist": [f"image{i}" for i in range(images)], "qimlist": [f"query{i}" for i in range(queries)], "gnd": truth, "rankings": rankings, "ks": ks, "scores": scores}


def whitening():
    d = 6
    x = (rng.standard_normal((50, d)) @ rng.standard_normal((d, d)) + rng.standard_normal(d)).astype(np.float32)
    x[:, 5] = x[:, 4]  # a direction without energy: lifted to 1e-5 of the largest
    y = rng.standard_normal((8, d)).astype(np.float32)
    values, vectors = np.linalg.eigh((x.astype(np.float64).T @ x) / len(x))
    values = np.maximum(values, values.max() * 1e-5)[::-1]
    applied = (y - x.astype(np.float64).mean(0)) @ (vectors[:, ::-1] / np.sqrt(values))
    # Signs of eigenvectors are free, so what is kept are the inner products.
    return {"width": d, "features": floats(x), "asked": floats(y), "products": floats(applied @ applied.T)}


def gem():
    tokens = rng.standard_normal((1, 10, 5)).astype(np.float32)
    t = torch.tensor(tokens)
    patches = t[:, 1:].reshape(1, 3, 3, 5).clamp(min=1e-6).permute(0, 3, 1, 2)
    pooled = torch.nn.functional.avg_pool2d(patches.pow(4), (3, 3)).pow(0.25).reshape(1, -1)
    return {"width": 5, "tokens": floats(tokens), "feature": floats(torch.cat((t[:, 0], pooled), 1).numpy())}


def logistic():
    classes, d, n = 4, 10, 120
    labels = rng.integers(0, classes, n)
    x = (1.0 * rng.standard_normal((classes, d))[labels] + 1.5 * rng.standard_normal((n, d))).astype(np.float32)
    fits = []
    for c in (0.01, 1.0, 100.0):
        # Newton's steps end at the minimum to the last digits; the default, lbfgs, nearby.
        m = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x.astype(np.float64), labels)
        loss = -m.predict_log_proba(x.astype(np.float64))[np.arange(n), labels].mean() + (m.coef_ ** 2).sum() / (2 * c * n)
        fits.append({"c": c, "objective": float(loss), "weights": floats(m.coef_), "bias": floats(m.intercept_), "probabilities": floats(m.predict_proba(x[:10]))})
    return {"classes": classes, "width": d, "features": floats(x), "labels": labels.tolist(), "fits": fits}


def rate():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.001 * 128 / 256, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=0)
    rates = []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return {"epochs": 20, "batch": 128, "rates": rates}


def thumbnail():
    cases = []
    for side in (224, 100):
        for w, h in [(640, 480), (480, 640), (300, 301), (100, 90), (1000, 3), (3, 1000), (225, 224), (1024, 683), (333, 999), (224, 224), (777, 777)]:
            image = Image.new("RGB", (w, h))
            image.thumbnail((side, side), Image.LANCZOS)
            cases.append([side, w, h, image.width, image.height])
    return cases


def thumbnail_pixels():
    """Large pictures of a formula, which the test makes too: a box reduce comes first where a side shrinks to a quarter or less."""
    cases = []
    for side, w, h in [(5, 37, 29), (6, 24, 24), (8, 97, 20), (7, 15, 61), (4, 200, 9), (9, 30, 30), (3, 100, 71)]:
        x, y, c = np.arange(w)[None, :, None], np.arange(h)[:, None, None], np.arange(3)[None, None, :]
        image = Image.fromarray(((x * x * 7 + y * 13 + x * y + 31 * c) % 256).astype(np.uint8))
        image.thumbnail((side, side), Image.LANCZOS)
        cases.append({"side": side, "width": w, "height": h, "size": [image.width, image.height], "values": np.asarray(image).reshape(-1).tolist()})
    return cases


def rescale():
    x = rng.standard_normal((1, 3, 13, 9)).astype(np.float32)
    out = []
    for scale in (1 / 2 ** (1 / 2), 1 / 2):
        y = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=scale, mode="bilinear", align_corners=False)
        out.append({"scale": scale, "height": y.shape[2], "width": y.shape[3], "values": floats(y.numpy())})
    return {"height": 13, "width": 9, "values": floats(x), "out": out}


def ill_conditioned():
    """As features of a trained network are: far from the origin, with a spectrum over three magnitudes, classes nearly apart."""
    classes, d, n = 5, 24, 150
    labels = rng.integers(0, classes, n)
    basis = np.linalg.qr(rng.standard_normal((d, d)))[0] * np.geomspace(3, 3e-3, d)[:, None]
    x = ((0.7 * rng.standard_normal((classes, d))[labels] + rng.standard_normal((n, d))) @ basis + 2 * rng.standard_normal(d)).astype(np.float32)
    fits = []
    for c in (1.0, 100.0, 1e4):
        m = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x.astype(np.float64), labels)
        loss = -m.predict_log_proba(x.astype(np.float64))[np.arange(n), labels].mean() + (m.coef_ ** 2).sum() / (2 * c * n)
        fits.append({"c": c, "objective": float(loss), "weights": floats(m.coef_), "predictions": m.predict(x).tolist()})
    return {"classes": classes, "width": d, "features": floats(x), "labels": labels.tolist(), "fits": fits}


def two_classes():
    """Of two classes scikit-learn fits one row of weights."""
    d, n = 6, 80
    labels = rng.integers(0, 2, n)
    x = (rng.standard_normal((2, d))[labels] + 1.5 * rng.standard_normal((n, d))).astype(np.float32)
    fits = []
    for c in (0.05, 1.0):
        m = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-13, max_iter=1000).fit(x.astype(np.float64), labels)
        loss = -m.predict_log_proba(x.astype(np.float64))[np.arange(n), labels].mean() + (m.coef_ ** 2).sum() / (2 * c * n)
        fits.append({"c": c, "objective": float(loss), "difference": floats(m.coef_)})
    return {"width": d, "features": floats(x), "labels": labels.tolist(), "fits": fits}


golden = {f.__name__: f() for f in (knn, retrieval, whitening, gem, logistic, rate, thumbnail, thumbnail_pixels, rescale, ill_conditioned, two_classes)}
with open(sys.argv[1], "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
