// Where the names of rows lead from. Names are kept as they were given, most of them relative; this says from which folder, so that a bank is used from any other, and moved
// or copied with its photographs or without them.

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The folder that names of rows were relative to when the rows were made.
struct BankBase: Hashable, Sendable {
  /// From the root, without links.
  var folder: String
  /// The same from the bank's folder: both may have been moved or copied together.
  var fromBank: String?

  // By bytes: folders of one text in two forms of Unicode are two.
  static func == (a: BankBase, b: BankBase) -> Bool { a.key == b.key }
  func hash(into hasher: inout Hasher) { hasher.combine(key) }
  private var key: [[UInt8]] { [Array(folder.utf8), fromBank.map { Array($0.utf8) } ?? [0]] }

  /// The working folder, for the bank in `bank`; nil where the system does not say.
  static func here(bank: String) -> BankBase? {
    guard let folder = realPath("."), let inside = realPath(bank) else { return nil }
    let to = folder.split(separator: "/"), from = inside.split(separator: "/")
    var shared = 0
    while shared < min(to.count, from.count), to[shared].utf8.elementsEqual(from[shared].utf8) { shared += 1 }
    let way = Array(repeating: Substring(".."), count: from.count - shared) + to[shared...]
    return BankBase(folder: folder, fromBank: way.isEmpty ? "." : way.joined(separator: "/"))
  }

  init(folder: String, fromBank: String? = nil) {
    self.folder = folder
    self.fromBank = fromBank
  }

  /// Nil where these are not such folders.
  init?(folder: String, fromBankText: String?) {
    guard folder.hasPrefix("/"), !folder.utf8.contains(0) else { return nil }
    if let text = fromBankText, text.hasPrefix("/") || text.isEmpty || text.utf8.contains(0) { return nil }
    self.init(folder: folder, fromBank: fromBankText)
  }

  /// What is put before names for them to lead to their files from the working folder; nil where they do as they are. Of the folders that it may be (seen from the bank, from the root, the working
  /// one) the first in which one of the files `names` is. Without any the one from the root, if it is there, and else the one seen from the bank.
  func lead(bank: String, names: [String]) -> String? {
    let here = realPath("."), besideBank = fromBank.flatMap { way in realPath(bank).map { Self.joined($0, way) } }
    let relative = names.filter(Self.isRelative)
    let found = [besideBank, folder, here].compactMap { $0 }.first { candidate in relative.contains { Self.isThere(Self.joined(candidate, $0)) } }
    let chosen = found ?? [folder, besideBank].compactMap { $0 }.first(where: Self.isThere)
    if let chosen, let here, chosen.utf8.elementsEqual(here.utf8) { return nil }
    return chosen
  }

  /// Whether a name leads from a folder that it does not say: what came through standard input does from nowhere.
  static func isRelative(_ name: String) -> Bool { name.utf8.first != UInt8(ascii: "/") && !isOfInput(name) && !name.isEmpty }

  /// Whether a name is that of standard input, or of a member of an archive that came through it.
  static func isOfInput(_ name: String) -> Bool { name.utf8.elementsEqual("-".utf8) || name.utf8.starts(with: "-/".utf8) }

  /// The path of a name from a folder without links. `..` at the beginning of the name go upwards by that folder's path: it may be there no more.
  static func joined(_ lead: String?, _ name: String) -> String {
    guard let lead, isRelative(name) else { return name }
    var folders = lead.split(separator: "/")[...], parts = name.split(separator: "/")[...]
    while let part = parts.first, part == ".." || part == "." {
      if part == ".." { folders = folders.dropLast() }
      parts = parts.dropFirst()
    }
    return "/" + (folders + parts).joined(separator: "/")
  }

  /// A file, or an archive that the name is below.
  private static func isThere(_ path: String) -> Bool {
    var info = stat()
    if unsafe stat(path, &info) == 0 { return true }
    return errno == ENOTDIR
  }
}
