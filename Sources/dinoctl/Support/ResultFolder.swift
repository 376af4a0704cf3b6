// A folder for results that come together or not at all: files are written into a folder within it and moved when all are there. Failure and interruption leave what was
// there before as it was.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

struct ResultFolder {
  private let path: String
  private let unfinished: String
  private var files: [String] = []

  /// Makes the folder where it is not there.
  init(_ path: String) throws {
    self.path = path
    unfinished = "\(path)/.unfinished-\(getpid())"
    try Output.makeFolder(path)
    Output.willRemove(unfinished)
    try Output.makeFolder(unfinished)
  }

  /// Where `name`, a file's name or one in a folder of the folder, is written until `finish`. To be called within `Interruption.shielded`, like the write.
  mutating func place(of name: String) throws -> String {
    if let slash = name.lastIndex(of: "/") {
      for folder in [path, unfinished] { try Output.makeFolder("\(folder)/\(name[..<slash])") }
    }
    files.append(name)
    return "\(unfinished)/\(name)"
  }

  /// Moves the files; each replaces what was there.
  func finish() throws {
    try Interruption.shielded {
      for file in files {
        guard unsafe rename("\(unfinished)/\(file)", "\(path)/\(file)") == 0 else { throw Failure(.io, "\(path)/\(file): cannot be put into its place") }
      }
      Output.remove(unfinished)
    }
  }
}
