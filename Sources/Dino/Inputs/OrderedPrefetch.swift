// Makes the elements of a sequence ahead of their use, on a few threads, and hands them out in order. The number made ahead is bounded,
// so memory is too. Elements must not fail: failures are values.

internal import Dispatch
internal import Synchronization

/// Elements 0, 1, … `count - 1` of `make`, made ahead.
public final class OrderedPrefetch<Element: Sendable>: Sendable {
  private final class Job: Sendable {
    let done = DispatchSemaphore(value: 0)
    let result = Mutex<Element?>(nil)
  }
  private struct State {
    var scheduled = 0
    var waiting: [Job] = []
  }

  private let count: Int
  private let make: @Sendable (Int) -> Element
  /// One serial queue a worker: job i runs on queue i modulo their number, so no more threads than workers are ever blocked.
  private let queues: [DispatchQueue]
  private let state = Mutex(State())

  /// - Parameters:
  ///   - count: none where it is below 1.
  ///   - ahead: how many elements may be ready or in the making at once. With 0 workers each is made when it is asked for.
  public init(count: Int, ahead: Int, workers: Int, make: @escaping @Sendable (Int) -> Element) {
    self.count = max(0, count)
    self.make = make
    queues = (0..<max(0, workers)).map { DispatchQueue(label: "dino.prefetch.\($0)") }
    if !queues.isEmpty { for _ in 0..<min(self.count, max(1, ahead)) { schedule() } }
  }

  /// The next element, or nil after the last. Waits until it is made.
  public func next() -> Element? {
    if queues.isEmpty {
      let index = state.withLock { s -> Int? in
        guard s.scheduled < count else { return nil }
        s.scheduled += 1
        return s.scheduled - 1
      }
      return index.map(make)
    }
    guard let job = state.withLock({ $0.waiting.isEmpty ? nil : $0.waiting.removeFirst() }) else { return nil }
    job.done.wait()
    schedule()
    return job.result.withLock { result in
      defer { result = nil }
      return result
    }
  }

  private func schedule() {
    let job = Job()
    let index = state.withLock { s -> Int? in
      guard s.scheduled < count else { return nil }
      s.scheduled += 1
      s.waiting.append(job)
      return s.scheduled - 1
    }
    guard let index else { return }
    let make = self.make
    queues[index % queues.count].async {
      let element = make(index)
      job.result.withLock { $0 = element }
      job.done.signal()
    }
  }
}
