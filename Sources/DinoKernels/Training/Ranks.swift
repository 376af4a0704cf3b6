// Several processes that train together: what they exchange, over Open MPI where mpirun started them. The library is looked up when it is needed, so a build knows nothing of it.
// Sums are taken in the order of the ranks: who is fast, or in which parts a block goes, changes no bit. Exchanges go on beside the caller's work
// as far as it lets them. What the numbers mean is the trainer's.

internal import DinoTensor

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One of `count` processes that do the same steps on different images. Not for several threads at once.
public protocol Ranks: AnyObject, Sendable {
  var index: Int { get }
  var count: Int { get }
  /// Begins to make a part of every rank's block, in floats from its start, the sum of all, added in the order of ranks. Until `finish` nobody touches it. All ranks begin the same
  /// parts in the same order.
  func begin(_ block: ParameterBlock, _ part: Range<Int>)
  /// Lets what was begun go on, and does not wait for it.
  func advance()
  /// Returns when all that was begun is there.
  func finish()
}

extension Ranks {
  /// Every rank's block becomes the sum of all.
  public func sum(_ block: ParameterBlock) {
    begin(block, 0..<block.storage.byteCount / 4)
    finish()
  }
}

public enum RanksError: Error, CustomStringConvertible {
  case unavailable(String)
  case refused(String)
  public var description: String {
    switch self {
    case .unavailable(let what): "\(what), but mpirun started several processes"
    case .refused(let what): "Open MPI refused \(what)"
    }
  }
}

/// Over Open MPI. Its constants are addresses of objects that the library exports.
public final class OpenMPIRanks: Ranks, @unchecked Sendable {
  public let index: Int
  public let count: Int
  /// A world sees its exchanges in one order, which two kinds that follow on each other do not have: each kind has its own.
  private let world: UnsafeMutableRawPointer
  private let otherWorld: UnsafeMutableRawPointer
  private let float: UnsafeMutableRawPointer
  private let allToAll: AllToAll
  private let allGather: AllGather
  private let test: @convention(c) (UnsafeMutablePointer<UnsafeMutableRawPointer?>, UnsafeMutablePointer<Int32>, UnsafeMutableRawPointer?) -> Int32
  private let finalize: @convention(c) () -> Int32
  private let endAll: @convention(c) (UnsafeMutableRawPointer, Int32) -> Int32
  /// Kept from step to step, with their memory. Of now: how many are begun, of those how many are added up and being handed out, of those how many are done.
  private var exchanges: [Exchange] = []
  private var begun = 0, added = 0, done = 0

  private typealias AllToAll = @convention(c) (UnsafeRawPointer, UnsafePointer<Int32>, UnsafePointer<Int32>, UnsafeMutableRawPointer, UnsafeMutableRawPointer, UnsafePointer<Int32>, UnsafePointer<Int32>,
                                               UnsafeMutableRawPointer, UnsafeMutableRawPointer, UnsafeMutablePointer<UnsafeMutableRawPointer?>) -> Int32
  private typealias AllGather = @convention(c) (UnsafeRawPointer, Int32, UnsafeMutableRawPointer, UnsafeMutableRawPointer, UnsafePointer<Int32>, UnsafePointer<Int32>,
                                                UnsafeMutableRawPointer, UnsafeMutableRawPointer, UnsafeMutablePointer<UnsafeMutableRawPointer?>) -> Int32
  private typealias Duplicate = @convention(c) (UnsafeMutableRawPointer, UnsafeMutablePointer<UnsafeMutableRawPointer?>) -> Int32
  private typealias Initialize = @convention(c) (UnsafeMutableRawPointer?, UnsafeMutableRawPointer?) -> Int32
  private typealias Ask = @convention(c) (UnsafeMutableRawPointer, UnsafeMutablePointer<Int32>) -> Int32

  /// How many processes mpirun started; 1 without it.
  public static var started: Int { getenv("OMPI_COMM_WORLD_SIZE").flatMap { Int(String(cString: $0)) } ?? 1 }

  /// Joins the others. Once in a process.
  public init() throws(RanksError) {
    // Global: the library's own parts look for its symbols.
    guard let library = dlopen("libmpi.so.40", RTLD_NOW | RTLD_GLOBAL) ?? dlopen("libmpi.so", RTLD_NOW | RTLD_GLOBAL) else { throw .unavailable("Open MPI's libmpi.so is not installed (libopenmpi3)") }
    func symbol(_ name: String) throws(RanksError) -> UnsafeMutableRawPointer {
      guard let found = dlsym(library, name) else { throw .unavailable("libmpi.so has no \(name): it is not Open MPI") }
      return found
    }
    world = try symbol("ompi_mpi_comm_world")
    float = try symbol("ompi_mpi_float")
    allToAll = unsafeBitCast(try symbol("MPI_Ialltoallv"), to: AllToAll.self)
    allGather = unsafeBitCast(try symbol("MPI_Iallgatherv"), to: AllGather.self)
    test = unsafeBitCast(try symbol("MPI_Test"), to: (@convention(c) (UnsafeMutablePointer<UnsafeMutableRawPointer?>, UnsafeMutablePointer<Int32>, UnsafeMutableRawPointer?) -> Int32).self)
    let duplicate = unsafeBitCast(try symbol("MPI_Comm_dup"), to: Duplicate.self)
    finalize = unsafeBitCast(try symbol("MPI_Finalize"), to: (@convention(c) () -> Int32).self)
    endAll = unsafeBitCast(try symbol("MPI_Abort"), to: (@convention(c) (UnsafeMutableRawPointer, Int32) -> Int32).self)
    guard unsafeBitCast(try symbol("MPI_Init"), to: Initialize.self)(nil, nil) == 0 else { throw .refused("to start") }
    var rank: Int32 = 0, size: Int32 = 0
    guard unsafeBitCast(try symbol("MPI_Comm_rank"), to: Ask.self)(world, &rank) == 0, unsafeBitCast(try symbol("MPI_Comm_size"), to: Ask.self)(world, &size) == 0 else {
      throw .refused("to say which process this is")
    }
    var second: UnsafeMutableRawPointer?
    guard duplicate(world, &second) == 0, let second else { throw .refused("a second world for exchanges") }
    otherWorld = second
    index = Int(rank)
    count = Int(size)
  }

