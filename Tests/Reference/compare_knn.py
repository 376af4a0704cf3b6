#!/usr/bin/env python3
"""Times `dinoctl knn`, photographs to predictions, beside PyTorch and Pillow doing the same (eval_knn.py's rule), and decoding with resizing alone beside Pillow: in turn, within one
run, on the same number of threads. Prints seconds of each round, the ratios of the medians (above 1: dinoctl is ahead), and whether the two predict the same.

  pip install torch numpy pillow
  python Tests/Reference/compare_knn.py TRAIN TEST --dinoctl .build/release/dinoctl --model M.pth --heads 3 --mean 0.5 --std 0.5

PyTorch's side is favoured: its imports and the loading of weights are not counted, dinoctl's start is; photographs are decoded ahead by --workers processes of a DataLoader (the
best of the numbers given counts), --peer-batch at once (the best counts again; eval_knn.py has 128).
"""
import argparse, os, subprocess, tempfile, time
import numpy as np, torch
from PIL import Image
from make_dino_vit import Vit

SIDE, CROP = 256, 224


def resized(path):
    """torchvision's Resize(256, bicubic), CenterCrop(224)."""
    image = Image.open(path).convert("RGB")
    w, h = image.size
    size = (SIDE, int(SIDE * h / w)) if w <= h else (int(SIDE * w / h), SIDE)
    image = image.resize(size, Image.BICUBIC)
    left, top = int(round((size[0] - CROP) / 2)), int(round((size[1] - CROP) / 2))
    return image.crop((left, top, left + CROP, top + CROP))


class Photographs(torch.utils.data.Dataset):
    def __init__(self, paths, mean, std):
        self.paths, self.mean, self.std = paths, torch.tensor(mean).reshape(3, 1, 1), torch.tensor(std).reshape(3, 1, 1)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        pixels = torch.from_numpy(np.array(resized(self.paths[i]))).permute(2, 0, 1).contiguous()
        return (pixels.float().div(255) - self.mean) / self.std


def load(path, patch, heads):
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("teacher", state)
    return Vit({k.replace("module.", "").replace("backbone.", ""): v for k, v in state.items() if torch.is_tensor(v)}, patch, heads)


def network(m, x):
    """The class token, with PyTorch's fused attention as timm and transformers have it: Vit's own, which shows its arithmetic, would be slower."""
    x = torch.nn.functional.conv2d(x, m.w["patch_embed.proj.weight"], m.w["patch_embed.proj.bias"], stride=m.patch).flatten(2).transpose(1, 2)
    x = torch.cat([m.w["cls_token"].expand(len(x), -1, -1), x], 1) + m.w["pos_embed"]
    for i in range(m.depth):
        q, k, v = m.linear(f"blocks.{i}.attn.qkv", m.norm(f"blocks.{i}.norm1", x)).reshape(*x.shape[:2], 3, m.heads, -1).permute(2, 0, 3, 1, 4)
        x = x + m.linear(f"blocks.{i}.attn.proj", torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))
        x = x + m.linear(f"blocks.{i}.mlp.fc2", torch.nn.functional.gelu(m.linear(f"blocks.{i}.mlp.fc1", m.norm(f"blocks.{i}.norm2", x))))
    return m.norm("norm", x)[:, 0]


