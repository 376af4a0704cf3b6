// The logs of a training: one JSON object a line, appended at once; and what a run that goes on from a checkpoint takes away of them. What is in a line is the run's.

internal import AtomicFiles
internal import Dino
internal import DinoTensor
internal import Safetensors
#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Lines appended to a file, each written at once.
final class LogFile {
  private let descriptor: Int32
  private let path: String

  init(_ path: String) throws(DinoError) {
    descriptor = unsafe open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw DinoError(.io, "\(path) cannot be written") }
    self.path = path
  }

  deinit { close(descriptor) }

  func append(_ value: JSONValue) throws(DinoError) {
    let line = Array((value.text + "\n").utf8)
    var sent = 0
    while sent < line.count {
      let n = unsafe line.withUnsafeBytes { unsafe write(descriptor, $0.baseAddress! + sent, line.count - sent) }
      if n < 0 && errno == EINTR { continue }
      guard n > 0 else { throw DinoError(.io, "\(path) cannot be written", hint: "is the disk full? What was saved before is intact") }
      sent += n
    }
  }

  /// The lines that can be read.
  static func lines(of path: String) throws(DinoError) -> [JSONValue] {
    do {
      let storage = try Storage(mapping: path)
      return storage.bytes(0..<storage.byteCount).split(separator: UInt8(ascii: "\n")).compactMap { line in
        String(validating: line, as: UTF8.self).flatMap { try? JSONValue.parse($0) }
      }
    } catch { throw DinoError(error, path: path) }
  }

  /// What the lines of these steps have under `keys`, in their order; nothing where some line lacks one of them.
  static func values(_ keys: [String], of path: String, steps: Range<Int>) throws(DinoError) -> [[Double]] {
    guard !steps.isEmpty, FileManager.default.fileExists(atPath: path) else { return [] }
    let found = try lines(of: path).filter { line in line["step"]?.integerValue.map(steps.contains) ?? false }
      .map { line in keys.compactMap { line[$0]?.doubleValue } }
    return found.count == steps.count && found.allSatisfy { $0.count == keys.count } ? found : []
  }

  /// Puts members behind those of the last line. False, and nothing changed, where it has the first of them already, or there is no line.
  static func amendLast(_ path: String, with members: [JSONValue.Member]) throws(DinoError) -> Bool {
    guard FileManager.default.fileExists(atPath: path), let last = try lines(of: path).last, let known = last.objectValue, let epoch = last["epoch"]?.integerValue, let key = members.first?.key, last[key] == nil else { return false }
    try trim(path, key: "epoch", below: epoch)
    try LogFile(path).append(.object(known + members))
    return true
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
