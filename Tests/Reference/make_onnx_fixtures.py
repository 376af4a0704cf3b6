"""Makes Tests/Fixtures/onnx: small ONNX files with every element type, typed field, attribute kind, type form, function and external data, and
expected.json, what the onnx library says the tensors hold. Needs onnx (made with 1.23.2) and numpy.

    python Tests/Reference/make_onnx_fixtures.py

The files are canonical (fields in order, nothing empty written), so that a reader and a writer that lose nothing give the same bytes again.
"""
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OUT = pathlib.Path(__file__).resolve().parents[2] / "Tests/Fixtures/onnx"
EXPECTED = {}
WIDENED = {"INT4": np.int8, "UINT4": np.uint8, "INT2": np.int8, "UINT2": np.uint8, "FLOAT4E2M1": np.float32}


def canonical(message):
    """Clears fields that are there and say nothing."""
    for field, value in list(message.ListFields()):
        if field.message_type is not None:
            for item in value if field.is_repeated else [value]:
                canonical(item)
        elif not field.is_repeated and (value == "" or field.name == "data_location" and value == 0):
            message.ClearField(field.name)
    return message


def save(name, model):
    canonical(model)
    (OUT / name).write_bytes(model.SerializeToString(deterministic=True))


def model_of(graph, **more):
    more.setdefault("ir_version", 11)
    more.setdefault("opset_imports", [helper.make_opsetid("", 23)])
    return helper.make_model(graph, producer_name="fixtures", **more)


def number_tensor(kind, raw, shape):
    name = TensorProto.DataType.Name(kind)
    rng = np.random.default_rng(kind)
    count = int(np.prod(shape, dtype=int))
    if name in ("COMPLEX64", "COMPLEX128"):
        values = rng.standard_normal(count) + 1j * rng.standard_normal(count)
    elif name == "BOOL":
        values = rng.integers(0, 2, count).astype(bool)
    elif name.startswith(("INT", "UINT")):
        bits = int(name.lstrip("UINT"))
        low, high = (0, 2**bits) if name[0] == "U" else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        values = np.array([low, high - 1] + [int(v) % (high - low) + low for v in rng.integers(0, 2**62, count)], dtype=object)[:count]
        values = values.astype(np.uint64 if name[0] == "U" else np.int64)
    elif name == "FLOAT8E8M0":
        values = 2.0 ** rng.integers(-8, 8, count)
    else:
        values = np.concatenate([[0.0, -1.5, 6.0], rng.standard_normal(count)])[:count]
    array = values.astype(helper.tensor_dtype_to_np_dtype(kind)).reshape(shape)
    label = f"{name}_{'raw' if raw else 'typed'}_{'x'.join(map(str, shape)) or 'scalar'}"
    if raw:
        tensor = numpy_helper.from_array(array, label)
    else:
        flat = array.reshape(-1)
        tensor = helper.make_tensor(label, kind, shape, flat.tolist() if name not in WIDENED else flat)
    back = numpy_helper.to_array(tensor)
    if name in WIDENED:
        back = back.astype(WIDENED[name])
    EXPECTED[label] = {"type": name, "shape": list(shape), "bytes": None if name == "COMPLEX128" else np.ascontiguousarray(back).tobytes().hex()}
    return tensor


def element_types():
    tensors = []
    for kind in sorted(TensorProto.DataType.values()):
        name = TensorProto.DataType.Name(kind)
        if name in ("UNDEFINED", "STRING", "FLOAT6E2M3", "FLOAT6E3M2"):
            continue
        for raw in (True, False):
            for shape in ([2, 3], [5], [], [2, 0]):
                tensors.append(number_tensor(kind, raw, shape))
    text = helper.make_tensor("STRING_typed_3", TensorProto.STRING, [3], ["a", "", "ü"])
    empty_raw = helper.make_tensor("typed_beside_empty_raw", TensorProto.FLOAT, [2], [1.0, 2.0])
    save("element_types.onnx", model_of(helper.make_graph([], "types", [], [], tensors + [text])))
    empty_raw.raw_data = b""
    model = model_of(helper.make_graph([], "odd", [], [], [empty_raw]))
    (OUT / "typed_beside_empty_raw.onnx").write_bytes(model.SerializeToString(deterministic=True))


