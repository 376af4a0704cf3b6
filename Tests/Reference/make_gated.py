#!/usr/bin/env python3
"""Makes Tests/Fixtures/gated: three small random networks with gated feed-forward parts, each in the files of three libraries, and what they compute of an image at the size that
positions are for and of one that is not square:

  dinov2   as dinov2_vitg14_reg: w12 and w3, four registers
  dinov3   as dinov3_vits16plus and dinov3_vith16plus: w1, w2 and w3, and biases of queries and values that a mask leaves
  dinov3l  as dinov3_vit7b16: the same, of a width aligned to 64, without biases of queries, keys and values, with a norm of local crops that only training reads

  official.pth   the authors' names
  timm/          a folder of timm's network of that kind made small, from timm's own conversion of the official names
  transformers/  a folder of Dinov2WithRegistersModel or DINOv3ViTModel
  memory.pth     the state dict of dinov2's in memory, whose names differ from transformers 5 on
  {native,other}.{input,tokens,attention_cls}.npy

The numbers are of the authors' code; timm's and transformers' must be the same within 1e-5, or nothing is written.
  git clone https://github.com/facebookresearch/dinov2 DINOV2; git clone https://github.com/facebookresearch/dinov3 DINOV3
  pip install torch numpy safetensors transformers timm; XFORMERS_DISABLED=1 python Tests/Reference/make_gated.py DINOV2 DINOV3
"""
import json, os, shutil, sys
import numpy as np, timm, torch, transformers
from safetensors.torch import load_file, save_file
from small_networks import half, randomize

sys.path[:0] = sys.argv[1:3]
from dinov2.models.vision_transformer import DinoVisionTransformer as Dinov2
from dinov3.models.vision_transformer import DinoVisionTransformer as Dinov3

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures", "gated")
WIDTH, DEPTH, HEADS, PATCH, SIDE, REGISTERS, RATIO = 24, 2, 3, 4, 16, 4, 2
SIZES = {"native": (SIDE, SIDE), "other": (12, 24)}
HIDDEN = {"dinov2": 32, "dinov3": 32, "dinov3l": 64}
TIMM = {"dinov2": "vit_giant_patch14_reg4_dinov2", "dinov3": "vit_small_plus_patch16_dinov3_qkvb", "dinov3l": "vit_7b_patch16_dinov3"}


def official(kind):
    common = dict(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS)
    if kind == "dinov2":
        model = Dinov2(**common, mlp_ratio=RATIO, init_values=1.0, block_chunks=0, ffn_layer="swiglufused", num_register_tokens=REGISTERS, interpolate_antialias=True, interpolate_offset=0.0)
    else:
        # hubconf.py's arguments.
        large = kind == "dinov3l"
        model = Dinov3(**common, pos_embed_rope_base=100, pos_embed_rope_normalize_coords="separate", pos_embed_rope_rescale_coords=2, pos_embed_rope_dtype="fp32", ffn_ratio=RATIO,
                       qkv_bias=not large, layerscale_init=1e-5, norm_layer="layernormbf16", ffn_layer="swiglu64" if large else "swiglu", ffn_bias=True, proj_bias=True,
                       n_storage_tokens=REGISTERS, mask_k_bias=True, untie_global_and_local_cls_norm=large)
        model.init_weights()
    return randomize(model)


