"""Exports a checkpoint with `dinoctl export` in every form and operator set, runs the files in ONNX Runtime at several image sizes and batches, and compares with
PyTorch: the original's arithmetic (make_dino_vit.py) for a .pth or .safetensors under the official names, timm or transformers for a folder of theirs.
onnx.checker runs with full_check, shape inference strictly. Quantised forms are held to a cosine, with photographs as calibration where --photographs names a
folder. Needs numpy, torch, onnx, onnxruntime, and timm or transformers for their folders. Prints a table; exit code 1 where a row fails.

  python check_onnx_export.py --dinoctl .build/release/dinoctl --model FILE_OR_FOLDER [--heads N] [--photographs DIR]
"""
import argparse, json, os, subprocess, sys, tempfile
import numpy as np, onnx, onnxruntime as ort, torch
from make_dino_vit import Vit

ap = argparse.ArgumentParser()
ap.add_argument("--dinoctl", required=True); ap.add_argument("--model", required=True); ap.add_argument("--heads")
ap.add_argument("--opsets", default="13,17,20,21,23"); ap.add_argument("--outputs", default="cls,tokens,attention,attention_cls,tokens.0")
ap.add_argument("--atol", type=float, default=1e-4); ap.add_argument("--cosine", type=float, default=0.9, help="least cosine of cls in the quantised forms")
ap.add_argument("--photographs")
a = ap.parse_args()
extra = ["--heads", a.heads] if a.heads else []
options = ort.SessionOptions(); options.log_severity_level = 3
failed = False

def dinoctl(*args): subprocess.run([a.dinoctl, *args, *extra], check=True, capture_output=True)

def row(ok, opset, form, what, value):
    global failed
    failed |= not ok
    print(f"{'ok  ' if ok else 'FAIL'} | opset {opset:2} | {form:26} | {what:22} | {value}", flush=True)