  /// Each rank adds up one share of the part, of all ranks in order, and hands the result to all: twice the part's bytes travel, however many ranks there are.
  public func begin(_ block: ParameterBlock, _ part: Range<Int>) {
    if begun == exchanges.count { exchanges.append(Exchange(ranks: count)) }
    let e = exchanges[begun]
    begun += 1
    e.values = block.pointer + part.lowerBound
    let share = ((part.count + count - 1) / count + 15) / 16 * 16
    for rank in 0..<count {
      let start = min(rank * share, part.count)
      e.starts[rank] = Int32(start)
      e.counts[rank] = Int32(min(share, part.count - start))
    }
    let own = e.counts[index]
    for rank in 0..<count {
      e.ownCounts[rank] = own
      e.ownStarts[rank] = Int32(rank) * own
    }
    check(allToAll(e.values, e.counts, e.starts, float, e.received.atLeast(Int(own) * count), e.ownCounts, e.ownStarts, float, world, e.request))
  }

  /// What is added up is handed out in the order of `begin`, by all ranks alike.
  public func advance() {
    while added < begun, isThere(exchanges[added]) {
      let e = exchanges[added], own = Int(e.counts[index]), sum = e.received.atLeast(own * count)
      for rank in 1..<count {
        let other = sum + rank * own
        for i in 0..<own { sum[i] += other[i] }
      }
      check(allGather(sum, Int32(own), float, e.values, e.counts, e.starts, float, otherWorld, e.request))
      added += 1
    }
    while done < added, isThere(exchanges[done]) { done += 1 }
  }

  public func finish() {
    var spins = 0
    while done < begun {
      let before = added + done
      advance()
      if added + done == before { spinOnce(&spins) } else { spins = 0 }
    }
    (begun, added, done) = (0, 0, 0)
  }

  private func isThere(_ exchange: Exchange) -> Bool {
    var flag: Int32 = 0
    check(test(exchange.request, &flag, nil))
    return flag != 0
  }

  /// Leaves the others; the last thing that a process does with them.
  public func leave() { _ = finalize() }

  /// Ends all processes, this one too.
  public func end(_ status: Int32) { _ = endAll(world, status) }

  /// MPI's default is to end all processes itself where an exchange fails.
  private func check(_ code: Int32) { if code != 0 { _ = endAll(world, 70) } }
}

/// A part of a block on its way.
private final class Exchange {
  /// Where the part lies: what is sent is read there, sums are written there.
  var values: UnsafeMutablePointer<Float>
  /// This rank's share, as each rank sent it.
  var received = ScratchFloats()
  let request: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  /// Each rank's share of the part; and this rank's share in `received`, once for each rank.
  let counts: UnsafeMutablePointer<Int32>
  let starts: UnsafeMutablePointer<Int32>
  let ownCounts: UnsafeMutablePointer<Int32>
  let ownStarts: UnsafeMutablePointer<Int32>
  private let numbers: UnsafeMutablePointer<Int32>

  init(ranks: Int) {
    values = received.atLeast(1)
    request = .allocate(capacity: 1)
    request.initialize(to: nil)
    numbers = .allocate(capacity: 4 * ranks)
    numbers.initialize(repeating: 0, count: 4 * ranks)
    (counts, starts, ownCounts, ownStarts) = (numbers, numbers + ranks, numbers + 2 * ranks, numbers + 3 * ranks)
  }

  deinit {
    received.free()
    request.deallocate()
    numbers.deallocate()
  }
}

/// Floats that grow to what is asked for and stay.
private struct ScratchFloats {
  private var storage: UnsafeMutablePointer<Float>?
  private var size = 0
  mutating func atLeast(_ count: Int) -> UnsafeMutablePointer<Float> {
    if let storage, count <= size { return storage }
    free()
    let fresh = UnsafeMutablePointer<Float>.allocate(capacity: max(count, 1))
    (storage, size) = (fresh, max(count, 1))
    return fresh
  }

  mutating func free() {
    storage?.deallocate()
    (storage, size) = (nil, 0)
  }
}
