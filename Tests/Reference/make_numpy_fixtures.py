"""Makes Tests/Fixtures/numpy with NumPy: one small array under every type, order and version that is read, archives, and, in
formats/hostile/numpy, files that must be refused, with a table that the tests read.

    python Tests/Reference/make_numpy_fixtures.py              # needs numpy
"""
import io
import pathlib
import struct
import zipfile

import numpy as np
from numpy.lib import format as npy

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "Tests/Fixtures/numpy"
HOSTILE = ROOT / "formats/hostile/numpy"
CASES = []


def save(name, array, version=None):
    with open(OUT / name, "wb") as file:
        npy.write_array(file, array, version=version, allow_pickle=False)


def good():
    values = np.arange(24).reshape(2, 3, 4)
    for code in ["b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8"]:
        for order, name in [("<", "little"), (">", "big")]:
            save(f"{name}_{code}.npy", values.astype(order + code))
    save("fortran_f4.npy", np.asfortranarray(values.astype("<f4")))
    save("fortran_big_i2.npy", np.asfortranarray(values.astype(">i2")))
    save("version2_f4.npy", values.astype("<f4"), (2, 0))
    save("version3_f4.npy", values.astype("<f4"), (3, 0))
    save("scalar_f4.npy", np.float32(1.5))
    save("vector_f4.npy", np.arange(5, dtype="<f4"))
    save("empty_f4.npy", np.zeros((0, 3), "<f4"))
    save("long_shape_f4.npy", np.zeros((1,) * 32, "<f4"))
    arrays = {"a": values.astype("<f4"), "b": np.arange(5, dtype="<i8"), "empty": np.zeros((0,), "<f4"), "\u00e4": np.float32(2.5)}
    np.savez(OUT / "stored.npz", **arrays)
    np.savez_compressed(OUT / "deflated.npz", **arrays)


def case(name, code, word, what, content):
    (HOSTILE / name).write_bytes(content)
    CASES.append((name, code, word, what))


def header(text, version=1, pad=True, length=None):
    body = text.encode("latin1") + (b"\n" if pad else b"")
    size = len(body) if length is None else length
    return b"\x93NUMPY" + bytes([version, 0]) + (struct.pack("<H", size) if version == 1 else struct.pack("<I", size)) + body


def described(descr="'<f4'", fortran="False", shape="(2,)", data=b"\0" * 8):
    return header(f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}") + data


