#!/usr/bin/env python3
"""Makes Tests/Fixtures/dinov3: one small random DINOv3 with four registers in the files of three libraries, and what they compute of an image at one size and of one that is not
square:

  official.pth    facebookresearch/dinov3's names, mask_token, periods and the masks of biases among them; the keys' bias is not zero there, but masked
  timm/           a folder of vit_small_patch16_dinov3_qkvb made small, from timm's own conversion of the official names
  transformers/   a folder of DINOv3ViTModel
  {square,wide}.{input,tokens,attention_cls,keys}.npy

The numbers are of facebookresearch/dinov3's code; timm's and transformers' must be the same within 1e-5, or nothing is written.
  git clone https://github.com/facebookresearch/dinov3 DINOV3
  pip install torch numpy safetensors transformers timm; python Tests/Reference/make_dinov3.py DINOV3
"""
import json, os, shutil, sys
import numpy as np, timm, torch, transformers
from safetensors.torch import load_file, save_file
from small_networks import half, randomize
from timm.models.eva import checkpoint_filter_fn

sys.path.insert(0, sys.argv[1])
from dinov3.models.vision_transformer import DinoVisionTransformer

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures", "dinov3")
WIDTH, DEPTH, HEADS, PATCH, REGISTERS, RATIO = 36, 2, 3, 4, 4, 2
SIZES = {"square": (16, 16), "wide": (12, 24)}


def official():
    # hubconf.py's arguments of dinov3_vits16.
    model = DinoVisionTransformer(img_size=16, patch_size=PATCH, pos_embed_rope_base=100, pos_embed_rope_normalize_coords="separate", pos_embed_rope_rescale_coords=2, pos_embed_rope_dtype="fp32",
                                  embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, ffn_ratio=RATIO, qkv_bias=True, layerscale_init=1e-5, norm_layer="layernormbf16", ffn_layer="mlp", ffn_bias=True,
                                  proj_bias=True, n_storage_tokens=REGISTERS, mask_k_bias=True)
    model.init_weights()
    return randomize(model)


def run_official(model, image):
    """Tokens, the class token's attention in the last block, and that block's keys as the qkv layer gives them."""
    found = []
    hook = model.blocks[-1].attn.qkv.register_forward_hook(lambda m, i, o: found.append(o))
    result = model.forward_features(image)
    hook.remove()
    b, t, _ = found[0].shape
    q, k, _ = found[0].reshape(b, t, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
    turned = model.blocks[-1].attn.apply_rope(q, k, model.rope_embed(H=image.shape[2] // PATCH, W=image.shape[3] // PATCH))
    weights = (turned[0] @ turned[1].transpose(-2, -1) / (WIDTH // HEADS) ** 0.5).softmax(-1)
    tokens = torch.cat([result["x_norm_clstoken"][:, None], result["x_storage_tokens"], result["x_norm_patchtokens"]], 1)
    return tokens, weights[:, :, 0].contiguous(), found[0][:, :, WIDTH:2 * WIDTH].contiguous()


def of_timm(state):
    arguments = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": 16, "patch_size": PATCH, "mlp_ratio": RATIO}
    model = timm.create_model("vit_small_patch16_dinov3_qkvb.lvd1689m", num_classes=0, **arguments).eval()
    converted = checkpoint_filter_fn({k: v.clone() for k, v in state.items()}, model)
    model.load_state_dict(converted)
    os.makedirs(f"{OUT}/timm")
    save_file({k: v.contiguous() for k, v in half(converted).items()}, f"{OUT}/timm/model.safetensors", {"format": "pt"})
    json.dump({"architecture": "vit_small_patch16_dinov3_qkvb", "model_args": arguments}, open(f"{OUT}/timm/config.json", "w"), indent=1)
    return model


def of_transformers(state):
    config = transformers.DINOv3ViTConfig(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, intermediate_size=RATIO * WIDTH, image_size=16, patch_size=PATCH,
                                          num_register_tokens=REGISTERS, attn_implementation="eager")
    model = transformers.DINOv3ViTModel(config).eval()
    names = {"patch_embed.proj.": "embeddings.patch_embeddings.", "blocks.": "model.layer.", ".attn.proj.": ".attention.o_proj.", "ls1.gamma": "layer_scale1.lambda1",
             "ls2.gamma": "layer_scale2.lambda1", ".mlp.fc1.": ".mlp.up_proj.", ".mlp.fc2.": ".mlp.down_proj.", "cls_token": "embeddings.cls_token",
             "storage_tokens": "embeddings.register_tokens", "mask_token": "embeddings.mask_token"}
    renamed = {}
    for name, tensor in state.items():
        if "rope" in name or "bias_mask" in name:
            continue
        for a, b in names.items():
            name = name.replace(a, b) if not name.startswith("embeddings.") else name
        if ".attn.qkv." in name:
            for part, piece in zip("qkv", tensor.chunk(3)):
                if not (part == "k" and name.endswith("bias")):
                    renamed[name.replace("attn.qkv", f"attention.{part}_proj")] = piece
        else:
            renamed[name] = tensor.reshape(1, 1, -1) if "mask_token" in name else tensor
    model.load_state_dict(renamed)
    model.save_pretrained(f"{OUT}/transformers")
    stored = load_file(f"{OUT}/transformers/model.safetensors")
    save_file(half(stored), f"{OUT}/transformers/model.safetensors", {"format": "pt"})
    transformers.DINOv3ViTImageProcessor().save_pretrained(f"{OUT}/transformers")
    return model


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    torch.manual_seed(29)
    with torch.no_grad():
        model = official()
        state = model.state_dict()
        torch.save(half(state), f"{OUT}/official.pth")
        second, third = of_timm(state), of_transformers(state)
        for name, size in SIZES.items():
            image = torch.randn(1, 3, *size)
            tokens, attention, keys = run_official(model, image)
            other = third(image, output_attentions=True)
            for found, expected in ((second.forward_features(image), tokens), (other.last_hidden_state, tokens), (other.attentions[-1][:, :, 0], attention)):
                difference = (found - expected).abs().max().item()
                print(name, difference)
                assert difference < 1e-5
            for kind, values in (("input", image), ("tokens", tokens), ("attention_cls", attention), ("keys", keys)):
                np.save(f"{OUT}/{name}.{kind}.npy", values.numpy())
