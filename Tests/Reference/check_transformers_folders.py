#!/usr/bin/env python3
"""Folders for transformers that `dinoctl convert --layout hf` writes, held against transformers. Small random networks of each type that is written (in f32 and bf16), classifiers among them, go from a
folder of transformers to our format and back: names, types and bits of all tensors must be the same; AutoModel, or AutoModelForImageClassification, of the folder that came back must give what
`dinoctl run` gives of our file, at the size that positions are for and at others. The fixtures of the originals' files (Tests/Fixtures: registers, dinov3, classifiers) go to folders too, and transformers
must give the originals' numbers. Prints a table; exit code 1 where a row fails.

  pip install torch numpy safetensors transformers; python check_transformers_folders.py --dinoctl .build/release/dinoctl
"""
import argparse, json, os, subprocess, sys, tempfile
import numpy as np, torch, transformers
from safetensors import safe_open
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification

ap = argparse.ArgumentParser()
ap.add_argument("--dinoctl", required=True)
ap.add_argument("--atol", type=float, default=2e-5)
a = ap.parse_args()
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures")
COMMON = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=3)
NAMES = {0: "hat", 1: "shirt", 2: "shoe"}
failed = False
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def dinoctl(*args):
    done = subprocess.run([a.dinoctl, *args], capture_output=True, text=True)
    if done.returncode: sys.exit(f"dinoctl {' '.join(args)}: {done.stderr}")
    return done.stderr


def row(ok, network, what, value):
    global failed
    failed |= not ok
    print(f"{'ok  ' if ok else 'FAIL'} | {network:42} | {what:38} | {value}", flush=True)


def difference(x, y): return float(np.abs(np.asarray(x) - np.asarray(y)).max()) if np.shape(x) == np.shape(y) else np.inf


def tensors(folder):
    with safe_open(f"{folder}/model.safetensors", "pt") as f: return {name: f.get_tensor(name) for name in f.keys()}


def same(x, y): return x.dtype == y.dtype and x.shape == y.shape and x.contiguous().view(torch.uint8).equal(y.contiguous().view(torch.uint8))


def of_transformers(folder, image):
    """What transformers gives, by our names of outputs."""
    config, image = AutoConfig.from_pretrained(folder), torch.from_numpy(image)
    more = {"interpolate_pos_encoding": True} if config.model_type == "vit" else {}
    kind = AutoModelForImageClassification if config.architectures[0].endswith("Classification") else AutoModel
    model, info = kind.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    # ViTModel has a pooler of its own, which no checkpoint of ours has.
    strange = {k: [n for n in info[k] if "pooler" not in n] for k in ("missing_keys", "unexpected_keys", "mismatched_keys")}
    assert not any(strange.values()), strange
    with torch.no_grad():
        if kind is AutoModel: return {"tokens": model.eval()(image, **more).last_hidden_state.numpy()}
        return {"logits": model.eval()(image, **more).logits.numpy(), "tokens": model.base_model(image, **more).last_hidden_state.numpy()}


def of_dinoctl(model, image, outputs, folder):
    np.save(f"{folder}/x.npy", image)
    dinoctl("run", "--model", model, "--input", f"{folder}/x.npy", "--outputs", ",".join(outputs), "--output-dir", f"{folder}/run", "--quiet")
    return {o: np.load(f"{folder}/run/{o}.npy") for o in outputs}


def randomize(model):
    for name, p in model.named_parameters():
        x = torch.randn(p.shape)
        if p.dim() == 1: x = 0.3 * x + (1 if ("norm" in name and name.endswith("weight")) or "lambda1" in name else 0)
        elif p.dim() != 3: x = 1.5 * x / max(p[0].numel(), 1) ** 0.5
        p.data.copy_(x)
    return model.eval()


def networks():
    T = transformers
    yield "vit", T.ViTModel(T.ViTConfig(**COMMON, intermediate_size=96, image_size=32, patch_size=8)), 8
    yield "vit, classifier", T.ViTForImageClassification(T.ViTConfig(**COMMON, intermediate_size=96, image_size=32, patch_size=8, id2label=NAMES)), 8
    for kind, more in (("Dinov2", {}), ("Dinov2WithRegisters", {"num_register_tokens": 4})):
        config = getattr(T, kind + "Config")(**COMMON, mlp_ratio=2, image_size=35, patch_size=7, **more)
        yield f"{config.model_type}", getattr(T, kind + "Model")(config), 7
        config = getattr(T, kind + "Config")(**COMMON, mlp_ratio=2, image_size=35, patch_size=7, id2label=NAMES, qkv_bias=False, hidden_act="gelu_pytorch_tanh", **more)
        yield f"{config.model_type}, classifier, no qkv bias", getattr(T, kind + "ForImageClassification")(config), 7
        yield f"{config.model_type}, gated", getattr(T, kind + "Model")(getattr(T, kind + "Config")(**COMMON, mlp_ratio=3, image_size=35, patch_size=7, use_swiglu_ffn=True, **more)), 7
    for what, more in (("", {"num_register_tokens": 4}), (", no registers", {}), (", bias of keys", {"num_register_tokens": 4, "key_bias": True}),
                       (", gated", {"num_register_tokens": 4, "use_gated_mlp": True, "hidden_act": "silu"}), (", gated, bias of keys", {"num_register_tokens": 2, "use_gated_mlp": True, "hidden_act": "silu", "key_bias": True}),
                       (", no qkv bias, theta 50", {"num_register_tokens": 1, "query_bias": False, "value_bias": False, "rope_theta": 50.0})):
        yield "dinov3_vit" + what, T.DINOv3ViTModel(T.DINOv3ViTConfig(**COMMON, intermediate_size=80, image_size=32, patch_size=8, **more)), 8


