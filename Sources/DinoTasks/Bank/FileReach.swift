// Whether a file that is not there is gone, or only out of reach: behind a link that leads nowhere while a disk is not mounted, or in a folder that may not be entered. What rows are of
// is not known to be gone in such a place.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// Each folder is looked at once.
public struct FileReach {
  public enum State: Sendable, Equatable {
    case there
    /// Its name leads through a file: an archive, perhaps.
    case inside(file: String)
    case gone
    /// It cannot be told: `place` is the first on the way that cannot be looked into.
    case outOfReach(place: String)
  }

  private var folders: [[UInt8]: State] = [:]
  private static let slash = UInt8(ascii: "/"), dot = UInt8(ascii: ".")

  public init() {}

  /// What is known of a path.
  public mutating func state(_ path: String) -> State {
    let key = rowKey(path), above = folder(above: key)
    return above == .there ? Self.look(at: key) : above
  }

  /// The same of the folder that a path is in: files of one folder share it.
  public mutating func folderState(_ path: String) -> State { folder(above: rowKey(path)) }

  private mutating func folder(above key: [UInt8]) -> State {
    guard let cut = key.lastIndex(of: Self.slash) else { return .there }
    let folder = cut == 0 ? [Self.slash] : Array(key[..<cut])
    if let known = folders[folder] { return known }
    let above = folder == [Self.slash] ? State.there : self.folder(above: folder)
    let found = above == .there ? Self.look(at: folder, isFolder: true) : above
    folders[folder] = found
    return found
  }

  /// Looks at what is in a folder that is there.
  private static func look(at key: [UInt8], isFolder: Bool = false) -> State {
    let path = String(decoding: key, as: UTF8.self)
    guard !path.utf8.contains(0) else { return .gone }
    var info = stat()
    if unsafe stat(path, &info) == 0 { return isFolder && info.st_mode & S_IFMT != S_IFDIR ? .inside(file: path) : .there }
    // A link is there, whatever is the matter with what it leads to.
    if unsafe lstat(path, &info) == 0 { return .outOfReach(place: path) }
    if errno == ENOENT || errno == ENOTDIR { return .gone }
    // Its folder does not even say whether it is there.
    guard let cut = key.lastIndex(of: slash) else { return .outOfReach(place: ".") }
    return .outOfReach(place: cut == 0 ? "/" : String(decoding: key[..<cut], as: UTF8.self))
  }
}
