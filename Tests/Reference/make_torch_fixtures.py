"""Makes Tests/Fixtures/torch: small archives written by PyTorch itself, with expected values beside them.

    python Tests/Reference/make_torch_fixtures.py

Needs torch and numpy. Names, shapes and values of every tensor go to expected.json: integers and floats as numbers, in row-major order.
"""

import argparse
import collections
import io
import json
import pathlib
import zipfile

import numpy as np
import torch

OUT = pathlib.Path(__file__).resolve().parent.parent / "Fixtures" / "torch"
expected = {}


def flatten(value, prefix, into):
    if isinstance(value, torch.Tensor):
        v = value.detach()
        if v.dtype in (torch.bfloat16, torch.float16):
            v = v.float()
        into[prefix] = {
            "dtype": str(value.dtype).removeprefix("torch."),
            "shape": list(value.shape),
            "strides": list(value.stride()),
            "values": v.contiguous().reshape(-1).to(torch.float64).tolist() if not v.is_complex() else torch.view_as_real(v).reshape(-1).tolist(),
        }
    elif isinstance(value, dict):
        for k, v in value.items():
            flatten(v, f"{prefix}.{k}" if prefix else str(k), into)
    elif isinstance(value, (list, tuple)):
        for i, v in enumerate(value):
            flatten(v, f"{prefix}.{i}" if prefix else str(i), into)


def save(name, value, **options):
    torch.save(value, OUT / name, **options)
    tensors = {}
    flatten(value, "", tensors)
    expected[name] = tensors


def rezip(source, name, **options):
    """The same archive as an ordinary zip tool would pack it again."""
    with zipfile.ZipFile(OUT / source) as src, zipfile.ZipFile(OUT / name, "w", zipfile.ZIP_DEFLATED) as dst:
        dst.writestr(zipfile.ZipInfo(source.removesuffix(".pth") + "/"), b"")
        for info in src.infolist():
            copy = zipfile.ZipInfo(info.filename)
            copy.compress_type = zipfile.ZIP_DEFLATED
            dst.writestr(copy, src.read(info), **options)
    expected[name] = expected[source]


