#!/usr/bin/env python3
"""A recorded supervised training for Tests/Fixtures/finetuning: a small network of make_training_cases.py with a linear classifier, as BEiT and MAE fine-tune: groups of
get_parameter_groups with the rates of get_layer_id_for_vit and layer_decay, AdamW, the cosine of utils.cosine_scheduler, smoothed labels, drop path (its factors are
recorded beside the crops), the norm of all gradients clipped.

  python make_finetune_case.py Tests/Fixtures/finetuning
"""
import json, os, sys
import torch, torch.nn as nn
from safetensors.torch import save_file
from make_training_cases import Backbone, cosine, drop_path
import numpy as np

class Classifier(Backbone):
    def __init__(s, c):
        super().__init__(c)
        s.head = nn.Linear(c["dim"], c["classes"])
    def forward(s, x, factors): return s.head(super().forward(x, factors))

def get_layer_id_for_vit(name, num_layers):
    """MAE's util/lr_decay.py."""
    if name in ["cls_token", "pos_embed"]: return 0
    if name.startswith("patch_embed"): return 0
    if name.startswith("blocks"): return int(name.split(".")[1]) + 1
    return num_layers

def param_groups_lrd(model, weight_decay, no_weight_decay_list, layer_decay):
    """MAE's util/lr_decay.py."""
    groups, num_layers = {}, len(model.blocks) + 1
    layer_scales = [layer_decay ** (num_layers - i) for i in range(num_layers + 1)]
    for n, p in model.named_parameters():
        decayed = not (p.ndim == 1 or n in no_weight_decay_list)
        layer = get_layer_id_for_vit(n, num_layers)
        g = groups.setdefault((layer, decayed), {"lr_scale": layer_scales[layer], "weight_decay": weight_decay if decayed else 0., "params": [], "names": []})
        g["params"].append(p); g["names"].append(n)
    return list(groups.values())

c = dict(patch=4, dim=12, depth=3, heads=2, img=12, size=8, classes=5, batch=4, lr=.01, min_lr=1e-4, epochs=3, iterations_per_epoch=2, warmup_epochs=1, weight_decay=.3, layer_decay=.6,
         label_smoothing=.1, drop_path=.4, clip_grad=1.)
folder = sys.argv[1]; os.makedirs(folder, exist_ok=True)
torch.manual_seed(7)
model = Classifier(c)
tensors = lambda: {k: v.contiguous().clone() for k, v in model.state_dict().items()}
save_file(tensors(), f"{folder}/initial.safetensors")
groups = param_groups_lrd(model, c["weight_decay"], {"pos_embed", "cls_token"}, c["layer_decay"])
recorded = {n: {"lr_scale": g["lr_scale"], "weight_decay": g["weight_decay"]} for g in groups for n in g["names"]}
opt = torch.optim.AdamW([{k: v for k, v in g.items() if k != "names"} for g in groups], lr=0)
loss_function, total = nn.CrossEntropyLoss(label_smoothing=c["label_smoothing"]), c["epochs"] * c["iterations_per_epoch"]
lrs, losses, labels, crops = cosine(c["lr"], c["min_lr"], total, c["warmup_epochs"] * c["iterations_per_epoch"]), [], [], {}
for it in range(total):
    x, y = torch.randn(c["batch"], 3, c["size"], c["size"]), torch.randint(c["classes"], (c["batch"],))
    factors = [[drop_path(len(x), r) for _ in range(2)] if r > 0 else (1., 1.) for r in np.linspace(0, c["drop_path"], c["depth"])]
    crops[f"step{it}.crops"] = x.clone()
    for i, branches in enumerate(factors):
        for j, f in enumerate(branches):
            if torch.is_tensor(f): crops[f"step{it}.drop_path.{i}.{j}"] = f.clone()
    for g in opt.param_groups: g["lr"] = lrs[it] * g["lr_scale"]
    opt.zero_grad()
    loss = loss_function(model(x, factors), y)
    loss.backward()
    losses.append(loss.item()); labels.append(y.tolist())
    if it == 0: save_file({n: p.grad.clone() for n, p in model.named_parameters()}, f"{folder}/step0_gradients.safetensors")
    nn.utils.clip_grad_norm_(model.parameters(), c["clip_grad"])
    opt.step()
save_file(tensors(), f"{folder}/final.safetensors")
save_file(crops, f"{folder}/crops.safetensors")
json.dump({"config": c, "groups": recorded, "labels": labels, "losses": losses}, open(f"{folder}/case.json", "w"), indent=1)
