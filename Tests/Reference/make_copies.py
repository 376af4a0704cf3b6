#!/usr/bin/env python3
"""Altered copies of photographs for `dinoctl evaluate copy-detection`: every fourth file of a folder, cropped, flipped, as JPEG of quality 8, blurred, with text over it.

Writes OUT/originals and OUT/{crop,flip,jpeg,blur,overlay}, files of the same name (0000, 0001, …).

  pip install pillow; python Tests/Reference/make_copies.py PHOTOGRAPHS OUT
"""
import os, sys
from PIL import Image, ImageDraw, ImageFilter

source, out = sys.argv[1:3]
files = sorted(os.path.join(d, f) for d, _, names in os.walk(source) for f in names)[::4]
for k, path in enumerate(files):
    image = Image.open(path).convert("RGB")
    w, h = image.size
    overlay = image.copy()
    draw = ImageDraw.Draw(overlay)
    draw.rectangle((w // 4, h // 3, w * 3 // 4, h // 2), fill=(255, 255, 255))
    draw.text((w // 4 + 5, h // 3 + 5), "SALE 50 %", fill=(255, 0, 0))
    for kind, picture, ending, options in (
        ("originals", image, "png", {}), ("crop", image.crop((w // 5, h // 5, w - w // 5, h - h // 5)), "png", {}),
        ("flip", image.transpose(Image.FLIP_LEFT_RIGHT), "png", {}), ("jpeg", image, "jpg", {"quality": 8}),
        ("blur", image.filter(ImageFilter.GaussianBlur(3)), "png", {}), ("overlay", overlay, "png", {})):
        os.makedirs(f"{out}/{kind}", exist_ok=True)
        picture.save(f"{out}/{kind}/{k:04}.{ending}", **options)
print(f"{len(files)} photographs, 5 copies of each")
