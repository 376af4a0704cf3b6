"""Makes Tests/Fixtures/torch/hostile: archives that must be refused with a sentence, or read without harm. Standard library only.

    python Tests/Reference/make_hostile_torch.py

Also writes expected.json (file -> words of the refusal, null where the file is harmless) and README.md beside them.
"""

import json
import pathlib
import struct
import zlib

OUT = pathlib.Path(__file__).resolve().parent.parent / "Fixtures" / "torch" / "hostile"
rows = []


def put(name, data, refusal, why):
    (OUT / name).write_bytes(data)
    rows.append((name, refusal, why))


# --- Pickle by hand ---------------------------------------------------------------------------------------------------------------

P = b"\x80\x02"
DICT, MARK, STOP, REDUCE, BUILD, EMPTY, TUPLE, NONE, FALSE, LIST = b"}", b"(", b".", b"R", b"b", b")", b"t", b"N", b"\x89", b"]"


def s(text):
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def i(value):
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def g(module, name):
    return b"c" + module.encode() + b"\n" + name.encode() + b"\n"


def tup(*items):
    return MARK + b"".join(items) + TUPLE


def pid(key="0", count=4, kind="FloatStorage", extra=b""):
    return MARK + s("storage") + g("torch", kind) + s(key) + s("cpu") + i(count) + extra + TUPLE + b"Q"


def tensor(storage=None, offset=0, shape=(4,), strides=(1,), metadata=b""):
    return (g("torch._utils", "_rebuild_tensor_v2") + MARK + (pid() if storage is None else storage) + i(offset) + tup(*map(i, shape)) + tup(*map(i, strides))
            + FALSE + g("collections", "OrderedDict") + EMPTY + REDUCE + metadata + TUPLE + REDUCE)


def state(value, key="w"):
    return P + DICT + s(key) + value + b"s" + STOP


# --- Zip by hand ------------------------------------------------------------------------------------------------------------------


def zipped(entries, **o):
    """entries: (name, data) or (name, data, overrides). Overrides replace fields of the headers after they are computed."""
    body, central = b"", b""
    for entry in entries:
        name, data = entry[0], entry[1]
        f = {"method": 0, "flags": 0, "crc": zlib.crc32(data), "size": len(data), "raw": data, "extra": b"", "local_name": None}
        f.update(entry[2] if len(entry) > 2 else {})
        f.setdefault("csize", len(f["raw"]))
        f.setdefault("local_size", f["size"])
        f.setdefault("offset", len(body))
        n, ln = name.encode(), (f["local_name"] or name).encode()
        body += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, f["flags"], f["method"], 0, 0x21, f["crc"], f["csize"], f["local_size"], len(ln), 0) + ln + f["raw"]
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 20, 20, f["flags"], f["method"], 0, 0x21, f["crc"], f["csize"], f["size"], len(n), len(f["extra"]), 0, 0, 0, 0,
                               f["offset"]) + n + f["extra"]
    count = o.get("count", len(entries))
    return body + central + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, o.get("cd_size", len(central)), o.get("cd_offset", len(body)), 0)


DATA = struct.pack("<4f", 1, 2, 3, 4)


def archive(pickle, data=DATA, extra=(), **o):
    return zipped([("a/data.pkl", pickle), ("a/data/0", data), ("a/version", b"3\n"), *extra], **o)


def deflate(data):
    c = zlib.compressobj(9, zlib.DEFLATED, -15)
    return c.compress(data) + c.flush()


