// The table from kinds of failure to exit codes, and how a failure is told.

internal import Dino
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Exit codes. They are part of the command line's contract.
enum ExitStatus: Int32 {
  case done = 0
  case someSkipped = 1
  case usage = 64
  case data = 65
  case notFound = 66
  case unavailable = 69
  case bug = 70
  case io = 74
  case interrupted = 130

  init(_ kind: DinoError.Kind) {
    self =
      switch kind {
      case .usage: .usage
      case .data: .data
      case .notFound: .notFound
      case .unavailable: .unavailable
      case .bug: .bug
      case .io: .io
      case .interrupted: .interrupted
      }
  }
}

/// A command's end that is not success.
struct Failure: Error {
  var status: ExitStatus
  /// A sentence, or nil where everything was said already.
  var message: String?
  var hint: String?

  init(_ status: ExitStatus, _ message: String? = nil, hint: String? = nil) {
    self.status = status
    self.message = message
    self.hint = hint
  }

  init(_ error: DinoError) { self.init(ExitStatus(error.kind), error.message, hint: error.hint) }

  /// Says it on standard error.
  func say() {
    if let message { Terminal.say("error: \(message)") }
    if let hint { Terminal.say("hint: \(hint)") }
    if status == .bug { Terminal.say("this is a defect of dinoctl; please report it with the command and the file that led to it") }
  }

  /// Says it and ends the process.
  func report() -> Never {
    // Where the process is being interrupted, what failed may have failed for that, its files being removed: then this waits, and the signal's thread ends the process.
    Interruption.shielded {}
    say()
    if status != .done && status != .someSkipped { Output.removeLeftovers() }
    exit(status.rawValue)
  }
}
