"""Exports a checkpoint with `dinoctl export` at several operator sets, runs the files in ONNX Runtime at several image sizes and batches, and compares
with `dinoctl run`, whose results are compared with PyTorch by the tests. Also runs onnx.checker with full_check. Needs numpy, onnx, onnxruntime.

  python check_onnx_export.py --dinoctl .build/release/dinoctl --model FILE [--heads N] [--opsets 13,17,20,21]
"""
import argparse, os, subprocess, sys, tempfile
import numpy as np, onnx, onnxruntime as ort

ap = argparse.ArgumentParser()
ap.add_argument("--dinoctl", required=True); ap.add_argument("--model", required=True); ap.add_argument("--heads")
ap.add_argument("--opsets", default="13,14,17,18,20,21,23"); ap.add_argument("--outputs", default="cls,tokens,attention,attention_cls,tokens.0")
ap.add_argument("--atol", type=float, default=1e-4)
a = ap.parse_args()
extra = ["--heads", a.heads] if a.heads else []

def dinoctl(*args): subprocess.run([a.dinoctl, *args, *extra], check=True, capture_output=True)

failed = False
with tempfile.TemporaryDirectory() as d:
    def native(x):
        np.save(f"{d}/x.npy", x)
        dinoctl("run", "--model", a.model, "--input", f"{d}/x.npy", "--output-dir", f"{d}/out", "--outputs", a.outputs, "--quiet")
        return {o: np.load(f"{d}/out/{o}.npy") for o in a.outputs.split(",")}
    dinoctl("export", "--model", a.model, "--onnx", f"{d}/one.onnx", "--outputs", a.outputs, "--quiet")
    dinoctl("export", "--model", a.model, "--onnx", f"{d}/two.onnx", "--outputs", a.outputs, "--quiet")
    assert open(f"{d}/one.onnx", "rb").read() == open(f"{d}/two.onnx", "rb").read(), "two exports differ"
    m = onnx.load(f"{d}/one.onnx")
    patch = next(n for n in m.graph.node if n.op_type == "Conv").attribute[0].ints[0]
    rng = np.random.default_rng(0)
    for opset in map(int, a.opsets.split(",")):
        path = f"{d}/model{opset}.onnx"
        dinoctl("export", "--model", a.model, "--onnx", path, "--opset", str(opset), "--outputs", a.outputs, "--quiet", *(["--external-data"] if opset == 18 else []))
        onnx.checker.check_model(path, full_check=True)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert [i.name for i in session.get_inputs()] == ["pixel_values"]
        for batch, h, w in [(1, 8 * patch, 8 * patch), (3, 5 * patch, 9 * patch + 3), (1, 11 * patch, 4 * patch), (2, 14 * patch, 14 * patch), (1, 3 * patch, 17 * patch)]:
            x = rng.standard_normal((batch, 3, h, w)).astype("f4")
            expected = native(x)
            found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"pixel_values": x})))
            worst = max(float(np.abs(expected[o] - found[o]).max()) for o in expected)
            bad = not worst < a.atol or any(expected[o].shape != found[o].shape for o in expected)
            failed |= bad
            print(f"{'FAIL' if bad else 'ok'} opset {opset} batch {batch} {h}x{w}: {worst:.1e}")
        path = f"{d}/fixed{opset}.onnx"
        dinoctl("export", "--model", a.model, "--onnx", path, "--opset", str(opset), "--outputs", a.outputs, "--quiet", "--fixed", "--image-size", f"{5 * patch}x{7 * patch}")
        x = rng.standard_normal((1, 3, 5 * patch, 7 * patch)).astype("f4")
        expected = native(x)
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        found = dict(zip([o.name for o in session.get_outputs()], session.run(None, {"pixel_values": x})))
        worst = max(float(np.abs(expected[o] - found[o]).max()) for o in expected)
        failed |= not worst < a.atol
        print(f"{'ok' if worst < a.atol else 'FAIL'} opset {opset} fixed: {worst:.1e}")
sys.exit(failed)
