// Files that are looked at before they are put into their place: written into a folder beside it, moved when they are found good. A value that goes away before that
// takes the folder with it, and what was in the place stays as it was.

#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

struct VerifiedFiles: ~Copyable {
  /// Where the files are to be, with a slash at the end; empty for the working folder.
  private let target: String
  private let folder: String

  /// The folder that the files of `path` are in while they are looked at.
  static func folder(for path: String) -> String { "\(path).\(getpid()).unverified" }

  /// - Parameter path: the file that is to be written.
  init(for path: String) throws(DinoError) {
    target = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    folder = Self.folder(for: path)
    do { try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false) } catch {
      throw DinoError(.io, "\(folder): the folder for checking the file cannot be made")
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func path(of file: String) -> String { "\(folder)/\(file)" }

  /// Moves the files, in this order; each replaces what was there.
  func putIntoPlace(_ files: [String]) throws(DinoError) {
    for file in files {
      guard unsafe rename(path(of: file), target + file) == 0 else { throw DinoError(.io, "\(target)\(file): cannot be put into its place (\(systemReason(errno)))") }
    }
  }
}

/// Bytes of a file; 0 where it cannot be looked at.
public func byteCount(ofFile path: String) -> Int {
  var info = stat()
  return unsafe stat(path, &info) == 0 ? Int(info.st_size) : 0
}
