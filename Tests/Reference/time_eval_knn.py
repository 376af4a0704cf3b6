#!/usr/bin/env python3
"""Times facebookresearch/dino's own eval_knn.py (commit 7c446df), unchanged, beside `dinoctl knn` on the same photographs, weights and threads: in turn, within one run. Prints seconds of
each round, ratios of the medians (above 1: dinoctl is ahead), and top-1 and top-5 of both for each k.

  pip install torch torchvision numpy pillow
  python Tests/Reference/time_eval_knn.py DATA --original CHECKOUT --dinoctl .build/release/dinoctl --model M.pth --arch vit_tiny --heads 3

DATA has train/ and val/, a folder for each class, and at least 100 photographs in val/ (the original takes a hundredth of them at once). The original asks for a GPU; originals.py says what it is
given instead. Its imports are not counted, dinoctl's start is. --setting 128:10 is --batch_size_per_gpu 128 --num_workers 10, its defaults.
"""
import argparse, json, os, re, statistics, subprocess, time
import torch, torchvision  # noqa: F401  so that their reading is not counted
import originals


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data")
    p.add_argument("--original", required=True, help="folder of facebookresearch/dino")
    p.add_argument("--dinoctl", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--arch", default="vit_small")
    p.add_argument("--patch-size", default="16")
    p.add_argument("--heads", default="6")
    p.add_argument("--setting", nargs="+", default=["128:10", "128:0"], help="images at once and processes that decode, of the original")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rounds", type=int, default=3)
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    originals.on_the_cpu(a.original)
    ks = [10, 20, 100, 200]

    def original(setting):
        batch, workers = setting.split(":")
        said = originals.run(a.original, "eval_knn.py", "--data_path", a.data, "--pretrained_weights", a.model, "--arch", a.arch, "--patch_size", a.patch_size,
                             "--batch_size_per_gpu", batch, "--num_workers", workers)
        return {int(k): (float(t1), float(t5)) for k, t1, t5 in re.findall(r"(\d+)-NN classifier result: Top1: ([\d.]+), Top5: ([\d.]+)", said)}

    def ours():
        done = subprocess.run([a.dinoctl, "knn", "--model", a.model, "--heads", a.heads, "--train", f"{a.data}/train", "--test", f"{a.data}/val", "-k", ",".join(map(str, ks)),
                               "--threads", str(a.threads), "--json", "--quiet"], check=True, stdout=subprocess.PIPE, text=True)
        return {r["k"]: (r["top1"], r["top5"]) for r in json.loads(done.stdout)["results"]}

    count = sum(len(files) for part in ("train", "val") for _, _, files in os.walk(f"{a.data}/{part}", followlinks=True))
    times, results = {"dinoctl": []} | {s: [] for s in a.setting}, {}
    for _ in range(a.rounds):
        for name in times:
            start = time.perf_counter()
            results[name] = ours() if name == "dinoctl" else original(name)
            times[name].append(time.perf_counter() - start)
            print(f"{name}: {times[name][-1]:.2f} s", flush=True)
    own = statistics.median(times["dinoctl"])
    print(f"{count} photographs, {a.threads} threads")
    for name, t in times.items():
        m = statistics.median(t)
        print(f"{'dinoctl' if name == 'dinoctl' else 'eval_knn.py ' + name}: {' '.join(f'{v:.2f}' for v in t)} s, {1e3 * m / count:.2f} ms a photograph, {m / own:.2f}")
    for name, found in results.items():
        print(f"{name}, top-1 and top-5:", {k: tuple(round(v, 2) for v in pair) for k, pair in found.items()})


if __name__ == "__main__":
    main()
