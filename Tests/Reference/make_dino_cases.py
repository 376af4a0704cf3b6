#!/usr/bin/env python3
"""Makes Tests/Fixtures/dino/cases: small networks whose sizes, heads and file forms differ from each other, with what PyTorch computes, and one photograph through
torchvision's evaluation and visualize_attention.py. The corners that one ordinary network does not reach:

  same_count       as many patches as the native grid in another shape: positions are interpolated all the same
  pixels_differ    the native grid of patches from an image whose sides differ by some pixels: interpolated too, since the original compares pixels
  remainder        the native grid from a square image that does not divide: positions as they are
  shrunk           a large grid taken down to 3x5 patches of 4 pixels
  no_bias_bfloat16 qkv without bias, names behind module.backbone., stored as bfloat16
  head_batchnorm, head_one_layer, head_two_layers   other projection heads, weight_g not 1; the first is the student of a training checkpoint
  classifier       head.weight, head.bias
  resize_B, resize_C, resize_bilinear   our format with another resize of positions in its record
  transformers     a folder of transformers' ViTForImageClassification (epsilon 1e-12, positions interpolated by size)
  timm             a folder of timm's vit_small_patch16_224.dino made small, whose config.json says only what differs
  photograph       torchvision's evaluation transform, its features; visualize_attention.py at 40x56 with a mass of 0.6

The network is that of make_dino_vit.py, whose --check holds it against the original.
  pip install torch torchvision numpy safetensors transformers timm pillow; python Tests/Reference/make_dino_cases.py CHELSEA.png
(the photograph is chelsea of scikit-image's data, CC0)
"""
import json, math, os, shutil, sys
import numpy as np, torch, torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms as T
from make_dino_vit import Vit

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures", "dino", "cases")
RESIZES = {"B": dict(kernel="bicubic", cubic_a=-0.5, antialias=True), "C": dict(kernel="bicubic", cubic_a=-0.75, antialias=False),
           "bilinear": dict(kernel="bilinear", antialias=False)}


