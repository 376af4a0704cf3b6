"""What the scripts that make small random networks (make_registers.py, make_dinov3.py, make_gated.py) share."""
import torch


def half(w):
    """Weights as they are stored; periods of rotary positions stay as they are."""
    return {k: v if "periods" in k else v.half() for k, v in w.items()}


def randomize(model):
    """Livelier than an initialisation, so that every part counts; numbers that 16 bits hold. Changes the model and returns it."""
    for name, p in model.named_parameters():
        x = torch.randn(p.shape)
        if p.dim() == 1:
            x = 0.3 * x + (1 if "norm" in name and name.endswith("weight") or name.endswith("gamma") else 0)
        elif p.dim() != 3:
            x = 1.5 * x / p[0].numel() ** 0.5
        p.copy_(x.half())
    return model.eval()
