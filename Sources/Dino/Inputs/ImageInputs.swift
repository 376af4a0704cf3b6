// Turns what a person names (files, folders, list files, tar shards, "-") into a list of images. It looks at names and first bytes only:
// nothing is decoded, so a corrupt image is found later, by who reads it.

public import DinoTensor
internal import NumPyArrays
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif
#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// One image to read.
public struct ImageInput: Sendable {
  public enum Place: Sendable {
    case file(path: String)
    /// Bytes within a mapped archive.
    case member(of: Storage, range: Range<Int>)
    /// Bytes in memory (standard input).
    case bytes([UInt8])
  }
  /// What messages and result files call it: the path as it was given, or `ARCHIVE/MEMBER`.
  public var name: String
  public var place: Place
  /// The file of the archive that it is a member of; nil where it is of none, or of one that came through standard input.
  public var archive: String?
  /// Why it is known already that it cannot be read, as what follows its name.
  public var problem: String?
  /// Where else the line of a list that it came from may lead, where no file is there now.
  public var alternatives: [String] = []

  public init(name: String, place: Place) {
    self.name = name
    self.place = place
  }

  /// An image file.
  public init(path: String) { self.init(name: path, place: .file(path: path)) }

  /// The bytes of the member of an archive; nil where the archive was cut short since its table was read.
  public func bytes(of storage: Storage, _ range: Range<Int>) -> [UInt8]? {
    guard let archive else { return storage.bytes(range) }
    return storage.bytes(range, rereading: archive)
  }

  /// The last part of the name without its extension.
  public var stem: String {
    let last = ImageInputs.parts(of: name).last.map(String.init) ?? name
    guard let dot = last.utf8.lastIndex(of: UInt8(ascii: ".")), dot != last.startIndex else { return last }
    return String(decoding: last.utf8[..<dot], as: UTF8.self)
  }
}

public enum ImageInputs {
  /// Endings of the files that are taken from folders and archives.
  public static let extensions: Set<String> = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm"]
  /// Endings of pictures that are not: a folder's are counted, and told of.
  static let otherExtensions: Set<String> = [
    "arw", "avif", "bmp", "cr2", "cr3", "djvu", "dng", "gif", "heic", "heif", "ico", "jfif", "jp2", "jpe", "jxl", "nef", "orf", "pcx", "pdf", "psd", "raf", "rw2", "svg", "tga",
  ]
  /// Endings of list files: one path a line.
  public static let listExtensions: Set<String> = ["txt", "lst", "list"]
  /// Deepest folder that is entered.
  static let depthLimit = 64
  /// Most bytes of a list file.
  static let listByteLimit = 1 << 30

  /// The images that `arguments` name, in their order; folders recursively, sorted by name.
  /// `standardInput` is called where an argument is "-": it may hold one image, a tar archive, or a list of paths. `note` is told of what is passed over.
  public static func expand(_ arguments: [String], standardInput: () throws -> [UInt8] = { [] }, note: (String) -> Void = { _ in }) throws -> [ImageInput] {
    var inputs: [ImageInput] = []
    var readInput = false
    for argument in arguments {
      if argument == "-" {
        guard !readInput else { throw DinoError(.usage, "'-' (standard input) may be named once only") }
        readInput = true
        inputs += try fromBytes(try standardInput(), note)
      } else {
        inputs += try fromPath(argument, note)
      }
    }
    return inputs
  }

  private static func fromPath(_ path: String, _ note: (String) -> Void) throws(DinoError) -> [ImageInput] {
    var isFolder = false
    guard exists(path, isFolder: &isFolder) else { throw DinoError(.notFound, "\(path): no such file or folder") }
    if isFolder {
      let found = try folder(path, note)
      guard !found.isEmpty else {
        throw DinoError(.notFound, "\(path): the folder has no images", hint: "looked for \(extensions.sorted().joined(separator: ", "))")
      }
      return found
    }
    switch ending(path) {
    case "tar", "tgz": return try tar(path, note)
    case "gz" where path.lowercased().hasSuffix(".tar.gz"): return try tar(path, note)
    case let e where listExtensions.contains(e): return try list(path)
    default: return [ImageInput(path: path)]
    }
  }

  // MARK: Folders

  /// What a folder has.
  private struct Listing {
    var names: [String] = []
    /// Pictures that are not read.
    var passedOver: [String] = []
    /// Folders that were entered, as bytes: strings are equal where Unicode writes one text in two ways, but folders of the two ways are two.
    var visited: Set<[UInt8]> = []
  }

  private static func folder(_ path: String, _ note: (String) -> Void) throws(DinoError) -> [ImageInput] {
    let base = path == "/" ? path : withoutSlash(path)
    var listing = Listing()
    try walk(base, prefix: "", depth: 0, into: &listing)
    tell(of: listing.passedOver, in: path, note)
    let names = listing.names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    return names.map { ImageInput(path: base == "/" ? "/" + $0 : base + "/" + $0) }
  }

