"""Makes formats/hostile/safetensors: small files that each break one rule of formats/README.md, a few odd ones that break none, and the
table README.md that the tests read. With the safetensors library at hand it also notes what that library says to each.

    python Tests/Reference/make_hostile_safetensors.py
"""
import json
import pathlib
import struct

OUT = pathlib.Path(__file__).resolve().parents[2] / "formats/hostile/safetensors"
CASES = []  # (file, rule, case, word that the sentence must have, what it is)


def frame(header, data=b"", length=None):
    text = header if isinstance(header, bytes) else header.encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def entry(dtype="F32", shape="[2]", offsets="[0,8]"):
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'


def one(dtype="F32", shape="[2]", offsets="[0,8]", data=b"\0" * 8, name="w"):
    return frame(f'{{"{name}":{entry(dtype, shape, offsets)}}}', data)


def case(name, rule, code, word, what, content):
    (OUT / f"{name}.safetensors").write_bytes(content)
    CASES.append((f"{name}.safetensors", rule, code, word, what))


def frames():
    case("empty_file", "S1", "fileTooShort", "0", "no bytes at all", b"")
    case("seven_bytes", "S1", "fileTooShort", "7", "not even a length", b"\x02\0\0\0\0\0\0")
    case("length_over_limit", "S2", "headerTooLarge", "100000001", "one more than the limit", frame("{}", length=100_000_001))
    case("length_all_ones", "S2", "headerTooLarge", "18446744073709551615", "2^64 - 1: 8 more wraps around", frame("{}", length=2**64 - 1))
    case("length_sign_bit", "S2", "headerTooLarge", "9223372036854775808", "negative as a signed number", frame("{}", length=2**63))
    case("length_beyond_file", "S3", "headerBeyondFile", "99", "99 bytes said, 2 there", frame("{}", length=99))
    case("length_at_limit", "S3", "headerBeyondFile", "100000000", "allowed, but the file is not that long", frame("{}", length=100_000_000))
    case("length_only", "S3", "headerBeyondFile", "2", "cut after the length", struct.pack("<Q", 2))
    case("gzip_magic", "S3", "headerBeyondFile", "no safetensors file", "another kind of file", bytes.fromhex("1f8b0800000000000003") + b"\0" * 20)
    case("not_utf8", "S4", "headerNotUTF8", "byte 10", "a byte that starts no character", frame(b'{"\xff":{}}'))
    case("utf8_surrogate", "S4", "headerNotUTF8", "byte 10", "a surrogate written as UTF-8", frame(b'{"\xed\xa0\x80":{}}'))
    case("utf8_overlong", "S4", "headerNotUTF8", "byte 10", "an overlong slash", frame(b'{"\xc0\xaf":{}}'))
    case("utf16", "S5", "headerNotJSON", "byte 9", "the header in UTF-16", frame("{}".encode("utf-16-le")))
    case("byte_order_mark", "S5", "headerNotJSON", "byte 8", "a byte order mark before the brace", frame(b"\xef\xbb\xbf{}"))


