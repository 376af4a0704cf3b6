// Images by the names that rows of features and banks have for them: files, and members of tar archives.

internal import Dino
internal import DinoImaging
internal import DinoTensor

struct NamedImages {
  /// Members of the archives that were asked for, by name.
  private var archives: [String: [String: ImageInput]] = [:]

  /// The image of that name; nil where it is not there any more.
  mutating func input(_ name: String) -> ImageInput? {
    if Output.exists(name) { return ImageInput(path: name) }
    for slash in name.utf8.indices where name.utf8[slash] == UInt8(ascii: "/") && name[..<slash].lowercased().hasSuffix(".tar") {
      if let found = members(of: String(name[..<slash]))[name] { return found }
    }
    return nil
  }

  private mutating func members(of archive: String) -> [String: ImageInput] {
    if let known = archives[archive] { return known }
    let inputs = (try? ImageInputs.expand([archive])) ?? []
    // Of two members of one name the later is what tar unpacks.
    let members = Dictionary(inputs.map { ($0.name, $0) }, uniquingKeysWith: { _, later in later })
    archives[archive] = members
    return members
  }
}

extension ImageInput {
  /// The picture as it is stored, or as its EXIF orientation says; nil where it cannot be read.
  func picture(isTurned: Bool = false) -> Image? {
    var options = DecodeOptions()
    options.applyOrientation = isTurned
    switch place {
    case .file(let path): return try? ImageDecoder.decode(path: path, options: options)
    case .bytes(let bytes): return try? ImageDecoder.decode(bytes: bytes, options: options)
    case .member(let storage, let range): return bytes(of: storage, range).flatMap { try? ImageDecoder.decode(bytes: $0, options: options) }
    }
  }

  /// Width and height of the picture, by its header; nil where that cannot be read.
  var pictureSize: (width: Int, height: Int)? {
    switch place {
    case .file(let path): return try? ImageDecoder.size(path: path)
    case .bytes(let bytes): return try? ImageDecoder.size(bytes: bytes)
    case .member(let storage, let range): return bytes(of: storage, range).flatMap { try? ImageDecoder.size(bytes: $0) }
    }
  }

  /// Bytes of the file.
  var byteCount: Int {
    switch place {
    case .file(let path): return Dino.byteCount(ofFile: path)
    case .bytes(let bytes): return bytes.count
    case .member(_, let range): return range.count
    }
  }
}
