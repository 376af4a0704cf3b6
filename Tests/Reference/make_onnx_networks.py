#!/usr/bin/env python3
"""Makes Tests/Fixtures/onnx-networks: whole small networks as each exporter writes them, with an input and what PyTorch (quantized forms: ONNX Runtime) computes.

  NAME/model.onnx, input.npy, output.OUTPUT.npy; cases.json says of each file what wrote it and within what its results must come back.

All weights are random and of a fixed seed, livelier than an initialisation, so that a wrong formula shows. Files that another version of an exporter writes differ;
what they compute does not.

  pip install torch timm transformers onnx onnxscript onnxruntime onnxruntime_extensions; python Tests/Reference/make_onnx_networks.py [ONLY...]
"""
import copy, json, logging, math, os, shutil, sys, warnings
import numpy as np, onnx, onnxruntime as ort, timm, torch, torch.nn as nn, torch.nn.functional as F, transformers
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

warnings.filterwarnings("ignore"); logging.disable(logging.WARNING)
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures", "onnx-networks")
ONLY, cases = sys.argv[1:], {}


def lively(model, seed):
    torch.manual_seed(seed)
    for name, p in model.named_parameters():
        norm = p.dim() == 1 and "weight" in name
        p.data = 1 + 0.3 * torch.randn_like(p) if norm else torch.randn_like(p) / math.sqrt(p[0].numel()) * 1.3 if p.dim() > 1 else 0.3 * torch.randn_like(p)
    for name, b in model.named_buffers():
        if name.endswith("running_var"): b.data = 0.5 + torch.rand_like(b)
        if name.endswith("running_mean"): b.data = 0.3 * torch.randn_like(b)
    return model.eval()


