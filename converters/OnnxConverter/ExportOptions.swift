// What a person may choose when a graph is written as ONNX, and what can be wrong with the choice.

public import DinoGraph

/// How the file stores the matrices and tables of the network. Inputs, outputs and arithmetic are 32-bit floats in all of them: narrower weights are
/// widened by a Cast where they are used.
public enum OnnxWeightType: String, Sendable, CaseIterable {
  case f32, f16, bf16
}

/// Between which numbers the 256 steps of an activation lie.
public struct OnnxActivationRange: Sendable, Hashable {
  public var lower: Float
  public var upper: Float

  public init(lower: Float, upper: Float) {
    self.lower = lower
    self.upper = upper
  }
}

/// How linear layers are quantized. In all forms weights are symmetric, 8 bits, with one scale for each output channel; where activations are quantized too they are written
/// unsigned, 128 for zero: with signed ones ONNX Runtime's products saturate on CPUs without VNNI (measured: cosine 0.968 in place of 0.997). norms, softmax, residuals and whatever
/// else is no linear layer stay float.
public enum OnnxQuantization: Sendable, Equatable {
  /// Int8 weights behind DequantizeLinear; float activations.
  case weights
  /// The inputs of linear layers are quantized as they come: DynamicQuantizeLinear, MatMulInteger.
  case dynamic
  /// QuantizeLinear and DequantizeLinear round each linear layer's input, with the ranges given here; a layer whose input has none stays float.
  case calibrated([ValueID: OnnxActivationRange])
}

/// How a graph is written.
public struct OnnxExportOptions: Sendable {
  /// Version of the default operator set: 13 to 23. From 17 on layer norm is one node, from 20 on GELU.
  public var opset: Int
  /// Names in the file for the free dimensions of inputs ("B" → "batch").
  public var dimensionNames: [String: String]
  /// Written as the producer's version.
  public var producerVersion: String
  /// Kept in the file as metadata, sorted by name.
  public var metadata: [String: String]
  public var weightType = OnnxWeightType.f32
  public var quantization: OnnxQuantization?
  /// Linear layers, by node name, that stay float whatever `quantization` says.
  public var floatNodes: Set<String> = []
  /// Inputs of linear layers that are not rounded; the layers that read them have int8 weights and float activations.
  public var floatActivations: Set<ValueID> = []
  /// A joint layer for queries, keys and values is written as three.
  public var splitsQKV = false

  public init(opset: Int = 17, dimensionNames: [String: String] = ["B": "batch", "H": "height", "W": "width"], producerVersion: String = "", metadata: [String: String] = [:]) {
    self.opset = opset
    self.dimensionNames = dimensionNames
    self.producerVersion = producerVersion
    self.metadata = metadata
  }

  /// Operator sets that the exporter writes.
  public static let opsets = 13...23
}

public enum OnnxExportError: Error, Sendable, Equatable, CustomStringConvertible {
  case opset(Int)
  /// A node of the graph is not canonical: only passes of the runtime make it.
  case notCanonical(node: String, reason: String)
  case constantType(name: String, type: String)
  case missingValue(node: String)
  /// A weight that the chosen type turns into infinity.
  case weightTooLarge(name: String, value: Float, type: String)
  /// A weight that is no number has no scale.
  case weightNotFinite(name: String)

  public var description: String {
    switch self {
    case .opset(let n): "opset \(n) is not written; choose one from \(OnnxExportOptions.opsets.lowerBound) to \(OnnxExportOptions.opsets.upperBound)"
    case .notCanonical(let node, let reason): "\(node) cannot be exported: \(reason)"
    case .constantType(let name, let type): "the constant \(name) has elements of type \(type), which the exporter does not write"
    case .missingValue(let node): "\(node) reads a value that nothing produces"
    case .weightTooLarge(let name, let value, let type): "the tensor \(name) has the value \(value), which \(type) cannot hold; bf16 holds it"
    case .weightNotFinite(let name): "the tensor \(name) has values that are not finite, which int8 cannot hold"
    }
  }
}
