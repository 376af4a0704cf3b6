"""Makes Tests/Fixtures/safetensors with the reference library: files that our reader must read and that our writer must write byte for byte.

    python Tests/Reference/make_safetensors_fixtures.py        # needs safetensors and torch
"""
import pathlib

import torch
from safetensors.torch import save_file

OUT = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures/safetensors"


def ramp(name, shape):
    """Small whole numbers that every type holds exactly."""
    count = 1
    for extent in shape:
        count *= extent
    return (torch.arange(count) % 2 if name == "bool" else torch.arange(count)).to(getattr(torch, name)).reshape(shape)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    every = {f"t.{d}": ramp(d, [2, 3]) for d in ["bool", "uint8", "int8", "int16", "uint16", "float16", "bfloat16", "int32", "uint32", "float32",
                                                 "float64", "int64", "uint64", "complex64", "float8_e4m3fn", "float8_e5m2"]}
    save_file(every, OUT / "every_type.safetensors", {"format": "pt"})
    odd = {"scalar": ramp("float32", []), "empty": ramp("float32", [0, 4]), "odd": ramp("uint8", [7]), "b": ramp("float16", [3]),
           "a": ramp("float16", [1]), "\u00e4 \"quoted\" \\ \n \u0001": ramp("float32", [1])}
    save_file(odd, OUT / "odd_shapes.safetensors", {"text": "line\n\"quote\" \u00e9 \U0001f995 \u007f\u0000"})
    save_file({}, OUT / "nothing.safetensors")
    for path in sorted(OUT.glob("*.safetensors")):
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
