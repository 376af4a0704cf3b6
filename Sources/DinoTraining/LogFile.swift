// The logs of a training: one JSON object a line, appended at once; and what a run that goes on from a checkpoint takes away of them. What is in a line is the run's.

internal import AtomicFiles
internal import Dino
internal import DinoTensor
internal import Safetensors
internal import Foundation

/// Lines appended to a file, each written at once.
final class LogFile {
  private let handle: FileHandle
  private let path: String

  init(_ path: String) throws(DinoError) {
    if !FileManager.default.fileExists(atPath: path) { _ = FileManager.default.createFile(atPath: path, contents: nil) }
    guard let handle = FileHandle(forWritingAtPath: path), (try? handle.seekToEnd()) != nil else { throw DinoError(.io, "\(path) cannot be written") }
    self.handle = handle
    self.path = path
  }

  deinit { try? handle.close() }

  func append(_ value: JSONValue) throws(DinoError) {
    do { try handle.write(contentsOf: Data((value.text + "\n").utf8)) } catch { throw DinoError(.io, "\(path) cannot be written", hint: "is the disk full? The last checkpoint is intact") }
  }

  /// Takes away the lines of steps that are done again.
  static func trim(_ path: String, key: String, below limit: Int) throws(DinoError) {
    guard FileManager.default.fileExists(atPath: path) else { return }
    do {
      let storage = try Storage(mapping: path), bytes = storage.bytes(0..<storage.byteCount)
      var kept: [UInt8] = []
      for line in bytes.split(separator: UInt8(ascii: "\n")) {
        guard let text = String(validating: line, as: UTF8.self), let json = try? JSONValue.parse(text), let n = json[key]?.integerValue, n < limit else { continue }
        kept += line + [UInt8(ascii: "\n")]
      }
      let file = try AtomicFile(path: path)
      try file.write(kept)
      try file.commit()
    } catch { throw DinoError(error, path: path) }
  }
}
