#!/usr/bin/env python3
"""Makes Tests/Fixtures/classifiers/official: linear classifiers as facebookresearch/dino's eval_linear.py saves them (commit 7c446df), for the network of Tests/Fixtures/dino/vit, and the scores that its
validate_network gives them from the recorded tokens of that network's two blocks.

  two.pth    --n_last_blocks 2 --avgpool_patchtokens false: the class tokens of two blocks
  mean.pth   --n_last_blocks 1 --avgpool_patchtokens true: class token and mean of the patches, number by number
  {name}.logits.npy

  pip install torch numpy; python Tests/Reference/make_official_classifiers.py
"""
import os
import numpy as np, torch

FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "Fixtures")
OUT = f"{FIXTURES}/classifiers/official"
os.makedirs(OUT, exist_ok=True)
torch.manual_seed(0)
blocks = [torch.from_numpy(np.load(f"{FIXTURES}/dino/vit/native_tokens_{i}.npy")) for i in range(2)]

for name, n, avgpool in (("two", 2, False), ("mean", 1, True)):
    # These lines are eval_linear.py's.
    intermediate_output = blocks[-n:]
    output = torch.cat([x[:, 0] for x in intermediate_output], dim=-1)
    if avgpool:
        output = torch.cat((output.unsqueeze(-1), torch.mean(intermediate_output[-1][:, 1:], dim=1).unsqueeze(-1)), dim=-1)
        output = output.reshape(output.shape[0], -1)
    linear = torch.nn.Linear(output.shape[1], 3)
    state = {f"module.linear.{k}": v.detach() for k, v in linear.state_dict().items()}
    # What is published has the state alone, what the script saves has these beside it.
    more = {} if avgpool else {"epoch": 1, "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "momentum": 0.9}]}, "best_acc": 33.3}
    torch.save({"state_dict": state, **more}, f"{OUT}/{name}.pth")
    np.save(f"{OUT}/{name}.logits.npy", linear(output).detach().numpy())