class Network(Vit):
    """With the choices that make_dino_vit.py leaves out."""
    resize = None

    def linear(self, name, x):
        return F.linear(x, self.w[name + ".weight"], self.w.get(name + ".bias"))

    def positions(self, n, w, h):
        if self.resize is None:
            return super().positions(n, w, h)
        p, r = self.w["pos_embed"], RESIZES[self.resize]
        side, d = math.isqrt(p.shape[1] - 1), p.shape[-1]
        if (w // self.patch, h // self.patch) == (side, side):
            return p
        grid = F.interpolate(p[:, 1:].reshape(1, side, side, d).permute(0, 3, 1, 2), size=(w // self.patch, h // self.patch), mode=r["kernel"], antialias=r["antialias"])
        return torch.cat([p[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, d)], 1)

    def projection(self, x):
        """DINOHead.forward, any number of layers, batch normalisation in evaluation."""
        layers = sorted({k.rsplit(".", 1)[0] for k in self.w if k.startswith("head.mlp.")}, key=lambda k: [int(p) for p in k.split(".") if p.isdigit()])
        linears = [l for l in layers if self.w[l + ".weight"].dim() == 2]
        for l in layers:
            if l in linears:
                x = self.linear(l, x)
            else:
                x = F.batch_norm(x, self.w[l + ".running_mean"], self.w[l + ".running_var"], self.w[l + ".weight"], self.w[l + ".bias"])
            normalised = l not in linears or layers[min(layers.index(l) + 1, len(layers) - 1)] in linears
            if l != linears[-1] and normalised:
                x = F.gelu(x)
        v, g = self.w["head.last_layer.weight_v"], self.w["head.last_layer.weight_g"]
        return F.linear(F.normalize(x, dim=-1), g * v / v.norm(dim=1, keepdim=True))


def random_weights(shapes):
    def one(name, shape):
        x = torch.randn(shape)
        if name.endswith("running_var"):
            return x.abs() + 0.5
        if len(shape) == 1 and name.endswith(".weight") or name.endswith("weight_g"):
            return 1 + 0.3 * x
        return 0.3 * x if len(shape) == 1 or name in ("cls_token", "pos_embed") else x / math.sqrt(x[0].numel()) * 1.5
    return {n: one(n, s) for n, s in shapes.items()}


def backbone(dim, depth, patch, side, ratio=4, bias=True, classes=0):
    s = {"cls_token": (1, 1, dim), "pos_embed": (1, 1 + side * side, dim), "patch_embed.proj.weight": (dim, 3, patch, patch), "patch_embed.proj.bias": (dim,)}
    for i in range(depth):
        b = f"blocks.{i}."
        for n in ("norm1", "norm2"):
            s[b + n + ".weight"] = s[b + n + ".bias"] = (dim,)
        for n, o, k in (("attn.qkv", 3 * dim, dim), ("attn.proj", dim, dim), ("mlp.fc1", ratio * dim, dim), ("mlp.fc2", dim, ratio * dim)):
            s[b + n + ".weight"] = (o, k)
            if bias or n != "attn.qkv":
                s[b + n + ".bias"] = (o,)
    s["norm.weight"] = s["norm.bias"] = (dim,)
    if classes:
        s["head.weight"], s["head.bias"] = (classes, dim), (classes,)
    return random_weights(s)


def projection_head(dim, layers, hidden, bottleneck, out, batch_norm=False):
    s, stride = {}, 3 if batch_norm else 2
    for i in range(layers):
        name = "head.mlp" if layers == 1 else f"head.mlp.{i * stride}"
        o = bottleneck if i == layers - 1 else hidden
        s[name + ".weight"], s[name + ".bias"] = (o, dim if i == 0 else hidden), (o,)
        if batch_norm and i < layers - 1:
            for k in ("weight", "bias", "running_mean", "running_var"):
                s[f"head.mlp.{i * stride + 1}.{k}"] = (hidden,)
    s["head.last_layer.weight_g"], s["head.last_layer.weight_v"] = (out, 1), (out, bottleneck)
    w = random_weights(s)
    if batch_norm:
        w.update({f"head.mlp.{i * stride + 1}.num_batches_tracked": torch.tensor(9) for i in range(layers - 1)})
    return w


def folder(name):
    os.makedirs(f"{OUT}/{name}", exist_ok=True)
    return f"{OUT}/{name}"


def record(name, network, size, extra=(), case=None, file="model.pth"):
    """Input, tokens, attention of the last block, and what else the network has."""
    f = folder(name)
    image = torch.randn(2, 3, *size)
    result = network(image)
    np.save(f"{f}/input.npy", image.numpy())
    np.save(f"{f}/tokens.npy", result["layers"][-1].numpy())
    np.save(f"{f}/attention_cls.npy", result["attention"][:, :, 0].contiguous().numpy())
    if "head" in extra:
        np.save(f"{f}/head.npy", network.projection(result["cls"]).numpy())
    if "logits" in extra:
        np.save(f"{f}/logits.npy", network.linear("head", result["cls"]).numpy())
    json.dump({"model": file, "heads": network.heads, "outputs": ["tokens", "attention_cls", *extra], **(case or {})}, open(f"{f}/case.json", "w"), indent=1)
    return image


def half(w):
    return {k: v.half() if v.is_floating_point() else v for k, v in w.items()}


def sizes():
    for name, (dim, heads, patch, side), size in [("same_count", (20, 5, 7, 4), (14, 56)), ("pixels_differ", (12, 2, 8, 3), (25, 30)),
                                                  ("remainder", (12, 2, 8, 3), (29, 29)), ("shrunk", (16, 1, 4, 11), (12, 20))]:
        w = half(backbone(dim, 1, patch, side))
        torch.save(w, f"{folder(name)}/model.pth")
        record(name, Network(w, patch, heads), size)


def forms():
    w = {k: v.bfloat16() for k, v in backbone(18, 2, 5, 3, ratio=2, bias=False).items()}
    torch.save({"module.backbone." + k: v for k, v in w.items()}, f"{folder('no_bias_bfloat16')}/model.pth")
    record("no_bias_bfloat16", Network(w, 5, 3), (20, 10))
    w = half(backbone(16, 1, 8, 3, classes=7))
    save_file(w, f"{folder('classifier')}/model.safetensors")
    record("classifier", Network(w, 8, 4), (24, 24), ["logits"], file="model.safetensors")


def heads():
    for name, layers, batch_norm in (("head_batchnorm", 3, True), ("head_one_layer", 1, False), ("head_two_layers", 2, False)):
        def both():
            return half(backbone(12, 1, 8, 2)), half(projection_head(12, layers, 14, 10, 24, batch_norm))
        (w, h), (tw, th) = both(), both()
        if name == "head_batchnorm":  # with batch normalisation the teacher is wrapped for distribution as well
            state = {key: {**{"module.backbone." + k: v for k, v in a.items()}, **{"module." + k: v for k, v in b.items()}}
                     for key, a, b in (("student", w, h), ("teacher", tw, th))}
            torch.save({**state, "epoch": 1}, f"{folder(name)}/model.pth")
            case = {"key": "student"}
        else:
            torch.save({"teacher": {**{"backbone." + k: v for k, v in w.items()}, **h}}, f"{folder(name)}/model.pth")
            case = {}
        record(name, Network({**w, **h}, 8, 2), (16, 24), ["head"], case)


def resizes():
    for name, resize in RESIZES.items():
        w = half(backbone(12, 1, 4, 7))
        config = {"family": "dino_vit", "patch_size": 4, "in_channels": 3, "embed_dim": 12, "depth": 1, "num_heads": 3, "mlp_ratio": 4.0, "qkv_bias": True, "ffn": "mlp",
                  "register_tokens": 0, "layer_scale": False, "norm_eps": 1e-6, "activation": "gelu", "head": None,
                  "position_embedding": {"kind": "learned", "native_grid": [7, 7], "resize": {**resize, "offset": None}}}
        save_file(w, f"{folder('resize_' + name)}/model.safetensors", {"format": "pt", "dino.format_version": "1", "dino.config": json.dumps(config)})
        network = Network(w, 4, 3)
        network.resize = name
        record("resize_" + name, network, (16, 44), case={"heads": None}, file="model.safetensors")


def transformers_folder():
    from transformers import ViTConfig, ViTForImageClassification
    config = ViTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=24, patch_size=8, layer_norm_eps=1e-12,
                       attn_implementation="eager", num_labels=5)
    model = ViTForImageClassification(config).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(random_weights({name: tuple(p.shape)})[name])
    f = folder("transformers")
    model.save_pretrained(f)
    image = torch.randn(2, 3, 32, 16)
    result = model(image, interpolate_pos_encoding=True, output_attentions=True, output_hidden_states=True)
    np.save(f"{f}/input.npy", image.numpy())
    np.save(f"{f}/tokens.npy", model.vit.layernorm(result.hidden_states[-1]).numpy())
    np.save(f"{f}/attention_cls.npy", result.attentions[-1][:, :, 0].contiguous().numpy())
    np.save(f"{f}/logits.npy", result.logits.numpy())
    json.dump({"model": "", "heads": None, "outputs": ["tokens", "attention_cls", "logits"]}, open(f"{f}/case.json", "w"), indent=1)


def timm_folder():
    import timm
    arguments = {"embed_dim": 12, "depth": 1, "num_heads": 3, "img_size": 32, "patch_size": 4}
    model = timm.create_model("vit_small_patch16_224.dino", num_classes=0, dynamic_img_size=True, **arguments).eval()
    for name, p in model.named_parameters():
        p.copy_(random_weights({name: tuple(p.shape)})[name])
    f = folder("timm")
    save_file(model.state_dict(), f"{f}/model.safetensors", {"format": "pt"})
    json.dump({"architecture": "vit_small_patch16_224.dino", "model_args": arguments}, open(f"{f}/config.json", "w"), indent=1)
    image = torch.randn(2, 3, 20, 44)
    np.save(f"{f}/input.npy", image.numpy())
    np.save(f"{f}/tokens.npy", model.forward_features(image).numpy())
    json.dump({"model": "", "heads": None, "outputs": ["tokens"]}, open(f"{f}/case.json", "w"), indent=1)


def photograph(path):
    f = folder("photograph")
    Image.open(path).convert("RGB").resize((131, 87), Image.BICUBIC).save(f"{f}/photo.jpg", quality=85)
    photo = Image.open(f"{f}/photo.jpg").convert("RGB")
    w = half(backbone(18, 2, 8, 4))
    torch.save(w, f"{f}/model.pth")
    network = Network(w, 8, 3)
    # eval_knn.py at 32 pixels: Resize(37, bicubic), CenterCrop(32).
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    evaluation = T.Compose([T.Resize(37, interpolation=T.InterpolationMode.BICUBIC), T.CenterCrop(32), T.ToTensor(), T.Normalize(mean, std)])
    layers = network(evaluation(photo).unsqueeze(0))["layers"]
    np.save(f"{f}/cls_last_two.npy", torch.cat([l[:, 0] for l in layers], -1).numpy())
    np.save(f"{f}/mean.npy", layers[-1][:, 1:].mean(1).numpy())
    # visualize_attention.py, --image_size 42 61 --threshold 0.6, with another mean and deviation; 42x61 is cut to 40x56.
    image = T.Compose([T.Resize((42, 61)), T.ToTensor(), T.Normalize((0.5,) * 3, (0.5,) * 3)])(photo)
    image = image[:, :image.shape[1] - image.shape[1] % 8, :image.shape[2] - image.shape[2] % 8].unsqueeze(0)
    attentions = network(image)["attention"][0, :, 0, 1:]
    np.save(f"{f}/attention.npy", attentions.reshape(3, 5, 7).numpy())
    value, index = torch.sort(attentions)
    value /= torch.sum(value, dim=1, keepdim=True)
    kept = torch.cumsum(value, dim=1) > 1 - 0.6
    back = torch.argsort(index)
    for h in range(3):
        kept[h] = kept[h][back[h]]
    masks = F.interpolate(kept.reshape(3, 5, 7).float().unsqueeze(0), scale_factor=8, mode="nearest")[0]
    np.save(f"{f}/masks.npy", (masks * 255).to(torch.uint8).numpy())


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    torch.manual_seed(11)
    with torch.no_grad():
        sizes(), forms(), heads(), resizes(), transformers_folder(), photograph(sys.argv[1]), timm_folder()