class Unseekable(io.RawIOBase):
    """Makes zipfile write data descriptors."""

    def __init__(self, path):
        self.file = open(path, "wb")

    def writable(self):
        return True

    def write(self, data):
        return self.file.write(data)

    def close(self):
        self.file.close()
        super().close()


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)

    state = collections.OrderedDict(
        [("cls_token", torch.randn(1, 1, 6)), ("patch_embed.proj.weight", torch.randn(6, 3, 2, 2)), ("norm.weight", torch.randn(6)), ("norm.bias", torch.zeros(6))]
    )
    save("zip.pth", state)
    save("legacy.pth", state, _use_new_zipfile_serialization=False)
    for protocol in (3, 4, 5):
        save(f"protocol{protocol}.pth", state, pickle_protocol=protocol)
    save("legacy_protocol4.pth", state, pickle_protocol=4, _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(False)
    save("no_checksums.pth", state)
    torch.serialization.set_crc32_options(True)
    rezip("zip.pth", "deflated.pth")
    with zipfile.ZipFile(OUT / "zip.pth") as src, Unseekable(OUT / "descriptors.pth") as raw, zipfile.ZipFile(raw, "w") as dst:
        for info in src.infolist():
            dst.writestr(zipfile.ZipInfo(info.filename), src.read(info))
    expected["descriptors.pth"] = expected["zip.pth"]
    with zipfile.ZipFile(OUT / "zip.pth") as src, zipfile.ZipFile(OUT / "zip64.pth", "w") as dst:
        for info in src.infolist():
            with dst.open(zipfile.ZipInfo(info.filename), "w", force_zip64=True) as f:
                f.write(src.read(info))
    expected["zip64.pth"] = expected["zip.pth"]

    layouts = {
        "transposed": base.t(),
        "permuted": torch.arange(24, dtype=torch.float32).reshape(2, 3, 4).permute(2, 0, 1),
        "strided": base[:, ::2],
        "offset": base[1:3],
        "column": base[:, 2],
        "shared_a": base,
        "shared_b": base.view(-1)[6:12],
        "expanded": torch.tensor([[1.0], [2.0]]).expand(2, 5),
        "expanded_scalar": torch.tensor(3.0).expand(3, 2),
        "scalar": torch.tensor(2.5),
        "empty": torch.zeros(0, 3),
        "empty_offset": base[4:],
        "one": torch.ones(1, 1, 1),
        "parameter": torch.nn.Parameter(torch.ones(2, 2)),
        "gradient": torch.ones(2, requires_grad=True),
    }
    save("layouts.pth", layouts)
    save("layouts_legacy.pth", layouts, _use_new_zipfile_serialization=False)
    rezip("layouts.pth", "layouts_deflated.pth")

    ints = torch.tensor([-3, 0, 7])
    types = {
        "float32": torch.tensor([1.5, -2.25, 1e-40]),
        "float16": torch.tensor([1.5, -2.25, 6e-8], dtype=torch.float16),
        "bfloat16": torch.tensor([1.5, -2.25, 3e38], dtype=torch.bfloat16),
        "float64": torch.tensor([1.5, -2.25, 1e300], dtype=torch.float64),
        "int64": ints.to(torch.int64) * 2**40,
        "int32": ints.to(torch.int32),
        "int16": ints.to(torch.int16),
        "int8": ints.to(torch.int8),
        "uint8": torch.tensor([0, 7, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "complex64": torch.tensor([1 + 2j, -3j]),
        "uint16": torch.tensor([0, 7, 65535], dtype=torch.uint16),
    }
    save("types.pth", types)

    # A whole training checkpoint, as DINO's main_dino.py saves it.
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.GELU(), torch.nn.Linear(2, 2))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.04)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    training = {
        "student": {"module.backbone." + k: v for k, v in model.state_dict().items()},
        "teacher": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "args": argparse.Namespace(arch="vit_small", patch_size=16, lr=0.0005, norm_last_layer=True, data_path=pathlib.PosixPath("/data/images"),
                                   local_crops_scale=(0.05, 0.4), output_dir=None),
        "fp16_scaler": None,
        "dino_loss": {"center": torch.randn(1, 5)},
    }
    save("training.pth", training)
    save("training_legacy.pth", training, _use_new_zipfile_serialization=False)

    save("values.pth", {
        "none": None, "true": True, "int": -70000, "wide": 2**40, "huge": 2**100, "negative_huge": -(2**70), "float": 1.25, "text": "Größe ✓",
        "bytes": b"\x00\xff\x80", "empty_bytes": b"", "list": [1, [2, 3]], "tuple": (1, "a"), "set": {5}, "frozen": frozenset({6}),
        "slice": slice(1, None, 2), "complex": 1 - 2j, "device": torch.device("cuda", 1), "size": torch.Size([2, 3]), "dtype": torch.bfloat16,
        "counter": collections.Counter("aab"), "default": collections.defaultdict(list, a=[1]), 7: "integer key", (1, 2): "tuple key",
        "bytearray": bytearray(b"ab"), "version": torch.torch_version.TorchVersion("2.1.0"),
        "np_float": np.float32(0.5), "np_int": np.int64(-9), "np_bool": np.bool_(True),
        "np_array": np.arange(6, dtype=np.int32).reshape(2, 3), "np_fortran": np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3)),
        "storage": torch.arange(3, dtype=torch.float32).untyped_storage(),
    })
    save("values_protocol5.pth", {"np_array": np.arange(6, dtype=np.int32).reshape(2, 3), "np_float": np.float64(0.5), "bytes": b"abc", "bytearray": bytearray(b"ab"), "set": {1}})

    # The other byte order: the same archive with data and the record turned round, as a big-endian machine writes it.
    with zipfile.ZipFile(OUT / "zip.pth") as src, zipfile.ZipFile(OUT / "big_endian.pth", "w") as dst:
        for info in src.infolist():
            data = src.read(info)
            if info.filename.endswith("/byteorder"):
                data = b"big"
            if "/data/" in info.filename:
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            dst.writestr(zipfile.ZipInfo(info.filename), data)
    expected["big_endian.pth"] = expected["zip.pth"]

    # What is refused with a sentence of its own.
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(OUT / "torchscript.pt"))
    torch.save(torch.nn.Linear(2, 2), OUT / "module.pth")
    torch.save({"w": torch.ones(2, dtype=torch.complex128)}, OUT / "complex128.pth")
    torch.save({"w": torch.ones(2, 2).to_sparse()}, OUT / "sparse.pth")

    (OUT / "expected.json").write_text(json.dumps(expected, indent=0, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
