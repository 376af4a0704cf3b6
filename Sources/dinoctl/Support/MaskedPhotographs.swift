// Photographs with a mask each, of the same name in another folder: for learning from masks, and for being measured by them.

internal import Dino
internal import DinoImaging

struct MaskedPhotographs {
  let photographs: [ImageInput]
  /// The path of each one's mask.
  let masks: [String]

  init(photographs folder: String, masks maskFolder: String) throws {
    photographs = try ReadingOptions.expand([folder])
    let byStem = Dictionary(try ReadingOptions.expand([maskFolder]).map { ($0.stem, $0.name) }, uniquingKeysWith: { first, _ in first })
    masks = try photographs.map { input in
      guard let path = byStem[input.stem] else { throw Failure(.notFound, "\(maskFolder): no mask for the photograph \(input.name)") }
      return path
    }
  }

  /// Refuses a mask of another size than its photograph.
  static func check(_ path: String, width: Int, height: Int, of photograph: Image) throws {
    guard width == photograph.width && height == photograph.height else {
      throw Failure(.data, "\(path) has \(width)x\(height) pixels, its photograph \(photograph.width)x\(photograph.height)")
    }
  }
}
