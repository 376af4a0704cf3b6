// Places that results go to: checked before the work begins, made when it is done.

internal import Dino
internal import Synchronization
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

enum Output {
  /// Fails early where a file could not be made: its folder is not there, or the name is a folder's.
  static func check(file path: String) throws {
    var isFolder = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder {
      throw Failure(.usage, "\(path) is a folder; name a file in it")
    }
    guard let slash = path.lastIndex(of: "/") else { return }
    let folder = slash == path.startIndex ? "/" : String(path[..<slash])
    guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder else {
      throw Failure(.io, "\(path): the folder \(folder) is not there", hint: "make it first: mkdir -p \(folder)")
    }
  }

  static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

  /// Makes a folder and those above it.
  static func makeFolder(_ path: String) throws {
    var isFolder = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) {
      guard isFolder else { throw Failure(.usage, "\(path) is a file, where results need a folder") }
      return
    }
    do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
      throw Failure(.io, "\(path): the folder cannot be made")
    }
    made.withLock { $0.append(path) }
  }

  private static let made = Mutex<[String]>([])

  /// Removes the folders of `makeFolder` that nothing was put into: a failed command leaves nothing behind.
  static func removeEmptyFolders() {
    for path in made.withLock({ $0 }).reversed() { _ = unsafe rmdir(path) }
  }
}

/// Names for the results of many images in one folder: the photograph's stem; `-2`, `-3` … where that was used before.
struct ResultNames {
  private var used: Set<String> = []

  mutating func name(for input: ImageInput) -> String {
    let stem = input.stem == "-" ? "stdin" : input.stem
    var name = stem, n = 2
    while !used.insert(name).inserted {
      name = "\(stem)-\(n)"
      n += 1
    }
    return name
  }
}
