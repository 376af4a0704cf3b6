// What a person may choose when a graph is written as ONNX, and what can be wrong with the choice.

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

  public var description: String {
    switch self {
    case .opset(let n): "opset \(n) is not written; choose one from \(OnnxExportOptions.opsets.lowerBound) to \(OnnxExportOptions.opsets.upperBound)"
    case .notCanonical(let node, let reason): "\(node) cannot be exported: \(reason)"
    case .constantType(let name, let type): "the constant \(name) has elements of type \(type), which the exporter does not write"
    case .missingValue(let node): "\(node) reads a value that nothing produces"
    }
  }
}
