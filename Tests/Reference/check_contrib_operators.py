#!/usr/bin/env python3
"""Writes Tests/Fixtures/operators/contrib.{json,safetensors}: inputs, attributes and ONNX Runtime's results (PyPI: onnxruntime==1.32.0, MIT, graph
optimisations off) of its own operators, the domain com.microsoft. ONNX has no node tests of them, so the runtime is the reference. Inputs are random, from a
fixed seed. Results of scaled 8-bit integers may differ by `step` units, because the runtime multiplies scales in another order.

  python Tests/Reference/check_contrib_operators.py
"""
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper

ROOT = Path(__file__).resolve().parents[2]
OPSET = 17
TYPES = {np.dtype(k): v for k, v in {
    "float32": "F32", "float16": "F16", "int8": "I8", "uint8": "U8", "int32": "I32", "int64": "I64", "bool": "BOOL", "int16": "I16", "uint16": "U16"}.items()}
random = np.random.default_rng(20)
cases, blobs, refused = [], {}, []


def f32(*shape, scale=1.0): return (random.standard_normal(shape) * scale).astype(np.float32)
def u8(*shape): return random.integers(0, 256, shape, dtype=np.uint8)
def i8(*shape): return random.integers(-128, 128, shape, dtype=np.int8)
# The runtime's AVX2 products of U8 and I8 saturate sums of two products at 16 bits; weights of 7 bits keep away from that.
def weights(*shape): return random.integers(-64, 64, shape, dtype=np.int8)
def one(value, dtype=np.float32): return np.array(value, dtype=dtype)


def store(array):
    raw = np.ascontiguousarray(array).tobytes()
    key = hashlib.sha256(repr((TYPES[array.dtype], array.shape)).encode() + raw).hexdigest()[:12]
    blobs[key] = (TYPES[array.dtype], list(array.shape), raw)
    return key


def attribute(value):
    if isinstance(value, str): return {"string": value}
    if isinstance(value, int): return {"int": value}
    if isinstance(value, float): return {"float": float(np.float32(value))}
    if all(isinstance(v, int) for v in value): return {"ints": list(value)}
    return {"floats": [float(np.float32(v)) for v in value]}


def case(name, kind, inputs, outputs=1, result=None, domain="com.microsoft", step=0, atol=1e-5, **attributes):
    """Runs one node; `outputs` is a number, or which of the outputs are named."""
    named = [True] * outputs if isinstance(outputs, int) else outputs
    feeds = {f"x{i}": x for i, x in enumerate(inputs) if x is not None}
    node = helper.make_node(kind, [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)], [f"y{i}" if n else "" for i, n in enumerate(named)], domain=domain, **attributes)
    values = [helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in feeds.items()]
    results = [onnx.ValueInfoProto(name=f"y{i}") for i, n in enumerate(named) if n]
    graph = helper.make_graph([node], "one", values, results)
    # Some operators want their weights as constants.
    constants = [i for i, x in enumerate(inputs) if x is not None and i > 0]
    for fixed in (False, True):
        if fixed:
            for i in constants: graph.initializer.append(onnx.numpy_helper.from_array(inputs[i], f"x{i}"))
            kept = [v for v in graph.input if v.name not in {f"x{i}" for i in constants}]
            del graph.input[:]
            graph.input.extend(kept)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            got = session.run(None, {v.name: feeds[v.name] for v in graph.input})
            break
        except Exception as error:
            if fixed:
                refused.append((name, str(error)[:160]))
                return
    got, keys = iter(got), []
    for n in named: keys.append(store(np.asarray(next(got))) if n else None)
    cases.append({
        "name": name, "operator": f"{domain}.{kind}" if domain else kind, "version": OPSET,
        "attributes": {k: attribute(v) for k, v in attributes.items()},
        "inputs": [store(x) if x is not None else None for x in inputs], "outputs": keys, "rtol": 1e-4, "atol": float(step or atol)})