def json_texts():
    bad = lambda name, word, what, text: case(name, "S5", "headerNotJSON", word, what, frame(text))
    bad("zero_length_header", "byte 8", "a header of no bytes", "")
    bad("spaces_only", "byte 10", "only whitespace", "  ")
    bad("array_header", "byte 8", "an array, not an object", "[]")
    bad("string_header", "byte 8", "a string, not an object", '"w"')
    bad("unclosed", "'}'", "the brace is never closed", '{"w":' + entry())
    bad("trailing_comma", "name", "a comma before the closing brace", '{"w":' + entry() + ",}")
    bad("single_quotes", "quotes", "Python's notation", "{'w':{}}")
    bad("comment", "name", "a comment", "{/* w */}")
    bad("unquoted_key", "quotes", "a key without quotes", "{w:{}}")
    bad("missing_colon", "':'", "no colon", '{"w" {}}')
    bad("bare_control_character", "control", "a newline inside a name", '{"a\nb":' + entry() + "}")
    bad("bad_escape", "backslash", "an escape that JSON does not have", '{"a\\x41":' + entry() + "}")
    bad("lone_surrogate", "surrogates", "half a character", '{"\\ud800":' + entry() + "}")
    bad("swapped_surrogates", "surrogates", "the halves in the wrong order", '{"\\udc00\\ud800":' + entry() + "}")
    bad("leading_zero", "zeros", "an extent 02", '{"w":{"dtype":"F32","shape":[02],"data_offsets":[0,8]}}')
    bad("bare_minus", "digit", "a minus alone", '{"w":{"dtype":"F32","shape":[-],"data_offsets":[0,8]}}')
    bad("number_too_long", "1024", "a number of 2,000 digits", '{"w":{"dtype":"F32","shape":[' + "1" * 2000 + '],"data_offsets":[0,8]}}')
    bad("shape_trailing_comma", "', ' or ']'".replace("', '", "','"), "two commas in a shape", '{"w":{"dtype":"F32","shape":[2 2],"data_offsets":[0,8]}}')
    case("nul_padding", "S5", "headerPaddedWithNUL", "NUL", "the header padded with NUL bytes", frame(b"{}" + b"\0" * 6))
    case("second_object", "S5", "bytesAfterHeader", "byte 10", "a second object after the first", frame("{}{}"))
    case("deep_arrays", "S12", "notAnUnsignedInteger", "'w'", "2,000 brackets in a shape", frame('{"w":{"dtype":"F32","shape":' + "[" * 2000))
    case("deep_objects", "S8", "unknownField", "'a'", "2,000 nested objects", frame('{"a":' * 2000))


def keys():
    e = entry()
    case("duplicate_tensor", "S6", "duplicateTensor", "'w'", "a name twice, same bytes", frame(f'{{"w":{e},"w":{e}}}', b"\0" * 8))
    case("duplicate_tensor_escaped", "S6", "duplicateTensor", "'w'", "a name twice, once escaped", frame(f'{{"w":{e},"\\u0077":{e}}}', b"\0" * 8))
    case("duplicate_tensor_unicode", "S6", "duplicateTensor", "twice", "two spellings of one character",
         frame(f'{{"\u00e9":{entry(offsets="[0,8]")},"e\u0301":{entry(offsets="[8,16]")}}}', b"\0" * 16))
    case("duplicate_dtype", "S6", "duplicateField", "'dtype'", "two dtypes", frame('{"w":{"dtype":"F32","dtype":"I32","shape":[2],"data_offsets":[0,8]}}', b"\0" * 8))
    case("duplicate_shape", "S6", "duplicateField", "'shape'", "two shapes", frame('{"w":{"dtype":"F32","shape":[2],"shape":[1,2],"data_offsets":[0,8]}}', b"\0" * 8))
    case("duplicate_offsets", "S6", "duplicateField", "'data_offsets'", "two places",
         frame('{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"data_offsets":[0,8]}}', b"\0" * 8))
    case("duplicate_metadata", "S6", "duplicateMetadata", "__metadata__", "metadata twice", frame('{"__metadata__":{},"__metadata__":{}}'))
    case("duplicate_metadata_key", "S6", "duplicateMetadataKey", "'format'", "a metadata key twice", frame('{"__metadata__":{"format":"pt","format":"np"}}'))
    case("metadata_is_text", "S7", "metadataNotAnObject", "object", "metadata that are a string", frame('{"__metadata__":"pt"}'))
    case("metadata_is_null", "S7", "metadataNotAnObject", "object", "metadata that are null", frame('{"__metadata__":null}'))
    case("metadata_number", "S7", "metadataValueNotAString", "'n'", "a number in the metadata", frame('{"__metadata__":{"n":1}}'))
    case("metadata_null", "S7", "metadataValueNotAString", "'n'", "a null in the metadata", frame('{"__metadata__":{"n":null}}'))
    case("metadata_nested", "S7", "metadataValueNotAString", "'dino.config'", "a record that is not text", frame('{"__metadata__":{"dino.config":{"depth":12}}}'))
    case("metadata_named_tensor", "S7", "metadataValueNotAString", "'shape'", "a tensor named __metadata__", frame(f'{{"__metadata__":{e}}}', b"\0" * 8))
    case("tensor_is_null", "S8", "tensorNotAnObject", "'w'", "a tensor that is null", frame('{"w":null}'))
    case("tensor_is_array", "S8", "tensorNotAnObject", "'w'", "a tensor that is an array", frame('{"w":[]}'))
    case("missing_dtype", "S8", "missingField", "'dtype'", "no dtype", frame('{"w":{"shape":[2],"data_offsets":[0,8]}}', b"\0" * 8))
    case("missing_shape", "S8", "missingField", "'shape'", "no shape", frame('{"w":{"dtype":"F32","data_offsets":[0,8]}}', b"\0" * 8))
    case("missing_offsets", "S8", "missingField", "'data_offsets'", "no offsets", frame('{"w":{"dtype":"F32","shape":[2]}}', b"\0" * 8))
    case("empty_tensor_object", "S8", "missingField", "'w'", "an empty description", frame('{"w":{}}'))
    case("unknown_key", "S8", "unknownField", "'strides'", "a fourth key", frame('{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"strides":[1]}}', b"\0" * 8))
    case("key_in_capitals", "S8", "unknownField", "'DTYPE'", "a key in capitals", frame('{"w":{"DTYPE":"F32","shape":[2],"data_offsets":[0,8]}}', b"\0" * 8))


