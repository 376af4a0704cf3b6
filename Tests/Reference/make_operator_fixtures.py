#!/usr/bin/env python3
"""Writes Tests/Fixtures/operators/node_tests.{json,safetensors}: inputs, attributes, operator set, outputs and tolerance of every single-node test case of
the ONNX project (PyPI: onnx==1.23.2, Apache-2.0) for the operators that DinoGraph's GenericKind.swift names. The numbers are what the package computes; no
code of it is copied. Cases with strings, sequences, optionals or types narrower than a byte are left out, and so are large tensors: both are printed.

  python Tests/Reference/make_operator_fixtures.py
"""
import hashlib
import json
import re
import struct
import warnings
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
from onnx.backend.test.case.node import collect_testcases

warnings.filterwarnings("ignore")
ROOT = Path(__file__).resolve().parents[2]
LARGEST = 165_000  # bytes of one case's tensors

TYPES = {
    np.dtype("float32"): "F32", np.dtype("float64"): "F64", np.dtype("float16"): "F16", np.dtype(ml_dtypes.bfloat16): "BF16",
    np.dtype("int8"): "I8", np.dtype("int16"): "I16", np.dtype("int32"): "I32", np.dtype("int64"): "I64",
    np.dtype("uint8"): "U8", np.dtype("uint16"): "U16", np.dtype("uint32"): "U32", np.dtype("uint64"): "U64", np.dtype("bool"): "BOOL",
    np.dtype(ml_dtypes.float8_e4m3fn): "F8_E4M3", np.dtype(ml_dtypes.float8_e5m2): "F8_E5M2",
    np.dtype(ml_dtypes.float8_e4m3fnuz): "F8_E4M3FNUZ", np.dtype(ml_dtypes.float8_e5m2fnuz): "F8_E5M2FNUZ",
}


def operators():
    text = (ROOT / "Sources/DinoGraph/Generic/GenericKind.swift").read_text()
    return set(re.findall(r'= "([A-Za-z0-9.]+)"', text))


def element(array):
    raw = np.ascontiguousarray(array).tobytes()
    return {"dtype": TYPES[array.dtype], "bits": str(int.from_bytes(raw, "little"))}


def attribute(a):
    value = onnx.helper.get_attribute_value(a)
    kinds = onnx.AttributeProto
    if a.type == kinds.INT: return {"int": value}
    if a.type == kinds.FLOAT: return {"float": value}
    if a.type == kinds.STRING: return {"string": value.decode()}
    if a.type == kinds.INTS: return {"ints": list(value)}
    if a.type == kinds.FLOATS: return {"floats": list(value)}
    if a.type == kinds.STRINGS: return {"strings": [v.decode() for v in value]}
    if a.type == kinds.TENSOR: return {"element": element(onnx.numpy_helper.to_array(value).reshape(-1)[:1])}
    raise ValueError(f"attribute type {a.type}")


def main():
    wanted, cases, blobs, skipped = operators(), [], {}, []

    def store(array):
        array = np.asarray(array)
        raw = np.ascontiguousarray(array).tobytes()
        key = hashlib.sha256(repr((TYPES[array.dtype], array.shape)).encode() + raw).hexdigest()[:12]
        blobs[key] = (TYPES[array.dtype], list(array.shape), raw)
        return key

    for test in sorted(collect_testcases(None), key=lambda t: t.name):
        graph = test.model.graph
        if len(graph.node) != 1: continue
        node = graph.node[0]
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        if name not in wanted: continue
        inputs, outputs = test.data_sets[0]
        arrays = list(inputs) + list(outputs)
        if not all(isinstance(v, (np.ndarray, np.generic)) and np.asarray(v).dtype in TYPES for v in arrays):
            skipped.append((test.name, "an element type or container that is left out"))
            continue
        size = sum(np.asarray(v).nbytes for v in arrays)
        if size > LARGEST:
            skipped.append((test.name, f"{size} bytes"))
            continue
        given = dict(zip([i.name for i in graph.input], inputs))
        expected = dict(zip([o.name for o in graph.output], outputs))
        version = next(o.version for o in test.model.opset_import if o.domain == node.domain)
        cases.append({
            "name": test.name, "operator": name, "version": version,
            "attributes": {a.name: attribute(a) for a in node.attribute},
            "inputs": [store(given[i]) if i else None for i in node.input],
            "outputs": [store(expected[o]) if o else None for o in node.output],
            "rtol": float(test.rtol or 1e-3), "atol": float(test.atol or 1e-7),
        })

    folder = ROOT / "Tests/Fixtures/operators"
    folder.mkdir(parents=True, exist_ok=True)
    header, at = {}, 0
    for key in sorted(blobs):
        dtype, shape, raw = blobs[key]
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (folder / "node_tests.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs[k][2] for k in sorted(blobs)))
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (folder / "node_tests.json").write_text(f'{{"source":"onnx {onnx.__version__}","cases":[\n{lines}\n]}}\n')
    for name, why in skipped: print(f"left out: {name}: {why}")
    print(f"{len(cases)} cases, {len(skipped)} left out")


main()
