// A small team of threads for one pattern only: everyone runs the same function at once, the caller too, and claims work from counters
// inside it. No task queue, no nesting. Whoever arrives late finds less to do: the caller never waits for a thread to start, only for
// those that joined to leave.

internal import CDinoKernels
internal import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// What a team runs: a function without captures, and its context. `participant` is below the team's count, 0 for the caller.
public typealias TeamFunction = @convention(c) (_ context: UnsafeMutableRawPointer, _ participant: Int) -> Void

public final class ThreadTeam: @unchecked Sendable {
  /// Threads that may take part, the caller counted.
  public let count: Int

  private let shared: TeamState
  private let running = Mutex<Void>(())

  /// Teams live as long as the process: one for each size, made when first asked for.
  public static func shared(_ count: Int) -> ThreadTeam {
    registry.withLock { teams in
      if let team = teams[count] { return team }
      let team = ThreadTeam(count: count)
      teams[count] = team
      return team
    }
  }
  private static let registry = Mutex<[Int: ThreadTeam]>([:])

  private init(count: Int) {
    precondition(count >= 1)
    self.count = count
    shared = TeamState()
    for participant in 1..<max(count, 1) {
      let start = Unmanaged.passRetained(WorkerStart(state: shared, participant: participant))
      var thread = pthread_t()
      let code = pthread_create(&thread, nil, { raw in
        let start = Unmanaged<WorkerStart>.fromOpaque(raw!).takeRetainedValue()
        start.state.workerLoop(participant: start.participant)
        return nil
      }, start.toOpaque())
      if code != 0 { start.release() } else { pthread_detach(thread) }
    }
  }

  /// Runs `function` on the caller and on those workers that are free, and returns when all of them have left it.
  /// Calls from several threads take turns.
  public func run(_ context: UnsafeMutableRawPointer, _ function: TeamFunction) {
    if count == 1 { return function(context, 0) }
    running.withLock { _ in
      shared.publish(context, function)
      function(context, 0)
      shared.close()
    }
  }

  /// Calls `body` for each index below `tasks`, in any order, on the team. For set-up work: `run` is for the hot path.
  public func forEach(_ tasks: Int, _ body: (Int) -> Void) {
    withoutActuallyEscaping(body) { body in
      let job = IndexedJob(tasks: tasks, body: body)
      withExtendedLifetime(job) {
        run(Unmanaged.passUnretained(job).toOpaque()) { context, _ in
          let job = Unmanaged<IndexedJob>.fromOpaque(context).takeUnretainedValue()
          while true {
            let i = job.next.wrappingAdd(1, ordering: .relaxed).oldValue
            if i >= job.tasks { return }
            job.body(i)
          }
        }
        job.body = { _ in }
      }
    }
  }
}

private final class IndexedJob {
  let tasks: Int
  var body: (Int) -> Void
  let next = Atomic<Int>(0)
  init(tasks: Int, body: @escaping (Int) -> Void) {
    self.tasks = tasks
    self.body = body
  }
}

private final class WorkerStart {
  let state: TeamState
  let participant: Int
  init(state: TeamState, participant: Int) {
    self.state = state
    self.participant = participant
  }
}

/// Shared between the caller and the workers. `door` holds the generation of the current job in its upper bits, whether it is open in the
/// lowest, and in between how many workers are inside: one word, so that a late worker cannot enter a job that was closed.
private final class TeamState: @unchecked Sendable {
  private static let open = 1, inside = 2, generation = 1 << 16
  private let door = Atomic<Int>(0)
  private let sleepers = Atomic<Int>(0)
  // Written by the caller while the door is closed and nobody is inside; read by workers that are inside.
  private nonisolated(unsafe) var context: UnsafeMutableRawPointer?
  private nonisolated(unsafe) var function: TeamFunction?
  private let lock: UnsafeMutablePointer<pthread_mutex_t>
  private let wake: UnsafeMutablePointer<pthread_cond_t>

  init() {
    lock = .allocate(capacity: 1)
    wake = .allocate(capacity: 1)
    pthread_mutex_init(lock, nil)
    pthread_cond_init(wake, nil)
  }

  func publish(_ context: UnsafeMutableRawPointer, _ function: @escaping TeamFunction) {
    self.context = context
    self.function = function
    let old = door.load(ordering: .relaxed)
    door.store((old / Self.generation &+ 1) &* Self.generation | Self.open, ordering: .sequentiallyConsistent)
    if sleepers.load(ordering: .sequentiallyConsistent) > 0 {
      pthread_mutex_lock(lock)
      pthread_cond_broadcast(wake)
      pthread_mutex_unlock(lock)
    }
  }

  /// Closes the door, then waits for those inside.
  func close() {
    var now = door.bitwiseAnd(~Self.open, ordering: .acquiringAndReleasing).newValue
    var spins = 0
    while now % Self.generation != 0 {
      spinOnce(&spins)
      now = door.load(ordering: .acquiring)
    }
  }

  func workerLoop(participant: Int) {
    var last = 0
    while true {
      let seen = waitForJob(after: last)
      last = seen / Self.generation
      // Enter only if the door is still open in the same generation.
      var expected = door.load(ordering: .acquiring)
      var entered = false
      while expected / Self.generation == last, expected & Self.open != 0 {
        let (done, original) = door.weakCompareExchange(expected: expected, desired: expected &+ Self.inside, ordering: .acquiringAndReleasing)
        if done {
          entered = true
          break
        }
        expected = original
      }
      guard entered, let function, let context else { continue }
      function(context, participant)
      door.wrappingSubtract(Self.inside, ordering: .releasing)
    }
  }

  /// Spins for a bounded time (steps of a plan and plans of a stream follow each other closely), then sleeps.
  private func waitForJob(after last: Int) -> Int {
    for _ in 0..<20_000 {
      let now = door.load(ordering: .acquiring)
      if now & Self.open != 0, now / Self.generation != last { return now }
      dk_pause()
    }
    pthread_mutex_lock(lock)
    sleepers.wrappingAdd(1, ordering: .sequentiallyConsistent)
    defer {
      sleepers.wrappingSubtract(1, ordering: .sequentiallyConsistent)
      pthread_mutex_unlock(lock)
    }
    while true {
      let now = door.load(ordering: .sequentiallyConsistent)
      if now & Self.open != 0, now / Self.generation != last { return now }
      pthread_cond_wait(wake, lock)
    }
  }
}

/// One turn of a waiting loop: a pause, and after many the core is offered to others.
@inline(__always)
public func spinOnce(_ spins: inout Int) {
  spins &+= 1
  if spins < 2_000 { dk_pause() } else { sched_yield() }
}
