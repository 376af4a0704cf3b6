// Photographs with a mask each, of the same name in another folder: for learning from masks, and for being measured by them.

internal import Dino
internal import DinoImaging

struct MaskedPhotographs {
  let photographs: [ImageInput]
  /// The path of each one's mask.
  let masks: [String]

  init(photographs folder: String, masks maskFolder: String) throws {
    let found = try ReadingOptions.expand([folder]), named = try FilesByName(maskFolder)
    var users: [String: ImageInput] = [:]
    masks = try found.map { input in
      guard let mask = try named.file(input.pathBelow(folder))?.name else { throw Failure(.notFound, "\(maskFolder): no mask for the photograph \(input.name)") }
      if let other = users.updateValue(input, forKey: mask), other.pathBelow(folder) != input.pathBelow(folder) {
        throw Failure(.data, "\(mask) would be the mask of both \(other.name) and \(input.name)", hint: FilesByName.hint)
      }
      return mask
    }
    photographs = found
  }

  /// Refuses a mask of another size than its photograph.
  static func check(_ path: String, width: Int, height: Int, of photograph: Image) throws {
    guard width == photograph.width && height == photograph.height else {
      throw Failure(.data, "\(path) has \(width)x\(height) pixels, its photograph \(photograph.width)x\(photograph.height)")
    }
  }
}
