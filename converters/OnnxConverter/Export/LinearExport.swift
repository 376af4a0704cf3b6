// Linear layers: float, or quantized in one of three ways. The matrix is written as MatMul wants it, [I, K], under the tensor's official name; `.transposed`
// behind it says that the file's matrix is the transpose. Scales of int8 matrices are `NAME_scale`, one for each output channel.

internal import DinoGraph
internal import DinoTensor
internal import ONNXFormat

extension GraphExport {
  mutating func linear(_ node: Node, _ e: LinearEpilogue) throws(OnnxExportError) -> String {
    let name = node.name
    guard e.integers == nil else { throw .notCanonical(node: name, reason: "it is a product of integers of an imported file, which is written again as that file has it") }
    guard e.activation == nil, !e.scale, !e.residual else { throw .notCanonical(node: name, reason: "it is fused; export the graph before the runtime's passes") }
    widths[node.output] = graph.constants[node.inputs[1]]?.tensor.shape[e.outAxis]
    let x = try value(node.inputs[0], name)
    let label = e.bias ? name + ".product" : name, product: String
    switch OnnxExporter.form(of: node, options) {
    case nil: product = w.call("MatMul", [x, try matrix(node.inputs[1], e, name)], label)
    case .weights?: product = w.call("MatMul", [x, try dequantizedMatrix(node.inputs[1], e, unsigned: false)], label)
    case .dynamic?: product = try integerProduct(x, node.inputs[1], e, name, label)
    case .calibrated(let ranges)?: product = w.call("MatMul", [dequantized(x, ranges[node.inputs[0]]!), try dequantizedMatrix(node.inputs[1], e, unsigned: true)], label)
    }
    return e.bias ? w.call("Add", [product, try value(node.inputs[2], name)], name) : product
  }

  // MARK: Matrices

  /// The weight as [I, K]. A computed one is transposed in the file.
  private mutating func matrix(_ id: ValueID, _ e: LinearEpilogue, _ reader: String) throws(OnnxExportError) -> String {
    if let name = matrices[id] { return name }
    let result: String
    if let constant = graph.constants[id] {
      result = e.transposedWeight ? try value(id, reader) : try w.weight(constant.name + ".transposed", try Self.transposed(constant))
    } else {
      result = e.transposedWeight ? try value(id, reader) : w.transpose(try value(id, reader), [1, 0], reader + ".transposed")
    }
    matrices[id] = result
    return result
  }

  private static func transposed(_ constant: Constant) throws(OnnxExportError) -> Tensor {
    guard constant.tensor.dtype.convertsToFloat else { throw .constantType(name: constant.name, type: constant.tensor.dtype.rawValue) }
    let k = constant.tensor.shape[0], i = constant.tensor.shape[1], values = constant.tensor.floats()
    var flipped = [Float](repeating: 0, count: values.count)
    for row in 0..<k { for column in 0..<i { flipped[column &* k &+ row] = values[row &* i &+ column] } }
    return Tensor(flipped, shape: [i, k])
  }

  /// The matrix [I, K] in 8 bits, its scales [K], and its zero points [K] where it is unsigned.
  private mutating func int8Matrix(_ id: ValueID, _ e: LinearEpilogue, unsigned: Bool) throws(OnnxExportError) -> QuantizedMatrix {
    if let known = quantized[id] { return known }
    guard let constant = graph.constants[id] else { throw .missingValue(node: "a linear layer") }
    guard let rows = Int8Rows(constant.tensor, outAxis: e.outAxis) else {
      throw constant.tensor.dtype.convertsToFloat ? .weightNotFinite(name: constant.name) : .constantType(name: constant.name, type: constant.tensor.dtype.rawValue)
    }
    let values = rows.transposedValues(), shape: Shape = [rows.columns, rows.rows], name = constant.name + (e.transposedWeight ? "" : ".transposed")
    let tensor = unsigned ? Tensor.copy(values.map { UInt8(Int($0) + 128) }, dtype: .u8, shape: shape) : Tensor.copy(values, dtype: .i8, shape: shape)
    var result = QuantizedMatrix(weight: w.initializer(name, OnnxTensor(name: "", tensor)!), scale: w.floats(constant.name + "_scale", rows.scales, [rows.rows]))
    if unsigned {
      let zeros = Tensor.copy([UInt8](repeating: 128, count: rows.rows), dtype: .u8, shape: [rows.rows])
      result.zero = w.initializer(constant.name + "_zero_point", OnnxTensor(name: "", zeros)!)
    }
    quantized[id] = result
    return result
  }

  private mutating func dequantizedMatrix(_ id: ValueID, _ e: LinearEpilogue, unsigned: Bool) throws(OnnxExportError) -> String {
    if let name = matrices[id] { return name }
    let m = try int8Matrix(id, e, unsigned: unsigned)
    // Signed: the zero point is left out, it is zero.
    let name = w.call("DequantizeLinear", [m.weight, m.scale] + (m.zero.map { [$0] } ?? []), m.weight + ".dequantized", [.axis(1)])
    matrices[id] = name
    return name
  }

  // MARK: Activations

  /// x rounded to the 256 steps of its range. Layers that share an input share the rounding.
  private mutating func dequantized(_ x: String, _ range: OnnxActivationRange) -> String {
    if let known = rounded[x] { return known[0] }
    let steps = ActivationSteps(range)
    let scale = w.floats(x + ".step", [steps.scale], [])
    let zero = w.initializer(x + ".zero", OnnxTensor(name: "", Tensor.copy([steps.zero], dtype: .u8, shape: []))!)
    let q = w.call("QuantizeLinear", [x, scale, zero], x + ".quantized")
    let result = w.call("DequantizeLinear", [q, scale, zero], x + ".dequantized")
    rounded[x] = [result]
    return result
  }

  /// (x quantized over its own range, uint8) · (int8 matrix) in integers, then both scales: the form of ONNX Runtime's own quantizer, which its optimizer knows.
  private mutating func integerProduct(_ x: String, _ id: ValueID, _ e: LinearEpilogue, _ name: String, _ label: String) throws(OnnxExportError) -> String {
    let m = try int8Matrix(id, e, unsigned: true)
    let parts = rounded[x] ?? w.node("DynamicQuantizeLinear", [x], name: x + ".quantized", outputs: 3)
    rounded[x] = parts
    let sums = w.cast(w.call("MatMulInteger", [parts[0], m.weight, parts[2], m.zero!], name + ".sums"), to: .float, name + ".sums.float")
    return w.call("Mul", [sums, w.call("Mul", [parts[1], m.scale], name + ".scales")], label)
  }
}

/// The names of a matrix in 8 bits and of what it needs.
struct QuantizedMatrix {
  var weight: String
  var scale: String
  var zero: String?
}

/// The steps of a uint8 activation: value = (q - zero)·scale. Zero is one of them exactly.
struct ActivationSteps {
  let scale: Float
  let zero: UInt8

  init(_ range: OnnxActivationRange) {
    let lower = min(range.lower, 0), upper = max(range.upper, 0), span = upper - lower
    scale = span > 0 && span.isFinite ? span / 255 : 1
    zero = UInt8(min(max((-lower / scale).rounded(), 0), 255))
  }
}
