"""What the quantised exports cost: cosine of cls with the float file on photographs, in ONNX Runtime, beside ONNX Runtime's own dynamic quantizer. --mean and --std are the
model's (calibration uses them too); photographs are taken evenly from those there are. Needs numpy, Pillow, onnx, onnxruntime.

  python check_onnx_quality.py --dinoctl .build/release/dinoctl --model FILE --calibration DIR --photographs DIR
"""
import argparse, glob, json, os, sys, subprocess, tempfile, time
import numpy as np, onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_dynamic
from PIL import Image

ap = argparse.ArgumentParser()
for name in ("dinoctl", "model", "calibration"): ap.add_argument(f"--{name}", required=True)
ap.add_argument("--photographs", required=True, nargs="+")
ap.add_argument("--mean", type=float, default=0.5); ap.add_argument("--std", type=float, default=0.5); ap.add_argument("--limit", type=int, default=100); ap.add_argument("--least", type=float, default=0, help="fail below this mean")
a = ap.parse_args()

def prepare(path):
    image = Image.open(path).convert("RGB"); scale = 256 / min(image.size)
    image = image.resize([round(n * scale) for n in image.size], Image.BICUBIC)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return ((np.asarray(image.crop((left, top, left + 224, top + 224)), "f4") / 255 - a.mean) / a.std).transpose(2, 0, 1)[None].astype("f4")

files = []
for folder in a.photographs:
    found = sorted(f for f in glob.glob(f"{folder}/**/*", recursive=True) if f.lower().endswith((".jpg", ".png"))); n = min(len(found), a.limit // len(a.photographs))
    files += [found[i * len(found) // n] for i in range(n)]
images = [prepare(f) for f in files]
options = ort.SessionOptions(); options.log_severity_level = 3

def cls(path):
    session, results, times = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]), [], []
    for x in images:
        start = time.perf_counter(); results.append(session.run(["cls"], {"pixel_values": x})[0][0]); times.append(time.perf_counter() - start)
    return np.array(results), 1e3 * float(np.median(times))

with tempfile.TemporaryDirectory() as d:
    forms = {"float": [], "f16": ["--dtype", "f16"], "int8 weights": ["--quantized"], "int8 dynamic": ["--quantized", "dynamic"], "int8 calibrated": ["--quantized", "--calibration", a.calibration, "--mean", ",".join([str(a.mean)] * 3), "--std", ",".join([str(a.std)] * 3)]}
    for form, more in forms.items():
        said = subprocess.run([a.dinoctl, "export", "--model", a.model, "--onnx", f"{d}/{form}.onnx", "--verify", "--json", "--quiet", *more], check=True, capture_output=True, text=True).stdout
        if "float_activations" in said: print(f"{form:22} float activations: {', '.join(json.loads(said)['float_activations'])}")
    quantize_dynamic(f"{d}/float.onnx", f"{d}/ORT quantize_dynamic.onnx", weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul"])
    reference, milliseconds = cls(f"{d}/float.onnx")
    print(f"{len(images)} photographs; float {milliseconds:.1f} ms")
    worst = 1.0
    for form in [*list(forms)[1:], "ORT quantize_dynamic"]:
        got, milliseconds = cls(f"{d}/{form}.onnx")
        c = (got * reference).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(reference, axis=1)
        print(f"{form:22} cosine mean {c.mean():.5f} least {c.min():.5f} | {milliseconds:.1f} ms | {os.path.getsize(f'{d}/{form}.onnx') / 1e6:.1f} MB")
        if form in forms: worst = min(worst, c.mean())
    sys.exit(f"a mean of {worst:.5f} is below {a.least}" if worst < a.least else 0)
