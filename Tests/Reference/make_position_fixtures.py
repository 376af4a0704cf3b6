"""Position embeddings resampled by torch itself, for Tests/DinoGraphTests/PositionResamplingTests.swift.

Writes Tests/Fixtures/positions/positions.json: one native grid of each size (values by a formula that the test repeats), and for each
variant and target grid the values of F.interpolate. A: scale_factor=(n+0.1)/M; B and D: size=, antialias; C: size=; and bilinear, nearest.

    python make_position_fixtures.py
"""
import json
import math
import pathlib

import torch
import torch.nn.functional as F

WIDTH = 2


def native(side):
    """Value d of cell i: a sum of sines, rounded to 32 bits."""
    cells = torch.arange(side * side, dtype=torch.float64)
    columns = [torch.sin(cells * (0.37 + 0.11 * d)) + 0.3 * torch.cos(cells * cells * 0.05 + d) for d in range(WIDTH)]
    return torch.stack(columns, 1).float().reshape(1, side, side, WIDTH).permute(0, 3, 1, 2)


def resample(x, rows, columns, variant):
    side = x.shape[-1]
    if variant == "A":
        factor = ((rows + 0.1) / math.sqrt(side * side), (columns + 0.1) / math.sqrt(side * side))
        return F.interpolate(x, scale_factor=factor, mode="bicubic")
    if variant == "BD":
        return F.interpolate(x, size=(rows, columns), mode="bicubic", antialias=True)
    if variant == "C":
        return F.interpolate(x, size=(rows, columns), mode="bicubic")
    if variant == "bilinear":
        return F.interpolate(x, size=(rows, columns), mode="bilinear")
    if variant == "bilinear_antialias":
        return F.interpolate(x, size=(rows, columns), mode="bilinear", antialias=True)
    return F.interpolate(x, size=(rows, columns), mode="nearest")


def main():
    cases = []
    targets = [(6, 6), (14, 14), (20, 20), (30, 30), (60, 60), (6, 20), (30, 14), (37, 9), (1, 3)]
    for side in (14, 28, 37):
        x = native(side)
        for rows, columns in targets:
            for variant in ("A", "BD", "C", "bilinear", "bilinear_antialias", "nearest"):
                y = resample(x, rows, columns, variant)
                assert y.shape[-2:] == (rows, columns), (y.shape, rows, columns)
                y = y[0].permute(1, 2, 0).reshape(-1, WIDTH)
                # At most 40 cells of each, spread over the grid: enough to find a wrong tap, small enough to commit.
                step = max(1, rows * columns // 40) | 1
                picked = list(range(0, rows * columns, step))[:64]
                cases.append({"side": side, "rows": rows, "columns": columns, "variant": variant, "step": step,
                              "values": [round(v, 7) for i in picked for v in y[i].tolist()]})
    folder = pathlib.Path(__file__).resolve().parent.parent / "Fixtures" / "positions"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "positions.json").write_text(json.dumps({"torch": torch.__version__, "width": WIDTH, "cases": cases}, separators=(",", ":")) + "\n")


main()