def predictions(train, train_labels, test, classes, k, t=0.07):
    train, test = torch.nn.functional.normalize(train, dim=1), torch.nn.functional.normalize(test, dim=1)
    similarity, indices = (test @ train.T).topk(min(k, len(train)), largest=True, sorted=True)
    votes = torch.zeros(len(test), classes).scatter_add_(1, train_labels[indices], (similarity / t).exp())
    return votes.argmax(1)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("train")
    p.add_argument("test")
    p.add_argument("--dinoctl", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--heads", type=int, required=True)
    p.add_argument("--patch", type=int, default=16)
    p.add_argument("--mean", type=float, nargs="+", default=[0.485, 0.456, 0.406])
    p.add_argument("--std", type=float, nargs="+", default=[0.229, 0.224, 0.225])
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--batch", type=int, help="images at once on dinoctl's side; by default its own choice")
    p.add_argument("--peer-batch", type=int, nargs="+", default=[8, 128], help="images at once on PyTorch's side")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--every", type=int, default=1, help="use every so-manieth photograph")
    p.add_argument("-k", type=int, default=20)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    mean, std = (v * 3 if len(v) == 1 else v for v in (a.mean, a.std))
    model = load(a.model, a.patch, a.heads)
    sets, classes = [], sorted(c for c in os.listdir(a.train) if os.path.isdir(f"{a.train}/{c}"))
    for folder in (a.train, a.test):
        paths = sorted(os.path.abspath(f"{folder}/{c}/{f}") for c in classes for f in os.listdir(f"{folder}/{c}"))[::a.every]
        sets.append((paths, torch.tensor([classes.index(os.path.basename(os.path.dirname(q))) for q in paths])))
    count = sum(len(s[0]) for s in sets)

    def peer(workers, batch):
        def features(paths):
            loader = torch.utils.data.DataLoader(Photographs(paths, mean, std), batch, num_workers=workers)
            with torch.inference_mode():
                return torch.cat([network(model, x) for x in loader])
        return predictions(features(sets[0][0]), sets[0][1], features(sets[1][0]), len(classes), a.k)

    with tempfile.TemporaryDirectory() as out:
        for name, (paths, _) in zip(("train", "test"), sets):
            open(f"{out}/{name}.txt", "w").write("\n".join(paths) + "\n")
            os.makedirs(f"{out}/flat/{name}")
            for i, q in enumerate(paths):
                os.symlink(q, f"{out}/flat/{name}/{i}{os.path.splitext(q)[1]}")
        knn = [a.dinoctl, "knn", "--model", a.model, "--heads", str(a.heads), "--mean", ",".join(map(str, mean)), "--std", ",".join(map(str, std)), "--train", f"{out}/train.txt", "--test", f"{out}/test.txt",
               "-k", str(a.k), "--threads", str(a.threads), "--predictions", f"{out}/p.tsv", "--quiet"] + (["--batch-size", str(a.batch)] if a.batch else [])
        peers = {f"PyTorch, {w} workers, {b} at once": (w, b) for w in a.workers for b in a.peer_batch}
        times = {"dinoctl": []} | {name: [] for name in peers}
        for _ in range(a.rounds):
            start = time.perf_counter()
            subprocess.run(knn, check=True, stdout=subprocess.DEVNULL)
            times["dinoctl"].append(time.perf_counter() - start)
            for name, (w, b) in peers.items():
                start = time.perf_counter()
                expected = peer(w, b)
                times[name].append(time.perf_counter() - start)
        for name, t in times.items():
            print(f"knn, {count} photographs, {a.threads} threads, {name}: {' '.join(f'{v:.2f}' for v in t)} s, {1e3 * np.median(t) / count:.2f} ms a photograph")
        print(f"knn: {min(np.median(t) for n, t in times.items() if n != 'dinoctl') / np.median(times['dinoctl']):.2f} times as fast as PyTorch at its best")
        found = [line.split("\t")[2] for line in open(f"{out}/p.tsv").read().split("\n") if line and not line.startswith("#")]
        same = sum(f == classes[e] for f, e in zip(found[-len(expected):], expected))
        print(f"the same prediction for {same} of {len(expected)}")

        # Decoding and resizing alone, one thread each.
        times = {"dinoctl": [], "Pillow": []}
        for _ in range(a.rounds):
            bench = subprocess.run([a.dinoctl, "bench", "--decode", f"{out}/flat/test", "--threads", "1", "--repeat", "1", "--json"], check=True, capture_output=True, text=True)
            times["dinoctl"].append(float(bench.stdout.split('"milliseconds_per_image":')[1].split(",")[0]))
            start = time.perf_counter()
            for q in sets[1][0]:
                resized(q).tobytes()
            times["Pillow"].append(1e3 * (time.perf_counter() - start) / len(sets[1][0]))
        for name, t in times.items():
            print(f"decode, resize, crop, 1 thread, {name}: {' '.join(f'{v:.3f}' for v in t)} ms a photograph")
        print(f"decode, resize, crop: {np.median(times['Pillow']) / np.median(times['dinoctl']):.2f} times as fast as Pillow")


if __name__ == "__main__":
    main()