def original(path):
    """The official names, in a state dictionary or behind `teacher`, `module.` and `backbone.`."""
    if path.endswith(".safetensors"):
        from safetensors.torch import load_file
        state = load_file(path)
    else: state = torch.load(path, weights_only=False, map_location="cpu")
    state = {k.replace("module.", "").replace("backbone.", ""): v for k, v in state.get("teacher", state).items()}
    width, patch = state["cls_token"].shape[-1], state["patch_embed.proj.weight"].shape[-1]
    model = Vit(state, patch, int(a.heads or width // 64))
    def run(x):
        out = model(x)
        return out["layers"], out["attention"]
    return run, patch

def transformers_folder(path, _):
    from transformers import ViTModel
    model = ViTModel.from_pretrained(path, attn_implementation="eager").eval()
    def run(x):
        out = model(x, output_hidden_states=True, output_attentions=True, interpolate_pos_encoding=True)
        return [model.layernorm(h) for h in out.hidden_states[1:-1]] + [out.last_hidden_state], out.attentions[-1]
    return run, model.config.patch_size

def timm_folder(path, config):
    import timm
    from safetensors.torch import load_file
    model = timm.create_model(config["architecture"], num_classes=0, dynamic_img_size=True, **config.get("model_args", {})).eval()
    model.load_state_dict(load_file(f"{path}/model.safetensors"))
    def run(x):
        # timm refuses what does not divide; the original leaves the rest out.
        p = model.patch_embed.patch_size[0]
        x = x[..., : x.shape[-2] // p * p, : x.shape[-1] // p * p]
        layers = model.get_intermediate_layers(x, n=len(model.blocks), return_prefix_tokens=True, norm=True)
        layers = [torch.cat([prefix, patches], 1) for patches, prefix in layers]
        # timm gives no attention: once more through the last block's own parts.
        at = {}
        hook = model.blocks[-1].attn.register_forward_pre_hook(lambda module, inputs: at.update(x=inputs[0]))
        model.forward_features(x); hook.remove()
        m, (b, n, c) = model.blocks[-1].attn, at["x"].shape
        q, k, _ = m.qkv(at["x"]).reshape(b, n, 3, m.num_heads, -1).permute(2, 0, 3, 1, 4)
        return layers, (m.q_norm(q) * m.scale @ m.k_norm(k).transpose(-2, -1)).softmax(-1)
    return run, model.patch_embed.patch_size[0]

if os.path.isdir(a.model):
    config = json.load(open(f"{a.model}/config.json"))
    reference, patch = (timm_folder if "architecture" in config else transformers_folder)(a.model, config)
else: reference, patch = original(a.model)

def native(x):
    with torch.no_grad(): layers, attention = reference(torch.from_numpy(x))
    one = lambda o: {"cls": lambda: layers[-1][:, 0], "tokens": lambda: layers[-1], "attention": lambda: attention, "attention_cls": lambda: attention[:, :, 0]}[o]()
    return {o: (layers[int(o[7:])] if o.startswith("tokens.") else one(o)).numpy() for o in a.outputs.split(",")}

with tempfile.TemporaryDirectory() as d:

    def export(path, opset, *more):
        dinoctl("export", "--model", a.model, "--onnx", path, "--opset", str(opset), "--outputs", a.outputs, "--quiet", *more)
        onnx.checker.check_model(path, full_check=True)
        if "--external-data" not in more: onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True)
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        assert [i.name for i in session.get_inputs()] == ["pixel_values"] and [o.name for o in session.get_outputs()] == a.outputs.split(",")
        return lambda x: dict(zip(a.outputs.split(","), session.run(None, {"pixel_values": x})))

    export(f"{d}/one.onnx", 17); export(f"{d}/two.onnx", 17)
    assert open(f"{d}/one.onnx", "rb").read() == open(f"{d}/two.onnx", "rb").read(), "two exports differ"
    rng = np.random.default_rng(0)
    # Native-like, wide and not whole patches, tall.
    images = [rng.standard_normal((b, 3, h, w)).astype("f4") for h, w in [(14 * patch, 14 * patch), (5 * patch, 9 * patch + 3), (11 * patch, 4 * patch)] for b in (1, 3)]
    fixed = rng.standard_normal((1, 3, 5 * patch, 7 * patch)).astype("f4")
    expected, expected_fixed = [native(x) for x in images], native(fixed)
    def difference(want, got): return max(float(np.abs(want[o] - got[o]).max()) if want[o].shape == got[o].shape else np.inf for o in want)

    forms = {"fused": [], "split": ["--qkv", "split"], "external data": ["--external-data"]}
    for opset in map(int, a.opsets.split(",")):
        for form, more in forms.items():
            run = export(f"{d}/model.onnx", opset, *more)
            for x, want in zip(images, expected):
                worst = difference(want, run(x))
                row(worst <= a.atol, opset, form, "x".join(map(str, x.shape)), f"difference {worst:.1e}")
        worst = difference(expected_fixed, export(f"{d}/model.onnx", opset, "--fixed", "--image-size", f"{5 * patch}x{7 * patch}")(fixed))
        row(worst <= a.atol, opset, "fixed", "x".join(map(str, fixed.shape)), f"difference {worst:.1e}")
        quantized = {"f16": (["--dtype", "f16"], 0.9999), "bf16": (["--dtype", "bf16"], 0.999), "int8 weights": (["--quantized"], 0.99), "int8 dynamic": (["--quantized", "dynamic"], a.cosine)}
        if a.photographs:
            quantized["int8 calibrated"] = (["--quantized", "--calibration", a.photographs], a.cosine)
            quantized["int8 calibrated, split"] = (["--quantized", "--calibration", a.photographs, "--qkv", "split"], a.cosine)
        for form, (more, bound) in quantized.items():
            if "cls" not in a.outputs.split(","): continue
            run, least = export(f"{d}/model.onnx", opset, *more), 1.0
            for x, want in zip(images, expected):
                # Ranges of photographs mean nothing for noise: calibrated files only have to run here, check_onnx_quality.py measures them.
                got = run(x)
                c = (got["cls"] * want["cls"]).sum(-1) / np.linalg.norm(got["cls"], axis=-1) / np.linalg.norm(want["cls"], axis=-1)
                least = min(least, float(c.min())) if np.isfinite(c).all() else -1.0
            row(least >= (0 if "calibrated" in form else bound), opset, form, "all", f"least cosine of cls {least:.5f}")
sys.exit(failed)
