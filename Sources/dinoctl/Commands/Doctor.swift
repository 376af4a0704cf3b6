// dinoctl doctor: what this machine offers and what the program chose: for reports of trouble, and before them.

internal import ArgumentParser
internal import DinoKernels
internal import Safetensors
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

struct Doctor: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "CPU features, kernels chosen, threads, libraries, and the command that installs what is missing.")

  @Flag(help: "A machine-readable result on standard output.")
  var json = false

  @Flag(help: "Only what is wrong.")
  var quiet = false

  func run() throws {
    let tables = KernelTable.available.map(\.name)
    let selected = KernelTable.selected
    var problems: [String] = []
    if case .forcedButUnavailable(let name) = KernelTable.choice {
      problems.append("DINO_FORCE_ISA asks for '\(name)', which this machine cannot run; one of \(tables.joined(separator: ", ")) can be forced")
    }
    if case .unusable(let text) = ThreadRequest.current { problems.append("DINO_THREADS is '\(text)', which is no number of threads from 1 to \(ThreadRequest.range.upperBound); it is passed over here, and refused by all other commands") }
    let libraries = Self.libraries.map { (name: $0.name, package: $0.package, version: Self.isLoaded($0.file)) }
    let missing = libraries.filter { !$0.version }
    if !missing.isEmpty {
      problems.append("missing: \(missing.map(\.name).joined(separator: ", ")); apt-get install -y \(missing.map(\.package).joined(separator: " "))")
    }
    let peak = selected.measurePeak(attempts: 3) / 1e9
    if json {
      let result: [JSONValue.Member] = [
        .init("version", .string(toolVersion)), .init("cpu_features", .string(KernelTable.cpuFeatures)), .init("isa", .string(selected.name)),
        .init("available_isas", .array(tables.map { .string($0) })), .init("threads", .integer(availableCores())), .init("peak_gflop_per_second_and_core", .number(peak)),
        .init("libraries", .object(libraries.map { .init($0.name, .bool($0.version)) })), .init("problems", .array(problems.map { .string($0) })),
      ]
      try Terminal.output(JSONValue.object(result).text + "\n")
    } else {
      if !quiet {
        try Terminal.output("""
          dinoctl \(toolVersion)
          CPU features   \(KernelTable.cpuFeatures)
          kernels        \(selected.name) (available: \(tables.joined(separator: ", ")); DINO_FORCE_ISA=NAME chooses)
          threads        \(availableCores()) (cores that this process may use; DINO_THREADS=N or --threads N chooses)
          peak           \(fixed(peak, 0)) GFLOP/s a core in registers, f32
          libraries      \(libraries.map { "\($0.name) \($0.version ? "ok" : "MISSING")" }.joined(separator: ", "))

          """)
      }
      for problem in problems { Terminal.say("problem: \(problem)") }
      if problems.isEmpty && !quiet { try Terminal.output("nothing is missing\n") }
    }
    if !problems.isEmpty { throw Failure(.unavailable) }
  }

  /// Libraries that the program uses, the file each is, and the Debian package that has it.
  private static let libraries = [
    (name: "libpng", file: "libpng16.so", package: "libpng16-16"), (name: "libjpeg", file: "libjpeg.so", package: "libjpeg62-turbo"),
    (name: "libwebp", file: "libwebp.so", package: "libwebp7"), (name: "libtiff", file: "libtiff.so", package: "libtiff6"),
    (name: "zlib", file: "libz.so", package: "zlib1g"),
  ]

  /// Whether a library is mapped into this process, by the list that the kernel keeps.
  private static func isLoaded(_ file: String) -> Bool { loadedLibraries.contains { $0.contains("/" + file) } }

  private static let loadedLibraries: [Substring] = {
    var text = [UInt8]()
    let descriptor = unsafe open("/proc/self/maps", O_RDONLY)
    guard descriptor >= 0 else { return [] }
    defer { close(descriptor) }
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let n = unsafe chunk.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
      if n <= 0 { break }
      text += chunk[..<n]
    }
    return String(decoding: text, as: UTF8.self).split(separator: "\n")
  }()
}
