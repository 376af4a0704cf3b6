# Writes Sources/DinoImaging/ColorMapTables.swift: 256 colours of each perceptual map, from matplotlib's tables (released under CC0).
# Run: python Tests/Reference/make_colour_maps.py (needs matplotlib)
import pathlib

import matplotlib
import numpy as np

root = pathlib.Path(__file__).resolve().parents[2]
lines = [
    "// Tables of the perceptual colour maps: 256 colours each as RRGGBB. Made by Tests/Reference/make_colour_maps.py from",
    "// matplotlib's tables, which their authors released under CC0. Do not edit.",
    "",
    "enum ColorMapTables {",
]
for name in ("viridis", "inferno", "magma"):
    colours = matplotlib.colormaps[name](np.arange(256), bytes=True)[:, :3]
    digits = colours.tobytes().hex()
    lines.append(f"  static let {name}: StaticString = \"\"\"")
    rows = [digits[i : i + 96] for i in range(0, len(digits), 96)]
    for i, row in enumerate(rows):
        lines.append(f"    {row}" + ("" if i == len(rows) - 1 else "\\"))
    lines.append('    """')
    lines.append("")
lines[-1] = "}"
text = "\n".join(lines) + "\n"
(root / "Sources/DinoImaging/ColorMapTables.swift").write_text(text)
