// Photographs with a mask each, of the same name in another folder: for learning from masks, and for being measured by them.

internal import Dino
internal import DinoImaging

struct MaskedPhotographs {
  let photographs: [ImageInput]
  /// The path of each one's mask.
  let masks: [String]

  init(photographs folder: String, masks maskFolder: String) throws {
    let found = try ReadingOptions.expand([folder]), named = try FilesByName(maskFolder)
    guard named.all.allSatisfy({ $0.path != nil }) else { throw Failure(.usage, "\(maskFolder): masks are read from a folder or a list of files, not from an archive", hint: "unpack it first, with tar -xf") }
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
  /// - Parameter isTurned: the photograph is as its EXIF orientation says.
  static func check(_ path: String, width: Int, height: Int, of photograph: Image, isTurned: Bool) throws {
    guard width == photograph.width && height == photograph.height else {
      // Masks are drawn on what viewers show, which turn photographs.
      let hint = width != photograph.height || height != photograph.width ? nil
        : isTurned ? "it fits the photograph as it is stored: leave --exif-orientation out" : "it fits the photograph on its side: --exif-orientation turns photographs as viewers do"
      throw Failure(.data, "\(path) has \(width)x\(height) pixels, its photograph \(photograph.width)x\(photograph.height)", hint: hint)
    }
  }
}
