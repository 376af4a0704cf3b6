"""Makes Tests/Fixtures/onnx/hostile: small files that are broken or meant to harm, and README.md, the table that the tests read: what the reader must
say to each (the name of the case of OnnxProblem, or `opens` with the error of the first tensor).

    python Tests/Reference/make_hostile_onnx.py

Needs nothing but Python: messages are put together byte by byte.
"""
import pathlib
import struct

OUT = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures/onnx/hostile"
ROWS = []


def varint(n):
    n &= 2**64 - 1
    out = b""
    while n >= 0x80:
        out += bytes([n & 0x7F | 0x80])
        n >>= 7
    return out + bytes([n])


def tag(field, wire):
    return varint(field << 3 | wire)


def num(field, n):
    return tag(field, 0) + varint(n)


def msg(field, *parts, length=None):
    body = b"".join(p.encode() if isinstance(p, str) else p for p in parts)
    return tag(field, 2) + varint(len(body) if length is None else length) + body


def model(*graph_parts):
    return num(1, 8) + msg(7, *graph_parts) + msg(8, num(2, 17))


def tensor(*parts):
    return model(msg(5, msg(8, "w"), *parts))


def external(location, offset=None, length=None, dims=num(1, 2)):
    pairs = [("location", location)] + ([("offset", offset)] if offset is not None else []) + ([("length", length)] if length is not None else [])
    return tensor(dims, num(2, 1), num(14, 1), *[msg(13, msg(1, k), msg(2, v)) for k, v in pairs])


def case(name, says, what, content):
    (OUT / f"{name}.onnx").write_bytes(content)
    ROWS.append((f"{name}.onnx", says, what))


def wire():
    case("empty", "noGraph", "no bytes", b"")
    case("no_graph", "noGraph", "a model without a graph", num(1, 8))
    case("text", "invalidTag|truncated|lengthBeyondEnd|noGraph|unbalancedGroup", "a text file", b"This is not a model.\n" * 3)
    case("zip", "lengthBeyondEnd|invalidTag|truncated|noGraph|unbalancedGroup", "the start of a zip archive", b"PK\x03\x04" + b"\0" * 40)
    case("cut_tag", "truncated", "ends in a tag", model() + b"\x80")
    case("cut_number", "truncated", "ends in a number", model() + b"\x08\xff\xff")
    case("cut_fixed", "truncated", "ends in a 32-bit number", model() + tag(99, 5) + b"\0\0")
    case("long_varint", "invalidVarint", "a number of 11 bytes", model() + b"\x08" + b"\xff" * 10 + b"\x01")
    case("varint_65_bits", "invalidVarint", "a number of 65 bits", model() + b"\x08" + b"\xff" * 9 + b"\x02")
    case("field_zero", "invalidTag", "field number 0", model() + b"\x00\x00")
    case("field_too_large", "invalidTag", "a field number over 29 bits", model() + varint(1 << 32) + b"\0")
    case("wire_type_6", "invalidTag", "a wire type that does not exist", model() + tag(99, 6))
    case("length_beyond_file", "lengthBeyondEnd", "a graph longer than the file", num(1, 8) + msg(7, length=100))
    case("length_beyond_parent", "lengthBeyondEnd", "a name longer than its node", num(1, 8) + msg(7, msg(1, msg(3, length=60))) + b"\0" * 80)
    case("length_all_ones", "lengthBeyondEnd", "a length of 2^64 - 1", num(1, 8) + msg(7, length=2**64 - 1))
    case("length_sign_bit", "lengthBeyondEnd", "a length of 2^63", num(1, 8) + msg(7, length=2**63))
    case("length_2_gib", "lengthBeyondEnd", "2 GiB of raw_data said, none there", num(1, 8) + msg(7, msg(5, num(2, 1), msg(9, length=2**31))))
    case("group_open", "truncated", "a group that is never closed", model() + tag(99, 3))
    case("group_wrong_end", "unbalancedGroup", "a group closed by another", model() + tag(99, 3) + tag(98, 4))
    case("group_stray_end", "unbalancedGroup", "the end of no group", model() + tag(99, 4))
    case("group_deep", "tooDeep", "groups in groups", model() + tag(99, 3) * 5000 + tag(99, 4) * 5000)
    case("packed_cut", "invalidPackedList", "a packed list that ends in a number", tensor(msg(7, b"\x01\x80")))
    case("packed_long", "invalidPackedList", "a packed list with a number of 11 bytes", tensor(msg(7, b"\xff" * 10 + b"\x01")))
    case("packed_floats_cut", "invalidPackedList", "seven bytes of floats", tensor(msg(4, b"\0" * 7)))
    case("packed_doubles_cut", "invalidPackedList", "twelve bytes of doubles", tensor(msg(10, b"\0" * 12)))
    case("name_not_utf8", "invalidText", "a node's name that is no UTF-8", model(msg(1, msg(3, b"\xff"))))
    case("name_overlong", "invalidText", "an overlong slash", model(msg(1, msg(3, b"\xc0\xaf"))))
    case("name_of_marks", "invalidText", "a name that takes long to compare, were it longer", model(msg(1, msg(3, "a" + "\u0315" * 31))))
    case("name_with_nul", "invalidText", "two names that a C string cannot tell apart", model(msg(1, msg(1, b"a\0b"), msg(1, b"a\0c"))))
    case("graph_twice", "repeatedField", "two graphs in one model", model() + msg(7))
    case("name_twice", "repeatedField", "a graph with two names", model(msg(2, "a"), msg(2, "b")))
    case("raw_data_twice", "repeatedField", "raw_data two times", tensor(num(1, 1), num(2, 2), msg(9, b"\1"), msg(9, b"\1")))
    case("type_of_two_kinds", "repeatedField", "a type that is a tensor and a sequence", model(msg(11, msg(2, msg(1), msg(4)))))
    case("graph_many_times", "repeatedField", "merging them would take quadratic time", num(1, 8) + msg(7, msg(1) * 2000) + msg(7, msg(1)) * 2000)


