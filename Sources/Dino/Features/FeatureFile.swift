// Finished rows as a file: .npy, .npz, .safetensors, .jsonl or .csv. Each appears whole or not at all; array formats come with STEM.paths.txt,
// which names the image of each row.

internal import AtomicFiles
public import DinoTensor
internal import NumPyArrays
internal import Safetensors

/// The format of a feature file, told by its ending.
public enum FeatureFormat: String, Sendable, CaseIterable {
  case npy, npz, safetensors, jsonl, csv

  public init(path: String) throws(DinoError) {
    let ending = ImageInputs.ending(path)
    guard let format = FeatureFormat(rawValue: ending) else {
      throw DinoError(.usage, "\(path): the ending must be one of \(FeatureFormat.allCases.map { "." + $0.rawValue }.joined(separator: ", "))")
    }
    self = format
  }

  /// Whether rows may be [patches, D] each.
  public var holdsPatches: Bool { self == .npz || self == .safetensors }
  /// Whether the paths are in a file beside it.
  public var hasPathsFile: Bool { self == .npy || self == .npz || self == .safetensors }
}

public enum FeatureFile {
  /// `features.npy` → `features.paths.txt`.
  public static func pathsFile(of path: String) -> String {
    let ending = ImageInputs.ending(path)
    return (ending.isEmpty ? path : String(path.dropLast(ending.count + 1))) + ".paths.txt"
  }

  /// Writes `rows` ([n, …], f32) of the images `names`. Where one of two files cannot be written, both stay what they were.
  public static func write(_ rows: Tensor, names: [String], format: FeatureFormat, to path: String) throws(DinoError) {
    guard rows.shape.rank >= 2, rows.shape[0] == names.count else {
      throw DinoError(.usage, "\(path): rows of shape \(rows.shape) are not one for each of \(names.count) names", hint: "a tensor of [rows, numbers] is written")
    }
    do {
      guard format.hasPathsFile else { return try writeText(rows, names: names, format: format, to: path) }
      let list = try AtomicFile(path: pathsFile(of: path))
      var text = ""
      for name in names { text += NameLine.line(of: name) + "\n" }
      try list.write(Array(text.utf8).span)
      try list.synchronize()
      try writeArray(rows, format: format, to: path)
      try list.commit()
    } catch { throw DinoError(error, path: path) }
  }

  private static func writeArray(_ rows: Tensor, format: FeatureFormat, to path: String) throws {
    switch format {
    case .npz: try NumPyArchive.write([(name: "features", tensor: rows)], to: path)
    case .safetensors: try SafetensorsWriter.write([(name: "features", tensor: rows)], metadata: ["format": "pt"], to: path)
    default: try NumPyArray.write(rows, to: path)
    }
  }

  private static func writeText(_ rows: Tensor, names: [String], format: FeatureFormat, to path: String) throws {
    let width = rows.count / max(names.count, 1), values = rows.floats()
    let file = try AtomicFile(path: path)
    if format == .csv {
      var header = "path"
      for i in 0..<width { header += ",f\(i)" }
      try file.write(Array((header + "\n").utf8).span)
    }
    for (r, name) in names.enumerated() {
      var line = ""
      let row = values[r * width..<(r + 1) * width]
      if format == .csv {
        line += csvField(name)
        for v in row { line += ",\(v)" }
      } else {
        line += "{\"path\":" + JSONValue.string(name).text + ",\"features\":["
        var first = true
        for v in row {
          if !first { line += "," }
          first = false
          line += v.isFinite ? "\(v)" : "null"
        }
        line += "]}"
      }
      try file.write(Array((line + "\n").utf8).span)
    }
    try file.commit()
  }

  private static func csvField(_ text: String) -> String {
    guard text.contains(where: { $0 == "," || $0 == "\"" || $0.isNewline }) else { return text }
    return "\"" + text.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
  }
}

/// Writes a text file that appears whole or not at all.
public func writeWhole(_ text: String, to path: String) throws(DinoError) {
  do {
    let file = try AtomicFile(path: path)
    try file.write(Array(text.utf8).span)
    try file.commit()
  } catch {
    throw DinoError(.io, error.description)
  }
}
