#!/usr/bin/env python3
"""Makes Tests/Fixtures/dino/vit: a tiny DINO vision transformer in the file forms people have, and what PyTorch computes with it.

The network is facebookresearch/dino's VisionTransformer and DINOHead (commit 7c446df), written down again in as few lines as its arithmetic needs; `--check FOLDER`
holds this file against recorded outputs of the original (case.json, checkpoint.pth, *_input.npy, …) and prints the differences.

  pip install torch numpy safetensors; python Tests/Reference/make_dino_vit.py
"""
import argparse, json, math, os, sys
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F


class Vit:
    """Functional: tensors by official name in, outputs out."""

    def __init__(self, w, patch, heads):
        self.w, self.patch, self.heads = {k: v.float() for k, v in w.items()}, patch, heads
        self.depth = 1 + max(int(k.split(".")[1]) for k in w if k.startswith("blocks."))

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w[name + ".bias"])

    def norm(self, name, x):
        return F.layer_norm(x, x.shape[-1:], self.w[name + ".weight"], self.w[name + ".bias"], 1e-6)

    def positions(self, n, w, h):
        p = self.w["pos_embed"]
        native = p.shape[1] - 1
        if n == native and w == h:
            return p
        side, d = int(math.sqrt(native)), p.shape[-1]
        scale = ((w // self.patch + 0.1) / side, (h // self.patch + 0.1) / side)
        grid = F.interpolate(p[:, 1:].reshape(1, side, side, d).permute(0, 3, 1, 2), scale_factor=scale, mode="bicubic")
        return torch.cat([p[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, d)], 1)

    def __call__(self, image):
        b, _, w, h = image.shape
        x = F.conv2d(image, self.w["patch_embed.proj.weight"], self.w["patch_embed.proj.bias"], stride=self.patch).flatten(2).transpose(1, 2)
        n = x.shape[1]
        x = torch.cat([self.w["cls_token"].expand(b, -1, -1), x], 1) + self.positions(n, w, h)
        layers = []
        for i in range(self.depth):
            y = self.linear(f"blocks.{i}.attn.qkv", self.norm(f"blocks.{i}.norm1", x))
            q, k, v = y.reshape(b, n + 1, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            attention = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
            x = x + self.linear(f"blocks.{i}.attn.proj", (attention @ v).transpose(1, 2).reshape(b, n + 1, -1))
            x = x + self.linear(f"blocks.{i}.mlp.fc2", F.gelu(self.linear(f"blocks.{i}.mlp.fc1", self.norm(f"blocks.{i}.norm2", x))))
            layers.append(self.norm("norm", x))
        return {"cls": layers[-1][:, 0], "layers": layers, "attention": attention}

    def head(self, x):
        x = self.linear("head.mlp.4", F.gelu(self.linear("head.mlp.2", F.gelu(self.linear("head.mlp.0", x)))))
        v, g = self.w["head.last_layer.weight_v"], self.w["head.last_layer.weight_g"]
        return F.linear(F.normalize(x, dim=-1), g * v / v.norm(dim=1, keepdim=True))


def check(folder):
    load = lambda name: torch.from_numpy(np.load(f"{folder}/{name}.npy"))
    c = json.load(open(f"{folder}/case.json"))["config"]
    state = torch.load(f"{folder}/checkpoint.pth", weights_only=False, map_location="cpu")["teacher"]
    state = {k.replace("module.", "").replace("backbone.", ""): v for k, v in state.items()}
    model = Vit(state, c["patch"], c["heads"])
    for kind in ("native", "wide", "tall"):
        out = model(load(f"{kind}_input"))
        print(kind, (out["cls"] - load(f"{kind}_cls")).abs().max().item(), (out["attention"] - load(f"{kind}_last_attention")).abs().max().item())
    print("head", (model.head(model(load("head_input"))["cls"]) - load("head_output")).abs().max().item())


def weights(dim, depth, patch, side, hidden, bottleneck, out):
    """Livelier than an initialisation, so that a wrong formula shows."""
    w = {"cls_token": (1, 1, dim), "pos_embed": (1, 1 + side * side, dim), "patch_embed.proj.weight": (dim, 3, patch, patch), "patch_embed.proj.bias": (dim,)}
    for i in range(depth):
        b = f"blocks.{i}."
        for n, o, k in (("attn.qkv", 3 * dim, dim), ("attn.proj", dim, dim), ("mlp.fc1", 4 * dim, dim), ("mlp.fc2", dim, 4 * dim)):
            w[b + n + ".weight"], w[b + n + ".bias"] = (o, k), (o,)
        for n in ("norm1", "norm2"):
            w[b + n + ".weight"], w[b + n + ".bias"] = (dim,), (dim,)
    w["norm.weight"], w["norm.bias"] = (dim,), (dim,)
    h = {"head.mlp.0.weight": (hidden, dim), "head.mlp.0.bias": (hidden,), "head.mlp.2.weight": (hidden, hidden), "head.mlp.2.bias": (hidden,),
         "head.mlp.4.weight": (bottleneck, hidden), "head.mlp.4.bias": (bottleneck,), "head.last_layer.weight_g": (out, 1), "head.last_layer.weight_v": (out, bottleneck)}
    def make(name, shape):
        x = torch.randn(shape)
        if len(shape) > 1 and name not in ("cls_token", "pos_embed", "head.last_layer.weight_g"):
            return x / math.sqrt(x[0].numel()) * 1.5
        return 1 + 0.3 * x if "norm" in name and name.endswith("weight") or name.endswith("weight_g") else 0.3 * x
    return {n: make(n, s) for n, s in w.items()}, {n: make(n, s) for n, s in h.items()}


def main():
    out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures", "dino", "vit")
    os.makedirs(out, exist_ok=True)
    torch.manual_seed(7)
    backbone, head = weights(dim=18, depth=2, patch=8, side=4, hidden=20, bottleneck=12, out=40)
    torch.save(backbone, f"{out}/backbone.pth")
    torch.save(backbone, f"{out}/backbone_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({k: v.half() for k, v in backbone.items()}, f"{out}/backbone_half.pth")
    from safetensors.torch import save_file
    save_file(backbone, f"{out}/backbone.safetensors", metadata={"format": "pt"})
    other, other_head = weights(dim=18, depth=2, patch=8, side=4, hidden=20, bottleneck=12, out=40)
    torch.save({
        "student": {**{"module.backbone." + k: v for k, v in other.items()}, **{"module." + k: v for k, v in other_head.items()}},
        "teacher": {**{"backbone." + k: v for k, v in backbone.items()}, **head},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "epoch": 5, "args": argparse.Namespace(arch="vit_small", patch_size=8, out_dim=40, lr=5e-4), "dino_loss": {"center": torch.zeros(1, 40)},
    }, f"{out}/checkpoint.pth")
    with torch.no_grad():
        for name, (n, h, w) in {"native": (2, 32, 32), "wide": (1, 24, 48)}.items():
            image = torch.randn(n, 3, h, w)
            result = Vit(backbone, 8, 3)(image)
            np.save(f"{out}/{name}_input.npy", image.numpy())
            np.save(f"{out}/{name}_cls.npy", result["cls"].numpy())
            np.save(f"{out}/{name}_tokens_0.npy", result["layers"][0].numpy())
            np.save(f"{out}/{name}_tokens_1.npy", result["layers"][1].numpy())
            np.save(f"{out}/{name}_attention.npy", result["attention"].numpy())
            half = Vit({k: v.half() for k, v in backbone.items()}, 8, 3)(image)
            np.save(f"{out}/{name}_half_cls.npy", half["cls"].numpy())
            np.save(f"{out}/{name}_student_cls.npy", Vit(other, 8, 3)(image)["cls"].numpy())
            np.save(f"{out}/{name}_head.npy", Vit({**backbone, **head}, 8, 3).head(result["cls"]).numpy())


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--check":
        with torch.no_grad():
            check(sys.argv[2])
    else:
        main()
