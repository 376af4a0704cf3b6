#!/usr/bin/env python3
"""The logistic regression of `dinoctl linear` against scikit-learn's on the same features: accuracy, objective (mean log loss + |W|²/(2·C·n)) and the length of its gradient.

  dinoctl features --model M -o train.npy TRAIN; dinoctl features --model M -o test.npy TEST
  pip install numpy scikit-learn
  python Tests/Reference/check_linear.py train.npy test.npy --c 0.01 1 100 --dinoctl .build/release/dinoctl linear --model M --train TRAIN --test TEST

Classes are the folders of the paths beside the features (train.paths.txt). newton-cholesky ends at the minimum; --solvers lbfgs newton-cg are asked for a tolerance of 1e-8 too, and
how far they get is told. What stands after --dinoctl is run for each C with --c C --json; ends with 1 where accuracy is more than 0.2 points away, or the objective above the best
solver's by more than a millionth.
"""
import argparse, json, os, subprocess, sys, time, warnings
import numpy as np
from sklearn.linear_model import LogisticRegression

warnings.filterwarnings("ignore")  # of solvers that did not converge: the gradient says so

def load(path):
    x = np.load(path).astype(np.float64)
    names = open(path[:-4] + ".paths.txt").read().split("\n")[:len(x)]
    return x, np.array([os.path.basename(os.path.dirname(n)) for n in names])

p = argparse.ArgumentParser()
p.add_argument("train")
p.add_argument("test")
p.add_argument("--c", type=float, nargs="+", default=[0.01, 1, 100])
p.add_argument("--solvers", nargs="+", default=["newton-cholesky", "lbfgs", "newton-cg"])
p.add_argument("--iterations", type=int, default=20000)
p.add_argument("--dinoctl", nargs=argparse.REMAINDER)
a = p.parse_args()
(x, y), (xt, yt) = load(a.train), load(a.test)
failed = False
for c in a.c:
    best = None
    for solver in a.solvers:
        start = time.perf_counter()
        model = LogisticRegression(C=c, solver=solver, tol=1e-10 if solver == "newton-cholesky" else 1e-8, max_iter=a.iterations).fit(x, y)
        seconds, truth, n = time.perf_counter() - start, np.searchsorted(model.classes_, y), len(x)
        log = model.predict_log_proba(x)
        loss = -log[np.arange(n), truth].mean() + (model.coef_ ** 2).sum() / (2 * c * n)
        residual = (np.exp(log) - np.eye(len(model.classes_))[truth]) / n
        gradient = np.hypot(np.linalg.norm(residual.T @ x + model.coef_ / (c * n)), np.linalg.norm(residual.sum(0)))
        accuracy = 100 * model.score(xt, yt)
        print(f"C {c:g}: {solver:15} accuracy {accuracy:.2f} %, objective {loss:.9f}, gradient {gradient:.1e}, {int(max(model.n_iter_))} iterations, {seconds:.1f} s", flush=True)
        if best is None or loss < best[0]:
            best = (loss, accuracy)
    if a.dinoctl:
        start = time.perf_counter()
        result = json.loads(subprocess.run(a.dinoctl + ["--c", str(c), "--json", "--quiet"], check=True, capture_output=True, text=True).stdout)
        fit, accuracy = result["fit"], result["test"]["top1"]
        wrong = abs(accuracy - best[1]) > 0.2 or fit["objective"] > best[0] * (1 + 1e-6) or not fit["converged"]
        failed |= wrong
        print(f"C {c:g}: dinoctl linear  accuracy {accuracy:.2f} %, objective {fit['objective']:.9f}, gradient {fit['gradient']:.1e}, {fit['iterations']} steps, "
              f"{time.perf_counter() - start:.1f} s with the features{': NOT THE SAME' if wrong else ''}", flush=True)
sys.exit(failed)
