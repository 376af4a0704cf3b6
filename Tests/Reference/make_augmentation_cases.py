#!/usr/bin/env python3
"""Tests/Fixtures/training/augmentation.json: DataAugmentationDINO as main_dino.py composes it from torchvision's transforms and Pillow's filters, run on one small picture;
for each crop what was drawn (taken down where torchvision's functions are called) and the picture that came out.

  python make_augmentation_cases.py Tests/Fixtures/training/augmentation.json
"""
import base64, json, random, sys
import numpy as np, torch
from PIL import Image, ImageFilter, ImageOps
from torchvision import transforms
from torchvision.transforms import functional as F

drawn = {}
def watch(name, note):
    inner = getattr(F, name)
    def outer(*a, **k):
        note(*a, **k)
        return inner(*a, **k)
    setattr(F, name, outer)
watch("resized_crop", lambda img, i, j, h, w, *a, **k: drawn.update(box=[j, i, w, h]))
watch("hflip", lambda img: drawn.update(mirrored=True))
for step in ("brightness", "contrast", "saturation", "hue"):
    watch(f"adjust_{step}", lambda img, value, step=step: drawn.setdefault("jitter", []).append([step, value]))
watch("rgb_to_grayscale", lambda img, num_output_channels=3: drawn.update(gray=True))

class GaussianBlur:  # as in the original's utils.py
    def __init__(s, p=.5, radius_min=.1, radius_max=2.): s.p, s.low, s.high = p, radius_min, radius_max
    def __call__(s, img):
        if random.random() > s.p: return img
        drawn["blur"] = random.uniform(s.low, s.high)
        return img.filter(ImageFilter.GaussianBlur(radius=drawn["blur"]))
class Solarization:
    def __init__(s, p): s.p = p
    def __call__(s, img):
        if random.random() >= s.p: return img
        drawn["solarized"] = True
        return ImageOps.solarize(img)

flip_and_color_jitter = transforms.Compose([
    transforms.RandomHorizontalFlip(p=.5),
    transforms.RandomApply([transforms.ColorJitter(brightness=.4, contrast=.4, saturation=.2, hue=.1)], p=.8),
    transforms.RandomGrayscale(p=.2)])
crop = lambda size, scale: transforms.RandomResizedCrop(size, scale=scale, interpolation=Image.BICUBIC)
globals_ = [transforms.Compose([crop(24, (.4, 1.)), flip_and_color_jitter, GaussianBlur(1.)]),
            transforms.Compose([crop(24, (.4, 1.)), flip_and_color_jitter, GaussianBlur(.1), Solarization(.2)])]
local = transforms.Compose([crop(16, (.05, .4)), flip_and_color_jitter, GaussianBlur(.5)])

rng = np.random.default_rng(7); torch.manual_seed(7); random.seed(7)
y, x = np.mgrid[0:40, 0:52]
picture = np.stack([x * 5, y * 6, (x + y) % 9 * 28], -1) + rng.integers(-12, 13, (40, 52, 3))
picture[12:22, 10:30] = 235
picture = picture.clip(0, 255).astype(np.uint8)
encode = lambda a: base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()
cases = []
for _ in range(14):
    for view in range(4):
        drawn.clear()
        out = (globals_[view] if view < 2 else local)(Image.fromarray(picture))
        cases.append(dict(drawn, size=out.size[0], rgb=encode(np.asarray(out))))
json.dump({"width": 52, "height": 40, "picture": encode(picture), "crops": cases}, open(sys.argv[1], "w"))
seen = lambda key: sum(key in c for c in cases)
print(len(cases), {k: seen(k) for k in ("mirrored", "jitter", "gray", "blur", "solarized")})
