"""Golden data of segmentation by features: LOST, TokenCut, MaskCut and deep spectral masks with dense eigensolvers (the functions of check_segmentation.py), principal components by
numpy's SVD, clicks with Otsu's threshold tried at every value, k-means by scikit-learn, and the bilateral solver of TokenCut in scipy's sparse matrices; all on small made-up sets.

    python3 make_segmentation_fixtures.py ../Fixtures/segmentation/golden.json        (numpy, scipy, torch, scikit-learn, pillow)
"""
import json
import sys

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg
from sklearn.cluster import KMeans

from check_segmentation import binary, component, lost, maskcut, second, spectral, tokencut

rng = np.random.default_rng(11)


def floats(a):
    return [float(np.float32(x)) for x in np.asarray(a).reshape(-1)]


def bits(mask):
    return [int(x) for x in np.asarray(mask).reshape(-1)]


def picture(rows, columns, width):
    """Features of a background that changes slowly, an object and a smaller second one, rounded so that the file is short."""
    y, x = np.mgrid[:rows, :columns]
    directions = np.linalg.qr(rng.standard_normal((width, 5)))[0].T
    values = directions[0] + 0.5 * (x / columns)[..., None] * directions[3] + 0.3 * (y / rows)[..., None] * directions[4]
    def blob(cy, cx, ry, rx):
        return ((y - cy * rows) / (ry * rows)) ** 2 + ((x - cx * columns) / (rx * columns)) ** 2 < 1
    values[blob(0.45, 0.6, 0.25, 0.22)] = -0.2 * directions[0] + 1.1 * directions[1]
    values[blob(0.75, 0.2, 0.16, 0.14)] = 0.1 * directions[0] + 0.9 * directions[2]
    return np.round((values + 0.12 * rng.standard_normal((rows, columns, width))).reshape(rows * columns, width), 2).astype(np.float32)


def is_clear(keys, tau):
    """Whether no patch is so near the cut's border, and no similarity so near the threshold, that rounding could decide."""
    unit = F.normalize(keys, dim=1)
    v = second(binary(keys, tau))
    likeness = (unit @ unit.T).numpy()
    peaks = np.sort(np.abs(v))[::-1]
    return np.abs(v - v.mean()).min() > 1e-3 * peaks[0] and np.abs(likeness - tau).min() > 1e-5 and peaks[0] > 1.0001 * peaks[1]


def project(x, count):
    centred = x.astype(np.float64) - x.astype(np.float64).mean(0)
    directions = np.linalg.svd(centred, full_matrices=False)[2][:count]
    directions *= np.sign(directions[np.arange(len(directions)), np.abs(directions).argmax(1)])[:, None]
    return centred @ directions.T


def components(keys, dims):
    """The object is on the side of the first component that has the smaller share of the border; its own three components are its colours."""
    first = project(keys, 1)[:, 0].reshape(dims)
    border = np.ones(dims, bool)
    border[1:-1, 1:-1] = False
    side = first > 0
    share = [(border & s).sum() / s.sum() for s in (side, ~side)]
    mask = side if share[0] <= share[1] else ~side
    inside = project(keys[mask.reshape(-1)], 3)
    colours = np.zeros((mask.size, 3), int)
    colours[mask.reshape(-1)] = np.round((inside - inside.min(0)) / (inside.max(0) - inside.min(0)) * 255)
    return mask, colours


def otsu(values):
    best, threshold = -1, None
    for t in np.unique(values)[:-1]:
        low, high = values[values <= t].astype(np.float64), values[values > t].astype(np.float64)
        between = len(low) * len(high) * (low.mean() - high.mean()) ** 2
        if between > best:
            best, threshold = between, t
    return threshold


def clicks(keys, dims, foreground, background):
    unit = F.normalize(torch.from_numpy(keys), dim=1).numpy()
    likeness = lambda points: (unit @ unit[points].T).max(1)
    near = likeness(foreground)
    mask = near > (likeness(background) if background else otsu(near))
    mask[foreground] = True
    labels = ndimage.label(mask.reshape(dims))[0].reshape(-1)
    return np.isin(labels, labels[foreground])


