// What is read, and what happens with inputs that cannot be.

internal import ArgumentParser
internal import Dino
internal import Safetensors
internal import Synchronization
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

struct InputOptions: ParsableArguments {
  @Argument(help: "Images, folders (recursive, sorted by name), list files (.txt, one path a line), tar shards (.tar), or - for standard input.", completion: .file())
  var inputs: [String]

  @OptionGroup var reading: ReadingOptions

  var strict: Bool { reading.strict }
  var exifOrientation: Bool { reading.exifOrientation }

  func expand() throws -> [ImageInput] { try ReadingOptions.expand(inputs) }
}

/// How inputs are read.
struct ReadingOptions: ParsableArguments {
  @Flag(help: "Stop with exit code 65 at the first image that cannot be read, instead of naming and skipping it.")
  var strict = false

  @Flag(help: "Turn photographs as their EXIF orientation says. The official code does not.")
  var exifOrientation = false

  static func expand(_ inputs: [String]) throws -> [ImageInput] {
    try ImageInputs.expand(inputs, standardInput: readStandardInput, note: tellOnce)
  }

  private static let told = Mutex<Set<String>>([])

  /// A command may look into a folder more than once.
  static func tellOnce(_ line: String) {
    let isNew = told.withLock { $0.insert(line).inserted }
    if isNew { Terminal.note(line) }
  }
}

/// Inputs that were left out, by name; decides the exit code.
struct SkippedInputs {
  private(set) var count = 0
  private var reasons: [JSONValue] = []
  private let orientation = OrientationNote()

  /// For --json: what was skipped, and why.
  var json: JSONValue { .array(reasons) }

  /// Names the input on standard error; under `strict` ends the command.
  mutating func add(_ name: String, _ reason: String, strict: Bool) throws {
    if strict { throw Failure(.data, "\(name): \(reason)", hint: "without --strict such inputs are named and skipped") }
    Terminal.say("skipped \(name): \(reason)")
    count += 1
    reasons.append(.object([.init("input", .string(name)), .init("reason", .string(reason))]))
  }

  /// Tells of photographs that lie on their side; ends the command with 1 where something was skipped.
  /// - Parameter canTurn: whether the command has --exif-orientation.
  func conclude(of total: Int, canTurn: Bool = true) throws {
    if canTurn { orientation.tell() }
    guard count > 0 else { return }
    Terminal.say("skipped \(count) of \(total) inputs")
    throw Failure(.someSkipped)
  }
}

private func readStandardInput() throws -> [UInt8] {
  let limit = 1 << 30
  var bytes: [UInt8] = []
  var chunk = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let n = unsafe chunk.withUnsafeMutableBytes { unsafe read(0, $0.baseAddress, $0.count) }
    if n < 0 {
      if errno == EINTR { continue }
      throw Failure(.io, "standard input cannot be read")
    }
    if n == 0 { return bytes }
    bytes += chunk[..<n]
    guard bytes.count <= limit else { throw Failure(.data, "standard input has more than \(limit) bytes", hint: "save it to a file and name that") }
  }
}
