// Photographs for segmentation: decoded with what the network reads of them, and all of a folder together for co-segmentation.

internal import Dino
internal import DinoImaging
internal import DinoKernels
internal import DinoSegmentation

/// A decoded photograph with what the network reads of it.
struct Photograph: Sendable {
  var image: Image
  var prepared: PreparedImage

  static func read(_ input: ImageInput, _ preparer: ImagePreparer) -> Result<Photograph, UnreadableInput> {
    do {
      let image = try preparer.decode(input)
      return .success(Photograph(image: image, prepared: try preparer.prepare(image)))
    } catch { return .failure(UnreadableInput(error, of: input)) }
  }
}

/// Photographs that lie on their side, where pictures or masks of them are written or read.
struct OrientationNote {
  private let before = ImageDecoder.unturnedPictures

  /// Says how many have been read since this was made.
  func tell() {
    let count = ImageDecoder.unturnedPictures - before
    guard count > 0 else { return }
    Terminal.note("\(count) \(count == 1 ? "photograph has" : "photographs have") an EXIF orientation that is not followed (--exif-orientation follows it)")
  }
}

enum CoSegmenting {
  /// A mask for each photograph that could be read.
  static func masks(_ inputs: [ImageInput], _ dino: DinoModel, _ preparer: ImagePreparer, threads: Int) throws -> [PatchMask?] {
    // Features are held twice: of each photograph, and all of them together for the groups.
    let limit = min(8 << 30, availableMemory() ?? .max)
    var progress = ProgressBar(total: inputs.count, unit: "images read"), read: [CoSegmentation.Input] = [], indices: [Int] = [], bytes = 0
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: 3, workers: inputs.count == 1 ? 0 : 1) { preparer.prepareOrExplain(inputs[$0]) }
    for i in inputs.indices {
      guard let next = prefetch.next() else { break }
      // What cannot be read is told in the second round.
      if case .success(let image) = next {
        let (features, attention) = try dino.patchFeaturesWithAttention(image)
        bytes += 2 * features.values.count * MemoryLayout<Float>.size
        guard bytes <= limit else {
          throw Failure(.unavailable, "kmeans holds the features of all photographs: \(read.count) of \(inputs.count) take \(readable(bytes: bytes)) already, where \(readable(bytes: limit)) may be taken", hint: "give fewer photographs, or a smaller --image-size")
        }
        read.append(CoSegmentation.Input(features, attention))
        indices.append(i)
      }
      progress.advance()
    }
    progress.finish()
    let result = CoSegmentation(read, threads: threads)
    if result.salient.contains(true) {
      Terminal.note("\(result.groups) groups, of which \(result.salient.count { $0 }) are the object")
    } else {
      let most = Int(100 * (result.attending.max() ?? 0))
      Terminal.note("none of \(result.groups) groups is the object, and all masks are empty: \(most) % of the photographs attend to the one that is attended to most, 75 % are wanted; try another method")
    }
    var masks = [PatchMask?](repeating: nil, count: inputs.count)
    for (k, i) in indices.enumerated() { masks[i] = result.masks[k] }
    return masks
  }
}
