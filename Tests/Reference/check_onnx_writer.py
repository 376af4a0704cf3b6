"""Shows files of OnnxWriter to the onnx library: each must parse and say the same as the file it was made from, fields that are there and empty aside.

    python Tests/Reference/check_onnx_writer.py ORIGINAL WRITTEN [ORIGINAL WRITTEN ...]
"""
import sys

import onnx

from make_onnx_fixtures import canonical

for original, written in zip(sys.argv[1::2], sys.argv[2::2]):
    a = canonical(onnx.load(original, load_external_data=False))
    b = canonical(onnx.load(written, load_external_data=False))
    # Compared as text in two forms: NaN equals itself there.
    assert a.SerializeToString(deterministic=True) == b.SerializeToString(deterministic=True), f"{written} differs from {original}"