def products():
    case("fused_matmul", "FusedMatMul", [f32(2, 3, 5), f32(2, 5, 4)], alpha=0.25)
    case("fused_matmul_trans_a", "FusedMatMul", [f32(2, 5, 3), f32(5, 4)], transA=1)
    case("fused_matmul_trans_b", "FusedMatMul", [f32(2, 2, 7, 5), f32(2, 2, 9, 5)], transB=1, alpha=1.5)
    case("fused_matmul_trans_both", "FusedMatMul", [f32(5, 3), f32(4, 5)], transA=1, transB=1)
    case("fused_matmul_large", "FusedMatMul", [f32(33, 70), f32(45, 70)], transB=1, alpha=0.5)
    for activation in ["Relu", "LeakyRelu", "Tanh", "Sigmoid"]:
        case(f"fused_gemm_{activation}", "FusedGemm", [f32(3, 5), f32(4, 5), f32(4)], transB=1, activation=activation, activation_alpha=0.1)
    for activation, more in [("Relu", {}), ("Tanh", {}), ("Sigmoid", {}), ("LeakyRelu", {"activation_params": [0.2]}), ("Clip", {"activation_params": [-0.5, 0.5]}),
                             ("HardSigmoid", {"activation_params": [0.2, 0.5]})]:
        case(f"fused_conv_{activation}", "FusedConv", [f32(1, 3, 6, 7), f32(4, 3, 3, 3), f32(4)], activation=activation, pads=[1, 1, 1, 1], **more)
    case("fused_conv_sum", "FusedConv", [f32(1, 4, 6, 7), f32(4, 2, 3, 3), f32(4), f32(1, 4, 6, 7)], activation="Relu", group=2, pads=[1, 1, 1, 1])
    case("matmul_integer_to_float", "MatMulIntegerToFloat", [u8(4, 7), u8(7, 5), one(0.1), one(0.02), one(120, np.uint8), one(127, np.uint8), f32(5)])
    case("matmul_integer_to_float_columns", "MatMulIntegerToFloat", [u8(2, 4, 7), weights(7, 5), one([0.1]), abs(f32(5)), one([120], np.uint8), i8(5), f32(5)])
    case("matmul_integer_to_float_plain", "MatMulIntegerToFloat", [i8(4, 7), i8(7, 5), one(0.1), one(0.02)])
    case("dynamic_quantize_matmul", "DynamicQuantizeMatMul", [f32(4, 7), weights(7, 5), one(0.02), one(3, np.int8), f32(5)])
    case("dynamic_quantize_matmul_columns", "DynamicQuantizeMatMul", [f32(2, 4, 7), u8(7, 5), abs(f32(5)), u8(5)])
    case("dynamic_quantize_matmul_plain", "DynamicQuantizeMatMul", [f32(4, 33), weights(33, 6), one([0.02])])
    for bits, size, k in [(4, 16, 48), (4, 32, 70), (8, 32, 64), (8, 16, 40)]:
        n, blocks = 6, -(-k // size)
        packed, scales = u8(n, blocks, size * bits // 8), abs(f32(n, blocks)) / 100
        shared = dict(K=k, N=n, bits=bits, block_size=size)
        case(f"matmul_nbits_{bits}_{size}_{k}", "MatMulNBits", [f32(2, 3, k), packed, scales], atol=1e-3, **shared)
        case(f"matmul_nbits_{bits}_{size}_{k}_zero", "MatMulNBits", [f32(3, k), packed, scales, u8(n, (blocks * bits + 7) // 8)], atol=1e-3, **shared)
        case(f"matmul_nbits_{bits}_{size}_{k}_flat", "MatMulNBits", [f32(3, k), packed, scales.reshape(-1), u8(n * ((blocks * bits + 7) // 8)), None, f32(n)], atol=1e-3, **shared)
        case(f"matmul_nbits_{bits}_{size}_{k}_float_zero", "MatMulNBits", [f32(3, k), packed, scales, abs(f32(n, blocks)) * 3], atol=1e-3, **shared)


def normalizations():
    x, skip, gamma, beta, bias = f32(2, 3, 8), f32(2, 3, 8), f32(8), f32(8), f32(8)
    case("skip_layer_norm", "SkipLayerNormalization", [x, skip, gamma, beta, bias], epsilon=1e-5)
    case("skip_layer_norm_no_bias", "SkipLayerNormalization", [x, skip, gamma, beta], epsilon=1e-6)
    case("skip_layer_norm_no_beta", "SkipLayerNormalization", [x, skip, gamma])
    case("skip_layer_norm_bias_only", "SkipLayerNormalization", [x, skip, gamma, None, bias])
    case("skip_layer_norm_sum", "SkipLayerNormalization", [x, skip, gamma, beta, bias], outputs=[True, False, False, True])
    case("skip_layer_norm_broadcast", "SkipLayerNormalization", [x, f32(1, 3, 8), gamma, beta])
    case("skip_layer_norm_broadcast_flat", "SkipLayerNormalization", [x, f32(3, 8), gamma, beta])
    case("skip_layer_norm_rows", "SkipLayerNormalization", [f32(5, 8), f32(5, 8), gamma, beta])
    case("skip_layer_norm_half", "SkipLayerNormalization", [v.astype(np.float16) for v in (x, skip, gamma, beta, bias)], atol=4e-3)
    case("skip_rms", "SkipSimplifiedLayerNormalization", [x, skip, gamma], epsilon=1e-5)
    case("skip_rms_bias_sum", "SkipSimplifiedLayerNormalization", [x, skip, gamma, bias], outputs=[True, False, False, True], epsilon=1e-5)
    case("rms", "SimplifiedLayerNormalization", [x, gamma], domain="", epsilon=1e-5)
    case("rms_statistics", "SimplifiedLayerNormalization", [x, f32(3, 8)], outputs=2, domain="", axis=1)


def attention():
    b, t, h, d = 2, 5, 2, 4
    w = h * d
    x, weight, bias = f32(b, t, 6), f32(6, 3 * w, scale=0.4), f32(3 * w)
    lengths = np.array([3, 5], np.int32)
    raw = random.integers(0, 2, (b, t)).astype(np.int32)
    raw[:, 0] = 1
    raw3 = random.integers(0, 2, (b, t, t)).astype(np.int32)
    raw3[:, :, 0] = 1
    case("attention", "Attention", [x, weight, bias], num_heads=h)
    case("attention_no_bias", "Attention", [x, weight], num_heads=h)
    case("attention_scale", "Attention", [x, weight, bias], num_heads=h, scale=0.3)
    case("attention_lengths", "Attention", [x, weight, bias, lengths], num_heads=h)
    case("attention_ends_and_starts", "Attention", [x, weight, bias, np.array([3, 5, 1, 0], np.int32)], num_heads=h)
    case("attention_raw_mask", "Attention", [x, weight, bias, raw], num_heads=h)
    case("attention_raw_mask_filter", "Attention", [x, weight, bias, raw], num_heads=h, mask_filter_value=-1.5)
    case("attention_raw_mask_3d", "Attention", [x, weight, bias, raw3], num_heads=h)
    case("attention_causal", "Attention", [x, weight, bias], num_heads=h, unidirectional=1)
    case("attention_causal_mask", "Attention", [x, weight, bias, raw], num_heads=h, unidirectional=1)
    case("attention_extra", "Attention", [x, weight, bias, None, None, f32(b, h, t, t)], num_heads=h)
    case("attention_extra_broadcast", "Attention", [x, weight, bias, raw, None, f32(1, h, t, t)], num_heads=h)
    case("attention_sizes", "Attention", [x, f32(6, 8 + 8 + 12), f32(28)], num_heads=h, qkv_hidden_sizes=[8, 8, 12])
    past = f32(2, b, h, 3, d)
    case("attention_past", "Attention", [x, weight, bias, None, past], outputs=2, num_heads=h)
    case("attention_past_causal", "Attention", [x, weight, bias, None, past], outputs=2, num_heads=h, unidirectional=1)
    q, k, v = f32(b, t, w), f32(b, 7, w), f32(b, 7, w)
    pad = random.integers(0, 2, (b, 7)).astype(np.int32)
    pad[:, 0] = 1
    case("multi_head", "MultiHeadAttention", [q, k, v], num_heads=h)
    case("multi_head_bias", "MultiHeadAttention", [q, k, v, f32(3 * w)], num_heads=h, scale=0.2)
    case("multi_head_padding", "MultiHeadAttention", [q, k, v, f32(3 * w), pad], num_heads=h)
    case("multi_head_lengths", "MultiHeadAttention", [q, k, v, None, np.array([4, 7], np.int32)], num_heads=h)
    case("multi_head_extra", "MultiHeadAttention", [q, k, v, None, None, f32(1, h, t, 7)], num_heads=h)
    case("multi_head_values", "MultiHeadAttention", [q, k, f32(b, 7, 12)], num_heads=h)
    case("multi_head_cross", "MultiHeadAttention", [q, f32(b, h, 7, d), f32(b, h, 7, d)], num_heads=h)
    case("multi_head_causal", "MultiHeadAttention", [q, f32(b, t, w), f32(b, t, w)], num_heads=h, unidirectional=1)
    case("multi_head_past", "MultiHeadAttention", [q, f32(b, t, w), f32(b, t, w), None, None, None, f32(b, h, 3, d), f32(b, h, 3, d)], outputs=3, num_heads=h)
    case("multi_head_past_causal", "MultiHeadAttention", [q, f32(b, t, w), f32(b, t, w), None, None, None, f32(b, h, 3, d), f32(b, h, 3, d)], outputs=3, num_heads=h, unidirectional=1)
    case("multi_head_packed", "MultiHeadAttention", [f32(b, t, h, 3, d)], num_heads=h)
    case("multi_head_packed_kv", "MultiHeadAttention", [q, f32(b, t, h, 2, d)], num_heads=h)
    case("q_attention", "QAttention", [u8(b, t, 6), weights(6, 3 * w), f32(3 * w), one(0.01), one(0.02), None, one(100, np.uint8), one(3, np.int8)], num_heads=h, atol=1e-4)
    case("q_attention_columns", "QAttention", [u8(b, t, 6), u8(6, 3 * w), f32(3 * w), one(0.01), abs(f32(3 * w, scale=0.02)), lengths, one(100, np.uint8), u8(3 * w)], num_heads=h, atol=1e-4)
    case("q_attention_causal", "QAttention", [u8(b, t, 6), weights(6, 3 * w), f32(3 * w), one(0.01), one(0.02), raw, one(128, np.uint8), one(0, np.int8)], num_heads=h, unidirectional=1, atol=1e-4)
    cos, sin = np.cos(f32(9, d // 2)), np.sin(f32(9, d // 2))
    positions = random.integers(0, 9, (b, t)).astype(np.int64)
    for interleaved in (0, 1):
        case(f"rotary_{interleaved}", "RotaryEmbedding", [f32(b, t, w), positions, cos, sin], interleaved=interleaved)
        case(f"rotary_offset_{interleaved}", "RotaryEmbedding", [f32(b, t, w), np.array([3], np.int64), cos, sin], interleaved=interleaved)
        case(f"rotary_4d_{interleaved}", "RotaryEmbedding", [f32(b, h, t, d), positions, cos, sin], interleaved=interleaved)
        case(f"rotary_partial_{interleaved}", "RotaryEmbedding", [f32(b, t, 2 * 6), positions, cos, sin], interleaved=interleaved, num_heads=2, rotary_embedding_dim=4)


def quantization():
    s, z = one(0.05), one(130, np.uint8)
    for signed in (False, True):
        q, zero, tag = (i8, one(-3, np.int8), "s8") if signed else (u8, z, "u8")
        dtype = np.int8 if signed else np.uint8
        a, b = q(2, 3, 4), q(2, 3, 4)
        sa, sb, sc = one(0.03), one(0.011), one(0.07)
        za, zb, zc = q(), q(), q()
        case(f"q_add_{tag}", "QLinearAdd", [a, sa, za, b, sb, zb, sc, zc], step=1)
        case(f"q_add_broadcast_{tag}", "QLinearAdd", [a, sa, za, q(4), sb, zb, sc, zc], step=1)
        case(f"q_add_scalar_{tag}", "QLinearAdd", [q(3, 1), sa, za, q(1, 4), sb, zb, sc, zc], step=1)
        case(f"q_add_no_zeros_{tag}", "QLinearAdd", [a, sa, None, b, sb, None, sc], step=1)
        case(f"q_mul_{tag}", "QLinearMul", [a, sa, za, b, sb, zb, sc, zc], step=1)
        case(f"q_mul_broadcast_{tag}", "QLinearMul", [a, sa, za, q(3, 1), sb, zb, sc, zc], step=1)
        case(f"q_sigmoid_{tag}", "QLinearSigmoid", [q(64), one(0.05), zero, one(1 / 256), one(0 if not signed else -128, dtype)], step=1)
        case(f"q_leaky_{tag}", "QLinearLeakyRelu", [q(64), one(0.05), zero, one(0.04), zero], alpha=0.2, step=1)
        case(f"q_softmax_{tag}", "QLinearSoftmax", [q(3, 10), one(0.1), zero, one(1 / 256), one(0 if not signed else -128, dtype)], axis=-1, opset=13, step=1)
        case(f"q_softmax_axis_{tag}", "QLinearSoftmax", [q(3, 5, 4), one(0.1), zero, one(1 / 256), one(0 if not signed else -128, dtype)], axis=1, opset=13, step=1)
        case(f"q_softmax_flat_{tag}", "QLinearSoftmax", [q(3, 5, 4), one(0.1), zero, one(1 / 256), one(0 if not signed else -128, dtype)], axis=1, opset=12, step=1)
        case(f"q_concat_{tag}", "QLinearConcat", [one(0.06), zero, q(2, 3), one(0.03), q(), q(2, 5), one(0.06), zero], axis=1, step=1)
        case(f"q_average_{tag}", "QLinearAveragePool", [q(1, 2, 6, 5), one(0.05), zero, one(0.03), zero], kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], step=1)
        case(f"q_average_include_{tag}", "QLinearAveragePool", [q(1, 2, 6, 5), one(0.05), zero, one(0.03), zero], kernel_shape=[3, 2], pads=[1, 0, 1, 1], count_include_pad=1, step=1)
        case(f"q_average_ceil_{tag}", "QLinearAveragePool", [q(1, 2, 6, 6), one(0.05), zero, one(0.03), zero], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1, step=1)
        case(f"q_global_{tag}", "QLinearGlobalAveragePool", [q(2, 3, 5, 4), one(0.05), zero, one(0.02), zero], step=1)
        case(f"q_global_last_{tag}", "QLinearGlobalAveragePool", [q(2, 5, 4, 3), one(0.05), zero, one(0.02), zero], channels_last=1, step=1)
        case(f"q_mean_{tag}", "QLinearReduceMean", [q(2, 3, 5), one(0.05), zero, one(0.02), zero], axes=[1, 2], keepdims=0, step=1)
        case(f"q_where_{tag}", "QLinearWhere", [random.integers(0, 2, (2, 4)).astype(bool), q(2, 4), one(0.05), zero, q(4), one(0.03), q(), one(0.06), zero], step=1)
        case(f"quantize_ms_{tag}", "QuantizeLinear", [f32(4, 5), one(0.02), zero])
        case(f"quantize_ms_axis_{tag}", "QuantizeLinear", [f32(4, 5), abs(f32(4)) + 0.01, q(4)], axis=0)
        case(f"dequantize_ms_{tag}", "DequantizeLinear", [q(4, 5), one(0.02), zero])
        case(f"dequantize_ms_axis_{tag}", "DequantizeLinear", [q(4, 5), abs(f32(5)), q(5)], axis=1)
        case(f"q_gemm_{tag}", "QGemm", [q(3, 6), one(0.02), zero, weights(6, 5), one(0.01), one(0, np.int8), random.integers(-500, 500, 5).astype(np.int32), one(0.03), zero], step=1)
        case(f"q_gemm_columns_{tag}", "QGemm", [q(6, 3), one(0.02), zero, weights(5, 6), abs(f32(5, scale=0.02)), i8(5) * 0, random.integers(-500, 500, (1, 5)).astype(np.int32), one(0.05), zero], transA=1, transB=1, alpha=0.7, step=1)
        case(f"q_gemm_float_{tag}", "QGemm", [q(3, 6), one(0.02), zero, weights(6, 5), one(0.01), one(2, np.int8)], atol=1e-4)
    case("dequantize_ms_i32", "DequantizeLinear", [random.integers(-9000, 9000, (3, 4)).astype(np.int32), one(0.02)])


def activations():
    x = f32(3, 8, scale=2)
    case("gelu", "Gelu", [x])
    case("bias_gelu", "BiasGelu", [x, f32(8)])
    case("fast_gelu", "FastGelu", [x])
    case("fast_gelu_bias", "FastGelu", [x, f32(8)])
    case("quick_gelu", "QuickGelu", [x])
    case("quick_gelu_alpha", "QuickGelu", [x], alpha=1.5)


def main():
    products()
    normalizations()
    attention()
    quantization()
    activations()
    folder = ROOT / "Tests/Fixtures/operators"
    header, at = {}, 0
    for key in sorted(blobs):
        dtype, shape, raw = blobs[key]
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    (folder / "contrib.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs[k][2] for k in sorted(blobs)))
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (folder / "contrib.json").write_text(f'{{"source":"onnxruntime {ort.__version__}","cases":[\n{lines}\n]}}\n')
    for name, why in refused: print(f"the runtime refuses {name}: {why}")
    print(f"{len(cases)} cases, {len(refused)} refused")


main()
