// How a model is to be run, and how much is told: each option by itself, as not every command reads all of them, and together.

internal import ArgumentParser
internal import Dino
internal import DinoKernels
internal import DinoRuntime

/// All that a command which runs a model on images is told of the way to run it.
struct RunningOptions<Help: SharedHelp>: ParsableArguments {
  @OptionGroup private var arithmetic: PrecisionOption<Help>
  @OptionGroup private var parallel: ThreadsOption
  @OptionGroup private var together: BatchOption<Help>
  @OptionGroup private var telling: TellingOptions

  var precision: PrecisionArgument? { arithmetic.precision }
  var threads: Int { parallel.threads }
  var batchSize: Int? { together.batchSize }
  var json: Bool { telling.json }
  var quiet: Bool { telling.quiet }

  var settings: RunSettings { RunSettings(precision: precision?.precision, threads: threads, batchSize: batchSize, quiet: quiet) }

  func apply() { telling.apply() }
}

struct PrecisionOption<Help: SharedHelp>: ParsableArguments {
  @Option(help: ArgumentHelp(Help.precision))
  var precision: PrecisionArgument?
}

struct ThreadsOption: ParsableArguments {
  static let text = "Default, and with 0: what DINO_THREADS in the environment says, or else the cores that this process may use (affinity and cgroup quota counted)."

  @Option(name: .customLong("threads"), help: ArgumentHelp("Threads. \(text)", valueName: "n"))
  private var asked: Int?

  /// 0 for the default.
  var threads: Int { asked ?? 0 }

  func validate() throws { try Self.check(threads) }

  static func check(_ threads: Int) throws {
    if threads < 0 || threads > 1024 { throw ValidationError("--threads must be from 1 to 1024 (or 0 for all cores), not \(threads)") }
  }
}

struct BatchOption<Help: SharedHelp>: ParsableArguments {
  @Option(help: ArgumentHelp(Help.batchSize, valueName: "n"))
  var batchSize: Int?

  func validate() throws {
    if let batchSize, batchSize < 1 || batchSize > 4096 { throw ValidationError("--batch-size must be from 1 to 4096, not \(batchSize)") }
  }
}

struct TellingOptions: ParsableArguments {
  @Flag(help: "A machine-readable result, one JSON object, on standard output.")
  var json = false

  @Flag(help: "Only errors, warnings and the names of skipped inputs on standard error.")
  var quiet = false

  func apply() { if quiet { Terminal.beQuiet() } }
}

/// How a model is to be run: what these options come to.
struct RunSettings {
  var precision: Precision?
  /// 0 for the cores that there are.
  var threads = 0
  var batchSize: Int?
  var quiet = false

  func apply() { if quiet { Terminal.beQuiet() } }

  /// A choice of how to read a file, with these of how to run it.
  func options(_ reading: DinoModel.Options) -> DinoModel.Options {
    var options = reading
    options.threads = threads
    options.precision = precision
    return options
  }

  /// The loaded model; says on standard error what a person should know about it.
  func load(_ path: String, _ reading: DinoModel.Options, manyImages: Bool = false) throws -> DinoModel {
    apply()
    var options = options(reading)
    options.manyImages = manyImages
    let model: DinoModel
    do { model = try DinoModel(contentsOf: path, options: options) } catch {
      guard OfficialClassifier.isOne(path) else { throw error }
      throw Failure(.data, "\(path) is a linear classifier of the original's eval_linear.py, without the network whose features it reads", hint: "dinoctl classify --model NETWORK --classifier \(path)")
    }
    for note in model.notes { Terminal.note(note) }
    if model.hasRandomWeights { Terminal.say("note: \(path) has random weights: results show that things work, not what DINO sees") }
    return model
  }

  /// Images that are run at once out of `count`. One a thread: no two threads share an image then, and in bf16 and int8 more at once gain nothing but take
  /// memory. In f32 at least four of few patches, which on AMX are a sixth faster than two (both measured, LOG).
  func imagesAtOnce(of count: Int, by preparer: ImagePreparer, in precision: Precision) -> Int {
    let least = precision == .f32 && preparer.fixedPatches.map { $0 < 400 } == true ? 4 : 1
    return batchSize ?? max(1, min(max(least, min(8, threads > 0 ? threads : availableCores())), count))
  }

  /// Refuses a set of kernels that the environment asks for and this machine does not have, rather than running another.
  static func checkKernels() throws {
    guard case .forcedButUnavailable(let name) = KernelTable.choice else { return }
    throw Failure(.unavailable, "DINO_FORCE_ISA asks for '\(name)', which this machine cannot run", hint: "one of \(KernelTable.available.map(\.name).joined(separator: ", "))")
  }

  /// Refuses threads that the environment asks for and cannot be, as --threads would be refused.
  static func checkThreads() throws {
    guard case .unusable(let text) = ThreadRequest.current else { return }
    throw Failure(.usage, "DINO_THREADS must be from \(ThreadRequest.range.lowerBound) to \(ThreadRequest.range.upperBound) (or 0 for all cores), not '\(text)'")
  }
}

enum PrecisionArgument: String, ExpressibleByArgument, CaseIterable {
  case f32, bf16, int8
  var precision: Precision {
    switch self {
    case .f32: .f32
    case .bf16: .bf16
    case .int8: .int8
    }
  }
}
