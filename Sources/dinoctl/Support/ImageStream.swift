// Photographs in batches of one shape, in their order: decoding runs ahead of whoever takes them, on threads of its own. What cannot be read comes in its place.

internal import Dino
internal import DinoKernels

struct ImageStream {
  enum Part {
    /// Images of one shape, and their places among the inputs.
    case batch(indices: [Int], images: [PreparedImage])
    case unreadable(index: Int, reason: String)
  }

  let preparer: ImagePreparer
  let batchSize: Int
  let workers: Int

  /// - Parameter workers: threads that decode; 0 for the cores there are.
  init(preparer: ImagePreparer, batchSize: Int, workers: Int) {
    self.preparer = preparer
    self.batchSize = preparer.inputsInMemory(atMost: max(1, batchSize))
    self.workers = workers > 0 ? workers : availableCores()
  }

  func forEach(_ inputs: [ImageInput], _ body: (Part) throws -> Void) throws {
    let preparer = self.preparer
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: preparer.inputsInMemory(atMost: 2 * batchSize + workers), workers: inputs.count == 1 ? 0 : workers) {
      preparer.prepareOrExplain(inputs[$0])
    }
    var indices: [Int] = [], images: [PreparedImage] = []
    func flush() throws {
      guard !images.isEmpty else { return }
      try body(.batch(indices: indices, images: images))
      indices = []
      images = []
    }
    for index in inputs.indices {
      guard let next = prefetch.next() else { break }
      switch next {
      case .success(let image):
        if let first = images.first, first.shape != image.shape || images.count == batchSize { try flush() }
        indices.append(index)
        images.append(image)
      case .failure(let reason):
        try flush()
        try body(.unreadable(index: index, reason: reason.message))
      }
    }
    try flush()
  }
}