def values():
    case("unknown_dtype", "S9", "unknownDType", "'F128'", "a type that does not exist", one("F128"))
    case("dtype_in_small_letters", "S9", "unknownDType", "'f32'", "a type in small letters", one("f32"))
    case("dtype_is_number", "S9", "dtypeNotAString", "'w'", "a type that is a number", frame('{"w":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}', b"\0" * 8))
    case("shape_is_number", "S10", "shapeNotAnArray", "'w'", "a shape that is a number", one(shape="2"))
    case("shape_is_text", "S10", "shapeNotAnArray", "'w'", "a shape that is text", one(shape='"[2]"'))
    case("rank_65", "S10", "rankTooLarge", "'w'", "65 dimensions", one(shape="[" + ",".join(["1"] * 65) + "]", offsets="[0,4]", data=b"\0" * 4))
    case("offsets_empty", "S11", "offsetsNotAPair", "'w'", "no offsets in the array", one(offsets="[]"))
    case("offsets_one", "S11", "offsetsNotAPair", "'w'", "one offset", one(offsets="[8]"))
    case("offsets_three", "S11", "offsetsNotAPair", "'w'", "three offsets", one(offsets="[0,4,8]"))
    case("offsets_object", "S11", "offsetsNotAPair", "'w'", "offsets by name", one(offsets='{"begin":0,"end":8}'))
    case("offsets_reversed", "S11", "offsetsReversed", "'w'", "the end before the start", one(offsets="[8,0]"))
    for name, number in [("negative_zero", "-0"), ("negative", "-2"), ("exponent", "2e0"), ("fraction", "2.0"), ("text", '"2"'), ("null", "null"), ("true", "true"),
                         ("nested", "[2]")]:
        case(f"shape_{name}", "S12", "notAnUnsignedInteger", "shape", f"an extent written {number}", one(shape=f"[{number}]"))
    case("offset_exponent", "S12", "notAnUnsignedInteger", "data_offsets", "an offset written 8e0", one(offsets="[0,8e0]"))
    case("offset_negative_zero", "S12", "notAnUnsignedInteger", "data_offsets", "an offset written -0", one(offsets="[-0,8]"))
    case("offset_negative", "S12", "notAnUnsignedInteger", "data_offsets", "an offset before the data", one(offsets="[-8,0]"))
    case("shape_2_to_63", "S12", "integerTooLarge", "'w'", "an extent of 2^63", one(shape=f"[{2**63}]"))
    case("shape_2_to_64_plus_2", "S12", "integerTooLarge", "'w'", "an extent that wraps to 2", one(shape=f"[{2**64 + 2}]"))
    case("offset_2_to_64", "S12", "integerTooLarge", "'w'", "an offset that wraps to 0", one(offsets=f"[{2**64},8]"))
    case("product_overflows", "S13", "sizeOverflows", "'w'", "extents whose product wraps to 0", one(shape=f"[{2**32},{2**32}]", offsets="[0,0]", data=b""))
    case("bytes_overflow", "S13", "sizeOverflows", "'w'", "a product that fits, bytes that do not", one("F64", f"[{2**61}]", "[0,0]", b""))
    case("overflow_before_zero", "S13", "sizeOverflows", "'w'", "a product that overflows before its zero",
         one(shape=f"[{2**62},4,0]", offsets="[0,0]", data=b""))
    case("size_too_large", "S13", "sizeMismatch", "'w'", "more elements than bytes", one(shape="[3]"))
    case("size_too_small", "S13", "sizeMismatch", "'w'", "fewer elements than bytes", one(shape="[1]"))
    case("scalar_size", "S13", "sizeMismatch", "'w'", "a scalar over two elements", one(shape="[]"))
    case("empty_with_bytes", "S13", "sizeMismatch", "'w'", "an empty tensor that has bytes", one(shape="[0]"))
    case("f4_half_byte", "S14", "subByteMisaligned", "'w'", "three elements of 4 bits", one("F4", "[3]", "[0,2]", b"\0\0"))
    case("f6_misaligned", "S14", "subByteMisaligned", "'w'", "two elements of 6 bits", one("F6_E2M3", "[2]", "[0,2]", b"\0\0"))


