// What kind of checkpoint a path is, told from its first bytes and, for folders, from the files in it. Nothing is parsed here.

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif
internal import DinoTensor

/// Kinds of checkpoints that are read.
public enum CheckpointFormat: String, Sendable, Equatable {
  case safetensors
  case torchZip = "PyTorch archive (zip)"
  case torchLegacy = "PyTorch archive (legacy stream)"
  case huggingFace = "Hugging Face folder"
  case onnx = "ONNX model"

  /// The kind of `path`.
  static func detect(_ path: String) throws(DinoError) -> (format: CheckpointFormat, file: String) {
    var isFolder = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { throw DinoError(.notFound, "\(path): no such file or folder") }
    if isFolder { return try detectFolder(path) }
    return (try detectFile(path), path)
  }

  private static func detectFolder(_ path: String) throws(DinoError) -> (CheckpointFormat, String) {
    let files = FileManager.default
    // The last is what older transformers wrote.
    for name in ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"] where files.fileExists(atPath: "\(path)/\(name)") {
      guard files.fileExists(atPath: "\(path)/config.json") else {
        throw DinoError(.notFound, "\(path): has \(name) but no config.json", hint: "name the file \(path)/\(name) itself to read it without")
      }
      return (.huggingFace, name == "model.safetensors.index.json" ? path : "\(path)/\(name)")
    }
    throw DinoError(.notFound, "\(path): a folder with neither model.safetensors nor pytorch_model.bin", hint: "a Hugging Face folder has config.json and one of them")
  }

  private static func detectFile(_ path: String) throws(DinoError) -> CheckpointFormat {
    let head: [UInt8], size: Int
    let ending = ImageInputs.ending(path)
    // An ONNX file has no mark of its own: its name decides.
    if ending == "onnx" { return .onnx }
    do {
      let storage = try Storage(mapping: path)
      size = storage.byteCount
      head = storage.bytes(0..<min(16, size))
    } catch { throw DinoError(error, path: path) }
    if head.starts(with: [0x50, 0x4B]) { return .torchZip }
    if head.count > 1, head[0] == 0x80, head[1] <= 5 { return .torchLegacy }
    if head.count > 8, head[8] == 0x7B { return .safetensors }
    // What is damaged at its very start is told by the reader of the format that the name promises.
    switch ending {
    case "safetensors": return .safetensors
    case "pth", "pt", "bin", "ckpt": return .torchZip
    default:
      throw DinoError(.data, size == 0 ? "\(path): the file is empty" : "\(path): neither a safetensors file nor a PyTorch archive",
                      hint: "supported are .safetensors, .pth (zip or legacy), .onnx and Hugging Face folders")
    }
  }
}
