"""Golden data of video segmentation: OpenCV's resize, the label propagation and the mask upsampling of eval_video_segmentation.py, and the measures of
davis2017-evaluation, written out again in torch and OpenCV on small made-up sets.

    python3 make_video_fixtures.py ../Fixtures/video/golden.json        (numpy, torch, pillow, opencv-python-headless)
"""
import json
import sys

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

rng = np.random.default_rng(7)


def floats(a):
    return [float(np.float32(x)) for x in np.asarray(a).reshape(-1)]


def resize():
    cases = []
    for w, h, to_w, to_h in [(13, 9, 13, 9), (17, 11, 12, 10), (9, 8, 21, 17), (40, 3, 7, 3), (1, 5, 4, 2), (64, 48, 31, 23)]:
        image = rng.integers(0, 256, (h, w, 3), dtype=np.uint8)
        cases.append({"width": w, "height": h, "pixels": image.reshape(-1).tolist(), "to_width": to_w, "to_height": to_h,
                      "result": cv2.resize(image, (to_w, to_h)).reshape(to_h, to_w, 3).reshape(-1).tolist()})
    return cases


def propagation():
    """Frames of random features that change little from one to the next."""
    cases = []
    for h, w, d, labels, frames, last, reach, k in [(5, 7, 6, 2, 6, 2, 2, 3), (9, 4, 8, 3, 5, 7, 12, 5), (3, 3, 4, 2, 4, 1, 0, 2), (18, 11, 5, 4, 3, 7, 3, 5)]:
        n = h * w
        base = rng.standard_normal((n, d))
        feats = [torch.tensor((base + 0.3 * t * rng.standard_normal((n, d))).astype(np.float32)) for t in range(frames)]
        first = F.one_hot(torch.tensor(rng.integers(0, labels, n)), labels).float()
        mask = torch.ones(n, n)
        if reach > 0:
            for i in range(n):
                for j in range(n):
                    if abs(i // w - j // w) > reach or abs(i % w - j % w) > reach:
                        mask[i, j] = 0
        queue, out = [], []
        for t in range(1, frames):
            used = [(feats[0], first)] + queue
            target = F.normalize(feats[t], dim=1, p=2)
            sources = torch.stack([F.normalize(f, dim=1, p=2).T for f, _ in used])
            affinity = torch.exp(torch.bmm(target.unsqueeze(0).repeat(len(used), 1, 1), sources) / 0.1) * mask
            affinity = affinity.transpose(2, 1).reshape(-1, n)
            least = torch.topk(affinity, dim=0, k=k)[0].min(dim=0)[0]
            affinity[affinity < least] = 0
            affinity = affinity / affinity.sum(0, keepdim=True)
            found = (torch.cat([s for _, s in used]).T @ affinity).T
            queue = (queue + [(feats[t], found)])[-last:]
            out.append(floats(found))
        cases.append({"rows": h, "columns": w, "width": d, "labels": labels, "last": last, "neighbourhood": reach, "top_k": k,
                      "features": [floats(f) for f in feats], "first": floats(first), "frames": out})
    return cases


def maps():
    cases = []
    for rows, columns, patch, labels, width, height in [(3, 4, 4, 2, 17, 13), (5, 2, 8, 3, 16, 40), (2, 2, 3, 4, 9, 5)]:
        soft = rng.dirichlet(np.full(labels, 0.4), rows * columns).astype(np.float32)
        soft[:, labels - 1] *= 0 if labels == 4 else 1  # a label that is nowhere
        grid = torch.tensor(soft.T.reshape(1, labels, rows, columns))
        large = F.interpolate(grid, scale_factor=patch, mode="bilinear", align_corners=False, recompute_scale_factor=False)[0]
        for c in range(labels):
            if large[c].max() > 0:
                large[c] = large[c] - large[c].min()
                large[c] = large[c] / large[c].max()
        best = large.max(dim=0)[1].numpy().astype(np.uint8)
        cases.append({"rows": rows, "columns": columns, "patch": patch, "labels": labels, "soft": floats(soft), "width": width, "height": height,
                      "result": np.array(Image.fromarray(best).resize((width, height), 0)).reshape(-1).tolist()})
    return cases


def outline(mask):
    mask = mask.astype(bool)
    east, south, corner = np.zeros_like(mask), np.zeros_like(mask), np.zeros_like(mask)
    east[:, :-1], south[:-1], corner[:-1, :-1] = mask[:, 1:], mask[1:], mask[1:, 1:]
    b = (mask ^ east) | (mask ^ south) | (mask ^ corner)
    b[-1], b[:, -1], b[-1, -1] = mask[-1] ^ east[-1], mask[:, -1] ^ south[:, -1], False
    return b


def f_measure(found, truth):
    radius = int(np.ceil(0.008 * np.linalg.norm(found.shape)))
    y, x = np.mgrid[-radius:radius + 1, -radius:radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    a, b = outline(found), outline(truth)
    near_a, near_b = cv2.dilate(a.astype(np.uint8), disk) > 0, cv2.dilate(b.astype(np.uint8), disk) > 0
    if a.sum() == 0 or b.sum() == 0:
        p, r = (1, 0) if b.sum() else (0, 1) if a.sum() else (1, 1)
    else:
        p, r = (a & near_b).sum() / a.sum(), (b & near_a).sum() / b.sum()
    return 0 if p + r == 0 else 2 * p * r / (p + r)


def measures():
    cases = []
    for w, h in [(40, 30), (130, 90), (300, 200)]:
        y, x = np.mgrid[:h, :w]
        blob = ((x - w / 2) / (w / 3)) ** 2 + ((y - h / 2) / (h / 3)) ** 2 < 1
        noisy = blob ^ (rng.random((h, w)) < 0.01)
        moved = np.roll(blob, (2, -3), (0, 1))
        edge = np.zeros((h, w), bool)
        edge[h // 2:, w // 3:] = True
        empty = np.zeros((h, w), bool)
        for a, b in [(blob, blob), (moved, blob), (noisy, blob), (blob, edge), (edge, edge), (empty, blob), (blob, empty), (empty, empty)]:
            union = (a | b).sum()
            cases.append({"width": w, "height": h, "found": runs(a), "truth": runs(b), "j": 1.0 if union == 0 else float((a & b).sum() / union), "f": float(f_measure(a, b))})
    return cases


def runs(mask):
    """Lengths of runs row by row, zeros first."""
    flat = np.concatenate([[False], mask.reshape(-1), [not mask.reshape(-1)[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return np.diff(np.concatenate([[0], ends])).tolist()


if __name__ == "__main__":
    golden = {f.__name__: f() for f in (resize, propagation, maps, measures)}
    with open(sys.argv[1], "w") as file:
        json.dump(golden, file, separators=(",", ":"))
        file.write("\n")
