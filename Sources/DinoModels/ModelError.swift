// Everything that can be wrong with a model's description or tensors, as typed values with one sentence each.

public import DinoGraph
public import DinoTensor

/// Why a model cannot be described, built or read.
public enum ModelError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A value of a configuration or record is out of its limits or contradicts another. `key` is the JSON key.
  case invalid(key: String, reason: String)
  /// A metadata entry is not the JSON that it should be. `path` is the place inside, "" for the whole.
  case malformed(key: String, path: String, reason: String)
  /// A metadata entry is needed and absent.
  case missingKey(String)
  /// The file is of a format version that this tool does not know.
  case unsupportedVersion(String)
  /// A tensor that the configuration needs is absent.
  case missingTensor(name: String, expected: Shape)
  /// A tensor has another shape than the configuration says.
  case tensorShape(name: String, expected: Shape, found: Shape)
  /// A tensor's elements are not numbers that can be computed with.
  case tensorType(name: String, found: DType)
  /// No architecture of that name.
  case unknownArchitecture(name: String, known: [String])
  /// Nothing says how many heads the model has.
  case unknownHeads(width: Int, depth: Int)
  /// Names and shapes are not those of a DINO vision transformer.
  case notAVisionTransformer(reason: String)
  /// The graph built for the model is not acceptable, or an output was asked for that it does not have.
  case graph(GraphError)
  /// Memory for a tensor could not be had.
  case outOfMemory(name: String, shape: Shape)

  public var description: String {
    switch self {
    case .invalid(let key, let reason):
      "The value of '\(key)' is not usable: \(reason)."
    case .malformed(let key, let path, let reason):
      path.isEmpty ? "The metadata entry '\(key)' is malformed: \(reason)." : "The metadata entry '\(key)' is malformed at '\(path)': \(reason)."
    case .missingKey(let key):
      "The metadata entry '\(key)' is missing; a file of this format has it, so convert the checkpoint again."
    case .unsupportedVersion(let found):
      "The file has dino.format_version '\(found)', but this tool reads version 1; use a newer version of the tool."
    case .missingTensor(let name, let expected):
      "The tensor '\(name)' of shape \(expected) is missing from the checkpoint."
    case .tensorShape(let name, let expected, let found):
      "The tensor '\(name)' has the shape \(found), but the configuration asks for \(expected)."
    case .tensorType(let name, let found):
      "The tensor '\(name)' has the element type \(found.rawValue), which cannot be read as floats."
    case .unknownArchitecture(let name, let known):
      "There is no architecture '\(name)'; known are \(known.joined(separator: ", "))."
    case .unknownHeads(let width, let depth):
      "The number of attention heads is not in the file and cannot be told from width \(width) and depth \(depth); give it with --heads."
    case .notAVisionTransformer(let reason):
      "The checkpoint is not a DINO vision transformer: \(reason)."
    case .graph(let error):
      error.description
    case .outOfMemory(let name, let shape):
      "There is not enough memory for the tensor '\(name)' of shape \(shape)."
    }
  }
}
