// The images of a training in the order of an epoch, decoded; where one cannot be read another stands in for it. The order follows from the seed and the epoch alone. What is
// made of an image is the loader's.

internal import Dino
internal import DinoImaging
internal import DinoModels
internal import Synchronization

final class ShuffledImages: Sendable {
  let images: [ImageInput]
  private let seed: UInt64
  private let preparer: ImagePreparer
  private let known = Mutex<(epoch: Int, images: [Int])>((-1, []))

  init(_ images: [ImageInput], seed: UInt64, followsOrientation: Bool = false) throws(DinoError) {
    self.images = images
    self.seed = seed
    var preparer = try ImagePreparer(.imageNet, patch: 1)
    preparer.followsOrientation = followsOrientation
    self.preparer = preparer
  }

  func order(of epoch: Int) -> [Int] {
    known.withLock { known in
      if known.epoch != epoch {
        var random = Generator(seed: seed, Generator.Purpose.order.rawValue, epoch)
        known = (epoch, random.permutation(images.count))
      }
      return known.images
    }
  }

  /// The image at a place of the order; the next readable one where it is corrupt, and which of the images it is.
  func readable(_ order: [Int], _ position: Int, _ replaced: inout [(name: String, reason: String)]) throws(DinoError) -> (image: Image, index: Int) {
    let tries = min(order.count, 100)
    for offset in 0..<tries {
      let index = order[(position + offset) % order.count], input = images[index]
      do { return (try preparer.decode(input).rgb(), index) } catch {
        replaced.append((input.name, UnreadableInput(error, of: input).message))
      }
    }
    let which = tries == order.count ? "none of the \(tries) images can be read" : "\(tries) images one after the other cannot be read"
    throw DinoError(.data, "\(which), \(replaced.last?.name ?? "") the last: \(replaced.last?.reason ?? "")")
  }
}

extension DinoError {
  /// Of a batch in the making when its loader went away: nobody reads it.
  static var nobodyWaits: DinoError { DinoError(.interrupted, "the batches are no longer wanted") }
}
