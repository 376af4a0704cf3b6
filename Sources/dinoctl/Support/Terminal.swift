// What goes to standard error and standard output, and the progress bar. Nothing else in the program prints.

internal import Synchronization
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

enum Terminal {
  /// Whether standard error is a terminal.
  static let isInteractive = isatty(2) == 1
  /// Set by --quiet: notes and progress are left out, errors and names of skipped inputs are not.
  static let isQuiet = Atomic<Bool>(false)

  static func beQuiet() { isQuiet.store(true, ordering: .relaxed) }

  /// A line on standard error.
  static func say(_ line: String) {
    ProgressBar.clearLine()
    write(printable(line) + "\n", to: 2)
  }

  /// A line on standard error that --quiet leaves out.
  static func note(_ line: String) {
    if !isQuiet.load(ordering: .relaxed) { say("note: \(line)") }
  }

  /// Text on standard output. Fails with 74 where that cannot be written; ends quietly where the reader has gone away.
  static func output(_ text: String) throws {
    guard write(text, to: 1) else {
      if errno == EPIPE { exit(ExitStatus.io.rawValue) }
      throw Failure(.io, "standard output cannot be written")
    }
  }

  @discardableResult
  static func write(_ text: String, to descriptor: Int32) -> Bool {
    let bytes = Array(text.utf8)
    var done = 0
    while done < bytes.count {
      let n = unsafe bytes[done...].withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if n < 0 {
        if errno == EINTR { continue }
        return false
      }
      done += n
    }
    return true
  }

  /// Seconds since some start, for measuring.
  static func now() -> Double {
    var t = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &t)
    return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9
  }
}

/// A bar with rate and time left, drawn only where standard error is a terminal.
struct ProgressBar {
  private let total: Int
  private let unit: String
  private let start = Terminal.now()
  private var done = 0
  /// Of what was done before this run began: it does not count for the rate.
  private var before = 0
  private var lastDrawn = 0.0
  private static let shown = Atomic<Bool>(false)

  init(total: Int, unit: String, before: Int = 0) {
    self.total = total
    self.unit = unit
    self.before = before
    done = before
  }

  mutating func advance(by n: Int = 1) {
    done += n
    guard Terminal.isInteractive, !Terminal.isQuiet.load(ordering: .relaxed) else { return }
    let now = Terminal.now()
    guard now - lastDrawn > 0.1 || done == total else { return }
    lastDrawn = now
    let rate = Double(done - before) / max(now - start, 1e-6)
    let left = rate > 0 ? Double(total - done) / rate : 0
    let width = 30, filled = total > 0 ? width * done / total : width
    let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
    Terminal.write("\r\u{1B}[K[\(bar)] \(done)/\(total) \(unit), \(fixed(rate, 1))/s, \(clock(left)) left", to: 2)
    Self.shown.store(true, ordering: .relaxed)
  }

  /// Removes the bar.
  func finish() { Self.clearLine() }

  static func clearLine() {
    if shown.exchange(false, ordering: .relaxed) { Terminal.write("\r\u{1B}[K", to: 2) }
  }
}

/// Text with control characters spelt out (`\u{1B}`): names out of files must not steer the terminal, nor make two lines of one.
func printable(_ text: String) -> String {
  func isControl(_ s: Unicode.Scalar) -> Bool { s.properties.generalCategory == .control || s == "\u{2028}" || s == "\u{2029}" }
  guard text.unicodeScalars.contains(where: isControl) else { return text }
  return text.unicodeScalars.reduce(into: "") { $0 += isControl($1) ? $1.escaped(asASCII: true) : String($1) }
}

/// Minutes and seconds.
private func clock(_ seconds: Double) -> String {
  let s = Int(min(seconds, 359_999).rounded())
  let tail = s % 60 < 10 ? "0\(s % 60)" : "\(s % 60)"
  return s >= 3600 ? "\(s / 3600):\(s / 60 % 60 < 10 ? "0" : "")\(s / 60 % 60):\(tail)" : "\(s / 60):\(tail)"
}

/// A number with a fixed count of decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
  var scale = 1.0
  for _ in 0..<decimals { scale *= 10 }
  guard abs(value) * scale < 1e15 else { return "\(value)" } // what is not a number too
  let scaled = Int((abs(value) * scale).rounded())
  let sign = value < 0 && scaled > 0 ? "-" : ""
  guard decimals > 0 else { return sign + "\(scaled)" }
  let unit = Int(scale), fraction = String(scaled % unit)
  return sign + "\(scaled / unit)." + String(repeating: "0", count: decimals - fraction.count) + fraction
}

/// A byte count for people.
func readable(bytes: Int) -> String {
  switch bytes {
  case ..<1_000: "\(bytes) bytes"
  case ..<1_000_000: "\(fixed(Double(bytes) / 1e3, 1)) kB"
  case ..<1_000_000_000: "\(fixed(Double(bytes) / 1e6, 1)) MB"
  default: "\(fixed(Double(bytes) / 1e9, 2)) GB"
  }
}

/// Two digits and a power of ten: 2.4e-3.
func scientific(_ value: Double) -> String {
  guard value > 0, value.isFinite else { return "\(value)" }
  var mantissa = value, exponent = 0
  while mantissa < 1 { (mantissa, exponent) = (mantissa * 10, exponent - 1) }
  while mantissa >= 10 { (mantissa, exponent) = (mantissa / 10, exponent + 1) }
  return "\(fixed(mantissa, 1))e\(exponent)"
}
