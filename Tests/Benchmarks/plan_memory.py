#!/usr/bin/env python3
"""Memory that `dinoctl plan` predicts beside what `dinoctl features` then takes (ru_maxrss), for files, precisions, sizes and batches.

usage: plan_memory.py DINOCTL FOLDER-OF-PHOTOGRAPHS MODEL... (the folder should hold a few batches; among the models a transformers folder, whose q, k and v are joined, and
timm's DINOv2 with registers, whose positions are)
"""
import json
import os
import subprocess
import sys
import tempfile


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    dinoctl, folder, models = sys.argv[1], sys.argv[2], sys.argv[3:]
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for model in models:
            for precision in ("f32", "bf16", "int8"):
                for size, batch in ((224, 1), (224, 8), (448, 1), (448, 8)):
                    options = ["--model", model, "--precision", precision, "--image-size", f"{size}x{size}", "--quiet"]
                    told = json.loads(subprocess.run([dinoctl, "plan", *options, "--batch", str(batch), "--json"], check=True, capture_output=True).stdout)
                    features = os.path.join(scratch, "features.npy")
                    run = subprocess.Popen([dinoctl, "features", *options, "--batch-size", str(batch), "-o", features, folder])
                    _, status, usage = os.wait4(run.pid, 0)
                    if status:
                        sys.exit(f"features of {model} failed")
                    predicted, taken = told["peak_memory_bytes"] / 2**20, usage.ru_maxrss / 1024
                    worst = max(worst, abs(predicted / taken - 1))
                    print(f"{os.path.basename(model):32} {precision:4} {size} batch {batch}: predicted {predicted:6.1f} MiB, taken {taken:6.1f}, {predicted / taken - 1:+.1%}", flush=True)
    print(f"furthest apart {worst:.1%}")


main()
