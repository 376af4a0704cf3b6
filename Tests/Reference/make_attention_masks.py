#!/usr/bin/env python3
"""Makes Tests/Fixtures/dino/attention_masks: what facebookresearch/dino's visualize_attention.py keeps of an attention map at --threshold.

The lines between the marks are that script's own steps (commit 7c446df), on made-up attention of 3 heads over a 9 x 14 grid,
patch 4: a softmax row (power-law), one with many equal values, one nearly uniform. coco.json holds pycocotools' run lengths of one mask.

  pip install torch numpy pycocotools; python Tests/Reference/make_attention_masks.py
"""
import json, os
import numpy as np, torch, torch.nn as nn

out = os.path.join(os.path.dirname(__file__), "..", "Fixtures", "dino", "attention_masks")
os.makedirs(out, exist_ok=True)
torch.manual_seed(0)
nh, h_featmap, w_featmap, patch_size = 3, 9, 14, 4
n = h_featmap * w_featmap
logits = torch.stack([torch.randn(n + 1) * 1.5, torch.randint(0, 4, (n + 1,)).float(), torch.randn(n + 1) * 0.01])
attention = torch.softmax(logits, dim=-1)[None, :, None, :]  # [1, heads, class row, tokens]
np.save(f"{out}/attention.npy", attention[0, :, 0, 1:].reshape(nh, h_featmap, w_featmap).numpy())
for threshold in (0.6, 0.25, 0.95):
    attentions = attention[0, :, 0, :][:, 1:].reshape(nh, -1)
    # --- visualize_attention.py
    val, idx = torch.sort(attentions)
    val /= torch.sum(val, dim=1, keepdim=True)
    cumval = torch.cumsum(val, dim=1)
    th_attn = cumval > (1 - threshold)
    idx2 = torch.argsort(idx)
    for head in range(nh):
        th_attn[head] = th_attn[head][idx2[head]]
    th_attn = th_attn.reshape(nh, h_featmap, w_featmap).float()
    th_attn = nn.functional.interpolate(th_attn.unsqueeze(0), scale_factor=patch_size, mode="nearest")[0].cpu().numpy()
    # ---
    # The many equal values of head 1 are sorted in no fixed order: their number is what is compared.
    np.save(f"{out}/mask_{threshold}.npy", (th_attn > 0).astype(np.uint8))
from pycocotools import mask as coco
m = (np.load(f"{out}/mask_0.6.npy")[2] > 0).astype(np.uint8)
full = coco.encode(np.asfortranarray(m))
json.dump({"size": full["size"], "counts": full["counts"].decode(), "area": int(coco.area(full)), "bbox": coco.toBbox(full).tolist()}, open(f"{out}/coco.json", "w"))