class Attention(nn.Module):
    """The original's attention: qkv as one product, heads by reshape and permute."""
    def __init__(self, dim, heads, mask_free_scale="after"):
        super().__init__()
        self.heads, self.scale, self.qkv, self.proj, self.kind = heads, (dim // heads) ** -0.5, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim), mask_free_scale
    def forward(self, x):
        b, n, c = x.shape
        if self.kind == "split":  # q, k, v cut from the product's last axis
            q, k, v = (t.view(b, n, self.heads, c // self.heads).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        else:
            q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if self.kind == "before": q = q * self.scale
        if self.kind == "both": q, k = q * self.scale ** 0.5, k * self.scale ** 0.5
        a = q @ k.transpose(-2, -1)
        if self.kind in ("after", "split"): a = a * self.scale
        a = a.softmax(-1)
        return self.proj((a @ v).transpose(1, 2).reshape(b, n, c)), a


class Vit(nn.Module):
    """facebookresearch/dino's network with its interpolation of positions; three outputs."""
    def __init__(self, dim=12, depth=2, heads=2, patch=4, side=3, kind="after", gelu="none", scaled=False):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.cls_token, self.pos_embed, self.side, self.patch, self.scaled, self.gelu = nn.Parameter(torch.zeros(1, 1, dim)), nn.Parameter(torch.zeros(1, 1 + side * side, dim)), side, patch, scaled, gelu
        self.blocks = nn.ModuleList(nn.ModuleDict(dict(norm1=nn.LayerNorm(dim, 1e-6), attn=Attention(dim, heads, kind), norm2=nn.LayerNorm(dim, 1e-6), fc1=nn.Linear(dim, 2 * dim), fc2=nn.Linear(2 * dim, dim))) for _ in range(depth))
        self.gammas = nn.ParameterList(nn.Parameter(torch.zeros(1, dim)) for _ in range(2 * depth)) if scaled else None
        self.norm = nn.LayerNorm(dim, 1e-6)
    def positions(self, x, w, h):
        if x.shape[1] == self.pos_embed.shape[1] and w == h: return self.pos_embed
        w, h, d, grid = int(w), int(h), x.shape[-1], self.pos_embed[:, 1:].reshape(1, self.side, self.side, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, scale_factor=((w // self.patch + 0.1) / self.side, (h // self.patch + 0.1) / self.side), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, d)], 1)
    def forward(self, image):
        b, _, w, h = image.shape
        x = self.patch_embed(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(b, -1, -1), x], 1)
        x = x + self.positions(x, w, h)
        for i, block in enumerate(self.blocks):
            y, a = block["attn"](block["norm1"](x))
            x = x + (y * self.gammas[2 * i][0] if self.scaled else y)
            y = block["fc2"](F.gelu(block["fc1"](block["norm2"](x)), approximate=self.gelu))
            x = x + (y * self.gammas[2 * i + 1][0] if self.scaled else y)
        x = self.norm(x)
        return x[:, 0], x, a


class One(nn.Module):
    """A model that gives a dictionary, as one tensor."""
    def __init__(self, model, pick): super().__init__(); self.model, self.pick = model, pick
    def forward(self, x): return self.pick(self.model(x))


def save(name, what, outputs, x, results, tolerance):
    np.save(f"{OUT}/{name}/input.npy", x.numpy())
    for o, r in zip(outputs, results): np.save(f"{OUT}/{name}/output.{o}.npy", np.asarray(r))
    cases[name] = dict(what=what, **tolerance if isinstance(tolerance, dict) else {"tolerance": tolerance}, bytes=os.path.getsize(f"{OUT}/{name}/model.onnx"))
    print(f"{name:28} {cases[name]['bytes']:7} bytes", flush=True)


def folder(name):
    if ONLY and not any(name.startswith(o) for o in ONLY): return None
    shutil.rmtree(f"{OUT}/{name}", ignore_errors=True); os.makedirs(f"{OUT}/{name}")
    return f"{OUT}/{name}/model.onnx"


def export(name, model, x, opset, what, outputs=("output",), dynamo=False, axes=None, shapes=None, run=None, **more):
    path, model = folder(name), model.eval()
    if not path: return
    given = x if run is None else torch.randn(x.shape, generator=torch.Generator().manual_seed(5))
    if dynamo:
        torch.onnx.export(model, (given,), path, dynamo=True, opset_version=opset, input_names=["input"], output_names=list(outputs), dynamic_shapes=shapes, external_data=False, verbose=False, **more)
        # Where in whose Python each node came from: most of such a file's bytes, and none of its meaning.
        written = onnx.load(path)
        del written.graph.metadata_props[:]
        for part in [*written.graph.node, *written.graph.value_info, *written.graph.input, *written.graph.output, *written.graph.initializer, *written.functions]:
            part.doc_string = ""
            del part.metadata_props[:]
        onnx.save(written, path)
    else: torch.onnx.export(model, given, path, dynamo=False, opset_version=opset, input_names=["input"], output_names=list(outputs), dynamic_axes=axes, **more)
    x = x if run is None else run
    with torch.no_grad(): r = model(x)
    save(name, what, outputs, x, [t.numpy() for t in (r if isinstance(r, tuple) else (r,))], 5e-5)


def main():
    os.makedirs(OUT, exist_ok=True)
    torch.manual_seed(1)
    x, wide = torch.randn(2, 3, 12, 12), torch.randn(1, 3, 13, 21)
    three, batch = ("cls", "tokens", "attention"), {"input": {0: "batch"}}
    B, H, W = (torch.export.Dim(n, min=2, max=4096) for n in ("batch", "height", "width"))
    # Attention's scale in its three places, qkv cut in two ways, both GELUs, LayerScale; each operator set that changed a form.
    export("ts11_after", lively(Vit(), 1), x, 11, "TorchScript, opset 11; positions by Resize", three, axes=batch)
    export("ts11_fixed_wide", lively(Vit(), 2), wide, 11, "TorchScript, opset 11, traced at 13x21: positions resized in the file", three)
    export("ts13_before_tanh", lively(Vit(kind="before", gelu="tanh"), 3), x, 13, "TorchScript, opset 13; q scaled, GELU by tanh", three, axes=batch)
    export("ts14_both", lively(Vit(kind="both"), 4), x, 14, "TorchScript, opset 14; q and k scaled by the root", three, axes=batch)
    export("ts16_split_layerscale", lively(Vit(kind="split", scaled=True), 5), x, 16, "TorchScript, opset 16; chunked qkv, LayerScale", three, axes=batch)
    export("ts17_unfolded", lively(Vit(), 6), x, 17, "TorchScript, opset 17, constants not folded", three, axes=batch, do_constant_folding=False)
    export("ts20_after", lively(Vit(), 7), x, 20, "TorchScript, opset 20", three, axes=batch)
    export("dynamo18_before", lively(Vit(kind="before"), 8), x, 18, "torch.export, opset 18", three, dynamo=True, shapes={"image": {0: B}})
    export("dynamo20_split_layerscale", lively(Vit(kind="split", scaled=True, gelu="tanh"), 9), x, 20, "torch.export, opset 20", three, dynamo=True, shapes={"image": {0: B}})
    export("dynamo23_after", lively(Vit(), 10), x, 23, "torch.export, opset 23", three, dynamo=True, shapes={"image": {0: B}})
    export("dynamo18_unoptimized", lively(Vit(kind="both"), 11), x, 18, "torch.export, opset 18, not optimised", three, dynamo=True, optimize=False)

    # timm's and transformers' own classes.
    plain = dict(img_size=12, patch_size=4, embed_dim=12, depth=2, num_heads=2, num_classes=0)
    make = lambda name, **over: timm.create_model(name, pretrained=False, **over)
    for fused in (False, True):
        timm.layers.set_fused_attn(fused)
        vit = lively(make("vit_small_patch16_224.dino", **plain), 20)
        export(f"timm_ts17_{'sdpa' if fused else 'plain'}", vit, x, 17, f"timm ViT, TorchScript, {'scaled_dot_product_attention' if fused else 'attention written out'}", axes=batch)
        export(f"timm_dynamo18_{'sdpa' if fused else 'plain'}", vit, x, 18, "timm ViT, torch.export", dynamo=True, shapes={"x": {0: B}})
    export("timm_dynamo18_any_size", lively(make("vit_small_patch16_224.dino", **plain, dynamic_img_size=True), 21), torch.randn(2, 3, 16, 24), 18, "timm ViT, any size: positions by antialiased bicubic resize",
           dynamo=True, shapes={"x": {0: B, 2: 4 * torch.export.Dim("rows", min=2, max=64), 3: 4 * torch.export.Dim("columns", min=2, max=64)}}, run=torch.randn(3, 3, 20, 28))
    export("timm_dynamo20_registers", lively(make("vit_small_patch14_reg4_dinov2.lvd142m", **{**plain, "img_size": 12}), 22), x, 20, "timm DINOv2 with registers", dynamo=True, shapes={"x": {0: B}})
    timm.layers.set_fused_attn(False)
    export("timm_ts17_dinov3", lively(make("vit_small_patch16_dinov3.lvd1689m", **{**plain, "embed_dim": 16}), 23), x, 17, "timm DINOv3 (rotary), TorchScript")
    export("timm_ts17_xcit", lively(make("xcit_small_12_p8_224.fb_dist_in1k", img_size=24, embed_dim=16, depth=1, num_heads=2, cls_attn_layers=1, num_classes=0), 24), torch.randn(1, 3, 24, 24), 17, "timm XCiT, TorchScript")
    export("timm_dynamo18_xcit", lively(make("xcit_small_12_p8_224.fb_dist_in1k", img_size=24, embed_dim=16, depth=1, num_heads=2, cls_attn_layers=1, num_classes=0), 25), torch.randn(1, 3, 24, 24), 18, "timm XCiT, torch.export", dynamo=True)
    export("timm_ts17_convnext", lively(make("convnext_tiny", depths=(1, 1, 1, 1), dims=(8, 12, 16, 20), num_classes=0), 26), torch.randn(1, 3, 40, 40), 17, "timm ConvNeXt, TorchScript")
    export("timm_ts13_resnet", lively(timm.models.resnet.ResNet(timm.models.resnet.Bottleneck, (1, 1, 1, 1), channels=(4, 4, 8, 8), num_classes=0), 27), torch.randn(1, 3, 40, 44), 13, "timm ResNet, TorchScript, opset 13")
    export("timm_ts9_resnet", lively(timm.models.resnet.ResNet(timm.models.resnet.BasicBlock, (1, 1, 1, 1), channels=(4, 4, 8, 8), num_classes=0), 28), torch.randn(2, 3, 40, 44), 9, "timm ResNet, TorchScript, opset 9")

    small = dict(hidden_size=12, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=12, patch_size=4)
    hidden = lambda o: o.last_hidden_state
    for attention in ("eager", "sdpa"):
        vit = lively(transformers.ViTModel(transformers.ViTConfig(**small, attn_implementation=attention), add_pooling_layer=False), 30)
        export(f"hf_ts17_vit_{attention}", One(vit, hidden), x, 17, f"transformers ViT, {attention}", axes=batch)
    export("hf_dynamo18_vit", One(vit, hidden), x, 18, "transformers ViT, torch.export", dynamo=True)
    two = lively(transformers.Dinov2Model(transformers.Dinov2Config(**{k: v for k, v in small.items() if k != "intermediate_size"}, mlp_ratio=2)), 31)
    export("hf_ts17_dinov2", One(two, hidden), x, 17, "transformers DINOv2, TorchScript", axes=batch)
    export("hf_ts14_dinov2_other_size", One(two, hidden), torch.randn(1, 3, 20, 16), 14, "transformers DINOv2, TorchScript at another size")
    swiglu = lively(transformers.Dinov2Model(transformers.Dinov2Config(**{k: v for k, v in small.items() if k != "intermediate_size"}, mlp_ratio=2, use_swiglu_ffn=True)), 32)
    export("hf_ts17_dinov2_swiglu", One(swiglu, hidden), x, 17, "transformers DINOv2 with SwiGLU")
    registers = lively(transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**{k: v for k, v in small.items() if k != "intermediate_size"}, mlp_ratio=2, num_register_tokens=3)), 33)
    export("hf_dynamo18_dinov2_registers", One(registers, hidden), x, 18, "transformers DINOv2 with registers, torch.export", dynamo=True)
    three_ = lively(transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**{**small, "hidden_size": 16}, num_register_tokens=2)), 34)
    export("hf_ts17_dinov3", One(three_, hidden), torch.randn(2, 3, 12, 16), 17, "transformers DINOv3, TorchScript")
    export("hf_dynamo18_dinov3", One(three_, hidden), torch.randn(2, 3, 12, 16), 18, "transformers DINOv3, torch.export", dynamo=True)
    convnext = lively(transformers.DINOv3ConvNextModel(transformers.DINOv3ConvNextConfig(hidden_sizes=[8, 12, 16, 20], depths=[1, 1, 1, 1])), 35)
    export("hf_ts17_dinov3_convnext", One(convnext, hidden), torch.randn(1, 3, 40, 40), 17, "transformers DINOv3 ConvNeXt")
    gated = lively(transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**{**small, "hidden_size": 16}, num_register_tokens=2, use_gated_mlp=True, hidden_act="silu")), 36)
    export("hf_ts17_dinov3_gated", One(gated, hidden), x, 17, "transformers DINOv3 with gated MLPs, TorchScript")
    export("hf_dynamo18_dinov3_gated", One(gated, hidden), x, 18, "transformers DINOv3 with gated MLPs, torch.export", dynamo=True)
    giant = {**plain, "img_size": 12, "mlp_ratio": 4}
    export("timm_ts17_dinov2_giant", lively(make("vit_giant_patch14_reg4_dinov2.lvd142m", **giant), 37), x, 17, "timm DINOv2 with packed gates, TorchScript", axes=batch)
    export("timm_dynamo20_dinov2_giant", lively(make("vit_giant_patch14_reg4_dinov2.lvd142m", **giant), 37), x, 20, "timm DINOv2 with packed gates, torch.export", dynamo=True, shapes={"x": {0: B}})

    # What is made of a file afterwards.
    base = f"{OUT}/timm_ts17_plain/model.onnx"
    def feed(path, v=x):
        """As the file says: ONNX Runtime's own optimisation takes QDQ for what its integer kernels do, which saturate without VNNI."""
        o = ort.SessionOptions(); o.graph_optimization_level, o.log_severity_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL, 4
        return ort.InferenceSession(path, o, providers=["CPUExecutionProvider"]).run(None, {"input": v.numpy()})
    def after(name, what, tolerance, write, source=base):
        path = folder(name)
        if not path: return
        write(source, path)
        save(name, what, ["output"], x, feed(path), tolerance)
    def ort_fused(source, path):
        from onnxruntime.transformers import optimizer
        optimizer.optimize_model(source, model_type="vit", num_heads=2, hidden_size=12).save_model_to_file(path)
    def ort_optimized(level):
        def write(source, path):
            o = ort.SessionOptions(); o.optimized_model_filepath, o.graph_optimization_level, o.log_severity_level = path, level, 4
            ort.InferenceSession(source, o, providers=["CPUExecutionProvider"])
        return write
    after("ort_transformers_optimizer", "onnxruntime.transformers.optimizer", 5e-5, ort_fused)
    after("ort_extended", "ONNX Runtime's own optimised file, extended", 5e-5, ort_optimized(ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED))
    after("ort_basic", "ONNX Runtime's own optimised file, basic", 5e-5, ort_optimized(ort.GraphOptimizationLevel.ORT_ENABLE_BASIC), f"{OUT}/hf_ts17_vit_sdpa/model.onnx")
    def external(source, path): onnx.save_model(onnx.load(source), path, save_as_external_data=True, location="model.onnx.data", size_threshold=64)
    after("external_data", "weights in a file beside it", 5e-5, external)
    def half(source, path):
        from onnxruntime.transformers.float16 import convert_float_to_float16
        onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)
    after("ort_float16", "ONNX Runtime's float16 converter, float inputs and outputs; arithmetic in half precision", 2e-2, half)
    class Reader(CalibrationDataReader):
        def __init__(self): g = torch.Generator().manual_seed(9); self.data = iter([{"input": torch.randn(2, 3, 12, 12, generator=g).numpy()} for _ in range(4)])
        def get_next(self): return next(self.data, None)
    def static(**o): return lambda source, path: quantize_static(source, path, Reader(), **o)
    after("quant_dynamic", "quantize_dynamic", 1e-4, lambda s, p: quantize_dynamic(s, p, weight_type=QuantType.QInt8))
    after("quant_dynamic_u8_channels", "quantize_dynamic, u8 weights for each channel", 1e-4, lambda s, p: quantize_dynamic(s, p, weight_type=QuantType.QUInt8, per_channel=True))
    after("quant_qdq_u8", "quantize_static, QDQ, u8 activations, s8 weights", dict(cosine=0.997), static(quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8))
    after("quant_qdq_s8_channels", "quantize_static, QDQ, s8, weights for each channel", dict(cosine=0.997), static(quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=True))
    after("quant_qdq_u16", "quantize_static, QDQ, u16 activations", dict(cosine=0.997), static(quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt16, weight_type=QuantType.QInt8))
    after("quant_qoperator", "quantize_static, QOperator", dict(cosine=0.997), static(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8))

    old = json.load(open(f"{OUT}/cases.json")) if ONLY and os.path.exists(f"{OUT}/cases.json") else {}
    json.dump({**old, **cases}, open(f"{OUT}/cases.json", "w"), indent=1, sort_keys=True)


main()
