"""Shows checkpoint.pth files that dinoctl wrote to PyTorch: they must load with weights_only=True, have the original's keys, and fit the original's network and
optimizer in the original's order of parameters (utils.get_params_groups over named_parameters).

    DINO_OFFICIAL_OUTPUT=FOLDER swift test --filter OfficialCheckpointTests
    python Tests/Reference/check_official_checkpoint.py FOLDER/*.pth
"""

import os
import sys

import torch
from torch import nn

# The network as it is written out there.
space = {}
exec(open(os.path.join(os.path.dirname(__file__), "make_training_cases.py")).read().split("\ndef cosine")[0], space)


class Wrapped(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.module = net


for path in sys.argv[1:]:
    c = torch.load(path, weights_only=True)
    assert list(c) == ["student", "teacher", "optimizer", "epoch", "args", "dino_loss"], list(c)
    a, student = c["args"], c["student"]
    head = {k.removeprefix("module.head."): v for k, v in student.items() if k.startswith("module.head.")}
    bn = "mlp.1.running_mean" in head
    config = dict(dim=a["embed_dim"], depth=a["depth"], heads=a["num_heads"], patch=a["patch_size"], img=a["patch_size"] * int((student["module.backbone.pos_embed"].shape[1] - 1) ** .5),
                  head_hidden=head["mlp.0.weight"].shape[0], head_bottleneck=head["last_layer.weight_v"].shape[1], out_dim=a["out_dim"], norm_last_layer=a["norm_last_layer"], use_bn_in_head=bn)
    network, teacher = Wrapped(space["Net"](config)), space["Net"](config)
    network.load_state_dict(student)
    (Wrapped(teacher) if bn else teacher).load_state_dict(c["teacher"])
    groups = [[], []]
    for name, p in network.named_parameters():
        if p.requires_grad: groups[name.endswith(".bias") or p.ndim == 1].append((name, p))
    kinds = {"adamw": lambda g: torch.optim.AdamW(g), "sgd": lambda g: torch.optim.SGD(g, lr=0, momentum=.9)}
    if a["optimizer"] in kinds:
        optimizer = kinds[a["optimizer"]]([{"params": [p for _, p in g]} for g in groups])
        optimizer.load_state_dict(c["optimizer"])
        for name, p in groups[0] + groups[1]:
            state = optimizer.state[p]
            moment = state["exp_avg"] if a["optimizer"] == "adamw" else state["momentum_buffer"]
            assert moment.shape == p.shape, name
            if a["optimizer"] == "adamw": assert float(state["step"]) == (2 if "last_layer" in name else 4), (name, state["step"])
        for _, p in groups[0] + groups[1]: p.grad = torch.zeros_like(p)
        optimizer.step()
    else:
        for i, (name, p) in enumerate(groups[0] + groups[1]): assert c["optimizer"]["state"][i]["mu"].shape == p.shape, name
    assert c["dino_loss"]["center"].shape == (1, a["out_dim"]) and c["epoch"] == 2
    print(path, "is read:", a["optimizer"], "batch norm" if bn else "", len(student), "tensors")
