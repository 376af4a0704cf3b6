// Where the names of rows lead from. Names are kept as they were given, most of them relative; this says from which folder, so that a bank is used from any other.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The folder that names of rows were relative to when the rows were made.
struct BankBase: Hashable, Sendable {
  /// From the root.
  var folder: String
  /// The same from the bank's folder, where the bank is in it: both may have been moved or copied together. `.`, or `..` so many times.
  var fromBank: String?

  /// The working folder, for the bank in `bank`; nil where the system does not say.
  static func here(bank: String) -> BankBase? {
    guard let folder = realPath("."), let inside = realPath(bank) else { return nil }
    let below = folder == "/" ? folder : folder + "/"
    if inside == folder { return BankBase(folder: folder, fromBank: ".") }
    guard inside.hasPrefix(below) else { return BankBase(folder: folder) }
    let depth = inside.utf8.dropFirst(below.utf8.count).count { $0 == UInt8(ascii: "/") } + 1
    return BankBase(folder: folder, fromBank: Array(repeating: "..", count: depth).joined(separator: "/"))
  }

  init(folder: String, fromBank: String? = nil) {
    self.folder = folder
    self.fromBank = fromBank
  }

  /// Nil where these are not such folders.
  init?(folder: String, fromBankText: String?) {
    guard folder.hasPrefix("/"), !folder.utf8.contains(0) else { return nil }
    if let text = fromBankText, text != ".", !text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy({ $0 == ".." }) { return nil }
    self.init(folder: folder, fromBank: fromBankText)
  }

  /// What is put before names for them to lead to their files from the working folder; nil where they do as they are. Of the folders that it may be (seen from the bank, from the root, the working
  /// one) the first in which one of the files `names` is, else the first that is there.
  func lead(bank: String, names: [String]) -> String? {
    let here = realPath(".")
    let folders = [fromBank.flatMap { realPath("\(bank)/\($0)") }, realPath(folder), here].compactMap { $0 }
    let relative = names.filter(Self.isRelative)
    let chosen = folders.first { folder in relative.contains { Self.isThere("\(folder)/\($0)") } } ?? folders.first
    return chosen == here ? nil : chosen
  }

  /// Whether a name leads from the working folder: what came through standard input does from nowhere.
  static func isRelative(_ name: String) -> Bool { !name.hasPrefix("/") && name != "-" && !name.hasPrefix("-/") && !name.isEmpty }

  static func joined(_ lead: String?, _ name: String) -> String {
    guard let lead, isRelative(name) else { return name }
    return lead == "/" ? "/" + name : "\(lead)/\(name)"
  }

  /// A file, or an archive that the name is below.
  private static func isThere(_ path: String) -> Bool {
    var info = stat()
    if unsafe stat(path, &info) == 0 { return true }
    return errno == ENOTDIR
  }
}
