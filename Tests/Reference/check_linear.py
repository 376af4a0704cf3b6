#!/usr/bin/env python3
"""The logistic regression of `dinoctl linear` against scikit-learn's newton-cholesky on the same features.

  dinoctl features --model M -o train.npy TRAIN; dinoctl features --model M -o test.npy TEST
  pip install numpy scikit-learn; python Tests/Reference/check_linear.py train.npy test.npy [C...]

Classes are the folders of the paths beside the features (train.paths.txt). Prints scikit-learn's accuracy and objective, mean log loss + |W|²/(2·C·n), for each C:
those that dinoctl linear prints.
"""
import os, sys
import numpy as np
from sklearn.linear_model import LogisticRegression

def load(path):
    x = np.load(path).astype(np.float64)
    names = open(path[:-4] + ".paths.txt").read().split("\n")[:len(x)]
    return x, np.array([os.path.basename(os.path.dirname(n)) for n in names])

(x, y), (xt, yt) = load(sys.argv[1]), load(sys.argv[2])
for c in map(float, sys.argv[3:] or (0.01, 1, 100)):
    model = LogisticRegression(C=c, solver="newton-cholesky", tol=1e-10, max_iter=5000).fit(x, y)
    truth = np.searchsorted(model.classes_, y)
    loss = -model.predict_log_proba(x)[np.arange(len(x)), truth].mean() + (model.coef_ ** 2).sum() / (2 * c * len(x))
    print(f"C {c:g}: accuracy {100 * model.score(xt, yt):.2f} %, objective {loss:.6f}, {int(max(model.n_iter_))} iterations")
