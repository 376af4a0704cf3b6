// A training step that does not fit into memory, in words: what a plan says of that knows no flags.

internal import Dino
internal import DinoRuntime
internal import DinoTensor

extension DinoError {
  /// Of making the plan of a step of so many images.
  /// - Parameter smaller: the flags that make it need less.
  init(planning error: any Error, images: Int, smaller: String) {
    var needed: Int?
    if case .outOfMemory(let bytes, _)? = error as? RuntimeError { needed = bytes }
    if case .outOfMemory(let bytes)? = error as? StorageError { needed = bytes }
    guard let bytes = needed else {
      self.init(error, path: nil)
      return
    }
    self.init(.unavailable, "a training step of \(images) images needs \(bytes) bytes, which the system does not give", hint: "lower \(smaller)")
  }
}