def layout():
    two = lambda a, b, size: frame(f'{{"a":{entry(offsets=a)},"b":{entry(offsets=b)}}}', b"\0" * size)
    case("starts_at_8", "S15", "doesNotStartAtZero", "'w'", "8 bytes before the first tensor", one(offsets="[8,16]", data=b"\0" * 16))
    case("hole", "S16", "hole", "'b'", "8 bytes between two tensors", two("[0,8]", "[16,24]", 24))
    case("hole_out_of_order", "S16", "hole", "'a'", "the same, listed the other way round", two("[16,24]", "[0,8]", 24))
    case("overlap_half", "S17", "overlap", "'b'", "two tensors share 4 bytes", two("[0,8]", "[4,12]", 12))
    case("overlap_all", "S17", "overlap", "'b'", "two tensors are the same bytes", two("[0,8]", "[0,8]", 8))
    many = ",".join(f'"t{i:02}":{entry(shape="[4,4]", offsets="[0,64]")}' for i in range(40))
    case("overlap_many", "S17", "overlap", "t01", "forty tensors in the bytes of one", frame("{" + many + "}", b"\0" * 64))
    case("cut_by_1", "S18", "dataBeyondFile", "'w'", "the last byte is missing", one(data=b"\0" * 7))
    case("cut_whole", "S18", "dataBeyondFile", "'w'", "all data are missing", one(data=b""))
    case("far_beyond", "S18", "dataBeyondFile", "'w'", "half an EiB said, 8 bytes there", one("U8", f"[{2**59}]", f"[0,{2**59}]"))
    case("trailing_byte", "S18", "trailingBytes", "'w'", "one byte more", one(data=b"\0" * 9))
    case("polyglot_tail", "S18", "trailingBytes", "'w'", "a ZIP archive's end after the data", one(data=b"\0" * 8 + b"PK\x05\x06" + b"\0" * 18))
    case("data_without_tensors", "S18", "trailingBytes", "without tensors", "data that no tensor owns", frame("{}", b"\0" * 8))
    case("name_of_513_bytes", "S19", "nameTooLong", "512", "a name over the reader's limit", one(name="n" * 513))
    case("marks_31", "S19", "tooManyMarks", "30", "31 combining marks in a row", one(name="a" + "\u0315" * 31))
    case("metadata_key_of_513_bytes", "S19", "nameTooLong", "512", "a metadata key over the limit", frame('{"__metadata__":{"' + "k" * 513 + '":""}}'))


