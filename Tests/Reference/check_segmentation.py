#!/usr/bin/env python3
"""Holds `dinoctl segment` against LOST, TokenCut, MaskCut and deep spectral segmentation as their papers' code computes them: PyTorch features, dense affinities, scipy's
dense eigensolver. Prints for each method the IoU of the masks (mean, least) and how long the part after the network takes here, an image.

  pip install torch numpy scipy pillow
  python Tests/Reference/check_segmentation.py --dinoctl .build/release/dinoctl --model M.pth --heads 3 --patch 16 --mean 0.5 --std 0.5 --count 50 FOLDER
"""
import argparse, os, subprocess, sys, tempfile, time
import numpy as np, torch, torch.nn.functional as F
from PIL import Image
from scipy import ndimage
from scipy.linalg import eigh
from make_dino_vit import Vit


class KeyedVit(Vit):
    """Remembers the keys of the last block."""
    def linear(self, name, x):
        y = super().linear(name, x)
        if name == f"blocks.{self.depth - 1}.attn.qkv":
            d = y.shape[-1] // 3
            self.keys = y[..., d:2 * d]
        return y


def load(path, patch, heads):
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("teacher", state)
    return KeyedVit({k.replace("module.", "").replace("backbone.", ""): v for k, v in state.items() if torch.is_tensor(v)}, patch, heads)


def component(mask, seed):
    labels, _ = ndimage.label(mask)
    return labels == labels[np.unravel_index(seed, mask.shape)]


def second(a):
    return eigh(np.diag(a.sum(1)) - a, np.diag(a.sum(1)), subset_by_index=[1, 2])[1][:, 0]


def binary(feats, tau):
    a = (F.normalize(feats, dim=1) @ F.normalize(feats, dim=1).T).numpy() > tau
    return np.where(a.astype(float) == 0, 1e-5, a)


def lost(keys, dims):
    a = keys @ keys.T
    c = a.clone().fill_diagonal_(0)
    order = torch.argsort((c > 0).sum(1), stable=True)
    potentials = order[:100]
    similar = potentials[a[order[0], potentials] > 0]
    return component((a[similar].sum(0) > 0).numpy().reshape(dims), order[0].item())


def tokencut(keys, dims):
    v = second(binary(keys, 0.2))
    side, seed = v > v.sum() / len(v), np.argmax(np.abs(v))
    return component((side if side[seed] else ~side).reshape(dims), seed)


def maskcut(keys, dims):
    feats, current, masks = keys.clone(), np.zeros(dims, bool), []
    for i in range(3):
        feats[torch.from_numpy(current.reshape(-1))] = 0
        v = second(binary(feats, 0.15))
        # maskcut.py counts the corners of the whole of whichever side LAPACK's sign makes the upper one; here, as in MaskCut.swift, of the part around the peak.
        v = v if v[np.argmax(np.abs(v))] > 0 else -v
        side = (v > v.sum() / len(v)).reshape(dims)
        mask = component(side, np.argmax(v))
        if int(mask[0, 0]) + int(mask[0, -1]) + int(mask[-1, 0]) + int(mask[-1, -1]) >= 3:
            mask = component(~side, np.argmin(v))
        if i and ((mask & current).sum() > 0.5 * (mask | current).sum() or mask.mean() <= 0.01):
            mask = np.zeros(dims, bool)
        current = mask
        masks.append(mask & ~np.any(masks, axis=0) if masks else mask)
    return np.any(masks, axis=0)


def spectral(keys, dims):
    f = F.normalize(keys, dim=1)
    w = (f @ f.T).numpy().astype(float)
    w = w * (w > 0) / w.max()
    v = second(w)
    if 0.5 < (v > 0).mean() < 1:
        v = -v
    return (v > 0).reshape(dims)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("folder")
    p.add_argument("--dinoctl", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--heads", type=int, required=True)
    p.add_argument("--patch", type=int, default=16)
    p.add_argument("--mean", type=float, nargs="+", default=[0.485, 0.456, 0.406])
    p.add_argument("--std", type=float, nargs="+", default=[0.229, 0.224, 0.225])
    p.add_argument("--count", type=int, default=50)
    p.add_argument("--methods", nargs="+", default=["lost", "tokencut", "maskcut", "spectral"])
    a = p.parse_args()
    mean, std = (np.array(v * 3 if len(v) == 1 else v, np.float32) for v in (a.mean, a.std))
    model, names = load(a.model, a.patch, a.heads), sorted(os.listdir(a.folder))[:a.count]
    keys = []
    with torch.no_grad():
        for n in names:
            image = np.asarray(Image.open(f"{a.folder}/{n}").convert("RGB").resize((480, 480), Image.BILINEAR), np.float32) / 255
            model(torch.from_numpy(((image - mean) / std).transpose(2, 0, 1).copy())[None])
            keys.append(model.keys[0, 1:].contiguous())
    dims = (480 // a.patch, 480 // a.patch)
    with tempfile.TemporaryDirectory() as out:
        open(f"{out}/list.txt", "w").write("\n".join(os.path.abspath(f"{a.folder}/{n}") for n in names) + "\n")
        for method in a.methods:
            seconds, ious = [], []
            subprocess.run([a.dinoctl, "segment", "--model", a.model, "--heads", str(a.heads), "--mean", ",".join(map(str, mean)), "--std", ",".join(map(str, std)), "--method", method,
                            "--size", "model", "--no-overlay", "--quiet", *(["--no-component"] if method == "spectral" else []), "-o", f"{out}/{method}", f"{out}/list.txt"], check=True)
            for n, k in zip(names, keys):
                start = time.perf_counter()
                expected = globals()[method](k, dims)
                seconds.append(time.perf_counter() - start)
                found = np.asarray(Image.open(f"{out}/{method}/{os.path.splitext(n)[0]}.png"))[a.patch // 2::a.patch, a.patch // 2::a.patch] > 0
                ious.append((found & expected).sum() / max((found | expected).sum(), 1))
            print(f"{method:9} IoU mean {np.mean(ious):.4f} least {np.min(ious):.4f} ({sum(i < 1 for i in ious)} of {len(ious)} differ); dense reference {1e3 * np.median(seconds):.1f} ms an image")


if __name__ == "__main__":
    main()
