// A model in programs of Swift's concurrency: work that waits for its turn and computes for long does not belong on the few threads that all tasks share.

internal import Dispatch
internal import Synchronization

extension DinoModel {
  /// Does `work` with this model on a thread of its own, behind what was asked before; no thread of Swift's tasks waits meanwhile.
  ///
  ///     let features = try await model.background { model throws(DinoError) in try model.features(frames) }
  ///
  /// Where the task is cancelled before the work's turn comes, it is not done and the error's kind is `interrupted`. Work that has begun is finished: a run is not broken off.
  public func background<Value: Sendable>(_ work: @escaping @Sendable (DinoModel) throws(DinoError) -> Value) async throws(DinoError) -> Value {
    let isCancelled = CancelFlag()
    let result = await withTaskCancellationHandler {
      await withCheckedContinuation { (waiting: CheckedContinuation<Result<Value, DinoError>, Never>) in
        queue.async {
          waiting.resume(returning: Result { () throws(DinoError) -> Value in
            if isCancelled.isSet { throw DinoError(.interrupted, "the task was cancelled before the model's turn came") }
            return try work(self)
          })
        }
      }
    } onCancel: {
      isCancelled.set()
    }
    return try result.get()
  }
}

private final class CancelFlag: Sendable {
  private let value = Atomic(false)
  var isSet: Bool { value.load(ordering: .relaxed) }
  func set() { value.store(true, ordering: .relaxed) }
}
