#!/usr/bin/env python3
"""Makes Tests/Fixtures/registers: one small random DINOv2 with four registers in the files of three libraries, and what they compute of an image at the size that its positions
are for and of one that is not square:

  official.pth    facebookresearch/dinov2's names, mask_token among them
  timm/           a folder of vit_small_patch14_reg4_dinov2 made small, from timm's own conversion of the official names
  transformers/   a folder of Dinov2WithRegistersModel
  memory.pth      the same model's state dict in memory, whose names differ from transformers 5 on
  {native,other}.{input,tokens,attention_cls}.npy

The numbers are of facebookresearch/dinov2's code; timm's and transformers' must be the same within 1e-5, or nothing is written.
  git clone https://github.com/facebookresearch/dinov2 DINOV2
  pip install torch numpy safetensors transformers timm; python Tests/Reference/make_registers.py DINOV2
"""
import json, os, shutil, sys
import numpy as np, timm, torch, transformers
from safetensors.torch import load_file, save_file
from small_networks import half, randomize
from timm.models.vision_transformer import checkpoint_filter_fn

sys.path.insert(0, sys.argv[1])
from dinov2.models.vision_transformer import DinoVisionTransformer

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures", "registers")
WIDTH, DEPTH, HEADS, PATCH, SIDE, REGISTERS = 24, 2, 3, 7, 28, 4
SIZES = {"native": (SIDE, SIDE), "other": (21, 42)}


def official():
    # hubconf.py's arguments of dinov2_vits14_reg.
    model = DinoVisionTransformer(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2, init_values=1.0, block_chunks=0, ffn_layer="mlp",
                                  num_register_tokens=REGISTERS, interpolate_antialias=True, interpolate_offset=0.0).eval()
    return randomize(model)


def run_official(model, image):
    attention = []
    hook = model.blocks[-1].attn.qkv.register_forward_hook(lambda m, i, o: attention.append(o))
    result = model.forward_features(image)
    hook.remove()
    b, t, _ = attention[0].shape
    q, k, _ = attention[0].reshape(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
    weights = (q @ k.transpose(-2, -1) / (WIDTH // HEADS) ** 0.5).softmax(-1)
    return torch.cat([result["x_norm_clstoken"][:, None], result["x_norm_regtokens"], result["x_norm_patchtokens"]], 1), weights[:, :, 0].contiguous()


def of_timm(state):
    arguments = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": SIDE, "patch_size": PATCH, "mlp_ratio": 2}
    model = timm.create_model("vit_small_patch14_reg4_dinov2.lvd142m", num_classes=0, dynamic_img_size=True, **arguments).eval()
    converted = checkpoint_filter_fn({k: v.clone() for k, v in state.items()}, model)
    model.load_state_dict(converted)
    os.makedirs(f"{OUT}/timm")
    # A sum of two halves is none.
    save_file({**half(converted), "cls_token": converted["cls_token"]}, f"{OUT}/timm/model.safetensors", {"format": "pt"})
    json.dump({"architecture": "vit_small_patch14_reg4_dinov2", "model_args": arguments}, open(f"{OUT}/timm/config.json", "w"), indent=1)
    return model


def of_transformers(state):
    config = transformers.Dinov2WithRegistersConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, mlp_ratio=2, image_size=SIDE, patch_size=PATCH,
                                                    num_register_tokens=REGISTERS, attn_implementation="eager")
    model = transformers.Dinov2WithRegistersModel(config).eval()
    names = {"pos_embed": "embeddings.position_embeddings", "patch_embed.proj.": "embeddings.patch_embeddings.projection.", "blocks.": "encoder.layer.", ".attn.proj.": ".attention.o_proj.",
             "ls1.gamma": "layer_scale1.lambda1", "ls2.gamma": "layer_scale2.lambda1", "cls_token": "embeddings.cls_token", "register_tokens": "embeddings.register_tokens",
             "mask_token": "embeddings.mask_token"}
    renamed = {}
    for name, tensor in state.items():
        for a, b in names.items():
            name = name.replace(a, b) if not name.startswith("embeddings.") else name
        name = "layernorm." + name[5:] if name.startswith("norm.") else name
        if ".attn.qkv." in name:
            for part, piece in zip("qkv", tensor.chunk(3)):
                renamed[name.replace("attn.qkv", f"attention.{part}_proj")] = piece
        else:
            renamed[name] = tensor
    model.load_state_dict(renamed)
    model.save_pretrained(f"{OUT}/transformers")
    stored = load_file(f"{OUT}/transformers/model.safetensors")
    save_file(half(stored), f"{OUT}/transformers/model.safetensors", {"format": "pt"})
    torch.save(half(model.state_dict()), f"{OUT}/memory.pth")
    return model


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    torch.manual_seed(23)
    with torch.no_grad():
        model = official()
        state = model.state_dict()
        torch.save(half(state), f"{OUT}/official.pth")
        second, third = of_timm(state), of_transformers(state)
        for name, size in SIZES.items():
            image = torch.randn(1, 3, *size)
            tokens, attention = run_official(model, image)
            other = third(image, output_attentions=True)
            for found, expected in ((second.forward_features(image), tokens), (other.last_hidden_state, tokens), (other.attentions[-1][:, :, 0], attention)):
                difference = (found - expected).abs().max().item()
                print(name, difference)
                assert difference < 1e-5
            for kind, values in (("input", image), ("tokens", tokens), ("attention_cls", attention)):
                np.save(f"{OUT}/{name}.{kind}.npy", values.numpy())
