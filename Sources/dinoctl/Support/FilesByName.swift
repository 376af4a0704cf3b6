// The images of a folder by name, whatever their endings are: what belongs to a photograph of another folder, or to a name in a file.

internal import Dino

struct FilesByName {
  static let hint = "files that belong together have one path below their folders, but for the ending"
  /// All of them, in the order of their names.
  let all: [ImageInput]
  private let byPath: [String: [ImageInput]]
  private let byStem: [String: [ImageInput]]
  /// By the last part with its ending, for names that have one.
  private let byFile: [String: [ImageInput]]

  init(_ folder: String) throws {
    let found = try ReadingOptions.expand([folder])
    all = found
    byPath = Dictionary(grouping: found) { $0.pathBelow(folder) }
    byStem = Dictionary(grouping: found) { $0.stem }
    byFile = Dictionary(grouping: found) { lastComponent($0.name) }
  }

  /// The file of this path below the folder, without its ending; else the one of this last part, without its ending or with it. Nil for none; of several none is chosen.
  func file(_ name: String) throws -> ImageInput? {
    let last = lastComponent(name)
    let found: [ImageInput] = byPath[name] ?? byStem[last] ?? byFile[last].map { chosen($0, name) } ?? []
    guard found.count < 2 else { throw Failure(.data, "\(name) may be \(found[0].name) or \(found[1].name)", hint: Self.hint) }
    return found.first
  }

  /// Of files of one name the one at this path, where there is one.
  private func chosen(_ files: [ImageInput], _ name: String) -> [ImageInput] {
    let exact = files.filter { $0.name.utf8.reversed().starts(with: "/\(name)".utf8.reversed()) }
    return exact.isEmpty ? files : exact
  }
}

extension ImageInput {
  /// The name below a folder or an archive, without its ending.
  func pathBelow(_ folder: String) -> String {
    let path = ImageInputs.path(name, below: folder) ?? name
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return stem }
    return String(decoding: path.utf8[...slash], as: UTF8.self) + stem
  }
}