with tempfile.TemporaryDirectory() as d:
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    for number, (network, model, patch) in enumerate(networks()):
        randomize(model)
        sizes = [(model.config.image_size,) * 2, (3 * patch, 7 * patch), (8 * patch, 6 * patch)]
        for dtype in (torch.float32, torch.bfloat16):
            first, file, back = f"{d}/{number}.{dtype}", f"{d}/{number}.{dtype}.safetensors", f"{d}/{number}.{dtype}.back"
            model.to(dtype).save_pretrained(first)
            notes = dinoctl("convert", first, file) + dinoctl("convert", file, back, "--layout", "hf")
            theirs, ours = tensors(first), tensors(back)
            theirs = {k: v for k, v in theirs.items() if "pooler" not in k}
            unlike = sorted(set(theirs) ^ set(ours)) + [k for k in theirs if k in ours and not same(theirs[k], ours[k])]
            row(not unlike and "resizes positions" not in notes, network, f"tensors that came back, {str(dtype)[6:]}", f"{len(ours)} the same" if not unlike else f"unlike: {unlike[:3]}")
            labels = [json.load(open(f"{f}/config.json")).get("id2label") for f in (first, back)]
            if "classifier" in network: row(labels[0] == labels[1], network, "names of classes", labels[1])
            if dtype != torch.float32: continue
            for height, width in sizes:
                x = rng.standard_normal((2, 3, height, width)).astype("f4")
                want = of_transformers(back, x)
                got = of_dinoctl(file, x, list(want), d)
                for o in want: row(difference(want[o], got[o]) < a.atol, network, f"{o}, {height}x{width}", f"difference {difference(want[o], got[o]):.1e}")

    # The originals' own files, and what the originals give: (file, heads, golden numbers by size, sizes whose positions transformers has as the original).
    for path, heads, golden, sizes in (("registers/official.pth", 3, "registers/{}", ("native", "other")), ("dinov3/official.pth", 3, "dinov3/{}", ("square", "wide")),
                                       ("classifiers/linear.pth", 3, "classifiers/linear.{}", ("native",)), ("registers/timm", None, "registers/{}", ("native", "other")), ("dinov3/timm", None, "dinov3/{}", ("square", "wide")),
                                       ("gated/dinov2/official.pth", 3, "gated/dinov2/{}", ("native", "other")), ("gated/dinov3/official.pth", 3, "gated/dinov3/{}", ("native", "other")), ("gated/dinov3l/timm", None, "gated/dinov3l/{}", ("native",))):
        folder = f"{d}/{path.replace('/', '.')}.folder"
        notes = dinoctl("convert", f"{FIXTURES}/{path}", folder, "--layout", "hf", *(["--heads", str(heads)] if heads else []))
        for size in sizes:
            found = of_transformers(folder, np.load(f"{FIXTURES}/{golden.format(size)}.input.npy"))
            for o in ("tokens", "logits"):
                file = f"{FIXTURES}/{golden.format(size)}.{o}.npy"
                if os.path.exists(file): row(difference(found[o], np.load(file)) < a.atol, path, f"{o} of the original, {size}", f"difference {difference(found[o], np.load(file)):.1e}")
        print("      notes:", " | ".join(n for n in notes.splitlines() if "folder" in n or "mask" in n or "transformers" in n) or "none")
    for folder in ("dinov2", "registers"):
        back = f"{d}/classifiers.{folder}"
        dinoctl("convert", f"{FIXTURES}/classifiers/{folder}", back, "--layout", "hf")
        theirs, ours = tensors(f"{FIXTURES}/classifiers/{folder}"), tensors(back)
        row(set(theirs) == set(ours) and all(same(theirs[k], ours[k]) for k in theirs), f"classifiers/{folder}", "tensors that came back", f"{len(ours)}")
sys.exit(failed)
