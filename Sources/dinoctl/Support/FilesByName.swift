// The images of a folder by name, whatever their endings are: what belongs to a photograph of another folder, or to a name in a file.

internal import Dino

struct FilesByName {
  static let hint = "files that belong together have one path below their folders, but for the ending"
  private let byPath: [String: [ImageInput]]
  private let byStem: [String: [ImageInput]]

  init(_ folder: String) throws {
    let found = try ReadingOptions.expand([folder])
    byPath = Dictionary(grouping: found) { $0.pathBelow(folder) }
    byStem = Dictionary(grouping: found) { $0.stem }
  }

  /// The file of this path below the folder, without its ending; else the one of this last part. Nil for none; of several none is chosen.
  func file(_ name: String) throws -> ImageInput? {
    let found = byPath[name] ?? byStem[lastComponent(name)] ?? []
    guard found.count < 2 else { throw Failure(.data, "\(name) may be \(found[0].name) or \(found[1].name)", hint: Self.hint) }
    return found.first
  }
}

extension ImageInput {
  /// The name below a folder or an archive, without its ending.
  func pathBelow(_ folder: String) -> String {
    let root = folder.hasSuffix("/") ? folder : folder + "/"
    let path = name.hasPrefix(root) ? String(name.dropFirst(root.count)) : name
    guard let slash = path.lastIndex(of: "/") else { return stem }
    return String(path[...slash]) + stem
  }
}
