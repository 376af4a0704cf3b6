// Batches of crops made ahead of the steps that use them: decoding and augmenting on threads of their own, results in the order of the steps. Which images a step gets, and
// their random numbers, follow from the seed and the step alone.

public import Dino
internal import DinoImaging
public import DinoModels
public import DinoTensor
internal import Synchronization

/// The crops of one step, view by view.
public struct CropBatch: Sendable {
  public var globals: Tensor
  public var locals: Tensor?
  /// Images that could not be read, and for which others stand.
  public var replaced: [(name: String, reason: String)]
}

public final class CropLoader: Sendable {
  public let images: [ImageInput]
  public let batch: Int
  public let augmentation: MultiCropAugmentation
  public let seed: UInt64
  /// Which of how many processes this is: each takes its part of a step's images.
  public let rank: (index: Int, count: Int)
  public var stepsPerEpoch: Int { images.count / stepImages }
  /// Images of a step, of all processes.
  public var stepImages: Int { batch * rank.count }
  private let shuffled: ShuffledImages
  /// Which mean and deviation the networks read.
  private let statistics: PreprocessingPlan
  private let prefetch = Mutex<OrderedPrefetch<Result<CropBatch, DinoError>>?>(nil)

  public init(images: [ImageInput], batch: Int, augmentation: MultiCropAugmentation, seed: UInt64, preprocessing: Preprocessing = .imageNet, rank: (index: Int, count: Int) = (0, 1)) throws(DinoError) {
    guard images.count >= batch * rank.count else {
      throw DinoError(.usage, "\(images.count) images are fewer than the \(batch * rank.count) of one batch", hint: "give a smaller --batch-size-per-gpu")
    }
    self.images = images
    self.batch = batch
    self.augmentation = augmentation
    self.seed = seed
    self.rank = rank
    guard preprocessing.channelOrder == .rgb else { throw DinoError(.unavailable, "training reads channels as RGB, but the record of the teacher says \(preprocessing.channelOrder.rawValue)") }
    statistics = PreprocessingPlan(resize: .none, crop: nil, mean: preprocessing.mean.map { Float($0) }, standardDeviation: preprocessing.std.map { Float($0) })
    shuffled = try ShuffledImages(images, seed: seed)
  }

  /// Begins making batches from step `first` on.
  public func start(at first: Int, count: Int, workers: Int, ahead: Int) {
    prefetch.withLock { $0 = OrderedPrefetch(count: count, ahead: ahead, workers: workers) { [weak self] i in self?.made(first + i) ?? .failure(.nobodyWaits) } }
  }

  /// The next step's batch; nil after the last.
  public func next() throws(DinoError) -> CropBatch? {
    let source = prefetch.withLock { $0 }
    return try source?.next()?.get()
  }

  private func made(_ step: Int) -> Result<CropBatch, DinoError> {
    do throws(DinoError) { return .success(try make(step)) } catch { return .failure(error) }
  }

  /// The batch of one step.
  public func make(_ step: Int) throws(DinoError) -> CropBatch {
    let epoch = step / stepsPerEpoch, start = step % stepsPerEpoch * stepImages + rank.index * batch
    let order = shuffled.order(of: epoch)
    var views: [[Image]] = Array(repeating: [], count: 2 + augmentation.localCrops)
    var replaced: [(name: String, reason: String)] = []
    for position in start..<start + batch {
      var random = Generator(seed: seed, Generator.Purpose.crops.rawValue, epoch, position)
      let image = try shuffled.readable(order, position, &replaced).image
      do {
        for (v, crop) in try augmentation.crops(of: image, random: &random).enumerated() { views[v].append(crop) }
      } catch { throw DinoError(error, path: images[order[position]].name) }
    }
    do {
      let globals = try statistics.batch(views[0] + views[1])
      let locals = augmentation.localCrops > 0 ? try statistics.batch(views[2...].flatMap { $0 }) : nil
      return CropBatch(globals: globals, locals: locals, replaced: replaced)
    } catch { throw DinoError(error, path: nil) }
  }
}
