// Ctrl-C and termination: the process ends with 130 and leaves no half-written file. A signal is taken on a thread of its own, which
// waits for a write that is under way (each is short and ends in a rename), removes what `Output` has noted for that, and ends the process.

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
    /// Whether only the process's end is left: a signal comes too late.
    var isOver = false
  }
  private static let state = Mutex(State())
  private static let sources = Mutex<[any DispatchSourceSignal]>([])

  /// Takes SIGINT and SIGTERM from here on. A closed pipe, and a file longer than `ulimit -f` allows, become failed writes instead of signals.
  static func install() {
    for number in [SIGPIPE, SIGXFSZ] { signal(number, SIG_IGN) }
    let queue = DispatchQueue(label: "dinoctl.signals")
    sources.withLock { sources in
      for number in [SIGINT, SIGTERM] {
        signal(number, SIG_IGN)
        let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
        source.setEventHandler { end() }
        source.resume()
        sources.append(source)
      }
    }
  }

  /// Runs `body`, a write that must end whole: a signal that comes meanwhile waits for it.
  static func shielded<R>(_ body: () throws -> R) rethrows -> R { try state.withLock { _ in try body() } }

  /// What to say should the process be stopped from now on.
  static func setFarewell(_ line: String?) { state.withLock { $0.farewell = line } }

  /// From here on signals change nothing: everything is done, and the process ends by itself.
  static func ignore() { state.withLock { $0.isOver = true } }

  private static func end() {
    // The lock is never given back: no write starts after this.
    state.withLock { s -> Void in
      if s.isOver { return }
      ProgressBar.clearLine()
      Output.removeLeftovers()
      Terminal.write((s.farewell ?? "interrupted") + "\n", to: 2)
      _exit(ExitStatus.interrupted.rawValue)
    }
  }
}
