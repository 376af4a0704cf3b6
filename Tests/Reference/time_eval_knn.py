#!/usr/bin/env python3
"""Times facebookresearch/dino's own eval_knn.py (commit 7c446df), unchanged, beside `dinoctl knn` on the same photographs, weights and threads: in turn, within one run. Prints seconds of
each round, ratios of the medians (above 1: dinoctl is ahead), and top-1 and top-5 of both for each k.

  pip install torch torchvision numpy pillow
  python Tests/Reference/time_eval_knn.py DATA --original CHECKOUT --dinoctl .build/release/dinoctl --model M.pth --arch vit_tiny --heads 3

DATA has train/ and val/, a folder for each class, and at least 100 photographs in val/ (the original takes a hundredth of them at once). The original asks for a GPU; here "cuda" does
nothing and its process group is gloo's of one. Its imports are not counted, dinoctl's start is. --setting 128:10 is --batch_size_per_gpu 128 --num_workers 10, its defaults.
"""
import argparse, contextlib, io, json, os, re, runpy, statistics, subprocess, sys, time, warnings
import torch, torchvision


def on_the_cpu():
    """What the original calls of CUDA, as calls that leave everything where it is."""
    stay = lambda self, *_, **__: self
    torch.Tensor.cuda = torch.nn.Module.cuda = stay
    torch.cuda.set_device = lambda *_: None
    start = torch.distributed.init_process_group
    torch.distributed.init_process_group = lambda backend, **kw: start("gloo", **kw)
    os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT="29517")


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
    on_the_cpu()
    warnings.filterwarnings("ignore")
    sys.path.insert(0, a.original)
    import utils, vision_transformer  # noqa: F401  the original's, so that their reading is not counted
    printing = __builtins__.print  # utils.setup_for_distributed puts another in its place
    ks = [10, 20, 100, 200]

    def original(setting):
        batch, workers = setting.split(":")
        said, sys.argv = io.StringIO(), ["eval_knn.py", "--data_path", a.data, "--pretrained_weights", a.model, "--arch", a.arch, "--patch_size", a.patch_size,
                                         "--batch_size_per_gpu", batch, "--num_workers", workers]
        with contextlib.redirect_stdout(said):
            runpy.run_path(os.path.join(a.original, "eval_knn.py"), run_name="__main__")
        torch.distributed.destroy_process_group()
        __builtins__.print = printing
        return {int(k): (float(t1), float(t5)) for k, t1, t5 in re.findall(r"(\d+)-NN classifier result: Top1: ([\d.]+), Top5: ([\d.]+)", said.getvalue())}

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
            printing(f"{name}: {times[name][-1]:.2f} s", flush=True)
    own = statistics.median(times["dinoctl"])
    printing(f"{count} photographs, {a.threads} threads")
    for name, t in times.items():
        m = statistics.median(t)
        printing(f"{'dinoctl' if name == 'dinoctl' else 'eval_knn.py ' + name}: {' '.join(f'{v:.2f}' for v in t)} s, {1e3 * m / count:.2f} ms a photograph, {m / own:.2f}")
    for name, found in results.items():
        printing(f"{name}, top-1 and top-5:", {k: tuple(round(v, 2) for v in pair) for k, pair in found.items()})


if __name__ == "__main__":
    main()
