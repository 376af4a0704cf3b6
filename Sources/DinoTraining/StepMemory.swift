// A training step that does not fit into memory, in words: what a plan says of that knows no flags.

internal import Dino
internal import DinoRuntime
internal import DinoTensor

extension DinoError {
  /// Of making the plan of a step of so many images.
  /// - Parameter smaller: the flags that make it need less.
  init(planning error: any Error, images: Int, smaller: String) {
    var bytes: Int?
    if case .outOfMemory(let n, _)? = error as? RuntimeError { bytes = n }
    if case .outOfMemory(let n)? = error as? StorageError { bytes = n }
    guard let bytes else {
      self.init(error, path: nil)
      return
    }
    self.init(.unavailable, "a training step of \(images) images needs \(bytes) bytes, which the system does not give", hint: "lower \(smaller)")
  }
}
