// Photographs in batches of one shape, in their order: decoding runs ahead of whoever takes them, on threads of its own. What cannot be read comes in its place.

internal import Dino
internal import DinoKernels
internal import DinoTensor

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
    var batch = Batch()
    // Images of one size follow each other in the same memory. The last ones, fewer than a batch, come when it was given back.
    if preparer.fixedSize != nil { try StorageRecycling.during { try fill(&batch, inputs, body) } } else { try fill(&batch, inputs, body) }
    try batch.flush(body)
  }

  /// Images of one shape, in one block of memory where there are several.
  private struct Batch {
    var indices: [Int] = [], images: [PreparedImage] = []
    private var joiner: TensorJoiner?

    /// Copies the image to its place among `size`, so that its own memory serves the next.
    mutating func append(_ image: PreparedImage, index: Int, of size: Int) throws {
      indices.append(index)
      guard size > 1 else { return images.append(image) }
      var joiner = try self.joiner ?? TensorJoiner(capacity: size, like: image.tensor)
      images.append(image.moved(to: joiner.append(image.tensor)))
      self.joiner = joiner
    }

    mutating func flush(_ body: (Part) throws -> Void) throws {
      guard !images.isEmpty else { return }
      try body(.batch(indices: indices, images: images))
      indices = []
      images = []
      joiner = nil
    }
  }

  /// Leaves what does not fill a batch.
  private func fill(_ batch: inout Batch, _ inputs: [ImageInput], _ body: (Part) throws -> Void) throws {
    let preparer = self.preparer
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: preparer.inputsInMemory(atMost: InputMemory.imagesAhead(batch: batchSize, workers: workers)), workers: inputs.count == 1 ? 0 : workers) {
      preparer.prepareOrExplain(inputs[$0])
    }
    for index in inputs.indices {
      guard let next = prefetch.next() else { break }
      switch next {
      case .success(let image):
        if let first = batch.images.first, first.shape != image.shape { try batch.flush(body) }
        try batch.append(image, index: index, of: batchSize)
        if batch.images.count == batchSize { try batch.flush(body) }
      case .failure(let reason):
        try batch.flush(body)
        try body(.unreadable(index: index, reason: reason.message))
      }
    }
  }
}
