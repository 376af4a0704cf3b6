#!/usr/bin/env python3
"""Small recorded trainings for Tests/Fixtures/training: the network, loss and step of DINO written out in PyTorch, for what the large recorded cases leave out:
SGD and LARS, no local crops, crops on other grids, a trained last-layer scale, batch normalisation in the head; drop path as timm's (its factors are recorded beside the
crops); DINOv2's Sinkhorn-Knopp centring and KoLeo term; iBOT's masked patches (the masks are recorded); distillation from a network of another size, by features and by
DINO's loss. Layout as in reference/training of the golden data.

  python make_training_cases.py Tests/Fixtures/training [case…]
"""
import json, math, os, sys
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from safetensors.torch import save_file

class Block(nn.Module):
    def __init__(s, d, h):
        super().__init__()
        s.h, s.norm1 = h, nn.LayerNorm(d, eps=1e-6)  # in the original's order, which is the optimizer's
        s.attn = nn.ModuleDict({"qkv": nn.Linear(d, 3 * d), "proj": nn.Linear(d, d)})
        s.norm2 = nn.LayerNorm(d, eps=1e-6)
        s.mlp = nn.ModuleDict({"fc1": nn.Linear(d, 4 * d), "fc2": nn.Linear(4 * d, d)})
    def forward(s, x, factors=(1., 1.)):
        b, t, d = x.shape
        q, k, v = s.attn["qkv"](s.norm1(x)).reshape(b, t, 3, s.h, d // s.h).permute(2, 0, 3, 1, 4)
        p = ((q @ k.transpose(-2, -1)) * (d // s.h) ** -0.5).softmax(-1)
        x = x + factors[0] * s.attn["proj"]((p @ v).transpose(1, 2).reshape(b, t, d))
        return x + factors[1] * s.mlp["fc2"](F.gelu(s.mlp["fc1"](s.norm2(x))))

class Backbone(nn.Module):
    def __init__(s, c):
        super().__init__()
        d, s.p, s.n = c["dim"], c["patch"], c["img"] // c["patch"]
        s.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, d, s.p, s.p)})
        s.cls_token, s.pos_embed = nn.Parameter(torch.randn(1, 1, d) * .5), nn.Parameter(torch.randn(1, s.n * s.n + 1, d) * .5)
        if c.get("ibot_loss_weight"): s.mask_token = nn.Parameter(torch.randn(1, d) * .5)
        s.blocks, s.norm = nn.ModuleList([Block(d, c["heads"]) for _ in range(c["depth"])]), nn.LayerNorm(d, eps=1e-6)
    def positions(s, h, w):
        m = s.pos_embed.shape[1] - 1
        if (h // s.p) * (w // s.p) == m and h == w: return s.pos_embed
        grid = s.pos_embed[:, 1:].reshape(1, s.n, s.n, -1).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, scale_factor=((h // s.p + .1) / s.n, (w // s.p + .1) / s.n), mode="bicubic")
        return torch.cat([s.pos_embed[:, :1], grid.permute(0, 2, 3, 1).flatten(1, 2)], 1)
    def forward(s, x, factors=None, masks=None):
        t = s.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        if masks is not None: t = torch.where(masks[..., None], s.mask_token, t)
        t = torch.cat([s.cls_token.expand(len(x), -1, -1), t], 1) + s.positions(*x.shape[2:])
        for i, b in enumerate(s.blocks): t = b(t, factors[i] if factors else (1., 1.))
        return s.norm(t)

class Head(nn.Module):
    def __init__(s, c):
        super().__init__()
        d, h, b, k = c["dim"], c["head_hidden"], c["head_bottleneck"], c["out_dim"]
        norm = lambda: [nn.BatchNorm1d(h)] if c.get("use_bn_in_head") else []
        s.mlp = nn.Sequential(nn.Linear(d, h), *norm(), nn.GELU(), nn.Linear(h, h), *norm(), nn.GELU(), nn.Linear(h, b))
        s.last_layer = nn.Module()
        s.last_layer.weight_g, s.last_layer.weight_v = nn.Parameter(torch.ones(k, 1)), nn.Parameter(torch.randn(k, b) * .3)
        s.last_layer.weight_g.requires_grad = not c["norm_last_layer"]
    def forward(s, x):
        v = s.last_layer.weight_v
        return F.linear(F.normalize(s.mlp(x), dim=-1), v / v.norm(dim=1, keepdim=True) * s.last_layer.weight_g)

class Net(nn.Module):
    def __init__(s, c):
        super().__init__(); s.backbone = Backbone(c)
        if c.get("out_dim"): s.head = Head(c)
        if c.get("distillation", {}).get("projection") == "linear":
            s.distill = nn.ModuleDict({k: nn.Linear(c["dim"], c["distillation"]["dim"]) for k in ("cls", "patch")})
    def forward(s, groups, factors=None, masks=None):
        """The head of all class tokens (or these themselves), and the tokens of the first group."""
        tokens = [s.backbone(torch.cat(g), factors[i] if factors else None, masks if i == 0 else None) for i, g in enumerate(groups)]
        features = torch.cat([t[:, 0] for t in tokens])
        return s.head(features) if hasattr(s, "head") else features, tokens[0]

def draw_masks(c):
    """[crops, patches]: how many as MaskedPatches.swift says, where they are at random."""
    n, crops, (low, high) = (c["img"] // c["patch"]) ** 2, 2 * c["batch"], c["ibot_mask_ratio_min_max"]
    masks, masked = torch.zeros(crops, n, dtype=torch.bool), math.floor(crops * c["ibot_mask_sample_probability"] + .5)
    for i, crop in enumerate(torch.randperm(crops)[:masked].tolist()):
        count = max(1, math.floor(n * (low + (high - low) * (i + .5) / masked) + .5))
        masks[crop, torch.randperm(n)[:count]] = True
    return masks

def distance(a, b):
    return (1 - F.cosine_similarity(a, b, dim=-1, eps=1e-8)).mean()

def drop_path(rows, rate):
    """timm's drop_path with scale_by_keep: a whole branch of a sample is left out, what stays is divided by the probability to stay."""
    return torch.bernoulli(torch.full((rows, 1, 1), 1. - rate)) / (1. - rate)

def sinkhorn(raw, temperature):
    """DINOLoss.sinkhorn_knopp_teacher of DINOv2, on one process."""
    q = torch.exp(raw / temperature).t()
    k, b = q.shape
    q = q / q.sum()
    for _ in range(3):
        q = q / q.sum(dim=1, keepdim=True) / k
        q = q / q.sum(dim=0, keepdim=True) / b
    return (q * b).t()

def koleo(x):
    """KoLeoLoss of DINOv2."""
    x = F.normalize(x, eps=1e-8, p=2, dim=-1)
    with torch.no_grad():
        dots = x @ x.t()
        dots.view(-1)[::len(x) + 1].fill_(-1)
        nearest = dots.argmax(dim=1)
    return -torch.log(nn.PairwiseDistance(2, eps=1e-8)(x, x[nearest]) + 1e-8).mean()

def cosine(base, end, count, warmup=0):
    rest = np.arange(count - warmup)
    return np.concatenate([np.linspace(0, base, warmup), end + .5 * (base - end) * (1 + np.cos(np.pi * rest / len(rest)))])

def run(c, folder, seed):
    torch.manual_seed(seed); os.makedirs(folder, exist_ok=True)
    distillation = c.get("distillation")
    student, teacher = Net(c), Net({k: v for k, v in dict(c, **(distillation or {})).items() if k != "distillation"})
    tensors = lambda m: {k: v.contiguous().clone() for k, v in m.state_dict().items() if not k.endswith("num_batches_tracked")}
    with torch.no_grad():  # Scales and shifts that are not where they start.
        for n, p in student.named_parameters():
            if c.get("use_bn_in_head") and n in ("backbone.norm.bias", "head.mlp.1.weight", "head.mlp.1.bias", "head.mlp.4.weight", "head.mlp.4.bias"): p.add_(torch.randn_like(p) * .2)
    if distillation: save_file(tensors(teacher), f"{folder}/teacher.safetensors")
    else: teacher.load_state_dict(student.state_dict())
    save_file(tensors(student), f"{folder}/initial.safetensors")
    named = [(n, p) for n, p in student.named_parameters() if p.requires_grad]
    decayed = {n for n, p in named if not (n.endswith(".bias") or p.ndim == 1)}
    total = c["epochs"] * c["iterations_per_epoch"]
    lrs, wds = cosine(c["lr"], c["min_lr"], total, c["warmup_epochs"] * c["iterations_per_epoch"]), cosine(c["weight_decay"], c["weight_decay_end"], total)
    moms = cosine(c["momentum_teacher"], 1, total)
    temps = np.concatenate([np.linspace(c["warmup_teacher_temp"], c["teacher_temp"], c["warmup_teacher_temp_epochs"]), np.full(c["epochs"] - c["warmup_teacher_temp_epochs"], c["teacher_temp"])])
    groups = [{"params": [p for n, p in named if n in decayed], "weight_decay": 0.}, {"params": [p for n, p in named if n not in decayed], "weight_decay": 0.}]
    opt = {"adamw": torch.optim.AdamW, "sgd": lambda g: torch.optim.SGD(g, lr=0, momentum=.9), "lars": lambda g: None}[c["optimizer"]](groups)
    buffers, crops, losses, views = {}, {}, [], 2 + c["local_crops"]
    center = patch_center = torch.zeros(1, c.get("out_dim", 0))
    for it in range(total):
        x = [torch.randn(c["batch"], 3, *(2 * [c["img"] if v < 2 else c["local_size"]])) for v in range(views)]
        for v in range(views): crops[f"step{it}.crop{v}"] = x[v].clone()
        epoch = it // c["iterations_per_epoch"]
        probabilities = lambda raw, center: sinkhorn(raw, temps[epoch]) if c.get("centering") == "sinkhorn_knopp" else ((raw - center) / temps[epoch]).softmax(-1)
        groups, factors = [x[:2]] + ([x[2:]] if views > 2 else []), None
        if c["drop_path"]:
            rates = np.linspace(0, c["drop_path"], c["depth"])
            factors = [[[drop_path(len(g) * c["batch"], r) for _ in range(2)] if r > 0 else (1., 1.) for r in rates] for g in groups]
            for g, blocks in enumerate(factors):
                for i, branches in enumerate(blocks):
                    for j, f in enumerate(branches):
                        if torch.is_tensor(f): crops[f"step{it}.drop_path.{g}.{i}.{j}"] = f.clone()
        masks = draw_masks(c) if c.get("ibot_loss_weight") else None
        if masks is not None: crops[f"step{it}.masks"] = masks.float()
        out, tokens = student(groups, factors, masks)
        if distillation and distillation["loss"] == "features":
            with torch.no_grad(): goal, goals = teacher(groups)
            project = lambda k, x: student.distill[k](x) if distillation["projection"] == "linear" else x
            loss = distillation["cls_loss_weight"] * distance(project("cls", out), goal) + distillation["patch_loss_weight"] * distance(project("patch", tokens[:, 1:]), goals[:, 1:])
        else:
            with torch.no_grad(): raw, goals = teacher([x[:2]])
            q = probabilities(raw, center).chunk(2)
            logp = (out / c["student_temp"]).log_softmax(-1).chunk(views)
            terms = [-(q[i] * logp[j]).sum(-1).mean() for i in range(2) for j in range(views) if i != j]
            loss = sum(terms) / len(terms)
            if c.get("koleo_loss_weight"): loss = loss + c["koleo_loss_weight"] * sum(koleo(f) for f in tokens[:, 0].chunk(2))
            center = center * c["center_momentum"] + raw.mean(0, keepdim=True) * (1 - c["center_momentum"])
        if masks is not None:  # iBOTPatchLoss.forward_masked of DINOv2: each crop's mean, over all crops
            with torch.no_grad(): raw = teacher.head(goals[:, 1:][masks])
            terms = -(probabilities(raw, patch_center) * (student.head(tokens[:, 1:][masks]) / c["student_temp"]).log_softmax(-1)).sum(-1)
            loss = loss + c["ibot_loss_weight"] * (terms / masks.sum(1, keepdim=True).expand_as(masks)[masks]).sum() / len(masks)
            patch_center = patch_center * c["center_momentum"] + raw.mean(0, keepdim=True) * (1 - c["center_momentum"])
        losses.append(loss.item())
        for _, p in named: p.grad = None
        loss.backward()
        if it == 0: save_file({n: p.grad.clone() for n, p in named}, f"{folder}/step0_gradients.safetensors")
        for n, p in named:
            if c["clip_grad"]: p.grad.mul_(min(1., c["clip_grad"] / (p.grad.norm().item() + 1e-6)))
            if epoch < c["freeze_last_layer"] and "last_layer" in n: p.grad = None
        if opt:
            for i, g in enumerate(opt.param_groups): g["lr"], g["weight_decay"] = lrs[it], wds[it] if i == 0 else 0.
            opt.step()
        else:  # LARS of the original's utils.py, in formulas
            with torch.no_grad():
                for n, p in named:
                    if p.grad is None: continue
                    d = p.grad.clone()
                    if p.ndim != 1:
                        d += (wds[it] if n in decayed else 0.) * p
                        a, b = p.norm(), d.norm()
                        d *= (.001 * a / b) if a > 0 and b > 0 else 1.
                    buffers[n] = .9 * buffers.get(n, torch.zeros_like(p)) + d
                    p -= lrs[it] * buffers[n]
        with torch.no_grad():
            for p, t in zip(student.parameters(), [] if distillation else teacher.parameters()): t.mul_(moms[it]).add_((1 - moms[it]) * p.detach())
    final = {f"{k}.{n}": v.contiguous().clone() for k, m in [("student", student)] + ([] if distillation else [("teacher", teacher)]) for n, v in tensors(m).items()}
    if c.get("out_dim"): final["center"] = center
    if c.get("ibot_loss_weight"): final["patch_center"] = patch_center
    save_file(final, f"{folder}/final.safetensors")
    save_file(crops, f"{folder}/crops.safetensors")
    json.dump({"config": c, "losses": losses}, open(f"{folder}/case.json", "w"), indent=1)

base = dict(patch=4, dim=12, depth=1, heads=2, img=12, out_dim=10, batch=2, local_crops=2, local_size=8, head_hidden=14, head_bottleneck=6, norm_last_layer=False, freeze_last_layer=1,
            clip_grad=.2, optimizer="sgd", lr=.3, min_lr=.01, warmup_epochs=1, epochs=3, iterations_per_epoch=2, weight_decay=.05, weight_decay_end=.3, momentum_teacher=.9,
            warmup_teacher_temp=.05, teacher_temp=.08, warmup_teacher_temp_epochs=2, student_temp=.2, center_momentum=.8, drop_path=0.)
cases = {
    "sgd": (base, 1),
    "lars": (dict(base, optimizer="lars", lr=5., freeze_last_layer=2, clip_grad=0, local_crops=3), 2),
    "adamw_no_locals": (dict(base, optimizer="adamw", lr=.01, local_crops=0, norm_last_layer=True, warmup_epochs=0, depth=2, freeze_last_layer=0), 3),
    # SGD: what is added before a batch normalisation has no gradient but rounding, which AdamW would divide by its own size.
    "batch_norm": (dict(base, use_bn_in_head=True, batch=4), 4),
    "drop_path": (dict(base, depth=3, drop_path=.5, batch=3), 5),
    "dinov2_terms": (dict(base, optimizer="adamw", lr=.01, centering="sinkhorn_knopp", koleo_loss_weight=.3, batch=4, center_momentum=1.), 6),
    "ibot": (dict(base, optimizer="adamw", lr=.01, ibot_loss_weight=.7, ibot_mask_sample_probability=.5, ibot_mask_ratio_min_max=[.2, .7], batch=4), 7),
    "ibot_sinkhorn": (dict(base, ibot_loss_weight=1., ibot_mask_sample_probability=1., ibot_mask_ratio_min_max=[.1, .5], centering="sinkhorn_knopp", batch=3, local_crops=0, center_momentum=1.), 8),
    # Another width, depth and number of heads than the student's; without a head.
    "distill_features": ({k: v for k, v in dict(base, optimizer="adamw", lr=.01, distillation=dict(loss="features", projection="linear", dim=20, depth=2, heads=5, cls_loss_weight=1., patch_loss_weight=.4)).items()
                          if k not in ("out_dim", "head_hidden", "head_bottleneck")}, 9),
    "distill_plain": ({k: v for k, v in dict(base, local_crops=0, distillation=dict(loss="features", projection="none", dim=12, depth=2, heads=3, cls_loss_weight=.5, patch_loss_weight=1.)).items()
                       if k not in ("out_dim", "head_hidden", "head_bottleneck")}, 10),
    "distill_dino": (dict(base, distillation=dict(loss="dino", dim=16, depth=2, heads=2)), 11),
}
if __name__ == "__main__":
    for name in sys.argv[2:] or cases: run(cases[name][0], f"{sys.argv[1]}/{name}", cases[name][1])
