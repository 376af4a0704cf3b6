// Why an ONNX model cannot become a graph: one case and one sentence for each reason.

public import DinoGraph
public import DinoTensor
public import ONNXFormat

public enum OnnxImportError: Error, Sendable, Equatable, CustomStringConvertible {
  case file(OnnxError)
  /// An operator set outside the supported versions, or none for a domain that is used.
  case operatorSet(domain: String, version: Int64?)
  case unknownOperator(name: String, node: String)
  case node(name: String, op: String, GenericProblem)
  /// A value that nothing defines before it is read.
  case undefinedValue(name: String, reader: String)
  case definedTwice(name: String)
  case attribute(node: String, op: String, attribute: String, reason: String)
  /// The branch of an If depends on what the network computes.
  case openCondition(node: String)
  case unsupportedInput(name: String, reason: String)
  case inputShape(name: String, declared: String, found: Shape)
  case unknownOutput(name: String, known: [String])
  case recursion(function: String)
  case tooManyNodes(limit: Int)

  /// Whether the file is at fault, or this version.
  public var kind: GenericProblem.Kind {
    switch self {
    case .node(_, _, let problem): problem.kind
    case .unknownOperator, .openCondition, .unsupportedInput: .unsupported
    case .operatorSet(_, let version): version == nil ? .invalid : .unsupported
    case .file, .undefinedValue, .definedTwice, .attribute, .inputShape, .unknownOutput, .recursion, .tooManyNodes: .invalid
    }
  }

  public var description: String {
    switch self {
    case .file(let error): error.description
    case .operatorSet(let domain, nil): "the file uses operators of the domain '\(printable(domain))' and does not say their version; write the model again with its exporter"
    case .operatorSet(let domain, let version?):
      "the file is written in operator set \(version) of \(domain.isEmpty ? "ONNX" : "'\(printable(domain))'"), and versions \(OnnxImporter.operatorSets.lowerBound) to \(OnnxImporter.operatorSets.upperBound) are read; convert it with onnx.version_converter"
    case .unknownOperator(let name, let node): "the node '\(printable(node))' is a \(printable(name)), an operator that is not computed here; export the model without it"
    case .node(let name, let op, let problem): "the node '\(printable(name))' (\(op)) cannot be computed: \(problem)"
    case .undefinedValue(let name, let reader): "'\(printable(reader))' reads the value '\(printable(name))', which nothing before it defines; the file is damaged"
    case .definedTwice(let name): "the value '\(printable(name))' is defined twice; the file is damaged"
    case .attribute(let node, let op, let attribute, let reason): "the attribute '\(printable(attribute))' of the node '\(printable(node))' (\(op)) \(reason)"
    case .openCondition(let node): "the node '\(printable(node))' (If) chooses by what the network computes, which is not supported; export the model with the branch fixed"
    case .unsupportedInput(let name, let reason): "the input '\(printable(name))' \(reason)"
    case .inputShape(let name, let declared, let found): "the input '\(printable(name))' is declared as \(declared), and has the shape \(found)"
    case .unknownOutput(let name, let known): "there is no output '\(printable(name))'; the file has \(known.prefix(12).map { "'\(printable($0))'" }.joined(separator: ", "))\(known.count > 12 ? ", …" : "")"
    case .recursion(let function): "the function '\(printable(function))' calls itself, or functions lie too deep in one another; the file is damaged"
    case .tooManyNodes(let limit): "the graph has more than \(limit) nodes; the file is damaged"
    }
  }
}

/// A name from a file for a sentence: control characters escaped, not longer than a line.
func printable(_ name: String) -> String {
  var text = ""
  for (i, scalar) in name.unicodeScalars.enumerated() {
    if i == 120 { return text + "…" }
    if scalar.properties.generalCategory == .control || scalar == "\u{2028}" || scalar == "\u{2029}" { text += "\\u{\(String(scalar.value, radix: 16))}" } else { text.unicodeScalars.append(scalar) }
  }
  return text
}