  private static func tell(of passedOver: [String], in place: String, _ note: (String) -> Void) {
    guard !passedOver.isEmpty else { return }
    let endings = Set(passedOver.map(ending)).sorted().joined(separator: ", "), files = passedOver.count == 1 ? "1 picture is" : "\(passedOver.count) pictures are"
    note("\(place): \(files) passed over for the ending (\(endings)); those that are read: \(extensions.sorted().joined(separator: ", "))")
  }

  /// What cannot be looked into (a link to nowhere, whatever its ending: it may be of a folder; a name that is not UTF-8; a folder too deep) stays among the names: it is reported and
  /// skipped like a corrupt image.
  private static func walk(_ base: String, prefix: String, depth: Int, into found: inout Listing) throws(DinoError) {
    let here = prefix.isEmpty ? base : base + "/" + prefix
    // A link may lead back up: each real folder is entered once.
    let real = URL(filePath: here).resolvingSymlinksInPath().path
    guard found.visited.insert(Array(real.utf8)).inserted else { return }
    guard depth <= depthLimit else { return found.names.append(prefix) }
    let listing: [String]
    do { listing = try FileManager.default.contentsOfDirectory(atPath: here) } catch {
      throw DinoError(.io, "\(here): the folder cannot be read")
    }
    for name in listing.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) where name.utf8.first != UInt8(ascii: ".") {
      let relative = prefix.isEmpty ? name : prefix + "/" + name
      var isFolder = false
      let isThere = exists(base + "/" + relative, isFolder: &isFolder)
      if isFolder {
        try walk(base, prefix: relative, depth: depth + 1, into: &found)
      } else if extensions.contains(ending(name)) || !isThere && (isListed(here + "/" + name) || mayBeFolder(name)) {
        found.names.append(relative)
      } else if otherExtensions.contains(ending(name)) {
        found.passedOver.append(relative)
      }
    }
  }

  // MARK: Archives, lists, standard input

  private static func tar(_ path: String, _ note: (String) -> Void) throws(DinoError) -> [ImageInput] {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw DinoError(error, path: path) }
    try refuseGzip(storage.bytes(0..<min(2, storage.byteCount)), name: path, hint: "unpack it first with gunzip, or send it through zcat and name '-'")
    return try members(of: storage, name: path, file: path, note)
  }

  private static func members(of storage: Storage, name: String, file: String?, _ note: (String) -> Void) throws(DinoError) -> [ImageInput] {
    let archive: TarArchive
    do { archive = try TarArchive(storage) } catch { throw DinoError(.data, "\(name): \(error.description)") }
    if archive.replaced > 0 { note("\(name): files that are passed over for later ones of the same name, as tar unpacks them: \(archive.replaced)") }
    let seen = archive.members.filter { !isHidden($0.name) }
    tell(of: seen.map(\.name).filter { otherExtensions.contains(ending($0)) }, in: name, note)
    let images = seen.filter { extensions.contains(ending($0.name)) }
    guard !images.isEmpty else { throw DinoError(.notFound, "\(name): the archive has no images among its \(archive.members.count) files") }
    return images.map { member in
      var input = ImageInput(name: "\(name)/\(member.name)", place: .member(of: storage, range: member.range))
      input.archive = file
      input.problem = member.problem
      return input
    }
  }

  private static func list(_ path: String) throws(DinoError) -> [ImageInput] {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw DinoError(error, path: path) }
    guard storage.byteCount <= listByteLimit else { throw DinoError(.data, "\(path): a list of \(storage.byteCount) bytes is over the limit of \(listByteLimit)") }
    let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
    return try lines(storage.bytes(0..<storage.byteCount), name: path, folder: slash.map { String(decoding: path.utf8[..<$0], as: UTF8.self) })
  }

  /// Paths, one a line; empty lines are passed over. A path that is not there, or is not UTF-8 text, stays in the list: it is reported and skipped like a corrupt image.
  private static func lines(_ bytes: [UInt8], name: String, folder: String?) throws(DinoError) -> [ImageInput] {
    guard !bytes.contains(0) else { throw DinoError(.data, "\(name): not a list of paths (it has zero bytes)", hint: "a list is UTF-8 text, one path a line") }
    // Windows puts a byte order mark before text.
    let text = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes.dropFirst(3) : bytes[...]
    var inputs: [ImageInput] = []
    for line in text.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }) {
      let path = String(decoding: line, as: UTF8.self)
      if path.allSatisfy(\.isWhitespace) { continue }
      inputs.append(input(ofLine: path, folder: folder))
    }
    guard !inputs.isEmpty else { throw DinoError(.notFound, "\(name): the list names no images") }
    return inputs
  }

  /// Where a line leads: from the working folder or the list's own, as it stands or as a file of names spells line breaks. The first place that is there.
  private static func input(ofLine line: String, folder: String?) -> ImageInput {
    var places: [String] = []
    for path in [line] + (NameLine.name(speltIn: line).map { [$0] } ?? []) {
      places.append(path)
      if let folder, path.utf8.first != UInt8(ascii: "/") { places.append(folder + "/" + path) }
    }
    if places.count == 1 { return ImageInput(path: line) }
    var isFolder = false
    if let found = places.first(where: { exists($0, isFolder: &isFolder) }) { return ImageInput(path: found) }
    var input = ImageInput(path: line)
    input.alternatives = Array(places.dropFirst())
    return input
  }

  private static func fromBytes(_ bytes: [UInt8], _ note: (String) -> Void) throws -> [ImageInput] {
    guard !bytes.isEmpty else { throw DinoError(.notFound, "standard input is empty", hint: "send an image, a tar archive, or a list of paths") }
    if TarArchive.isTar(bytes) {
      let tensor = Tensor.copy(bytes, dtype: .u8, shape: [bytes.count])
      return try members(of: tensor.storage, name: "-", file: nil, note)
    }
    try refuseGzip(bytes, name: "standard input", hint: "unpack it on the way, with gunzip or zcat")
    if looksLikeImage(bytes) { return [ImageInput(name: "-", place: .bytes(bytes))] }
    return try lines(bytes, name: "standard input", folder: nil)
  }

  private static func refuseGzip(_ bytes: [UInt8], name: String, hint: String) throws(DinoError) {
    guard !bytes.starts(with: [0x1F, 0x8B]) else { throw DinoError(.data, "\(name) is compressed with gzip", hint: hint) }
  }

  /// The first bytes of the formats that the decoder knows.
  static func looksLikeImage(_ b: [UInt8]) -> Bool {
    func starts(_ magic: [UInt8], at offset: Int = 0) -> Bool { b.count >= offset + magic.count && Array(b[offset..<offset + magic.count]) == magic }
    return starts([0x89, 0x50, 0x4E, 0x47]) || starts([0xFF, 0xD8, 0xFF]) || (starts(Array("RIFF".utf8)) && starts(Array("WEBP".utf8), at: 8))
      || starts([0x49, 0x49, 0x2A, 0]) || starts([0x4D, 0x4D, 0, 0x2A])
      || (b.count > 2 && b[0] == 0x50 && b[1] >= 0x31 && b[1] <= 0x36 && [0x20, 0x0A, 0x09, 0x0D].contains(b[2]))
  }

  // MARK: Names

  /// Whether a part of the path begins with a dot, as the files that macOS puts beside each (._a.png) do; `..` hides nothing.
  private static func isHidden(_ path: String) -> Bool { parts(of: path).contains { $0.utf8.first == UInt8(ascii: ".") && !$0.utf8.starts(with: "..".utf8) } }

  /// What stands between the slashes of a path. Slashes are looked for among bytes: where a name begins with a combining mark, that and the slash before it are one Character.
  public static func parts(of path: String) -> [Substring] { path.utf8.split(separator: UInt8(ascii: "/")).map { Substring($0) } }

  /// What follows the name of a folder or an archive, and a slash, in the path; nil where that does not begin so.
  public static func path(_ path: String, below folder: String) -> String? {
    let root = withoutSlash(folder) + "/"
    return path.utf8.starts(with: root.utf8) ? String(decoding: path.utf8.dropFirst(root.utf8.count), as: UTF8.self) : nil
  }

  private static func withoutSlash(_ path: String) -> String { path.utf8.last == UInt8(ascii: "/") ? String(decoding: path.utf8.dropLast(), as: UTF8.self) : path }

  /// The part after the last dot of the last component, in lower case.
  static func ending(_ path: String) -> String {
    let last = parts(of: path).last ?? ""
    guard let dot = last.utf8.lastIndex(of: UInt8(ascii: ".")), dot != last.startIndex else { return "" }
    return Substring(last.utf8[dot...].dropFirst()).lowercased()
  }

  /// Whether the name has no ending, or one that cannot be read as text.
  private static func mayBeFolder(_ name: String) -> Bool {
    let ending = ending(name)
    return ending.isEmpty || ending.unicodeScalars.contains("\u{FFFD}")
  }

  /// Whether a name of a folder is still there, though it leads nowhere: a link does, and what is in a folder that may not be entered.
  private static func isListed(_ path: String) -> Bool {
    var info = stat()
    return unsafe lstat(path, &info) == 0 || errno != ENOENT
  }

  static func exists(_ path: String, isFolder: inout Bool) -> Bool { FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) }
}
