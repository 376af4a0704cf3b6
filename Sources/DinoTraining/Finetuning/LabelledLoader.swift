// Batches of crops with their classes, made ahead of the steps that use them, in the order of the steps: one crop of each image at random, mirrored half of the time, in other
// colours where that is asked for. Which images a step gets, and their random numbers, follow from the seed and the step alone.

public import Dino
internal import DinoImaging
public import DinoModels
public import DinoTensor
internal import Synchronization

/// What is done to a photograph before the network learns from it: torchvision's RandomResizedCrop (bicubic), RandomHorizontalFlip and ColorJitter(x, x, x).
public struct LabelledAugmentation: Sendable, Equatable {
  public var size: Int
  /// Least and largest share of the photograph in a crop.
  public var scale = 0.08...1.0
  /// Brightness, contrast and saturation are multiplied by 1 - this to 1 + this; 0 leaves colours.
  public var colorJitter = 0.0

  public init(size: Int) { self.size = size }

  /// Under the flags of dinoctl.
  var listed: [(flag: String, value: String)] { [("--crop-scale", "\(scale.lowerBound) \(scale.upperBound)"), ("--color-jitter", "\(colorJitter)")] }

  func parameters(width: Int, height: Int, random: inout Generator) -> CropParameters {
    var p = CropParameters(box: MultiCropAugmentation.box(width: width, height: height, scale: scale, &random))
    p.isMirrored = random.unit() < 0.5
    guard colorJitter > 0 else { return p }
    let order = random.permutation(3), low = max(0, 1 - colorJitter), high = 1 + colorJitter
    let three: [CropParameters.ColorStep] = [.brightness(Float(random.uniform(low, high))), .contrast(Float(random.uniform(low, high))), .saturation(Float(random.uniform(low, high)))]
    p.jitter = order.map { three[$0] }
    return p
  }
}

/// The crops of one step.
public struct LabelledBatch: Sendable {
  /// [B,C,H,W]
  public var crops: Tensor
  public var labels: [Int]
  /// Images that could not be read, and for which others stand.
  public var replaced: [(name: String, reason: String)]
}

public final class LabelledLoader: Sendable {
  public let images: [ImageInput]
  public let labels: [Int]
  public let batch: Int
  public let augmentation: LabelledAugmentation
  /// Whether photographs are turned as their EXIF orientation says.
  public let followsOrientation: Bool
  public var stepsPerEpoch: Int { images.count / batch }
  private let seed: UInt64
  private let shuffled: ShuffledImages
  private let plan: PreprocessingPlan
  private let prefetch = Mutex<OrderedPrefetch<Result<LabelledBatch, DinoError>>?>(nil)

  /// - Parameter preprocessing: mean and deviation are of it.
  public init(images: [ImageInput], labels: [Int], batch: Int, augmentation: LabelledAugmentation, preprocessing: Preprocessing, seed: UInt64, followsOrientation: Bool = false) throws(DinoError) {
    precondition(images.count == labels.count)
    guard images.count >= batch else { throw DinoError(.usage, "\(images.count) images are fewer than the \(batch) of one batch", hint: "give a smaller --batch-size") }
    guard preprocessing.channelOrder == .rgb, preprocessing.mean.count == 3 else { throw DinoError(.unavailable, "fine-tuning reads photographs as red, green and blue; this model's preprocessing says otherwise") }
    self.images = images
    self.labels = labels
    self.batch = batch
    self.augmentation = augmentation
    self.seed = seed
    self.followsOrientation = followsOrientation
    shuffled = try ShuffledImages(images, seed: seed, followsOrientation: followsOrientation)
    plan = PreprocessingPlan(resize: .none, crop: nil, mean: preprocessing.mean.map { Float($0) }, standardDeviation: preprocessing.std.map { Float($0) })
  }

  /// Begins making batches from step `first` on.
  public func start(at first: Int, count: Int, workers: Int, ahead: Int) {
    prefetch.withLock {
      $0 = OrderedPrefetch(count: count, ahead: ahead, workers: workers) { [weak self] i in
        guard let self else { return .failure(.nobodyWaits) }
        do throws(DinoError) { return .success(try self.make(first + i)) } catch { return .failure(error) }
      }
    }
  }

  /// The next step's batch; nil after the last.
  public func next() throws(DinoError) -> LabelledBatch? {
    let source = prefetch.withLock { $0 }
    return try source?.next()?.get()
  }

  /// The batch of one step. An epoch leaves out what does not fill a batch.
  public func make(_ step: Int) throws(DinoError) -> LabelledBatch {
    let epoch = step / stepsPerEpoch, start = step % stepsPerEpoch * batch, order = shuffled.order(of: epoch)
    var crops: [Image] = [], found: [Int] = [], replaced: [(name: String, reason: String)] = []
    for position in start..<start + batch {
      var random = Generator(seed: seed, Generator.Purpose.crops.rawValue, epoch, position)
      let (image, index) = try shuffled.readable(order, position, &replaced)
      do { crops.append(try augmentation.parameters(width: image.width, height: image.height, random: &random).crop(of: image, size: augmentation.size)) } catch {
        throw DinoError(error, path: images[index].name)
      }
      found.append(labels[index])
    }
    do { return LabelledBatch(crops: try plan.batch(crops), labels: found, replaced: replaced) } catch { throw DinoError(error, path: nil) }
  }
}
