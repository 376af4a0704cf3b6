// Which file a path leads to, however it is spelt: by another folder's name, by links, from the root. The names of a bank's rows are paths as they were given.

internal import DinoTasks

/// Each folder is looked at once: a million names are in few folders.
struct FilePlaces {
  /// What is there of a path, the folder or the archive, and the rest of the path below it.
  struct Place: Hashable {
    var start: Originals.Place?
    var rest: [UInt8]
  }

  private var folders: [[UInt8]: Place] = [:]
  private static let slash = UInt8(ascii: "/"), dot = UInt8(ascii: ".")

  mutating func place(_ path: String) -> Place { place(ofKey: rowKey(path)) }

  private mutating func place(ofKey key: [UInt8]) -> Place {
    let cut = key.lastIndex(of: Self.slash)
    var folder = [Self.dot]
    if let cut { folder = cut == 0 ? [Self.slash] : Array(key[..<cut]) }
    var place = self.folder(folder)
    place.rest.append(Self.slash)
    place.rest += key[(cut.map { $0 + 1 } ?? 0)...]
    return place
  }

  private mutating func folder(_ key: [UInt8]) -> Place {
    if let known = folders[key] { return known }
    let found: Place
    if let start = Originals.Place(existing: String(decoding: key, as: UTF8.self)) {
      found = Place(start: start, rest: [])
    } else if key == [Self.dot] || key == [Self.slash] {
      found = Place(start: nil, rest: key)
    } else {
      found = place(ofKey: key)
    }
    folders[key] = found
    return found
  }
}