def methods():
    cases = []
    for rows, columns, width in [(8, 11, 6), (12, 12, 8), (15, 10, 7)]:
        while True:
            keys = picture(rows, columns, width)
            t, dims = torch.from_numpy(keys), (rows, columns)
            if is_clear(t, 0.2) and is_clear(t, 0.15):
                break
        n = rows * columns
        object_patch, other = int(0.45 * rows) * columns + int(0.6 * columns), int(0.75 * rows) * columns + int(0.2 * columns)
        pca, colours = components(keys, dims)
        first = project(keys, 1)[:, 0]
        assert np.abs(first).min() > 1e-4
        cases.append({"rows": rows, "columns": columns, "width": width, "features": floats(keys), "lost": bits(lost(t, dims)), "tokencut": bits(tokencut(t, dims)), "maskcut": bits(maskcut(t, dims)),
                      "spectral": bits(spectral(t, dims)), "pca": bits(pca), "colours": bits(colours),
                      "clicks": [{"foreground": f, "background": b, "mask": bits(clicks(keys, dims, f, b))}
                                 for f, b in [([object_patch], []), ([other], [0]), ([object_patch, other], [0, n - 1]), ([0], [object_patch])]]})
    return cases


def kmeans():
    cases = []
    for n, width, k in [(60, 4, 3), (150, 7, 5), (9, 3, 9)]:
        centres = 3 * rng.standard_normal((k, width))
        x = np.round(centres[np.arange(n) % k] + 0.3 * rng.standard_normal((n, width)), 2).astype(np.float32)
        found = KMeans(k, n_init=50, random_state=0, algorithm="lloyd").fit(x)
        cases.append({"width": width, "k": k, "rows": floats(x), "objective": float(found.inertia_), "labels": found.labels_.tolist()})
    return cases


def bilateral():
    """fast bilateral solver (Barron and Poole 2016) with TokenCut's settings: cells of place, luma and chroma, rows and columns scaled so that the blur's sums are one, conjugate gradients."""
    cases = []
    for height, width, spatial, luma, chroma in [(20, 26, 16, 16, 8), (33, 17, 5, 4, 4)]:
        y, x = np.mgrid[:height, :width]
        inside = (y - 9) ** 2 + (x - 10) ** 2 < 40
        image = np.where(inside[..., None], [180, 60, 40], [40, 90, 140]) + rng.integers(-12, 13, (height, width, 3)) + (x * 2)[..., None]
        image = np.clip(image, 0, 255).astype(np.uint8)
        target = ((y // 4 * 4 - 8) ** 2 + (x // 4 * 4 - 8) ** 2 < 50).astype(float)
        yuv = image.astype(float) @ np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]]).T + [0, 128, 128]
        places = np.dstack([x // spatial, y // spatial, (yuv[..., 0] / luma).astype(int), (yuv[..., 1:] / chroma).astype(int)]).reshape(-1, 5)
        cells, cell = np.unique(places, axis=0, return_inverse=True)
        count = len(cells)
        splat = sparse.csr_matrix((np.ones(len(cell)), (cell.reshape(-1), np.arange(len(cell)))))
        index = {tuple(c): i for i, c in enumerate(cells)}
        blur = sparse.lil_matrix((count, count))
        for c, i in index.items():
            blur[i, i] = 10
            for axis in range(5):
                for step in (-1, 1):
                    j = index.get(tuple(v + step * (a == axis) for a, v in enumerate(c)))
                    if j is not None:
                        blur[i, j] = 1
        blur = blur.tocsr()
        mass, n = splat @ np.ones(len(cell)), np.ones(count)
        for _ in range(10):
            n = np.sqrt(n * mass / (blur @ n))
        m = n * (blur @ n)
        smooth = sparse.diags(m) - sparse.diags(n) @ blur @ sparse.diags(n)
        confidence = np.full(len(cell), 0.999)
        weight = splat @ confidence
        a, b = 256 * smooth + sparse.diags(weight), splat @ (target.reshape(-1) * confidence)
        solved = cg(a, b, x0=b / weight, M=sparse.diags(1 / np.maximum(a.diagonal(), 1e-5)), maxiter=25, rtol=1e-5)[0]
        cases.append({"width": width, "height": height, "spatial": spatial, "luma": luma, "chroma": chroma, "pixels": image.reshape(-1).tolist(), "target": bits(target),
                      "cells": count, "result": floats(solved[cell.reshape(-1)])})
    return cases


if __name__ == "__main__":
    with open(sys.argv[1], "w") as out:
        json.dump({"methods": methods(), "kmeans": kmeans(), "bilateral": bilateral()}, out, separators=(",", ":"))
