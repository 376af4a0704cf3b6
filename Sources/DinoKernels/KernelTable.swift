// Which table of kernels runs: the best that this CPU and operating system support, or the one that DINO_FORCE_ISA names.

public import CDinoKernels

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A set of kernels for one instruction set. Values differ between tables only by rounding.
public struct KernelTable: @unchecked Sendable {
  /// Points at a constant of the C room.
  public let c: UnsafePointer<dk_table>

  public var name: String { String(cString: c.pointee.name) }
  /// Rows of a register tile.
  public var tileRows: Int { c.pointee.mr }
  /// Columns of a packed panel.
  public var panelColumns: Int { c.pointee.nr }

  /// Tables usable here, best first; the last is the portable one.
  public static let available: [KernelTable] = (0..<dk_table_count()).compactMap { dk_table_at($0).map(KernelTable.init(c:)) }

  public static func named(_ name: String) -> KernelTable? { available.first { $0.name == name } }

  /// What `selected` came from.
  public enum Choice: Sendable, Equatable {
    case best
    case forced(String)
    /// DINO_FORCE_ISA names a table that this machine cannot run (or that does not exist); the best one is used.
    case forcedButUnavailable(String)
  }

  /// The table that sessions use, chosen once; `DINO_FORCE_ISA=portable` (or another name) overrides.
  public static let (selected, choice): (KernelTable, Choice) = {
    if let value = getenv("DINO_FORCE_ISA") {
      let name = String(cString: value)
      if !name.isEmpty {
        if let table = named(name) { return (table, .forced(name)) }
        return (available[0], .forcedButUnavailable(name))
      }
    }
    return (available[0], .best)
  }()

  /// Features of this CPU that kernels could use, for people.
  public static var cpuFeatures: String { String(cString: dk_cpu_features()) }

  /// Floating-point operations a second of one core in registers, the best of `attempts` short runs: the peak that shares are taken of.
  public func measurePeak(attempts: Int = 5) -> Double {
    var sink: [Float] = [1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 0, 0, 0, 0, 0, 0, 0, 0]
    var best = 0.0
    for _ in 0..<attempts {
      let start = monotonicSeconds()
      let operations = c.pointee.f32_peak(200_000, &sink)
      best = max(best, operations / max(monotonicSeconds() - start, 1e-9))
    }
    return best
  }

  /// The same of integer operations, as the int8 kernels do them.
  public func measureInt8Peak(attempts: Int = 5) -> Double {
    var sink: [Int32] = [0x01020304, 0x01010101, 0, 0]
    var best = 0.0
    for _ in 0..<attempts {
      let start = monotonicSeconds()
      let operations = c.pointee.i8.pointee.peak(200_000, &sink)
      best = max(best, operations / max(monotonicSeconds() - start, 1e-9))
    }
    return best
  }
}

/// Seconds of the monotonic clock, from an arbitrary start.
public func monotonicSeconds() -> Double {
  var t = timespec()
  clock_gettime(CLOCK_MONOTONIC, &t)
  return Double(t.tv_sec) + Double(t.tv_nsec) * 1e-9
}