def legacy(pickle, keys=("0",), data=None, magic=0x1950A86A20F9469CFC6C, version=1001):
    keys = P + LIST + MARK + b"".join(map(s, keys)) + b"e" + STOP
    head = P + i(magic) + STOP + P + i(version) + STOP + P + DICT + s("little_endian") + b"\x88" + b"s" + STOP
    return head + pickle + keys + (struct.pack("<q", 4) + DATA if data is None else data)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()
    call = lambda module, name, *a: g(module, name) + tup(*a) + REDUCE
    a = lambda name, pickle, refusal, why, **o: put(name + ".pth", archive(pickle, **o), refusal, why)

    put("ok.pth", archive(state(tensor())), None, "the honest file that the others are bent from")
    put("ok_legacy.pth", legacy(state(tensor())), None, "the same as a legacy stream")

    # Code.
    a("os_system", state(call("os", "system", s("touch /tmp/owned"))), "os.system", "runs a command on loading")
    a("posix_system", state(call("posix", "system", s("id"))), "posix.system", "the same under its other name")
    a("eval", state(call("builtins", "eval", s("1+1"))), "builtins.eval", "evaluates text")
    a("exec", state(call("__builtin__", "exec", s("x=1"))), "__builtin__.exec", "the same in Python 2's naming")
    a("getattr", state(call("builtins", "getattr", g("collections", "OrderedDict"), s("__class__"))), "builtins.getattr", "climbs from a harmless class")
    a("dotted", b"\x80\x04}" + s("w") + s("collections") + s("OrderedDict.__class__") + b"\x93)Rs.", "collections.OrderedDict.__class__", "a dotted name walks attributes")
    a("stack_global", b"\x80\x04}" + s("w") + s("os") + s("system") + b"\x93" + tup(s("id")) + b"Rs.", "os.system", "the name is put together on the stack")
    a("subprocess", state(call("subprocess", "Popen", s("id"))), "subprocess.Popen", "starts a process")
    a("nested_load", state(call("torch.storage", "_load_from_bytes", b"\x43\x01x")), "_load_from_bytes", "a second archive inside, loaded without limits")
    a("torch_load", state(call("torch", "load", s("/etc/passwd"))), "torch.load", "opens another file")
    a("hub", state(call("torch.hub", "load_state_dict_from_url", s("http://x"))), "torch.hub", "goes to the network")
    a("numpy_load", state(call("numpy", "load", s("x.npy"))), "numpy.load", "opens another file")
    a("inst", P + DICT + s("w") + MARK + s("id") + b"ios\nsystem\ns" + STOP, "os.system", "the old operation that calls")
    a("inst_allowed", P + DICT + s("w") + b"(icollections\nOrderedDict\ns" + STOP, "INST", "the same with a permitted name")
    a("obj", state(MARK + g("collections", "OrderedDict") + b"o"), "OBJ", "the other old operation that calls")
    a("newobj_ex", state(g("collections", "OrderedDict") + EMPTY + DICT + b"\x92"), "NEWOBJ_EX", "makes an object with keywords")
    a("newobj_function", state(g("torch._utils", "_rebuild_parameter") + EMPTY + b"\x81"), "no class", "makes an object of a function")
    a("ext1", state(b"\x82\x01"), "EXT1", "a name from the extension registry")
    a("persid", state(b"Pstorage\n"), "PERSID", "a textual persistent id")
    a("buffer", state(b"\x97"), "NEXT_BUFFER", "a buffer from outside the file")
    a("build_class", state(g("collections", "OrderedDict") + DICT + s("x") + i(1) + b"s" + BUILD), "sets the state of a type", "changes a class")
    a("build_tensor", state(tensor() + DICT + BUILD), "sets the state of a tensor", "gives a tensor attributes")
    a("call_string", state(s("os") + EMPTY + REDUCE), "calls a string", "calls what is no function")
    a("call_type", state(g("torch", "FloatStorage") + EMPTY + REDUCE), "only named", "makes a storage directly")
    a("append_dict", state(DICT + i(1) + b"a"), "appends to a dictionary", "appends to what is no list")
    a("module", P + MARK + s("module") + g("collections", "OrderedDict") + s("m.py") + s("import os") + TUPLE + b"Q" + STOP, "pickled module", "a module with its source")

    # The machine.
    a("underflow", P + b"R" + STOP, "empty stack", "takes from an empty stack")
    a("underflow_mark", P + i(1) + MARK + b"0" + b"0" + b"0" + STOP, "empty stack", "digs below a mark")
    a("no_mark", P + b"t" + STOP, "mark", "looks for a mark that is not there")
    a("no_memo", P + b"h\x07" + STOP, "memo 7", "an empty memo")
    a("odd_pairs", P + DICT + MARK + s("k") + b"u" + STOP, "no value", "a key without its value")
    a("no_stop", P + DICT, "truncated", "no end")
    a("no_result", P + STOP, "0 values", "nothing is left at the end")
    a("unknown_op", P + b"\xff" + STOP, "unknown operation 255", "an operation that does not exist")
    a("protocol9", b"\x80\x09" + DICT + STOP, "protocol 9", "a protocol that does not exist")
    a("long4", P + b"\x8b\xff\xff\xff\x7f" + STOP, "2147483647 bytes", "an integer of 2 GiB")
    a("long4_negative", P + b"\x8b\xff\xff\xff\xff" + STOP, "-1 bytes", "an integer of a negative length")
    a("binunicode8", b"\x80\x04\x8d" + b"\xff" * 8 + STOP, "bytes where", "a string of 2^64 - 1 bytes")
    a("binbytes8", b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f" + STOP, "bytes where", "bytes of 2^63 - 1")
    a("frame", b"\x80\x04\x95" + b"\xff" * 8 + DICT + STOP, "frame", "a frame longer than the file")
    a("bad_utf8", P + b"X\x02\x00\x00\x00\xff\xfe" + STOP, "UTF-8", "a string that is no text")
    a("terminal", state(g("os\x1b]0;owned\x07", "system") + EMPTY + REDUCE), "\ufffd", "a name with terminal control characters")

    # Trees that are no trees.
    a("self_list", P + LIST + b"q\x00h\x00a" + STOP, "contains itself", "a list in itself")
    a("self_dict", P + DICT + b"q\x00" + s("k") + b"h\x00s" + STOP, "contains itself", "a dictionary in itself")
    a("cycle", P + LIST + b"q\x00" + LIST + b"q\x01h\x00ah\x01a0" + b"h\x00" + STOP, "stack", "rubbish left on the stack")
    a("cycle_two", P + LIST + b"q\x00" + LIST + b"h\x00aa" + STOP, "contains itself", "two lists in each other")
    laughs = EMPTY + b"q\x00" + b"".join(b"0h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(60))
    a("billion_laughs", P + laughs + STOP, "more than a checkpoint needs", "2^60 leaves by sharing")
    wide = P + LIST + b"q\x00" + MARK + i(1) * 1000 + b"e0" + LIST + b"q\x01" + MARK + b"h\x00" * 2000 + b"e0h\x01" + STOP
    a("wide_sharing", wide, "more than a checkpoint needs", "two million leaves by sharing")
    a("depth_lists", P + LIST * 5000 + b"a" * 4999 + STOP, "nested", "5000 lists in one another")
    a("depth_tuples", P + NONE + b"\x85" * 100_000 + STOP, "nested", "100,000 tuples in one another")
    a("depth_dicts", P + (DICT + s("k")) * 3000 + NONE + b"s" * 3000 + STOP, "nested", "3000 dictionaries in one another")
    a("marks", P + MARK * 2000 + STOP, "stack", "marks that are never used")
    copies = P + LIST + b"q\x00" + MARK + NONE * 2000 + b"e0" + g("builtins", "list") + b"q\x01" + b"0" + LIST + MARK + b"h\x01h\x00\x85R" * 2000 + b"e" + STOP
    a("copies", copies, "more list elements", "a long list copied again and again")
    text = P + s("x" * 20_000) + b"q\x000" + g("_codecs", "encode") + b"q\x010" + s("latin1") + b"q\x020" + LIST + MARK + b"h\x01h\x00h\x02\x86R" * 500 + b"e" + STOP
    a("encode_copies", text, "more converted bytes", "a long string converted again and again")
    a("list_key", P + DICT + LIST + NONE + b"s" + STOP, "key", "a key that has no hash")
    a("many_equal_keys", P + DICT + MARK + (s("k") + NONE) * 2000 + b"u" + STOP, None, "one key two thousand times: the last value counts")

    # Tensors.
    t = lambda name, refusal, why, **o: a(name, state(tensor(**o)), refusal, why)
    t("beyond", "reaches beyond", "one element too many", shape=(5,))
    t("offset_beyond", "reaches beyond", "begins behind the end", offset=4)
    t("offset_negative", "negative", "begins before the start", offset=-1)
    t("shape_negative", "not possible", "a negative extent", shape=(-4,))
    t("stride_negative", "negative", "runs backwards out of the storage", strides=(-1,))
    t("stride_overflow", "reaches beyond", "strides whose sum wraps round to a small number", shape=(3, 3), strides=(2**62, 2**62))
    t("shape_overflow", "not possible", "a product that wraps round to 0", shape=(2**32, 2**32), strides=(0, 0))
    t("empty_overflow", "not possible", "a product that wraps round before the 0", shape=(2**40, 2**40, 0), strides=(1, 1, 1))
    t("expanded_giant", "far larger than the file", "4 TB by a stride of 0", shape=(2**40,), strides=(0,))
    t("stride_unused", None, "a giant stride along an axis of one element is harmless", shape=(1, 2), strides=(2**62, 2))
    t("rank_mismatch", "strides", "fewer strides than dimensions", shape=(2, 2), strides=(1,))
    t("rank", "dimensions", "a thousand dimensions", shape=(1,) * 1000, strides=(1,) * 1000)
    t("no_storage", "not in the archive", "a storage that is not there", storage=pid(key="9"))
    t("path_key", "not in the archive", "a storage key that climbs", storage=pid(key="../../etc/passwd"))
    t("storage_count", "has 16 bytes", "a storage said to be longer than it is", storage=pid(count=1000), shape=(1000,))
    t("storage_type", "has 16 bytes", "a storage under a wider type", storage=pid(kind="DoubleStorage"))
    t("storage_negative", "-4 elements", "a storage of a negative length", storage=pid(count=-4))
    t("storage_huge", "elements", "a storage of 2^62 elements", storage=pid(count=2**62))
    t("view_outside", "storage view", "a view that does not lie in its storage", storage=pid(extra=tup(s("v"), i(3), i(3))))
    marks = "a" + "\u0315" * 31
    a("marks_key", state(tensor(), key=marks), "combining marks", "a name that takes long to compare, were it longer")
    a("marks_global", state(call("torch", marks)), "combining marks", "the same of a type")
    put("zip_marks.pth", archive(state(tensor()), extra=[("a/" + marks, b"")]), "combining marks", "the same of an entry")
    put("zip_long_name.pth", archive(state(tensor()), extra=[("a/" + "x" * 600, b"")]), "602 bytes", "a name longer than any of torch.save's")
    t("metadata_long", "metadata of 17 entries", "metadata that is looked through for each tensor", metadata=DICT + b"".join(s(f"m{n}") + FALSE + b"s" for n in range(17)))
    t("conjugated", "negated", "bytes that are not the values", metadata=DICT + s("neg") + b"\x88s")
    a("many_giants", state(LIST + MARK + b"".join(tensor(shape=(2**17,), strides=(0,)) for _ in range(40)) + b"e"), "far larger than the file", "each is below the limit, together they are not")
    a("not_storage", state(g("torch._utils", "_rebuild_tensor_v2") + MARK + s("x") + i(0) + EMPTY + EMPTY + FALSE + NONE + TUPLE + REDUCE), "in place of a storage", "a tensor of a string")
    short = zipped([("a/data.pkl", state(tensor())), ("a/data/0", DATA[:8])])
    put("storage_short.pth", short, "has 8 bytes", "a storage that is shorter than it says")
    np_state = g("numpy.core.multiarray", "_reconstruct") + tup(g("numpy", "ndarray"), tup(i(0)), b"C\x01b") + REDUCE
    dtype = g("numpy", "dtype") + tup(s("f4"), FALSE, b"\x88") + REDUCE
    a("numpy_short", b"\x80\x03}" + s("w") + np_state + tup(i(1), tup(i(2**40)), dtype, FALSE, b"C\x04abcd") + BUILD + b"s.", "NumPy array", "an array of 4 TB in 4 bytes")
    a("numpy_object", b"\x80\x03}" + s("w") + np_state + tup(i(1), tup(i(1)), dtype, FALSE, LIST) + BUILD + b"s.", "objects", "an array of objects")
    a("numpy_empty", b"\x80\x03}" + s("w") + np_state + b"s.", "without its data", "an array that never got its data")

    # Zip.
    ok = state(tensor())
    z = lambda name, data, refusal, why: put(name + ".pth", data, refusal, why)
    main3 = [("a/data.pkl", ok), ("a/data/0", DATA)]
    z("zip_truncated", archive(ok)[:-30], "end record", "the end is missing")
    z("zip_only_magic", b"PK\x03\x04", "end record", "four bytes")
    z("zip_empty", zipped([]), "empty zip", "no entries")
    z("zip_duplicate", zipped(main3 + [("a/data/0", DATA)]), "two entries", "two entries of one name: readers disagree which counts")
    z("zip_overlap", zipped(main3 + [("a/data/0 ", DATA, {"offset": 0, "local_name": "a/data/0 "})]), "another name in its own header", "two entries share bytes")
    inner = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 0, 0, 0x21, zlib.crc32(DATA), 16, 16, 8, 0) + b"a/data/1" + DATA
    quine = zipped([("a/data.pkl", ok), ("a/data/0", inner), ("a/data/1", DATA, {"offset": 40 + len(ok) + 38})])
    z("zip_overlap_inside", quine, "overlap", "an entry hidden in another entry's bytes")
    z("zip_count", archive(ok, count=2), "longer than its", "fewer entries than there are")
    z("zip_count_more", archive(ok, count=60000), "too small", "more entries than there are")
    z("zip_directory_offset", archive(ok, cd_offset=10**6), "does not end where", "the directory lies outside")
    z("zip_directory_size", archive(ok, cd_size=10), "does not end where", "the directory is shorter than it is")
    z("zip_entry_outside", zipped([("a/data.pkl", ok, {"offset": 10**6}), ("a/data/0", DATA)]), "cannot be true", "an entry lies outside")
    z("zip_size_lie", zipped([("a/data.pkl", ok), ("a/data/0", DATA, {"csize": 10**6, "size": 10**6, "local_size": 10**6})]), "inside the file", "an entry is longer than the file")
    z("zip_two_sizes", zipped([("a/data.pkl", ok), ("a/data/0", DATA, {"size": 15})]), "two different sizes", "a stored entry with two sizes")
    z("zip_local_size", zipped([("a/data.pkl", ok), ("a/data/0", DATA, {"local_size": 15})]), "another size", "its header says another size than the directory")
    z("zip_local_name", zipped([("a/data.pkl", ok, {"local_name": "a/data.pk_"}), ("a/data/0", DATA)]), "another name", "its header says another name than the directory")
    z("zip_encrypted", zipped([("a/data.pkl", ok, {"flags": 1}), ("a/data/0", DATA)]), "encrypted", "an encrypted entry")
    z("zip_method", zipped([("a/data.pkl", ok, {"method": 14}), ("a/data/0", DATA)]), "method 14", "an unknown compression")
    z("zip_crc", zipped([("a/data.pkl", ok, {"crc": 1}), ("a/data/0", DATA)]), "checksum", "the pickle is not what was written")
    z("zip_climb", zipped(main3 + [("a/../../evil", b"x")]), "climbs", "a name that climbs out of its folder")
    z("zip_absolute", zipped(main3 + [("/etc/passwd", b"x")]), "absolute", "an absolute name")
    z("zip_backslash", zipped(main3 + [("a\\..\\evil", b"x")]), "climbs", "the same in Windows' writing")
    z("zip_nul", zipped(main3 + [("a/x\0y", b"x")]), "name that is empty", "a name with a NUL")
    z("zip_two_pickles", zipped(main3 + [("b/data.pkl", ok)]), "2 entries called data.pkl", "two archives in one")
    z("zip_byteorder", archive(ok, extra=[("a/byteorder", b"middle")]), "neither little nor big", "an unknown byte order")
    zeros = b"\0" * (8 << 20)
    z("zip_bomb", zipped([("a/data.pkl", state(tensor(storage=pid(count=2 << 20), shape=(2 << 20,)))), ("a/data/0", zeros, {"method": 8, "raw": deflate(zeros)})]), "inflate to more than", "8 MiB in 8 KiB")
    bomb = deflate(b"\x80\x02" + b"N0" * (2 << 20) + b"N.")
    z("zip_bomb_pickle", zipped([("a/data.pkl", b"", {"method": 8, "raw": bomb, "size": 4 + (4 << 20), "crc": 0})]), "inflate to more than", "a pickle of 4 MiB in 4 KiB")
    z("deflate_longer", zipped([("a/data.pkl", ok, {"method": 8, "raw": deflate(ok + b"x")}), ("a/data/0", DATA)]), "more bytes than", "inflates to more than it says")
    z("deflate_shorter", zipped([("a/data.pkl", ok, {"method": 8, "raw": deflate(ok[:-1])}), ("a/data/0", DATA)]), "fewer bytes than", "inflates to less than it says")
    z("deflate_trailing", zipped([("a/data.pkl", ok, {"method": 8, "raw": deflate(ok) + b"xyz"}), ("a/data/0", DATA)]), "ends before", "bytes behind the compressed stream")
    z("deflate_corrupt", zipped([("a/data.pkl", ok, {"method": 8, "raw": b"\xff" * 40}), ("a/data/0", DATA)]), "corrupt", "no deflate stream at all")
    z("deflate_ratio", zipped([("a/data.pkl", ok, {"method": 8, "raw": deflate(ok), "size": 900_000, "local_size": 900_000}), ("a/data/0", DATA)]), "cannot inflate", "more than deflate can ever give")
    wide_extra = struct.pack("<HHQQ", 1, 16, 2**63, 2**63)
    z("zip64_huge", zipped([("a/data.pkl", ok), ("a/data/0", DATA, {"size": 0xFFFFFFFF, "csize": 0xFFFFFFFF, "local_size": 0xFFFFFFFF, "extra": wide_extra})]), "cannot be true", "64-bit sizes of 2^63")
    z("zip64_missing", zipped([("a/data.pkl", ok), ("a/data/0", DATA, {"size": 0xFFFFFFFF, "csize": 0xFFFFFFFF, "local_size": 0xFFFFFFFF})]), "cannot be true", "64-bit sizes that are not there")
    base = archive(ok)
    locator = struct.pack("<IIQI", 0x07064B50, 0, 2**63, 1)
    z("zip64_locator", base[:-22] + locator + base[-22:], "64-bit end record", "a locator that points nowhere")
    z("torchscript", zipped([("a/data.pkl", ok), ("a/constants.pkl", b"x"), ("a/code/m.py", b"x")]), "TorchScript", "a program")
    z("npz", zipped([("arr_0.npy", b"\x93NUMPY")]), ".npz", "another kind of zip")

    # Legacy streams.
    l = lambda name, refusal, why, **o: put(f"legacy_{name}.pth", legacy(o.pop("pickle", ok), **o), refusal, why)
    l("magic", "not one that torch.save wrote", "another magic number", magic=0x1950A86A20F9469CFC6D)
    l("version", "another version", "version 1002", version=1002)
    l("count", "1000 elements", "a storage's count is not the tensors'", data=struct.pack("<q", 1000) + DATA)
    l("count_negative", "elements", "a negative count", data=struct.pack("<q", -4) + DATA)
    l("short", "needs 16 bytes", "the last storage is cut off", data=struct.pack("<q", 4) + DATA[:10])
    l("no_data", "ends before it", "no storages at all", data=b"")
    l("huge", "needs", "a storage of 2^57 bytes", pickle=state(tensor(storage=pid(count=2**55))), data=struct.pack("<q", 2**55) + DATA)
    l("keys_twice", "comes twice", "one key twice", keys=("0", "0"), data=(struct.pack("<q", 4) + DATA) * 2)
    l("keys_unknown", "no tensor says", "a key that no tensor uses", keys=("0", "1"))
    l("keys_missing", "not in the archive", "a tensor's key is not in the list", keys=(), data=b"")
    l("two_types", "two ways", "one key with two types", pickle=P + LIST + MARK + tensor() + tensor(storage=pid(kind="HalfStorage")) + b"e" + STOP)
    l("os_system", "os.system", "runs a command", pickle=state(call("os", "system", s("id"))))
    head = legacy(ok)
    put("legacy_head_bomb.pth", head[:15] + P + LIST * 4000 + STOP + head[20:], "values", "a head of thousands of values")
    put("legacy_big_endian.pth", head.replace(s("little_endian") + b"\x88", s("little_endian") + b"\x89"), "big-endian", "the other byte order")
    put("plain_pickle.pth", P + DICT + STOP, "not one that torch.save wrote", "a pickle, but no archive")
    put("tar.pth", b"pickle".ljust(257, b"\0") + b"ustar  \0".ljust(255, b"\0"), "tar archive", "the form before 0.1.10")
    put("empty.pth", b"", "empty", "no bytes")
    put("lfs.pth", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull", "a pointer in place of the file")
    put("html.pth", b"<!DOCTYPE html><title>404</title>", "web page", "a failed download")
    put("random.pth", bytes(range(7, 107)), "first bytes", "nothing that is known")

    (OUT / "expected.json").write_text(json.dumps({name: refusal for name, refusal, _ in rows}, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    table = "".join(f"| `{name}` | {why} | {'read, harmless' if refusal is None else 'refused: “…' + refusal + '…”'} |\n" for name, refusal, why in rows)
    (OUT / "README.md").write_text(
        "# Hostile PyTorch archives\n\nMade by `Tests/Reference/make_hostile_torch.py`, which writes this table too. None may crash or stall the reader, "
        "make it allocate beyond the file's own class of size, or run anything. `HostileTests` opens each.\n\n| file | what it tries | outcome |\n|---|---|---|\n" + table)


if __name__ == "__main__":
    main()
