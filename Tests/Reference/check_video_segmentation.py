#!/usr/bin/env python3
"""Holds `dinoctl evaluate video-segmentation` against the protocol written out straightforwardly: PyTorch features, OpenCV frames, dense affinities, numpy measures.
Prints J and F of each sequence as found here, and, with --masks (what dinoctl kept with -o), the share of pixels on which the two agree and the J and F of those masks.

  pip install torch numpy pillow opencv-python-headless
  dinoctl evaluate video-segmentation DAVIS --model M.pth --heads 3 --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5 -o OUT
  python Tests/Reference/check_video_segmentation.py DAVIS --model M.pth --heads 3 --mean 0.5 --std 0.5 --masks OUT
"""
import argparse, os, time
import cv2, numpy as np, torch, torch.nn.functional as F
from PIL import Image
from check_segmentation import load
from make_video_fixtures import f_measure


def frame(path, mean, std):
    image = cv2.imread(path)
    h, w = image.shape[:2]
    size = (480, 480 * h // w // 64 * 64) if h > w else (480 * w // h // 64 * 64, 480)
    image = cv2.resize(image, size)[:, :, ::-1].astype(np.float32) / 255
    return torch.from_numpy(((image - mean) / std).transpose(2, 0, 1).copy())[None], size


def neighbours(h, w, reach):
    y, x = np.divmod(np.arange(h * w), w)
    return torch.from_numpy((abs(y[:, None] - y) <= reach) & (abs(x[:, None] - x) <= reach)).float()


def propagate(target, used, mask, k=5):
    target = F.normalize(target, dim=1)
    affinity = torch.cat([torch.exp(F.normalize(f, dim=1) @ target.T / 0.1) * mask for f, _ in used])
    affinity[affinity < torch.topk(affinity, dim=0, k=k)[0][-1]] = 0
    return torch.cat([s for _, s in used], 1) @ (affinity / affinity.sum(0, keepdim=True))


def masks(model, frames, annotation, patch, mean, std):
    first = np.array(Image.open(annotation))
    labels = [v for v in np.unique(first) if v]
    feats, queue, found, window = [], [], [first], None
    for path in frames:
        image, (w, h) = frame(path, mean, std)
        tokens = model(image)["layers"][-1][0, 1:]
        rows, columns = h // patch, w // patch
        if window is None:
            window = neighbours(rows, columns, 12)
            small = np.array(Image.fromarray(first).resize((columns, rows), 0)).reshape(-1)
            start = (tokens, torch.from_numpy(np.stack([small == v for v in [0] + labels])).float())
            continue
        soft = propagate(tokens, [start] + queue, window)
        queue = (queue + [(tokens, soft)])[-7:]
        large = F.interpolate(soft.reshape(1, -1, rows, columns), scale_factor=patch, mode="bilinear", align_corners=False, recompute_scale_factor=False)[0]
        for c in large:
            if c.max() > 0:
                c -= c.min().clone()
                c /= c.max().clone()
        best = np.array([0] + labels, np.uint8)[large.max(0)[1].numpy()]
        found.append(np.array(Image.fromarray(best).resize(first.shape[::-1], 0)))
    return found, labels


def measure(found, truth, labels):
    """Of all frames but the first and the last."""
    j, f = [], []
    for v in labels:
        pairs = [(a == v, b == v) for a, b in list(zip(found, truth))[1:-1]]
        j.append(np.mean([(a & b).sum() / (a | b).sum() if (a | b).any() else 1 for a, b in pairs]))
        f.append(np.mean([f_measure(a, b) for a, b in pairs]))
    return j, f


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder")
    p.add_argument("--model", required=True)
    p.add_argument("--heads", type=int, required=True)
    p.add_argument("--patch", type=int, default=16)
    p.add_argument("--mean", type=float, nargs="+", default=[0.485, 0.456, 0.406])
    p.add_argument("--std", type=float, nargs="+", default=[0.228, 0.224, 0.225])
    p.add_argument("--masks")
    a = p.parse_args()
    mean, std = (np.array(v * 3 if len(v) == 1 else v, np.float32) for v in (a.mean, a.std))
    model, js, fs = load(a.model, a.patch, a.heads), [], []
    for name in sorted(os.listdir(f"{a.folder}/JPEGImages")):
        frames = sorted(f"{a.folder}/JPEGImages/{name}/{f}" for f in os.listdir(f"{a.folder}/JPEGImages/{name}"))
        stems = [os.path.splitext(os.path.basename(f))[0] for f in frames]
        truth = [np.array(Image.open(f"{a.folder}/Annotations/{name}/{s}.png")) for s in stems]
        start = time.perf_counter()
        with torch.no_grad():
            found, labels = masks(model, frames, f"{a.folder}/Annotations/{name}/{stems[0]}.png", a.patch, mean, std)
        seconds = (time.perf_counter() - start) / len(frames)
        j, f = measure(found, truth, labels)
        js, fs = js + j, fs + f
        line = f"{name:12} J {100 * np.mean(j):.2f} F {100 * np.mean(f):.2f} ({seconds:.3f} s a frame)"
        if a.masks:
            theirs = [np.array(Image.open(f"{a.masks}/{name}/{s}.png")) for s in stems]
            tj, tf = measure(theirs, truth, labels)
            same = np.mean([(x == y).mean() for x, y in zip(found, theirs)])
            line += f"; dinoctl's masks: J {100 * np.mean(tj):.2f} F {100 * np.mean(tf):.2f}, {100 * same:.3f} % of pixels the same"
        print(line)
    print(f"all          J {100 * np.mean(js):.2f} F {100 * np.mean(fs):.2f} J&F {50 * (np.mean(js) + np.mean(fs)):.2f}")


if __name__ == "__main__":
    main()
