// Several processes that train together: what they exchange, over Open MPI where mpirun started them. The library is looked up when it is needed, so a build knows nothing of it.
// Sums are taken in the order of the ranks: who is fast changes no bit. It exchanges numbers; what they mean is the trainer's.

internal import DinoTensor

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// One of `count` processes that do the same steps on different images.
public protocol Ranks: AnyObject, Sendable {
  var index: Int { get }
  var count: Int { get }
  /// Every rank's block becomes the sum of all, added in the order of ranks.
  func sum(_ block: ParameterBlock)
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
  private let world: UnsafeMutableRawPointer
  private let float: UnsafeMutableRawPointer
  private let allToAll: Collective
  private let allGather: Collective
  private let finalize: @convention(c) () -> Int32
  private let endAll: @convention(c) (UnsafeMutableRawPointer, Int32) -> Int32
  private var sent = ScratchFloats(), received = ScratchFloats()

  private typealias Collective = @convention(c) (UnsafeRawPointer, Int32, UnsafeMutableRawPointer, UnsafeMutableRawPointer, Int32, UnsafeMutableRawPointer, UnsafeMutableRawPointer) -> Int32
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
    allToAll = unsafeBitCast(try symbol("MPI_Alltoall"), to: Collective.self)
    allGather = unsafeBitCast(try symbol("MPI_Allgather"), to: Collective.self)
    finalize = unsafeBitCast(try symbol("MPI_Finalize"), to: (@convention(c) () -> Int32).self)
    endAll = unsafeBitCast(try symbol("MPI_Abort"), to: (@convention(c) (UnsafeMutableRawPointer, Int32) -> Int32).self)
    guard unsafeBitCast(try symbol("MPI_Init"), to: Initialize.self)(nil, nil) == 0 else { throw .refused("to start") }
    var rank: Int32 = 0, size: Int32 = 0
    guard unsafeBitCast(try symbol("MPI_Comm_rank"), to: Ask.self)(world, &rank) == 0, unsafeBitCast(try symbol("MPI_Comm_size"), to: Ask.self)(world, &size) == 0 else {
      throw .refused("to say which process this is")
    }
    index = Int(rank)
    count = Int(size)
  }

  /// Each rank adds up one part of the block, of all ranks in order, and hands the result to all.
  public func sum(_ block: ParameterBlock) {
    let floats = block.storage.byteCount / 4, part = ((floats + count - 1) / count + 15) / 16 * 16, values = block.pointer
    let mine = sent.atLeast(part * count), theirs = received.atLeast(part * count)
    mine.update(from: values, count: floats)
    (mine + floats).update(repeating: 0, count: part * count - floats)
    check(allToAll(mine, Int32(part), float, theirs, Int32(part), float, world))
    for rank in 1..<count {
      let other = theirs + rank * part
      for i in 0..<part { theirs[i] += other[i] }
    }
    check(allGather(theirs, Int32(part), float, mine, Int32(part), float, world))
    values.update(from: mine, count: floats)
  }

  /// Leaves the others; the last thing that a process does with them.
  public func leave() { _ = finalize() }

  /// MPI's default is to end all processes itself where an exchange fails.
  private func check(_ code: Int32) { if code != 0 { _ = endAll(world, 70) } }
}

/// Floats that grow to what is asked for and stay.
private struct ScratchFloats {
  private var storage: UnsafeMutablePointer<Float>?
  private var size = 0
  mutating func atLeast(_ count: Int) -> UnsafeMutablePointer<Float> {
    if count > size {
      storage?.deallocate()
      storage = .allocate(capacity: count)
      size = count
    }
    return storage!
  }
}