def run_official(kind, model, image):
    """Tokens, and the class token's attention in the last block."""
    found = []
    hook = model.blocks[-1].attn.qkv.register_forward_hook(lambda m, i, o: found.append(o))
    result = model.forward_features(image)
    hook.remove()
    b, t, _ = found[0].shape
    q, k, _ = found[0].reshape(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
    if kind != "dinov2":
        q, k = model.blocks[-1].attn.apply_rope(q, k, model.rope_embed(H=image.shape[2] // PATCH, W=image.shape[3] // PATCH))
    weights = (q @ k.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5).softmax(-1)
    registers = result["x_norm_regtokens" if kind == "dinov2" else "x_storage_tokens"]
    return torch.cat([result["x_norm_clstoken"][:, None], registers, result["x_norm_patchtokens"]], 1), weights[:, :, 0].contiguous()


def of_timm(kind, state):
    # One layer holds gate and value in DINOv2's.
    ratio = HIDDEN[kind] * (2 if kind == "dinov2" else 1) / WIDTH + 1e-3
    arguments = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": SIDE, "patch_size": PATCH, "mlp_ratio": ratio}
    model = timm.create_model(TIMM[kind], num_classes=0, **({"dynamic_img_size": True} if kind == "dinov2" else {}), **arguments).eval()
    from timm.models import eva, vision_transformer
    convert = (vision_transformer if kind == "dinov2" else eva).checkpoint_filter_fn
    converted = convert({k: v.clone() for k, v in state.items()}, model)
    model.load_state_dict(converted)
    folder = f"{OUT}/{kind}/timm"
    os.makedirs(folder)
    # A sum of two halves is none.
    exact = {"cls_token": converted["cls_token"]} if kind == "dinov2" else {}
    save_file({k: v.contiguous() for k, v in {**half(converted), **exact}.items()}, f"{folder}/model.safetensors", {"format": "pt"})
    json.dump({"architecture": TIMM[kind], "model_args": arguments}, open(f"{folder}/config.json", "w"), indent=1)
    return model


def of_transformers(kind, state):
    common = dict(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, image_size=SIDE, patch_size=PATCH, num_register_tokens=REGISTERS, attn_implementation="eager")
    if kind == "dinov2":
        model = transformers.Dinov2WithRegistersModel(transformers.Dinov2WithRegistersConfig(**common, mlp_ratio=RATIO, use_swiglu_ffn=True)).eval()
    else:
        bias = kind == "dinov3"
        model = transformers.DINOv3ViTModel(transformers.DINOv3ViTConfig(**common, intermediate_size=HIDDEN[kind], use_gated_mlp=True, hidden_act="silu", query_bias=bias, value_bias=bias)).eval()
    names = {"pos_embed": "embeddings.position_embeddings", "cls_token": "embeddings.cls_token", "register_tokens": "embeddings.register_tokens", "storage_tokens": "embeddings.register_tokens",
             "mask_token": "embeddings.mask_token", ".attn.proj.": ".attention.o_proj.", "ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1", ".mlp.w1.": ".mlp.gate_proj.",
             ".mlp.w2.": ".mlp.up_proj.", ".mlp.w3.": ".mlp.down_proj.", "patch_embed.proj.": "embeddings.patch_embeddings." + ("projection." if kind == "dinov2" else ""),
             "blocks.": "encoder.layer." if kind == "dinov2" else "model.layer."}
    renamed = {}
    for name, tensor in state.items():
        if "rope" in name or "bias_mask" in name or "local_cls_norm" in name:
            continue
        for a, b in names.items():
            name = name.replace(a, b) if not name.startswith("embeddings.") else name
        name = "layernorm." + name[5:] if name.startswith("norm.") and kind == "dinov2" else name
        if ".attn.qkv." in name:
            for part, piece in zip("qkv", tensor.chunk(3)):
                if kind == "dinov2" or not (part == "k" and name.endswith("bias")):
                    renamed[name.replace("attn.qkv", f"attention.{part}_proj")] = piece
        elif ".mlp.w12." in name:
            for part, piece in zip(("gate", "up"), tensor.chunk(2)):
                renamed[name.replace("w12", f"{part}_proj")] = piece
        else:
            renamed[name] = tensor.reshape(1, 1, -1) if "mask_token" in name and kind != "dinov2" else tensor
    model.load_state_dict(renamed)
    folder = f"{OUT}/{kind}/transformers"
    model.save_pretrained(folder)
    stored = load_file(f"{folder}/model.safetensors")
    save_file(half(stored), f"{folder}/model.safetensors", {"format": "pt"})
    if kind == "dinov2":
        torch.save(half(model.state_dict()), f"{OUT}/{kind}/memory.pth")
    return model


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    torch.manual_seed(31)
    with torch.no_grad():
        for kind in HIDDEN:
            os.makedirs(f"{OUT}/{kind}")
            model = official(kind)
            state = model.state_dict()
            torch.save(half(state), f"{OUT}/{kind}/official.pth")
            second, third = of_timm(kind, state), of_transformers(kind, state)
            for name, size in SIZES.items():
                image = torch.randn(1, 3, *size)
                tokens, attention = run_official(kind, model, image)
                other = third(image, output_attentions=True)
                for found, expected in ((second.forward_features(image), tokens), (other.last_hidden_state, tokens), (other.attentions[-1][:, :, 0], attention)):
                    difference = (found - expected).abs().max().item()
                    print(kind, name, difference)
                    assert difference < 1e-5
                for what, values in (("input", image), ("tokens", tokens), ("attention_cls", attention)):
                    np.save(f"{OUT}/{kind}/{name}.{what}.npy", values.numpy())
