// Ctrl-C, termination and a lost terminal: the process ends with 130 and leaves no half-written file. A signal is taken on a thread of its own, which
// waits for a write that is under way (each is short and ends in a rename), removes what `Output` has noted for that, and ends the process. Writes that take long look themselves
// whether they should stop, and clean up.

internal import Dispatch
internal import Synchronization
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

enum Interruption {
  private struct State {
    /// Said before the process ends.
    var farewell: String?
    /// Done before the process ends; what it returns is said instead.
    var lastWork: LastWork?
    /// Whether only the process's end is left: a signal comes too late.
    var isOver = false
    /// Whether what runs now looks itself whether it should stop.
    var isCooperating = false
  }

  /// Runs on the signal's thread, but within the lock of `shielded`, within which all that it touches must be touched.
  private final class LastWork: @unchecked Sendable {
    let body: () -> String
    init(_ body: @escaping () -> String) { self.body = body }
  }

  private static let state = Mutex(State())
  private static let sources = Mutex<[any DispatchSourceSignal]>([])

  /// Takes SIGINT, SIGTERM and SIGHUP from here on, but for those that the process was started to ignore (nohup, or `&` in a script).
  /// A closed pipe, and a file longer than `ulimit -f` allows, become failed writes instead of signals.
  static func install() {
    for number in [SIGPIPE, SIGXFSZ] { signal(number, SIG_IGN) }
    let queue = DispatchQueue(label: "dinoctl.signals")
    sources.withLock { sources in
      for number in [SIGINT, SIGTERM, SIGHUP] {
        let before = signal(number, SIG_IGN)
        // SIG_IGN is 1; as functions the two cannot be compared.
        if unsafe unsafeBitCast(before, to: Int.self) == 1 { continue }
        let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
        source.setEventHandler { end() }
        source.resume()
        sources.append(source)
      }
    }
  }

  /// Runs `body`, a write that must end whole: a signal that comes meanwhile waits for it.
  static func shielded<R>(_ body: () throws -> R) rethrows -> R { try state.withLock { _ in try body() } }

  private static let isRequested = Atomic<Bool>(false)

  /// Whether a signal has come that waits for what runs `cooperatively`.
  static var shouldStop: Bool { isRequested.load(ordering: .relaxed) }

  /// Runs work that looks at `shouldStop` every moment, and ends early then with nothing left behind: a signal waits for that.
  static func cooperatively<R>(_ body: () throws -> R) rethrows -> R {
    state.withLock { $0.isCooperating = true }
    defer {
      state.withLock { $0.isCooperating = false }
      if shouldStop { end() }
    }
    return try body()
  }

  /// What to say should the process be stopped from now on.
  static func setFarewell(_ line: String?) { state.withLock { $0.farewell = line } }

  /// What to do, within the lock of `shielded`, and then to say should the process be stopped from now on.
  static func setLastWork(_ body: (() -> String)?) {
    let work = body.map { LastWork($0) }
    state.withLock { $0.lastWork = work }
  }

  /// From here on signals change nothing: everything is done, and the process ends by itself.
  static func ignore() { state.withLock { $0.isOver = true } }

  private static func end() {
    // The lock is never given back: no write starts after this.
    state.withLock { s -> Void in
      if s.isOver { return }
      if s.isCooperating { return isRequested.store(true, ordering: .relaxed) }
      ProgressBar.clearLine()
      Output.removeLeftovers()
      let farewell = s.lastWork?.body() ?? s.farewell ?? "interrupted"
      Terminal.write(farewell + "\n", to: 2)
      _exit(ExitStatus.interrupted.rawValue)
    }
  }
}
