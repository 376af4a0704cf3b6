// What a command reads, so that it writes nothing over it. Files are known by what they are, whatever path leads to them.

internal import AtomicFiles
internal import Dino
internal import DinoTasks
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

struct Originals {
  private var paths: [Place: String] = [:]

  init(_ paths: [String]) {
    for path in paths {
      if let place = Place(path), self.paths[place] == nil { self.paths[place] = path }
    }
  }

  /// A checkpoint's files: the one that is named, with an ONNX file's external data, or those of a Hugging Face folder.
  static func files(of checkpoint: String) -> [String] {
    if checkpoint.lowercased().hasSuffix(".onnx") { return [checkpoint] + OnnxNetwork.externalFiles(of: checkpoint) }
    let listing = (try? FileManager.default.contentsOfDirectory(atPath: checkpoint)) ?? []
    return [checkpoint] + listing.filter { $0.hasPrefix("model") || $0.hasPrefix("pytorch_model") || $0.hasSuffix("config.json") }.map { "\(checkpoint)/\($0)" }
  }

  /// What rows come from: a bank's files, or a list or folder and the images that it names. Standard input is nobody's to look at first: it can be read once.
  static func files(ofRows source: String) throws -> [String] {
    if source == "-" { return [] }
    if FeatureBank.isBank(source) { return files(ofBank: source) }
    return [source] + (try ReadingOptions.expand([source])).compactMap(\.path)
  }

  static func files(ofBank bank: String) -> [String] { ((try? FileManager.default.contentsOfDirectory(atPath: bank)) ?? []).map { "\(bank)/\($0)" } }

  /// Fails where one of `files`, which are to be written, is an original.
  func spare(_ files: [String]) throws {
    for file in files {
      guard let place = Place(file), let original = paths[place] else { continue }
      throw Failure(.usage, "\(file) is to be written, but this command uses that file already\(original == file ? "" : ", as \(original)")", hint: "name another file or folder for the results")
    }
  }

  /// Fails where two of `files`, all of which are to be written, are one: the second would replace the first.
  static func tellApart(_ files: [String]) throws {
    var places: [Place: String] = [:]
    for file in files {
      guard let place = Place(behindLinks(file)) else { continue }
      if let other = places.updateValue(file, forKey: place) {
        throw Failure(.usage, "\(file) is to be written twice by this command\(other == file ? "" : ", once as \(other)")", hint: "give each result a name of its own")
      }
    }
  }

  /// Fails where a folder of pictures is to be in a folder of photographs that is read: a later run would read its own results.
  static func keepApart(_ folder: String, from inputs: [String]) throws {
    var sources: [Place: String] = [:]
    for input in inputs { if let place = Place(existing: input) { sources[place] = input } }
    // From what is there already upwards to the root, which is its own parent.
    var here = folder, last: Place?
    while here != ".", Place(existing: here) == nil { here = parent(of: here) }
    while let place = Place(existing: here), place != last {
      if let source = sources[place] {
        throw Failure(.usage, "the results would be in \(folder), which is \(here == folder ? "" : "in ")the folder \(source) that this command reads: the next run would take them for photographs",
                      hint: "name a folder elsewhere")
      }
      last = place
      here += "/.."
    }
  }

  static func parent(of path: String) -> String {
    guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Device and inode of a file, or of the folder that it is to be in with its name there.
  struct Place: Hashable {
    var device: UInt64
    var inode: UInt64
    var name: String

    /// Nil where there is no file.
    init?(existing path: String) {
      guard let file = Self.numbers(path) else { return nil }
      (device, inode, name) = (file.device, file.inode, "")
    }

    /// Nil where not even the folder is there.
    init?(_ path: String) {
      if let file = Place(existing: path) {
        self = file
        return
      }
      let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
      guard let folder = Self.numbers(Originals.parent(of: path)) else { return nil }
      (device, inode) = (folder.device, folder.inode)
      name = slash.map { String(path[path.utf8.index(after: $0)...]) } ?? path
    }

    static func isLink(_ path: String) -> Bool {
      var info = stat()
      return unsafe lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFLNK
    }

    private static func numbers(_ path: String) -> (device: UInt64, inode: UInt64)? {
      var info = stat()
      guard unsafe stat(path, &info) == 0 else { return nil }
      return (UInt64(info.st_dev), UInt64(info.st_ino))
    }
  }
}

extension ImageInput {
  /// Its file; nil of what is in an archive or came through standard input.
  var path: String? {
    if case .file(let path) = place { return path }
    return nil
  }
}
