#!/usr/bin/env python3
"""Makes Tests/Fixtures/classifiers: small random networks with classifiers that read more than the class token, in the files of those who make them, and the scores that they give for an image at the
size that positions are for and for one that is not square:

  dinov2/, registers/    folders of transformers' Dinov2ForImageClassification and Dinov2WithRegistersForImageClassification: the class token and the mean of the patches
  linear.pth, four.pth   facebookresearch/dinov2's own linear classifiers (dinov2_vits14_lc), of one block and of four
  dinov2.onnx            the first of them as torch.onnx writes it from TorchScript, for images of any size
  timm/                  a folder of timm's vit_small_patch16_dinov3_qkvb with classes: the mean of the patches
  {name}.{native,other}.{input,logits}.npy; of the folders of transformers also .tokens.npy

  git clone https://github.com/facebookresearch/dinov2 DINOV2
  pip install torch numpy safetensors transformers timm; python Tests/Reference/make_classifiers.py DINOV2
"""
import json, os, shutil, sys
import numpy as np, timm, torch, transformers
from safetensors.torch import load_file, save_file

sys.path.insert(0, sys.argv[1])
from dinov2.hub.classifiers import _LinearClassifierWrapper
from dinov2.models.vision_transformer import DinoVisionTransformer

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures", "classifiers")
WIDTH, DEPTH, HEADS, PATCH, SIDE, NAMES = 12, 5, 3, 4, 16, ["hat", "shirt", "shoe"]
SIZES = {"native": (SIDE, SIDE), "other": (12, 24)}


def shake(model):
    """Weights that halves hold, with which every part of the network matters."""
    for name, p in model.named_parameters():
        x = torch.randn(p.shape)
        if p.dim() == 1:
            x = 0.3 * x + (1 if "norm" in name and name.endswith("weight") or name.endswith(("gamma", "lambda1", "gamma_1", "gamma_2")) else 0)
        elif p.dim() != 3 and "mask_token" not in name:
            x = 1.5 * x / p[0].numel() ** 0.5
        p.copy_(x.half())
    return model.eval()


def record(name, run):
    for size, (height, width) in SIZES.items():
        image = torch.randn(2, 3, height, width)
        for kind, values in {"input": image, **run(image)}.items():
            np.save(f"{OUT}/{name}.{size}.{kind}.npy", values.numpy())


def halve(path):
    save_file({k: v.half().contiguous() for k, v in load_file(path).items()}, path, {"format": "pt"})


def of_transformers(name, kind, **more):
    config = getattr(transformers, f"{kind}Config")(hidden_size=WIDTH, num_hidden_layers=DEPTH, num_attention_heads=HEADS, mlp_ratio=2, image_size=SIDE, patch_size=PATCH,
                                                    id2label=dict(enumerate(NAMES)), label2id={n: i for i, n in enumerate(NAMES)}, **more)
    model = shake(getattr(transformers, f"{kind}ForImageClassification")(config))
    model.save_pretrained(f"{OUT}/{name}")
    halve(f"{OUT}/{name}/model.safetensors")
    transformers.BitImageProcessor(size={"shortest_edge": 18}, crop_size=SIDE).save_pretrained(f"{OUT}/{name}")

    def run(image):
        return {"logits": model(image).logits, "tokens": model.base_model(image).last_hidden_state}

    record(name, run)
    return model


class Scores(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixel_values):
        return self.model(pixel_values).logits


def of_onnx(name, model):
    model.set_attn_implementation("eager")
    torch.onnx.export(Scores(model), (torch.zeros(1, 3, SIDE, SIDE),), f"{OUT}/{name}.onnx", input_names=["pixel_values"], output_names=["logits"], opset_version=17, dynamo=False,
                      dynamic_axes={"pixel_values": {0: "batch", 2: "height", 3: "width"}})


def of_dinov2(name, layers):
    backbone = DinoVisionTransformer(img_size=SIDE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=2, init_values=1.0, block_chunks=0, ffn_layer="mlp")
    model = shake(_LinearClassifierWrapper(backbone=backbone, linear_head=torch.nn.Linear((1 + layers) * WIDTH, len(NAMES)), layers=layers))
    torch.save({k: v.half() for k, v in model.state_dict().items()}, f"{OUT}/{name}.pth")
    record(name, lambda image: {"logits": model(image)})


def of_timm(name):
    arguments = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": SIDE, "patch_size": PATCH, "mlp_ratio": 2}
    model = shake(timm.create_model("vit_small_patch16_dinov3_qkvb", num_classes=len(NAMES), **arguments))
    assert model.global_pool == "avg"
    os.makedirs(f"{OUT}/{name}")
    save_file({k: v.half().contiguous() for k, v in model.state_dict().items()}, f"{OUT}/{name}/model.safetensors", {"format": "pt"})
    # As timm's save_for_hf writes it.
    json.dump({"architecture": "vit_small_patch16_dinov3_qkvb", "num_classes": len(NAMES), "num_features": WIDTH, "global_pool": "avg", "model_args": arguments}, open(f"{OUT}/{name}/config.json", "w"), indent=1)
    record(name, lambda image: {"logits": model(image)})


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    torch.manual_seed(31)
    with torch.no_grad():
        first = of_transformers("dinov2", "Dinov2")
        of_transformers("registers", "Dinov2WithRegisters", num_register_tokens=2)
        of_dinov2("linear", 1)
        of_dinov2("four", 4)
        of_timm("timm")
        of_onnx("dinov2", first)
