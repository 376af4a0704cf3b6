// A folder for the results of many photographs: each file appears whole when it is done, so a command that is stopped leaves what was finished.

struct ResultFolder {
  private let path: String

  /// Makes the folder where it is not there.
  init(_ path: String) throws {
    self.path = path
    try Output.makeFolder(path)
  }

  /// The path of `name`, a file's name or one in a folder of the folder, which is made. To be called within `Interruption.shielded`, like the write.
  func place(of name: String) throws -> String {
    if let slash = name.utf8.lastIndex(of: UInt8(ascii: "/")) { try Output.makeFolder("\(path)/\(name[..<slash])") }
    return "\(path)/\(name)"
  }
}
