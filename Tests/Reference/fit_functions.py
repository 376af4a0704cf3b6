"""Fits the functions that the f32 kernels approximate: erf(x) = x P(x²) / Q(x²) on [0, 3.92], 2^f on [-1/2, 1/2], and, for vectors of 16, the pieces of GELU and of its slope,
Sources/CDinoKernels/f32_functions.h with the error of their f32 evaluation. Needs numpy and scipy."""
import numpy as np
from scipy.special import erf, erfc

END, P_DEGREE, Q_DEGREE = 3.9192059, 6, 4

def fit():
    # Chebyshev points in x, so that both ends count; error relative to erf.
    n = 4000
    x = (np.cos(np.pi * (np.arange(n) + 0.5) / n) + 1) / 2 * END
    t, y = x * x / END**2, erf(x) / x  # t scaled to [0, 1] for conditioning
    weight, q, best = np.ones(n) / y, np.ones(n), None
    for _ in range(200):
        w = weight / q
        a = np.hstack([t[:, None] ** np.arange(P_DEGREE + 1) * w[:, None], -(y * w)[:, None] * t[:, None] ** np.arange(1, Q_DEGREE + 1)])
        c, *_ = np.linalg.lstsq(a, y * w, rcond=None)
        p, qc = c[: P_DEGREE + 1], np.concatenate([[1.0], c[P_DEGREE + 1 :]])
        q = np.polyval(qc[::-1], t)
        error = np.abs(np.polyval(p[::-1], t) / q - y) / y
        if best is None or error.max() < best[0]: best = (error.max(), p, qc)
        weight = weight * (error / error.max() + 1e-3) ** 0.1  # Lawson's reweighting
        weight /= weight.max()
    scale = END ** (-2.0 * np.arange(10))
    return best[0], best[1] * scale[: P_DEGREE + 1], best[2] * scale[: Q_DEGREE + 1]

worst, p, q = fit()
f = np.float32
x = np.linspace(-4.5, 4.5, 2000001).astype(f)
c = np.clip(x, f(-END), f(END)); t = c * c
def horner(k):
    r = np.full_like(t, f(k[-1]))
    for a in k[-2::-1]: r = r * t + f(a)
    return r
value = c * horner(p) / horner(q)
print("relative error of the fit", worst, "largest absolute error in f32", np.abs(value - erf(x.astype(float))).max(), "top", value.max())
for name, k in (("p", p), ("q", q)):
    print(f"  V {name} = v_set({k[-1]:.9e}f);")
    for a in k[-2::-1]: print(f"  {name} = DK_FMA({name}, t, v_set({a:.9e}f));")

# 2^f on [-1/2, 1/2], degree 6, exactly 1 at 0: Lawson's iteration again, relative error.
x = np.cos(np.pi * (np.arange(3000) + 0.5) / 3000) / 2
y, powers = 2.0**x, np.stack([x**k for k in range(1, 7)], 1)
w = 1 / y
for _ in range(200):
    c, *_ = np.linalg.lstsq(powers * w[:, None], (y - 1) * w, rcond=None)
    error = np.abs(1 + powers @ c - y) / y
    w = w * (error / error.max() + 1e-3) ** 0.1
    w /= w.max()
print("2^f: relative error", error.max(), *(f"{v:.9e}" for v in c))

# h(u) = u (1 - Φ(u)) and its slope on 16 pieces of 3/8, piece n around 3/8 n, degree 5 in f = u / (3/8) - n. GELU is max(x, 0) - h(|x|). h is 0 at 0, where what is small must stay exact to the last bits.
WIDTH, DEGREE = 0.375, 5
def pieces(function, is_zero_at_0):
    table = np.zeros((16, DEGREE + 1))
    for n in range(16):
        low, first = (0.0 if n == 0 else -0.5), int(is_zero_at_0 and n == 0)
        x = (np.cos(np.pi * (np.arange(2000) + 0.5) / 2000) + 1) / 2 * (0.5 - low) + low
        y, powers = function((x + n) * WIDTH), x[:, None] ** np.arange(first, DEGREE + 1)
        scale, w, best = 1 / np.maximum(x, 1e-9) if first else np.ones(2000), np.ones(2000), None
        for _ in range(300):
            c, *_ = np.linalg.lstsq(powers * (scale * w)[:, None], y * scale * w, rcond=None)
            error = np.abs(powers @ c - y) * scale
            if best is None or error.max() < best[0]: best = (error.max(), c)
            w = w * (error / error.max() + 1e-3) ** 0.1
            w /= w.max()
        table[n, first:] = best[1]
    return table
tail = lambda u: erfc(u / np.sqrt(2)) / 2
for name, function, zero in (("gelu_pieces", lambda u: u * tail(u), True), ("gelu_slope_pieces", lambda u: tail(u) - u * np.exp(-u * u / 2) / np.sqrt(2 * np.pi), False)):
    print(name)
    for row in pieces(function, zero).T[::-1]: print("  {" + ", ".join(f"{f(v):.9e}f" for v in row) + "},")