def valid():
    ok = lambda name, rule, what, content: case(name, rule, "loads", "", what, content)
    ok("ok_no_tensors", "S20", "an empty object", frame("{}"))
    ok("ok_leading_whitespace", "S5", "whitespace before the brace", frame(" \t\r\n{}"))
    ok("ok_trailing_whitespace", "S5", "whitespace after the brace", frame("{} \t\r\n"))
    ok("ok_scalar", "S20", "a scalar", one(shape="[]", offsets="[0,4]", data=b"\0\0\x80?"))
    ok("ok_empty_tensor", "S20", "an extent of 0", one(shape="[3,0,2]", offsets="[0,0]", data=b""))
    ok("ok_empty_between", "S20", "an empty tensor between two others",
       frame(f'{{"a":{entry(offsets="[0,8]")},"e":{entry(shape="[0]", offsets="[8,8]")},"b":{entry(offsets="[8,16]")}}}', b"\0" * 16))
    ok("ok_out_of_order", "S16", "the header lists the last tensor first", frame(f'{{"b":{entry(offsets="[8,16]")},"a":{entry(offsets="[0,8]")}}}', b"\0" * 16))
    ok("ok_f4", "S14", "four elements of 4 bits", one("F4", "[4]", "[0,2]", b"\0\0"))
    ok("ok_odd_header_length", "S22", "a header that ends on no boundary", frame('{"w":' + entry() + "}   ", b"\0" * 8))
    ok("ok_unicode_name", "S4", "a name that is not ASCII", one(name="gewicht_\u00e4\u4e2d\U0001f995"))
    ok("ok_escaped_name", "S5", "a name with every escape", one(name='\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83e\\udd95'))
    ok("ok_name_of_512_bytes", "S19", "a name at the reader's limit", one(name="n" * 512))
    ok("ok_marks_30", "S19", "30 combining marks in a row", one(name="a" + "\u0315" * 30))
    ok("ok_rank_64", "S10", "64 dimensions", one(shape="[" + ",".join(["1"] * 64) + "]", offsets="[0,4]", data=b"\0" * 4))
    ok("ok_nan_and_infinity", "S20", "values that are no numbers", one(data=struct.pack("<ff", float("nan"), float("inf"))))
    ok("ok_metadata", "S7", "metadata", frame('{"__metadata__":{"format":"pt","empty":""}}'))


def reference_says(path):
    try:
        import safetensors
    except ImportError:
        return "not asked"
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            list(file.keys())
        return "loads"
    except BaseException:
        return "refuses"


def table():
    lines = ["# Hostile safetensors files", "",
             "Made by `Tests/Reference/make_hostile_safetensors.py`; do not edit. Each file breaks the rule of `formats/README.md` that its row names, and must",
             "be refused with that case of `SafetensorsProblem` (through `dinoctl`: exit code 65) and a sentence that contains the given word. Rows with",
             "`loads` break no rule. The last column is what the reference library (Python package safetensors) says to the same file.", "",
             "| file | rule | must give | sentence contains | what it is | reference |", "|---|---|---|---|---|---|"]
    for file, rule, code, word, what in CASES:
        lines.append(f"| {file} | {rule} | {code} | {word} | {what} | {reference_says(OUT / file)} |")
    (OUT / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.glob("*.safetensors"):
        old.unlink()
    for make in (frames, json_texts, keys, values, layout, valid):
        make()
    table()
    print(f"{len(CASES)} files in {OUT}")