def attributes():
    tensor = numpy_helper.from_array(np.arange(4, dtype=np.float32), "t")
    sparse = helper.make_sparse_tensor(numpy_helper.from_array(np.array([1.5], np.float32), "v"),
                                       numpy_helper.from_array(np.array([2], np.int64), "i"), [4])
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value_float=2.5)], "inner", [], [helper.make_tensor_value_info("c", 1, [])])
    kind = helper.make_tensor_type_proto(1, [1, "n", None])
    values = dict(f=1.5, f_zero=0.0, i=-7, i_zero=0, s="text", s_empty="", s_bytes=b"\xff\x00\xfe", t=tensor, g=inner, sparse=sparse, kind=kind,
                  floats=[0.0, -1.25, float("inf")], ints=[0, -1, 2**62], strings=["a", "", b"\xff"], tensors=[tensor, tensor],
                  graphs=[inner, inner], sparses=[sparse, sparse], kinds=[kind, kind])
    node = helper.make_node("Everything", ["", "x"], ["y", ""], "all", "note", "some.domain", overload="second", **values)
    node.metadata_props.add(key="namespace", value="blocks.0.attn")
    node.attribute.append(helper.make_attribute("nothing_in_a_list", [], attr_type=onnx.AttributeProto.INTS))
    node.attribute[0].doc_string = "about it"
    untyped = helper.make_node("Old", ["x"], ["z"], i=3, fs=[1.0, 2.0])
    graph = helper.make_graph([node, untyped], "attributes", [helper.make_tensor_value_info("x", 1, None)], [helper.make_tensor_value_info("y", 1, [])],
                              doc_string="graph note")
    graph.metadata_props.add(key="k", value="v")
    graph.sparse_initializer.append(sparse)
    graph.quantization_annotation.add(tensor_name="x").quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="s")
    model = model_of(graph, doc_string="model note", producer_version="1.2", domain="org.example", model_version=3)
    model.metadata_props.add(key="author", value="nobody")
    save("attributes.onnx", model)


def types():
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT8E4M3FN, [3, "height", None])
    infos = [
        helper.make_value_info("tensor", tensor, "note"),
        helper.make_value_info("scalar", helper.make_tensor_type_proto(1, [])),
        helper.make_value_info("no_shape", helper.make_tensor_type_proto(1, None)),
        helper.make_value_info("sparse", helper.make_sparse_tensor_type_proto(1, [2, "n"])),
        helper.make_value_info("sequence", helper.make_sequence_type_proto(helper.make_sequence_type_proto(tensor))),
        helper.make_value_info("optional", helper.make_optional_type_proto(helper.make_sequence_type_proto(tensor))),
        helper.make_value_info("map", helper.make_map_type_proto(TensorProto.STRING, tensor)),
        onnx.ValueInfoProto(name="nothing"),
        onnx.ValueInfoProto(name="no_kind", type=onnx.TypeProto(denotation="IMAGE")),
    ]
    infos[0].metadata_props.add(key="a", value="b")
    infos[0].type.tensor_type.shape.dim[0].denotation = "DATA_CHANNEL"
    save("types.onnx", model_of(helper.make_graph([], "types", infos[:2], infos[2:4], value_info=infos[4:])))


def functions():
    call = helper.make_node("Scale", ["x"], ["y"], domain="local", overload="o", alpha=2.0)
    body = helper.make_node("Constant", [], ["a"])
    body.attribute.append(onnx.AttributeProto(name="value_float", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT))
    multiply = helper.make_node("Mul", ["x", "a"], ["y"])
    function = helper.make_function("local", "Scale", ["x"], ["y"], [body, multiply], [helper.make_opsetid("", 23)], ["beta"],
                                    [helper.make_attribute("alpha", 1.5)], "note", "o", [helper.make_tensor_value_info("a", 1, [])])
    function.metadata_props.add(key="origin", value="torch")
    graph = helper.make_graph([call], "g", [helper.make_tensor_value_info("x", 1, ["n"])], [helper.make_tensor_value_info("y", 1, ["n"])])
    save("functions.onnx", model_of(graph, functions=[function], opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid("local", 1)]))


def nested(depth):
    constant = numpy_helper.from_array(np.full([2], depth, np.float32), "value")
    nodes = [helper.make_node("Constant", [], ["out"], value=constant)]
    if depth < 4:
        nodes = [helper.make_node("If", ["condition"], ["out"], then_branch=nested(depth + 1), else_branch=nested(depth + 2))]
    return helper.make_graph(nodes, f"level{depth}", [], [helper.make_tensor_value_info("out", 1, [2])],
                             [numpy_helper.from_array(np.arange(3, dtype=np.int64), f"weight{depth}")])


def subgraphs():
    graph = nested(0)
    graph.input.append(helper.make_tensor_value_info("condition", TensorProto.BOOL, []))
    save("subgraphs.onnx", model_of(graph))


def external():
    rng = np.random.default_rng(5)
    arrays = {"a": rng.standard_normal((4, 8)).astype(np.float32), "b": rng.integers(-9, 9, 33).astype(np.int8), "c": np.arange(7, dtype=np.int64)}
    data, tensors = b"", []
    for name, array in arrays.items():
        data += b"\0" * (-len(data) % 64)
        tensor = numpy_helper.from_array(array, name)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="external/weights.bin")
        tensor.external_data.add(key="offset", value=str(len(data)))
        tensor.external_data.add(key="length", value=str(array.nbytes))
        data += array.tobytes()
        tensors.append(tensor)
        EXPECTED["external_" + name] = {"type": TensorProto.DataType.Name(tensor.data_type), "shape": list(array.shape), "bytes": array.tobytes().hex()}
    (OUT / "external").mkdir(exist_ok=True)
    (OUT / "external/weights.bin").write_bytes(data)
    save("external.onnx", model_of(helper.make_graph([], "external", [], [], tensors)))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    element_types()
    attributes()
    types()
    functions()
    subgraphs()
    external()
    (OUT / "expected.json").write_text(json.dumps(EXPECTED, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
