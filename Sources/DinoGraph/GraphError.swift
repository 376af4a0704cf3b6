// Everything that can be wrong with a graph, as typed values. Each description is one sentence that names the node and the shapes.

public import DinoTensor

/// Why a graph cannot be accepted or its shapes cannot be found.
public enum GraphError: Error, Sendable, Equatable, CustomStringConvertible {
  /// No shape was given for a declared input.
  case missingInput(name: String)
  /// A shape was given for an input that the graph does not declare.
  case unknownInput(name: String, known: [String])
  /// The shape of an input does not have the declared rank, or an extent is not positive, or the element count overflows.
  case inputShape(name: String, declared: String, found: Shape)
  /// An extent of an input is declared as a fixed number and differs.
  case inputDimension(name: String, axis: Int, expected: Int, found: Int)
  /// One free name ("B") would stand for two numbers.
  case freeDimension(name: String, first: Int, second: Int, input: String)
  /// A node has the wrong number of inputs.
  case arity(node: String, op: String, expected: String, found: Int)
  /// The shapes of a node's inputs do not fit together.
  case shapes(node: String, op: String, expected: String, found: [Shape])
  /// An attribute of a node's operator makes no sense.
  case attribute(node: String, op: String, attribute: String, reason: String)
  /// The result of a node has more elements than can be counted.
  case tooLarge(node: String, op: String, found: [Shape])
  /// A node or output reads a value that is not defined before it.
  case undefinedValue(reader: String, value: Int)
  /// A value has more than one producer.
  case producedTwice(value: Int, by: String)
  /// A value identifier is outside the graph's own.
  case valueOutOfRange(owner: String, value: Int, count: Int)
  /// Two inputs or two outputs have one name.
  case duplicateName(kind: String, name: String)
  /// An output was asked for that the graph does not have.
  case unknownOutput(name: String, known: [String])
  /// A foreign operator does not fit its operands, or is not computed here.
  case generic(node: String, GenericProblem)
  /// A value's element type cannot be computed with.
  case dtype(name: String, found: DType)

  public var description: String {
    switch self {
    case .missingInput(let name):
      "No shape was given for the graph's input '\(name)'."
    case .unknownInput(let name, let known):
      "The graph has no input '\(name)'; it has \(listed(known))."
    case .inputShape(let name, let declared, let found):
      "The input '\(name)' is declared as \(declared) with positive extents, but has the shape \(found)."
    case .inputDimension(let name, let axis, let expected, let found):
      "Axis \(axis) of the input '\(name)' must be \(expected), but is \(found)."
    case .freeDimension(let name, let first, let second, let input):
      "The dimension '\(name)' is \(first) elsewhere, but \(second) in the input '\(input)'."
    case .arity(let node, let op, let expected, let found):
      "The node '\(node)' (\(op)) takes \(expected) inputs, but has \(found)."
    case .shapes(let node, let op, let expected, let found):
      "The node '\(node)' (\(op)) expects \(expected), but its inputs have the shapes \(found.map(\.description).joined(separator: ", "))."
    case .attribute(let node, let op, let attribute, let reason):
      "The attribute \(attribute) of the node '\(node)' (\(op)) is not usable: \(reason)."
    case .tooLarge(let node, let op, let found):
      "The result of the node '\(node)' (\(op)) has too many elements for inputs of the shapes \(found.map(\.description).joined(separator: ", "))."
    case .undefinedValue(let reader, let value):
      "'\(reader)' reads the value %\(value), which nothing before it produces."
    case .producedTwice(let value, let by):
      "The value %\(value) is produced a second time by '\(by)'."
    case .valueOutOfRange(let owner, let value, let count):
      "'\(owner)' names the value %\(value), but the graph has \(count) values."
    case .duplicateName(let kind, let name):
      "The graph has two \(kind)s named '\(name)'."
    case .unknownOutput(let name, let known):
      "The graph has no output '\(name)'; it has \(listed(known))."
    case .generic(let node, let problem):
      "The node '\(node)' cannot run: \(problem)."
    case .dtype(let name, let found):
      "'\(name)' has the element type \(found.rawValue), which operators cannot read as floats."
    }
  }
}

/// A bounded list of names for a sentence.
private func listed(_ names: [String]) -> String {
  if names.isEmpty { return "none" }
  let head = names.prefix(12).joined(separator: ", ")
  return names.count > 12 ? "\(head) and \(names.count - 12) more" : head
}
