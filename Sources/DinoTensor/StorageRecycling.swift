// Large blocks that are freed while a network of foreign operators runs, kept for the next that are asked for: fresh pages cost as much as the arithmetic on them, because the
// system clears each. Nothing is kept outside such a run, and never more than a bound.

import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

public enum StorageRecycling {
  /// Bytes kept at most.
  static let limit = 256 << 20

  private struct State {
    var users = 0
    var bytes = 0
    /// Free blocks, as addresses, by length.
    var blocks: [Int: [Int]] = [:]
  }
  private static let state = Mutex(State())

  /// While `body` runs, in whatever thread, large blocks are used again.
  public static func during<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    state.withLock { $0.users += 1 }
    defer {
      let left = state.withLock { s -> [Int: [Int]] in
        s.users -= 1
        guard s.users == 0 else { return [:] }
        defer { (s.blocks, s.bytes) = ([:], 0) }
        return s.blocks
      }
      for (length, addresses) in left { for a in addresses { munmap(UnsafeMutableRawPointer(bitPattern: a), length) } }
    }
    return try body()
  }

  /// A block of exactly this length that was freed; what it holds is left over.
  static func take(_ length: Int) -> UnsafeMutableRawPointer? {
    let address = state.withLock { s -> Int? in
      guard let a = s.blocks[length]?.popLast() else { return nil }
      s.bytes -= length
      return a
    }
    return address.flatMap { UnsafeMutableRawPointer(bitPattern: $0) }
  }

  /// Whether the block is kept.
  static func give(_ base: UnsafeMutableRawPointer, _ length: Int) -> Bool {
    let address = Int(bitPattern: base)
    return state.withLock { s in
      guard s.users > 0, s.bytes + length <= limit else { return false }
      s.blocks[length, default: []].append(address)
      s.bytes += length
      return true
    }
  }
}
