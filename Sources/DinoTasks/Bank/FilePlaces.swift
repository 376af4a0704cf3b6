// Which file a path leads to, however it is spelt: through another folder's name, through links, from the root or from the working folder. The names of a bank's rows are
// paths as they were given. What a path's last part is is not looked at: a link to a photograph is a row of its own.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Each folder is looked at once: a million names are in few folders.
public struct FilePlaces {
  /// The bytes of a path from the root, without links to folders in it.
  public typealias Place = [UInt8]

  private var folders: [[UInt8]: Place] = [:]
  private static let slash = UInt8(ascii: "/"), dot = UInt8(ascii: ".")

  public init() {}

  /// Where a path leads. Folders that are not there (any more), and members of an archive, are below the last folder or archive that is.
  public mutating func place(_ path: String) -> Place {
    let key = rowKey(path), name = key[(key.lastIndex(of: Self.slash).map { $0 + 1 } ?? 0)...]
    // A path that ends so is of a folder.
    if name.isEmpty || name.elementsEqual([Self.dot]) || name.elementsEqual([Self.dot, Self.dot]) { return folder(key) }
    return below(folder(ofKey: key), name)
  }

  /// Where a path leads as a folder: the last part may be a link to one.
  public mutating func folder(_ path: String) -> Place { folder(rowKey(path)) }

  /// The folders that a place is in, the nearest first; the root is the last.
  public static func above(_ place: Place) -> [Place] {
    let cuts = place.indices.filter { place[$0] == slash && $0 < place.count - 1 }
    return cuts.reversed().map { $0 == 0 ? [slash] : Array(place[..<$0]) }
  }

  private mutating func folder(ofKey key: [UInt8]) -> Place {
    guard let cut = key.lastIndex(of: Self.slash) else { return folder([Self.dot]) }
    return folder(cut == 0 ? [Self.slash] : Array(key[..<cut]))
  }

  private mutating func folder(_ key: [UInt8]) -> Place {
    if let known = folders[key] { return known }
    let found: Place
    if let real = realPath(String(decoding: key, as: UTF8.self)) {
      found = Array(real.utf8)
    } else if key == [Self.dot] || key == [Self.slash] || key.isEmpty {
      found = [Self.slash]
    } else {
      found = below(folder(ofKey: key), key[(key.lastIndex(of: Self.slash).map { $0 + 1 } ?? 0)...])
    }
    folders[key] = found
    return found
  }

  private func below(_ folder: Place, _ name: some Sequence<UInt8>) -> Place { (folder == [Self.slash] ? folder : folder + [Self.slash]) + name }
}

/// The path from the root without links, `.` and `..`; nil where nothing is there.
func realPath(_ path: String) -> String? {
  guard !path.utf8.contains(0), let found = unsafe realpath(path, nil) else { return nil }
  defer { unsafe free(found) }
  return unsafe String(cString: found)
}