def sizes():
    deep = b""
    for _ in range(3000):
        deep = msg(1, msg(5, msg(6, deep)))
    case("deep_graphs", "tooDeep", "3000 graphs in one another", num(1, 8) + msg(7, deep))
    deep = b""
    for _ in range(4000):
        deep = msg(4, msg(1, deep))
    case("deep_types", "tooDeep", "4000 sequences in one another", model(msg(11, msg(2, deep))))
    case("empty_attributes", "tooLarge", "2 bytes each, 260 in memory", model(msg(1, msg(5) * 14000)))
    case("empty_tensors", "opens", "few enough to pass", model(msg(5, num(1, 0), num(2, 1)) * 500))


def tensors():
    case("shape_negative", "opens:invalidShape", "a negative extent", tensor(num(1, -1), num(2, 1), msg(9, b"\0" * 4)))
    case("shape_overflow", "opens:invalidShape", "more elements than numbers", tensor(num(1, 2**32), num(1, 2**32), num(2, 1), msg(9, b"\0" * 4)))
    case("bytes_overflow", "opens:invalidShape", "more bytes than numbers", tensor(num(1, 2**62), num(2, 1), msg(9, b"\0" * 4)))
    case("shape_huge", "opens:byteCount", "4 bytes for 2^40 floats", tensor(num(1, 2**40), num(2, 1), msg(9, b"\0" * 4)))
    case("shape_huge_typed", "opens:valueCount", "one number for 2^40", tensor(num(1, 2**40), num(2, 7), msg(7, b"\0")))
    case("shape_huge_int4", "opens:byteCount", "one byte for 2^40 elements of 4 bits", tensor(num(1, 2**40), num(2, 22), msg(9, b"\0")))
    case("no_data", "opens:noData", "a shape without data", tensor(num(1, 2), num(2, 1)))
    case("raw_short", "opens:byteCount", "7 bytes for 2 floats", tensor(num(1, 2), num(2, 1), msg(9, b"\0" * 7)))
    case("raw_long", "opens:byteCount", "9 bytes for 2 floats", tensor(num(1, 2), num(2, 1), msg(9, b"\0" * 9)))
    case("typed_short", "opens:valueCount", "1 float for 2", tensor(num(1, 2), num(2, 1), msg(4, b"\0" * 4)))
    case("typed_wrong_field", "opens:wrongField", "a float in int64_data", tensor(num(1, 1), num(2, 1), msg(7, b"\0")))
    case("typed_out_of_range", "opens:valueOutOfRange", "300 as an INT8", tensor(num(1, 1), num(2, 3), msg(5, varint(300))))
    case("two_fields", "opens:conflictingData", "raw_data and float_data", tensor(num(1, 1), num(2, 1), msg(9, b"\0" * 4), msg(4, b"\0" * 4)))
    case("type_undefined", "opens:unsupportedType", "no element type", tensor(num(1, 1), msg(9, b"\0")))
    case("type_unknown", "opens:unsupportedType", "element type 99", tensor(num(1, 1), num(2, 99), msg(9, b"\0")))
    case("type_negative", "opens:unsupportedType", "element type -1", tensor(num(1, 1), num(2, -1), msg(9, b"\0")))
    case("attribute_without_value", "attributeWithoutValue", "says TENSOR, has none", model(msg(1, msg(5, msg(1, "value"), num(20, 4)))))


def externals():
    case("external_absolute", "opens:forbidden", "an absolute path", external("/etc/passwd"))
    case("external_parent", "opens:forbidden", "up and out", external("../../attributes.onnx"))
    case("external_hidden_parent", "opens:forbidden", "down, then up and out", external("a/../../expected.json"))
    case("external_empty_name", "opens:forbidden", "no name", external(""))
    case("external_folder", "opens:forbidden", "the folder itself", external("."))
    case("external_link", "opens:forbidden", "a link out of the folder (the test makes it)", external("link_out"))
    case("external_missing", "opens:missing", "a file that is not there", external("weights.bin"))
    case("external_beyond_end", "opens:rangeBeyondFile", "an offset beyond the file", external("data.bin", "1000000"))
    case("external_offset_overflow", "opens:invalidExternalNumber", "an offset that would wrap around", external("data.bin", str(2**63 - 4)))
    case("external_offset_negative", "opens:invalidExternalNumber", "a negative offset", external("data.bin", "-1"))
    case("external_offset_text", "opens:invalidExternalNumber", "an offset in words", external("data.bin", "four"))
    case("external_offset_long", "opens:invalidExternalNumber", "an offset over 63 bits", external("data.bin", "99999999999999999999"))
    case("external_length", "opens:byteCount", "a length that the shape does not have", external("data.bin", "0", "4"))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("*.onnx"):
        old.unlink()
    (OUT / "data.bin").write_bytes(struct.pack("<2f", 1, 2))
    wire()
    sizes()
    tensors()
    externals()
    table = "\n".join(f"| {name} | {says.replace('|', ' or ')} | {what} |" for name, says, what in ROWS)
    (OUT / "README.md").write_text(
        "# Hostile ONNX files\n\nMade by `Tests/Reference/make_hostile_onnx.py`; the tests read this table. The second column is the case of the error on opening, or\n"
        f"`opens` and the error that the first tensor gives.\n\n| file | says | what |\n|---|---|---|\n{table}\n")


if __name__ == "__main__":
    main()
