// Places that results go to: checked before the work begins, made when it is done.

internal import AtomicFiles
internal import Dino
internal import NumPyArrays
internal import Safetensors
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
  /// Fails early where a file could not be made: its folder is not there or cannot be written, or the name is a folder's.
  static func check(file path: String) throws {
    var isFolder = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder {
      throw Failure(.usage, "\(path) is a folder; name a file in it")
    }
    // Results go through symbolic links, also to where no file is yet.
    let place = behindLinks(path)
    guard let slash = place.utf8.lastIndex(of: UInt8(ascii: "/")) else { return try check(folder: ".", for: path) }
    let folder = slash == place.startIndex ? "/" : String(place[..<slash])
    guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder else {
      throw Failure(.io, "\(path): the folder \(folder)\(place == path ? "" : ", to which it is a link,") is not there", hint: "make it first: mkdir -p \(folder)")
    }
    try check(folder: folder, for: path)
  }

  /// Fails where no file can be made in a folder that is there.
  private static func check(folder: String, for path: String) throws {
    guard unsafe access(folder, W_OK | X_OK) != 0 else { return }
    let reason = errno == EROFS ? "its file system is read-only" : "permission denied"
    throw Failure(.io, "\(path): no file can be made in the folder \(folder) (\(reason))", hint: "name another folder")
  }

  /// Fails where the list of names that is to come beside an array is another array's already: after that it would name other rows.
  static func check(namesOf array: String) throws {
    let format = try FeatureFormat(path: array), names = FeatureFile.pathsFile(of: array)
    // Where the array is there, the list is its own.
    guard format.hasPathsFile, exists(names), !exists(array) else { return }
    for other in FeatureFormat.allCases where other.hasPathsFile && other != format {
      let file = "\(names.dropLast(".paths.txt".count)).\(other.rawValue)"
      if holdsFeatures(file, other) {
        throw Failure(.usage, "\(names) would name the rows of \(array), but it names those of \(file) already", hint: "give \(array) another name before its ending")
      }
    }
  }

  /// Whether a file may be the array that a list names: a model beside it is none.
  private static func holdsFeatures(_ file: String, _ format: FeatureFormat) -> Bool {
    switch format {
    case .npz: (try? NumPyArchive(path: file))?.names.contains("features") ?? false
    case .safetensors: (try? SafetensorsFile(path: file))?.names.contains("features") ?? false
    default: exists(file)
    }
  }

  static func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: path) }

  /// Makes a folder and those above it.
  static func makeFolder(_ path: String) throws {
    var isFolder = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) {
      guard isFolder else { throw Failure(.usage, "\(path) is a file, where results need a folder") }
      return try check(folder: path, for: path)
    }
    var missing: [String] = [], folder = path
    while !folder.isEmpty, !exists(folder) {
      missing.append(folder)
      folder = folder.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(folder[..<$0]) } ?? ""
    }
    let outermostFirst = Array(missing.reversed())
    made.withLock { $0.append(contentsOf: outermostFirst) }
    do { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) } catch {
      throw Failure(.io, "\(path): the folder cannot be made")
    }
  }

  private static let made = Mutex<[String]>([])
  private static let temporary = Mutex<[String]>([])

  /// Notes a folder that goes, with all in it, should the command fail or be interrupted.
  static func willRemove(_ folder: String) { temporary.withLock { $0.append(folder) } }

  static func remove(_ path: String) { try? FileManager.default.removeItem(atPath: path) }

  /// Removes the folders of `willRemove`, and those of `makeFolder` that nothing was put into: a failed command leaves nothing behind.
  static func removeLeftovers() {
    for folder in temporary.withLock({ $0 }) { remove(folder) }
    for path in made.withLock({ $0 }).reversed() { _ = unsafe rmdir(path) }
  }
}

/// Names for the results of many images in one folder: the photograph's stem; `-2`, `-3` … where a file of that name is another photograph's already.
struct ResultNames {
  private let files: (String) -> [String]
  private var used: Set<String>
  /// The last number of each stem.
  private var numbers: [String: Int] = [:]

  /// - Parameters:
  ///   - reserved: files that are no photograph's.
  ///   - files: what a photograph of that name leaves in the folder.
  init(reserved: Set<String> = [], files: @escaping (String) -> [String]) {
    used = reserved
    self.files = files
  }

  mutating func name(for input: ImageInput) -> String {
    // Members of archives may be called anything: these two are no names for files.
    let stem = input.stem == "-" ? "stdin" : [".", ".."].contains(input.stem) ? "_" : input.stem
    var n = numbers[stem, default: 0] + 1
    var name = n == 1 ? stem : "\(stem)-\(n)"
    while !used.isDisjoint(with: files(name)) {
      n += 1
      name = "\(stem)-\(n)"
    }
    numbers[stem] = n
    used.formUnion(files(name))
    return name
  }
}