def hostile_arrays():
    case("empty.npy", "notAnArrayFile", "NUMPY", "no bytes", b"")
    case("magic_only.npy", "notAnArrayFile", "NUMPY", "six bytes", b"\x93NUMPY")
    case("wrong_magic.npy", "notAnArrayFile", "NUMPY", "another magic", b"\x94" + described()[1:])
    case("version_4.npy", "unknownVersion", "4.0", "a version that does not exist", b"\x93NUMPY\x04\0" + b"\0" * 20)
    case("version_1_1.npy", "unknownVersion", "1.1", "a version that does not exist", b"\x93NUMPY\x01\x01" + b"\0" * 20)
    case("header_beyond_file.npy", "headerBeyondFile", "65535", "a header longer than the file", header("{}", length=65535))
    case("header_4_gib.npy", "headerTooLong", "4294967295", "a header of 4 GiB", header("{}", version=2, length=2**32 - 1))
    case("header_not_a_dictionary.npy", "headerMalformed", "'{'", "a list", header("[]"))
    case("header_call.npy", "headerMalformed", "True or False", "an expression to evaluate", described(fortran="exit()"))
    case("header_unclosed.npy", "headerMalformed", "expected", "no closing brace", header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)"))
    case("header_tail.npy", "headerMalformed", "nothing but spaces", "text after the brace", header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)} + 1"))
    case("header_deep.npy", "headerMalformed", "extent", "10,000 brackets", header("{'shape': " + "(" * 10000))
    case("missing_shape.npy", "headerKey", "shape", "no shape", header("{'descr': '<f4', 'fortran_order': False}"))
    case("missing_descr.npy", "headerKey", "descr", "no type", header("{'fortran_order': False, 'shape': (2,)}"))
    case("extra_key.npy", "headerKey", "comment", "a fourth key", header("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'comment': 'x'}"))
    case("duplicate_key.npy", "headerKey", "shape", "two shapes", header("{'descr': '<f4', 'shape': (2,), 'fortran_order': False, 'shape': (1,)}"))
    buffer = io.BytesIO()
    npy.write_array(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    case("objects.npy", "unsupportedType", "'|O'", "pickled objects", buffer.getvalue())
    case("structure.npy", "unsupportedType", "structure", "a structured type", described("[('a', '<f4'), ('b', '<i4')]"))
    for name, descr in [("text", "<U4"), ("bytes", "|S4"), ("date", "<M8[ns]"), ("complex128", "<c16"), ("long_double", "<f16"), ("void", "|V8"), ("width_3", "<f3"),
                        ("order", "!f4"), ("no_order", "f4"), ("byte_order_missing", "|f4")]:
        case(f"type_{name}.npy", "unsupportedType", f"'{descr}'", f"the type {descr}".replace("|", "bar-"), described(f"'{descr}'"))
    case("negative_extent.npy", "headerMalformed", "extent", "an extent of -1", described(shape="(-1,)"))
    case("extent_2_to_64.npy", "headerMalformed", "63 bits", "an extent that wraps to 2", described(shape=f"({2**64 + 2},)"))
    case("extent_number.npy", "headerMalformed", "','", "a shape that is no tuple", described(shape="(2)"))
    case("extent_float.npy", "headerMalformed", "','", "an extent of 2.0", described(shape="(2.0,)"))
    case("extent_leading_zero.npy", "headerMalformed", "extent", "an extent 02", described(shape="(02,)"))
    case("rank_65.npy", "rankTooLarge", "64", "65 dimensions", described(shape="(" + "1, " * 65 + ")"))
    case("product_overflows.npy", "sizeOverflows", "63 bits", "extents whose product wraps to 0", described(shape=f"({2**32}, {2**32})"))
    case("bytes_overflow.npy", "sizeOverflows", "63 bits", "bytes that do not fit", described(shape=f"({2**61},)"))
    case("cut_by_1.npy", "dataTooShort", "7", "the last byte is missing", described(data=b"\0" * 7))
    case("far_too_short.npy", "dataTooShort", "8", "half an EiB said, 8 bytes there", described(shape=f"({2**57},)"))
    case("trailing_byte.npy", "trailingBytes", "1 bytes", "one byte more", described(data=b"\0" * 9))


def archive(*members, method=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as z:
        for name, content in members:
            z.writestr(zipfile.ZipInfo(name), content, method)
    return bytearray(buffer.getvalue())


def patched(data, signature, offset, value, width="<I"):
    place = data.rfind(signature)
    struct.pack_into(width, data, place + offset, value)
    return bytes(data)


def with_zip64_size(data, size):
    """The only member's size moved into a ZIP64 field of the directory."""
    central, end = data.rfind(b"PK\x01\x02"), data.rfind(b"PK\x05\x06")
    field = struct.pack("<HHQ", 1, 8, size)
    struct.pack_into("<I", data, central + 24, 2**32 - 1)
    struct.pack_into("<H", data, central + 30, len(field))
    struct.pack_into("<I", data, end + 12, end - central + len(field))
    return bytes(data[:end] + field + data[end:])


def hostile_archives():
    array = described()
    stored = lambda: archive(("a.npy", array))
    packed = lambda: archive(("a.npy", array), method=zipfile.ZIP_DEFLATED)
    central, end, local = b"PK\x01\x02", b"PK\x05\x06", b"PK\x03\x04"
    case("no_end.npz", "notAnArchive", "end record", "the end record is missing", bytes(stored()[:-22]))
    case("zeros.npz", "notAnArchive", "end record", "nothing but zeros", b"\0" * 64)
    case("directory_outside.npz", "archiveMalformed", "outside", "the directory beyond the file", patched(stored(), end, 16, 2**31))
    case("count_too_high.npz", "archiveMalformed", "65000", "65,000 members claimed", patched(stored(), end, 10, 65000, "<H"))
    case("damaged_directory.npz", "archiveMalformed", "damaged", "a wrong signature", patched(stored(), central, 0, 0))
    case("name_beyond.npz", "archiveMalformed", "damaged", "a name longer than the directory", patched(stored(), central, 28, 60000, "<H"))
    case("header_elsewhere.npz", "memberMalformed", "a.npy", "no header where the directory says", patched(stored(), central, 42, 5))
    case("data_beyond.npz", "memberMalformed", "a.npy", "data that reach into the directory", patched(stored(), central, 20, 2**30))
    case("zip64_missing.npz", "memberMalformed", "ZIP64", "ZIP64 sizes that are not there", patched(stored(), central, 24, 2**32 - 1))
    case("other_name.npz", "memberMalformed", "another name", "a header with another name", bytes(stored().replace(b"a.npy", b"b.npy", 1)))
    with_duplicate = archive(("a.npy", array), ("b.npy", array))
    case("duplicate_member.npz", "duplicateMember", "a.npy", "a member twice", bytes(with_duplicate.replace(b"b.npy", b"a.npy")))
    shared = archive(("a.npy", array), ("b.npy", array))
    place = shared.rfind(central)
    first = shared.find(central)
    shared[place + 42:place + 46] = shared[first + 42:first + 46]
    shared[place + 46:place + 51] = b"a.npy"
    shared[first + 46:first + 51] = b"a.npy"
    case("shared_bytes.npz", "duplicateMember", "a.npy", "two members over the same bytes", bytes(shared))
    case("encrypted.npz", "encryptedMember", "'a'", "an encrypted member", patched(stored(), central, 8, 1, "<H"))
    case("method_12.npz", "unsupportedCompression", "12", "compressed by bzip2", patched(stored(), central, 10, 12, "<H"))
    case("sizes_differ.npz", "memberMalformed", "two sizes", "stored, but with two sizes", patched(stored(), central, 24, 7))
    case("checksum.npz", "checksumMismatch", "'a'", "a wrong checksum", patched(stored(), central, 16, 1))
    case("deflated_checksum.npz", "checksumMismatch", "'a'", "a wrong checksum", patched(packed(), central, 16, 1))
    case("bomb_size.npz", "memberMalformed", "cannot become", "a size that deflate cannot reach", patched(packed(), central, 24, 2**30))
    case("bomb_limit.npz", "memberTooLarge", "limit", "1 TiB over the limit, in a ZIP64 field", with_zip64_size(packed(), 2**40))
    case("inflates_to_more.npz", "memberMalformed", "inflated", "more bytes than stated", patched(packed(), central, 24, 10))
    case("inflates_to_less.npz", "memberMalformed", "inflated", "fewer bytes than stated", patched(packed(), central, 24, len(array) + 1))
    damaged = packed()
    start = 30 + 5
    damaged[start] = 0xFF
    case("damaged_stream.npz", "memberMalformed", "damaged", "no deflate stream", bytes(damaged))
    case("array_in_archive.npz", "notAnArrayFile", ":a:", "a member that is no array", bytes(archive(("a.npy", b"not an array"))))


def table():
    lines = ["# Hostile .npy and .npz files", "",
             "Made by `Tests/Reference/make_numpy_fixtures.py`; do not edit. Each must be refused with that case of `NumPyError` (through `dinoctl`: exit code 65)",
             "and a sentence that contains the given word.", "", "| file | must give | sentence contains | what it is |", "|---|---|---|---|"]
    for file, code, word, what in CASES:
        lines.append(f"| {file} | {code} | {word.replace('|', chr(92) + 'x7c')} | {what} |")
    (HOSTILE / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for folder in (OUT, HOSTILE):
        folder.mkdir(parents=True, exist_ok=True)
        for old in list(folder.glob("*.npy")) + list(folder.glob("*.npz")):
            old.unlink()
    good()
    hostile_arrays()
    hostile_archives()
    table()
    print(len(CASES), "hostile files;", len(list(OUT.iterdir())), "fixtures")
