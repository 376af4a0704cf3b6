# Makes Tests/Fixtures/imaging: small image files of every kind that is decoded, and what Pillow makes of them.
#   decode/*            the files
#   decode.json         file -> {width, height, rgb}: Image.open(f).convert('RGB'), base64; upright: the same after exif_transpose
#   resize.json         one source picture and what Image.resize makes of it, for many sizes, filters and boxes
#   augment.json        what torchvision makes of the same picture
# Run: python Tests/Reference/make_image_fixtures.py (needs numpy, Pillow 13, torchvision). Deterministic.
import base64, io, json, pathlib, random, struct, warnings, zlib

import numpy as np
from PIL import Image, ImageFilter, ImageOps

warnings.simplefilter("ignore")
root = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures/imaging"
out = root / "decode"
out.mkdir(parents=True, exist_ok=True)
for old in out.iterdir():
    old.unlink()
rng = np.random.default_rng(2024)


def encode(array):
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def smooth(width, height, channels=3):
    """A picture with gradients, an edge and some noise, so that lossy codecs and chroma have something to do."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [(x * 255 // max(width - 1, 1)), (y * 255 // max(height - 1, 1)), ((x + y) % 7 * 36), (255 - x * y * 3 % 256)]
    a = np.stack(planes[:channels], -1).astype(int) + rng.integers(-9, 10, (height, width, channels))
    a[height // 3 : height // 2, width // 4 : width // 2] = 240
    return a.clip(0, 255).astype(np.uint8)


# ---- PNG, written by hand: Pillow writes neither every depth nor interlacing ----
def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def pack_rows(samples, depth):
    """[h, w, c] whole numbers -> the bytes of each row."""
    rows = []
    for row in samples:
        flat = row.reshape(-1)
        if depth == 16:
            rows.append(flat.astype(">u2").tobytes())
        elif depth == 8:
            rows.append(flat.astype(np.uint8).tobytes())
        else:
            bits = "".join(format(int(v), f"0{depth}b") for v in flat)
            bits += "0" * (-len(bits) % 8)
            rows.append(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)))
    return rows


def filtered(rows, unit):
    """Rows with PNG's filters 0...4 in turn."""
    data, before = b"", None
    for i, row in enumerate(rows):
        kind = i % 5
        before = before if before is not None else bytes(len(row))
        line = bytearray()
        for j, v in enumerate(row):
            a = row[j - unit] if j >= unit else 0
            b = before[j]
            c = before[j - unit] if j >= unit else 0
            p = a + b - c
            paeth = min((a, b, c), key=lambda t: abs(p - t))
            line.append((v - (0, a, b, (a + b) // 2, paeth)[kind]) % 256)
        data += bytes([kind]) + bytes(line)
        before = row
    return data


def write_png(name, samples, depth, colour, interlace=False, extra=b""):
    height, width, channels = samples.shape
    unit = max(1, channels * depth // 8)
    if interlace:
        data = b""
        for x0, y0, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
            part = samples[y0::dy, x0::dx]
            if part.size:
                data += filtered(pack_rows(part, depth), unit)
    else:
        data = filtered(pack_rows(samples, depth), unit)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, int(interlace))
    body = zlib.compress(data, 9)
    half = len(body) // 2
    (out / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", body[:half]) + chunk(b"IDAT", body[half:]) + chunk(b"IEND", b""))


W, H = 13, 9
palette = bytes(rng.integers(0, 256, 768, dtype=np.uint8))
for interlace in (False, True):
    tail = "_interlaced" if interlace else ""
    for colour, channels, depths in ((0, 1, (1, 2, 4, 8, 16)), (2, 3, (8, 16)), (4, 2, (8, 16)), (6, 4, (8, 16))):
        for depth in depths:
            top = 600 if depth == 16 and colour == 0 else 2**depth  # 16-bit grey on both sides of Pillow's clip at 255
            kind = {0: "grey", 2: "rgb", 4: "grey_alpha", 6: "rgba"}[colour]
            write_png(f"png_{kind}{depth}{tail}.png", rng.integers(0, top, (H, W, channels)), depth, colour, interlace)
    for depth in (1, 2, 4, 8):
        plte = chunk(b"PLTE", palette[: 3 * 2**depth])
        write_png(f"png_palette{depth}{tail}.png", rng.integers(0, 2**depth, (H, W, 1)), depth, 3, interlace, plte)
index8 = rng.integers(0, 20, (H, W, 1))
write_png("png_palette_short.png", index8, 8, 3, False, chunk(b"PLTE", palette[:30]))  # entries 10...19 do not exist
write_png("png_palette_trns.png", index8, 8, 3, False, chunk(b"PLTE", palette[:60]) + chunk(b"tRNS", bytes(range(0, 200, 10))))
write_png("png_grey_trns.png", rng.integers(0, 4, (H, W, 1)), 8, 0, False, chunk(b"tRNS", b"\0\2"))
write_png("png_rgb_trns.png", rng.integers(0, 2, (H, W, 3)), 8, 2, False, chunk(b"tRNS", b"\0\1\0\0\0\1"))
write_png("png_gamma.png", smooth(W, H).astype(int), 8, 2, False, chunk(b"gAMA", struct.pack(">I", 100000)))
write_png("png_one_pixel.png", np.array([[[7, 8, 9]]]), 8, 2)

# ---- JPEG ----
photo, wide = Image.fromarray(smooth(37, 29)), Image.fromarray(smooth(W, H))
photo.convert("L").save(out / "jpeg_grey.jpg", quality=80)
for name, sub in (("444", 0), ("422", 1), ("420", 2)):
    photo.save(out / f"jpeg_{name}.jpg", quality=85, subsampling=sub)
photo.save(out / "jpeg_progressive.jpg", quality=75, progressive=True)
photo.save(out / "jpeg_restart.jpg", quality=75, restart_marker_blocks=2)
photo.save(out / "jpeg_low_quality.jpg", quality=10, subsampling=2)
photo.save(out / "jpeg_rgb.jpg", quality=90, keep_rgb=True)
cmyk = Image.fromarray(smooth(21, 17, 4), "CMYK")
cmyk.save(out / "jpeg_cmyk.jpg", quality=90)
data = (out / "jpeg_cmyk.jpg").read_bytes()
at = data.index(b"Adobe")
(out / "jpeg_ycck.jpg").write_bytes(data[: at + 11] + b"\2" + data[at + 12 :])
for orientation in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = orientation
    wide.save(out / f"jpeg_orientation{orientation}.jpg", quality=90, exif=exif)
exif = Image.Exif()
exif[0x0112] = 6
wide.save(out / "png_orientation6.png", exif=exif)
wide.save(out / "webp_orientation6.webp", exif=exif, quality=80)
data = (out / "jpeg_420.jpg").read_bytes()
(out / "jpeg_trailing.jpg").write_bytes(data + b"junk after the end")

# ---- WebP ----
photo.save(out / "webp_lossy.webp", quality=60)
photo.save(out / "webp_lossless.webp", lossless=True)
alpha = Image.fromarray(smooth(23, 19, 4), "RGBA")
alpha.save(out / "webp_alpha_lossy.webp", quality=70)
alpha.save(out / "webp_alpha_lossless.webp", lossless=True, exact=True)
frames = [Image.fromarray(smooth(15, 11)) for _ in range(3)]
frames[0].save(out / "webp_animated.webp", save_all=True, append_images=frames[1:], duration=50, lossless=True)

# ---- TIFF ----
for compression in ("raw", "tiff_lzw", "tiff_deflate", "packbits", "tiff_adobe_deflate"):
    wide.save(out / f"tiff_rgb_{compression}.tif", compression=compression)
photo.save(out / "tiff_jpeg.tif", compression="jpeg", quality=90)
wide.convert("L").save(out / "tiff_grey.tif")
wide.convert("1").save(out / "tiff_bilevel_g4.tif", compression="group4")
wide.convert("P", palette=Image.Palette.ADAPTIVE).save(out / "tiff_palette.tif")
alpha.save(out / "tiff_rgba.tif")
cmyk.save(out / "tiff_cmyk.tif", compression="tiff_lzw")
Image.fromarray(rng.integers(0, 600, (H, W)).astype(np.uint16)).save(out / "tiff_grey16.tif")
frames[0].save(out / "tiff_pages.tif", save_all=True, append_images=frames[1:])


def write_tiff(name, blocks, tags, big=False):
    """One directory; blocks are strips (tags have 278) or tiles (322, 323)."""
    e = ">" if big else "<"
    data = (b"MM\0\x2a" if big else b"II\x2a\0") + b"\0\0\0\0"
    offsets = []
    for block in blocks:
        offsets.append(len(data))
        data += block + b"\0" * (len(block) % 2)
    tags = dict(tags)
    places, sizes = (324, 325) if 322 in tags else (273, 279)
    tags[places], tags[sizes] = (4, offsets), (4, [len(b) for b in blocks])
    entries, tail = [], b""
    directory = len(data) + sum(len(v) * {3: 2, 4: 4}[k] + 2 for k, v in tags.values())
    directory += directory % 2
    for tag in sorted(tags):
        kind, values = tags[tag]
        raw = b"".join(struct.pack(e + {3: "H", 4: "I"}[kind], v) for v in values)
        if len(raw) > 4:
            place = len(data)
            data += raw + b"\0" * (len(raw) % 2)
            raw = struct.pack(e + "I", place)
        entries.append(struct.pack(e + "HHI", tag, kind, len(values)) + raw.ljust(4, b"\0"))
    start = len(data)
    data += struct.pack(e + "H", len(entries)) + b"".join(entries) + b"\0\0\0\0"
    data = data[:4] + struct.pack(e + "I", start) + data[8:]
    (out / name).write_bytes(data)


def tags(width, height, bits, photometric, samples, rows=None, tile=None, planar=1, **more):
    t = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]), 277: (3, [samples]), 284: (3, [planar])}
    if tile:
        t[322], t[323] = (4, [tile[0]]), (4, [tile[1]])
    else:
        t[278] = (4, [rows or height])
    for key, value in more.items():
        t[int(key[1:])] = (3, value)
    return t


for big in (False, True):
    order, end = ("big", ">u2") if big else ("little", "<u2")
    rgb16 = rng.integers(0, 65536, (H, W, 3))
    write_tiff(f"tiff_rgb16_{order}.tif", [rgb16[i : i + 4].astype(end).tobytes() for i in range(0, H, 4)], tags(W, H, 16, 2, 3, rows=4), big)
    grey16 = rng.integers(0, 600, (H, W))
    write_tiff(f"tiff_grey16_{order}.tif", [grey16.astype(end).tobytes()], tags(W, H, 16, 1, 1), big)
rgb8 = smooth(37, 21)
tiles = []
for y in range(0, 21, 16):
    for x in range(0, 37, 16):
        tile = np.zeros((16, 16, 3), np.uint8)
        part = rgb8[y : y + 16, x : x + 16]
        tile[: part.shape[0], : part.shape[1]] = part
        tiles.append(tile)
write_tiff("tiff_tiles.tif", [t.tobytes() for t in tiles], tags(37, 21, 8, 2, 3, tile=(16, 16)))
write_tiff("tiff_planes.tif", [rgb8[y : y + 8, :, c].tobytes() for c in range(3) for y in range(0, 21, 8)], tags(37, 21, 8, 2, 3, rows=8, planar=2))
for bits in (1, 2, 4, 8):
    values = rng.integers(0, 2**bits, (H, W, 1))
    for photometric, kind in ((0, "white_is_zero"), (1, "black_is_zero")):
        write_tiff(f"tiff_{kind}{bits}.tif", [b"".join(pack_rows(values, bits))], tags(W, H, bits, photometric, 1))
    write_tiff(f"tiff_palette{bits}.tif", [b"".join(pack_rows(values, bits))], tags(W, H, bits, 3, 1, _320=[int(v) for v in rng.integers(0, 65536, 3 * 2**bits)]))
rgba = rng.integers(0, 256, (H, W, 4)).astype(np.uint8)
write_tiff("tiff_premultiplied.tif", [rgba.tobytes()], tags(W, H, 8, 2, 4, _338=[1]))
write_tiff("tiff_extra.tif", [rgba.tobytes()], tags(W, H, 8, 2, 4, _338=[0]))
write_tiff("tiff_orientation6.tif", [smooth(W, H).tobytes()], tags(W, H, 8, 2, 3, _274=[6]))

# ---- PNM ----
def text(values):
    return " ".join(str(int(v)) for v in values.reshape(-1)).encode()


bits, grey, colour = rng.integers(0, 2, (H, W)), rng.integers(0, 256, (H, W)), rng.integers(0, 256, (H, W, 3))
(out / "pnm_p1.pbm").write_bytes(b"P1 # a comment\n13 9\n" + b"".join(str(v).encode() for v in bits.reshape(-1)) + b"\n")
(out / "pnm_p2.pgm").write_bytes(b"P2\n13 9 # size\n200\n" + text(grey * 200 // 255) + b"\n")
(out / "pnm_p2_wide.pgm").write_bytes(b"P2\n13 9\n65535\n" + text(grey * 3) + b"\n")
(out / "pnm_p3.ppm").write_bytes(b"P3\n13 9\n31\n" + text(colour // 8) + b"\n")
(out / "pnm_p4.pbm").write_bytes(b"P4\n13 9\n" + b"".join(pack_rows(bits[..., None], 1)))
(out / "pnm_p5.pgm").write_bytes(b"P5\n#c\n13 9\n255\n" + grey.astype(np.uint8).tobytes())
(out / "pnm_p5_100.pgm").write_bytes(b"P5 13 9 100 " + (grey * 100 // 255).astype(np.uint8).tobytes())
(out / "pnm_p5_wide.pgm").write_bytes(b"P5 13 9 65535\n" + (grey * 3).astype(">u2").tobytes())
(out / "pnm_p5_1000.pgm").write_bytes(b"P5 13 9 1000\n" + (grey // 2).astype(">u2").tobytes())
(out / "pnm_p6.ppm").write_bytes(b"P6\n13 9\n255\n" + colour.astype(np.uint8).tobytes())
(out / "pnm_p6_wide.ppm").write_bytes(b"P6\n13 9\n65535\n" + (colour * 257).astype(">u2").tobytes())

cases = {}
for path in sorted(out.iterdir()):
    image = Image.open(path)
    rgb = np.asarray(image.convert("RGB"))
    cases[path.name] = {"width": rgb.shape[1], "height": rgb.shape[0], "rgb": encode(rgb)}
    if "orientation" in path.name and not path.name.startswith("tiff"):
        turned = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
        cases[path.name]["upright"] = {"width": turned.shape[1], "height": turned.shape[0], "rgb": encode(turned)}
(root / "decode.json").write_text(json.dumps(cases, indent=0, sort_keys=True) + "\n")

# ---- resampling ----
FILTERS = {"nearest": 0, "box": 4, "bilinear": 2, "hamming": 5, "bicubic": 3, "lanczos": 1}
source = smooth(41, 31)
picture = Image.fromarray(source)
pick = random.Random(11)
resizes = []
for name, code in FILTERS.items():
    sizes = [(1, 1), (41, 17), (19, 31), (64, 9), (9, 40), (41, 1), (1, 31), (23, 3), (pick.randint(2, 50), pick.randint(2, 40))]
    boxes = [None] * len(sizes) + [(3.25, 1.5, 30.75, 22.125), (5, 4, 25, 20), (0, 0, 0.5, 31)]
    for (width, height), box in zip(sizes + [(17, 12), (20, 16), (7, 5)], boxes):
        result = np.asarray(picture.resize((width, height), code, box=box))
        resizes.append({"filter": name, "width": width, "height": height, "box": box, "rgb": encode(result)})
(root / "resize.json").write_text(json.dumps({"width": 41, "height": 31, "rgb": encode(source), "cases": resizes}, indent=0) + "\n")

# ---- augmentation and evaluation ----
import torchvision.transforms as T
import torchvision.transforms.functional as F

steps = []
for name, function, values in (
    ("brightness", F.adjust_brightness, (0.0, 0.6, 1.4)),
    ("contrast", F.adjust_contrast, (0.3, 1.0, 1.9)),
    ("saturation", F.adjust_saturation, (0.0, 0.8, 1.7)),
    ("hue", F.adjust_hue, (-0.5, -0.1, 0.05, 0.5)),
    ("solarize", F.solarize, (0, 128, 255)),
    ("blur", lambda im, r: im.filter(ImageFilter.GaussianBlur(r)), (0.1, 0.7, 2.0, 30.0)),
    ("grayscale", lambda im, _: F.to_grayscale(im, 3), (0,)),
):
    for value in values:
        steps.append({"step": name, "value": value, "rgb": encode(np.asarray(function(picture, value)))})
plans = []
for resize, crop, mode in ((16, 14, "bicubic"), (20, None, "bilinear"), ((14, 21), None, "bilinear"), (12, 15, "bicubic"), (None, 25, "nearest"), (13, 12, "lanczos")):
    t = [] if resize is None else [T.Resize(resize, T.InterpolationMode(mode))]
    t += [] if crop is None else [T.CenterCrop(crop)]
    t += [T.ToTensor(), T.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    result = T.Compose(t)(picture).numpy()
    plans.append({"resize": resize if isinstance(resize, (tuple, list)) else [resize] if resize else [], "crop": crop, "filter": mode,
                  "height": result.shape[1], "width": result.shape[2], "values": encode(result.astype("<f4"))})
(root / "augment.json").write_text(json.dumps({"steps": steps, "plans": plans}, indent=0) + "\n")
print(len(cases), "files;", sum(p.stat().st_size for p in out.iterdir()), "bytes;", len(resizes), "resizes")
