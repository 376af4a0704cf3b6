// What a person names becomes a list of images: folders, lists, archives, standard input; and archives that lie.

import Dino
import DinoTensor
import Foundation
import TestSupport
import Testing

/// A tar archive in memory, written by this file's own few lines (ustar).
struct TarBuilder {
  var bytes: [UInt8] = []

  mutating func add(_ name: String, _ content: [UInt8], rawName: [UInt8]? = nil, kind: Character = "0", size: Int? = nil, link: String = "", isOld: Bool = false, goesOn: Bool = false, fixChecksum: Bool = true) {
    var header = [UInt8](repeating: 0, count: 512)
    func put(_ text: String, _ at: Int) { for (i, b) in text.utf8.enumerated() { header[at + i] = b } }
    let named = rawName ?? Array(name.utf8.prefix(100))
    header.replaceSubrange(0..<named.count, with: named)
    put("0000644\0", 100)
    let octal = String(size ?? content.count, radix: 8)
    put(String(repeating: "0", count: 11 - octal.count) + octal, 124)
    put("        ", 148)
    header[156] = kind.asciiValue!
    put(link, 157)
    if !isOld {
      put("ustar", 257)
      put("00", 263)
    }
    if goesOn { header[482] = 1 }
    let sum = String(header.reduce(0) { $0 + Int($1) } + (fixChecksum ? 0 : 1), radix: 8)
    put(String(repeating: "0", count: 6 - sum.count) + sum + "\0 ", 148)
    bytes += header + content
    while bytes.count % 512 != 0 { bytes.append(0) }
  }

  mutating func finish() { bytes += [UInt8](repeating: 0, count: 1024) }

  var storage: Storage { Tensor.copy(bytes, dtype: .u8, shape: [bytes.count]).storage }
}

@Suite struct TarArchiveTests {
  @Test func readsMembers() throws {
    var tar = TarBuilder()
    tar.add("folder", [], kind: "5")
    tar.add("folder/a.jpg", Array("abc".utf8))
    tar.add("././@LongLink", Array((String(repeating: "n", count: 130) + ".png\0").utf8), kind: "L")
    tar.add("cut", Array("long".utf8))
    tar.add("PaxHeader", Array("21 path=photo é.png\n".utf8), kind: "x")
    tar.add("other", [7, 8])
    tar.finish()
    let archive = try TarArchive(tar.storage)
    #expect(archive.members.map(\.name) == ["folder/a.jpg", String(repeating: "n", count: 130) + ".png", "photo é.png"])
    #expect(tar.storage.bytes(archive.members[0].range) == Array("abc".utf8))
    #expect(tar.storage.bytes(archive.members[2].range) == [7, 8])
  }

  /// tar stores the second name of a file as a link to the first, also where one name was given twice.
  @Test func linksHaveTheBytesOfTheirFiles() throws {
    var tar = TarBuilder()
    tar.add("a/early.png", [], kind: "2", link: "../b/1.png")
    tar.add("./b/1.png", [1, 2, 3])
    tar.add("./b/2.png", [], kind: "1", size: 3, link: "./b/1.png")
    tar.add("b/1.png", [], kind: "1", link: "b/1.png")
    tar.add("PaxHeader", Array("20 linkpath=b/2.png\n".utf8), kind: "x")
    tar.add("b/3.png", [], kind: "1", link: "cut")
    tar.add("././@LongLink", Array("1.png\0".utf8), kind: "K")
    tar.add("b/4.png", [], kind: "2", link: "cut")
    for (name, target) in [("b/5.png", "/b/1.png"), ("b/6.png", "../../b/1.png"), ("b/7.png", "gone.png"), ("b/8.png", "8.png")] { tar.add(name, [], kind: "2", link: target) }
    tar.finish()
    let members = try TarArchive(tar.storage).members
    #expect(members.map(\.name) == ["a/early.png", "b/1.png", "b/2.png"] + (3...8).map { "b/\($0).png" })
    for member in members.prefix(5) { #expect(member.problem == nil && tar.storage.bytes(member.range) == [1, 2, 3], "\(member.name)") }
    for member in members.dropFirst(5) { #expect(member.problem?.contains("is a link to") == true && member.range.isEmpty, "\(member.name)") }
  }

  /// `tar -r` puts a changed file behind the one that is there.
  @Test func ofOneNameTheLastIsRead() throws {
    var tar = TarBuilder()
    for (name, byte) in [("1.png", 1), ("2.png", 2), ("./1.png", 3)] as [(String, UInt8)] { tar.add(name, [byte]) }
    tar.add("3.png", [], kind: "1", link: "1.png")
    tar.add("2.png", [], kind: "2", link: "1.png")
    tar.finish()
    let archive = try TarArchive(tar.storage)
    #expect(archive.members.map(\.name) == ["1.png", "3.png", "2.png"] && archive.replaced == 2)
    for member in archive.members { #expect(tar.storage.bytes(member.range) == [3], "\(member.name)") }
    var told: [String] = []
    let bytes = tar.bytes, found = try ImageInputs.expand(["-"], standardInput: { bytes }, note: { told.append($0) })
    #expect(found.count == 3 && told.count == 1 && told.first?.contains("later ones of the same name") == true, "\(told)")
  }

  /// A hard link is a file's second name: `tar -r` of a new file under the first one changes nothing of it, as a symbolic link's bytes are then others.
  @Test func aHardLinkKeepsTheBytesBeforeIt() throws {
    var tar = TarBuilder()
    tar.add("a.jpg", [1])
    tar.add("b.jpg", [], kind: "1", link: "a.jpg")
    tar.add("c.jpg", [], kind: "2", link: "a.jpg")
    tar.add("a.jpg", [2])
    tar.add("d.jpg", [], kind: "1", link: "b.jpg")
    tar.add("b.jpg", [3])
    tar.finish()
    let members = try TarArchive(tar.storage).members
    #expect(members.map(\.name) == ["c.jpg", "a.jpg", "d.jpg", "b.jpg"])
    #expect(members.map { tar.storage.bytes($0.range) } == [[2], [2], [1], [3]])
    var first = TarBuilder()
    first.bytes = Array(tar.bytes.prefix(3 * 1024))
    first.finish()
    let again = try TarArchive(first.storage).members
    #expect(again.map(\.name) == ["b.jpg", "c.jpg", "a.jpg"])
    #expect(again.map { first.storage.bytes($0.range) } == [[1], [2], [2]])
  }

  /// Two names that no text can tell apart are two files, each with its own links; neither can be called anything.
  @Test func namesThatAreNotTextAreNamed() throws {
    var tar = TarBuilder()
    for byte in [0xE8, 0xE9] as [UInt8] { tar.add("", [byte], rawName: Array("caf".utf8) + [byte] + Array(".png".utf8)) }
    tar.add("PaxHeader", Array("21 linkpath=caf".utf8) + [0xE8] + Array(".png\n".utf8), kind: "x")
    tar.add("link.png", [], kind: "2")
    tar.finish()
    let archive = try TarArchive(tar.storage)
    #expect(archive.members.map(\.name) == ["caf\\xE8.png", "caf\\xE9.png", "link.png"] && archive.replaced == 0)
    #expect(archive.members.map { $0.problem?.contains("not UTF-8") } == [true, true, nil])
    #expect(tar.storage.bytes(archive.members[2].range) == [0xE8])
  }

  /// By way of a folder that is a link, and of `..`: the file is there, but not by that name.
  @Test func linksThatAreNotFollowedSaySo() throws {
    var tar = TarBuilder()
    tar.add("real/x.png", [1, 2, 3])
    tar.add("alias", [], kind: "2", link: "real")
    tar.add("y.png", [], kind: "2", link: "alias/x.png")
    tar.add("z.png", [], kind: "1", link: "real/../real/x.png")
    tar.finish()
    let members = try TarArchive(tar.storage).members
    for member in members where member.name == "y.png" || member.name == "z.png" { #expect(member.problem?.contains("not followed") == true, "\(member.name)") }
  }

  /// Both ways in which GNU tar leaves holes out; what follows is found.
  @Test func sparseFilesAreNamed() throws {
    var tar = TarBuilder()
    tar.add("old.png", [], kind: "S", size: 2, goesOn: true)
    tar.bytes += [UInt8](repeating: 0, count: 512) + [9, 9] + [UInt8](repeating: 0, count: 510)
    tar.add("PaxHeader", Array("22 GNU.sparse.major=1\n27 GNU.sparse.name=new.png\n".utf8), kind: "x")
    tar.add("GNUSparseFile.1/new.png", [9, 9])
    tar.add("whole.png", [1])
    tar.finish()
    let members = try TarArchive(tar.storage).members
    #expect(members.map(\.name) == ["old.png", "new.png", "whole.png"])
    #expect(members.map { $0.problem?.contains("--sparse") } == [true, true, nil])
    #expect(tar.storage.bytes(members[2].range) == [1])
  }

  @Test func refusesLies() throws {
    var checksum = TarBuilder()
    checksum.add("a", [1], fixChecksum: false)
    #expect(throws: TarError.badChecksum(offset: 0)) { try TarArchive(checksum.storage) }
    var long = TarBuilder()
    long.add("a", [1], size: 1 << 30)
    #expect(throws: TarError.truncated(offset: 0)) { try TarArchive(long.storage) }
    var extended = TarBuilder()
    extended.add("x", Array("9999999999 path=a\n".utf8), kind: "x")
    #expect(throws: TarError.badExtendedHeader(offset: 0)) { try TarArchive(extended.storage) }
    var short = TarBuilder()
    short.add("a", [1, 2, 3])
    short.bytes += [1, 2, 3]
    #expect(throws: TarError.truncated(offset: 1024)) { try TarArchive(short.storage) }
  }

  /// No bytes may trap or hang: every prefix of an archive, and archives with one byte changed.
  @Test func survivesAnyBytes() throws {
    var tar = TarBuilder()
    tar.add("PaxHeader", Array("12 path=a.b\n13 size=00002\n".utf8), kind: "x")
    tar.add("a", [1, 2])
    tar.finish()
    var random = SplitMix64(seed: 1)
    var refused = 0
    for _ in 0..<2000 {
      var bytes = tar.bytes
      bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      bytes = Array(bytes[..<Int.random(in: 1...bytes.count, using: &random)])
      do { _ = try TarArchive(Tensor.copy(bytes, dtype: .u8, shape: [bytes.count]).storage) } catch { refused += 1 }
    }
    #expect(refused > 500)
  }
}

/// Stamps of inputs that nothing happens to.
func known(_ numbers: [UInt64]) -> [InputStamp] { numbers.map { InputStamp(contents: $0, exact: $0) } }

@Suite struct ImageInputsTests {
  static func touch(_ folder: URL, _ names: String...) throws {
    for name in names {
      let url = folder.appendingPathComponent(name)
      try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
      try Data("x".utf8).write(to: url)
    }
  }

  @Test func walksFoldersSortedByName() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.touch(folder, "b.png", "a/z.JPG", "a/b/c.webp", "notes.md", ".hidden/x.png", "c.jpeg", "B.tif")
    try FileManager.default.createSymbolicLink(at: folder.appendingPathComponent("a/loop"), withDestinationURL: folder)
    let found = try ImageInputs.expand([folder.path + "/"])
    #expect(found.map { $0.name.dropFirst(folder.path.count + 1) } == ["B.tif", "a/b/c.webp", "a/z.JPG", "b.png", "c.jpeg"])
    #expect(found[1].stem == "c")
  }

  /// Bytes decide what a name is: of two folders whose names are one text in two forms neither vanishes, and a name may begin with a mark that Swift joins to the slash before it.
  @Test func namesAreBytes() throws {
    let folder = try Fixtures.temporaryFolder(), composed = "caf\u{E9}", decomposed = "cafe\u{301}", marked = "\u{301}x", variant = "\u{FE0F}y"
    defer { try? FileManager.default.removeItem(at: folder) }
    try #require(composed == decomposed)
    let names = ["\(decomposed)/1.png", "\(composed)/1.png", "\(marked)/\(variant).png", "\(variant)/\(marked).\u{301}.png"]
    for name in names {
      let path = "\(folder.path)/\(name)"
      let slash = try #require(path.utf8.lastIndex(of: UInt8(ascii: "/")))
      try FileManager.default.createDirectory(atPath: String(decoding: path.utf8[..<slash], as: UTF8.self), withIntermediateDirectories: true)
      try #require(FileManager.default.createFile(atPath: path, contents: Data([1])))
    }
    let found = try ImageInputs.expand([folder.path])
    #expect(found.map { Array($0.name.utf8) } == names.map { Array("\(folder.path)/\($0)".utf8) })
    #expect(found.suffix(2).map { Array($0.stem.utf8) } == [variant, "\(marked).\u{301}"].map { Array($0.utf8) })
    #expect(found.map { ImageInputs.path($0.name, below: folder.path + "/").map { Array($0.utf8) } } == names.map { Array($0.utf8) })
    #expect(found.map { ImageInputs.parts(of: $0.name).dropLast().last.map { Array($0.utf8) } } == [decomposed, composed, marked, variant].map { Array($0.utf8) })
  }

  @Test func readsLists() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.touch(folder, "in/a.png", "b.png")
    let list = folder.appendingPathComponent("in/list.txt")
    try Data("a.png\r\n\n\(folder.path)/b.png\nmissing.png\n".utf8).write(to: list)
    #expect(try ImageInputs.expand([list.path]).map(\.name) == [folder.path + "/in/a.png", folder.path + "/b.png", "missing.png"])
    // A line may have led to the list's own folder too: who knows the file by that name should know.
    #expect(try ImageInputs.expand([list.path]).map(\.alternatives) == [[], [], [folder.path + "/in/missing.png"]])
    // Names as files of names spell them; one that is there as it stands is meant as it stands.
    try Self.touch(folder, "in/c\nd.png", "in/e\\nf.png", "in/g\\nh.png", "in/g\nh.png")
    try Data("c\\nd.png\ne\\\\nf.png\ng\\nh.png\n".utf8).write(to: list)
    #expect(try ImageInputs.expand([list.path]).map(\.stem) == ["c\nd", "e\\nf", "g\\nh"])
    // With Windows' byte order mark, and a name that is not UTF-8.
    var marked: [UInt8] = [0xEF, 0xBB, 0xBF]
    marked += Array("a.png\nb".utf8)
    marked.append(0xFF)
    marked += Array(".png\n".utf8)
    try Data(marked).write(to: list)
    #expect(try ImageInputs.expand([list.path]).map(\.name) == [folder.path + "/in/a.png", "b\u{FFFD}.png"])
    try Data([0xFF, 0xFE, 0, 1]).write(to: list)
    #expect { try ImageInputs.expand([list.path]) } throws: { ($0 as? DinoError)?.kind == .data }
  }

  @Test func readsShards() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var tar = TarBuilder()
    tar.add("0.jpg", [1, 2])
    tar.add("0.json", [3])
    tar.add("1.png", [4])
    tar.finish()
    let path = folder.appendingPathComponent("s.tar").path
    try Data(tar.bytes).write(to: URL(fileURLWithPath: path))
    #expect(try ImageInputs.expand([path]).map(\.name) == [path + "/0.jpg", path + "/1.png"])
    #expect(try ImageInputs.expand(["-"], standardInput: { tar.bytes }).map(\.name) == ["-/0.jpg", "-/1.png"])
    // A compressed archive is called so, whatever its ending says.
    for name in ["z.tar", "z.tgz", "z.TAR.gz"] {
      let compressed = folder.appendingPathComponent(name)
      try Data([0x1F, 0x8B, 8, 0]).write(to: compressed)
      let error = #expect(throws: DinoError.self) { try ImageInputs.expand([compressed.path]) }
      #expect(error?.kind == .data && error?.message == "\(compressed.path) is compressed with gzip" && error?.hint?.contains("zcat") == true)
    }
    try Data("no archive".utf8).write(to: URL(fileURLWithPath: path))
    #expect { try ImageInputs.expand([path]) } throws: { ($0 as? DinoError)?.kind == .data }
  }

  @Test func readsShardsOfOldTar() throws {
    var tar = TarBuilder()
    tar.add("0.jpg", [1, 2], isOld: true)
    tar.finish()
    #expect(try ImageInputs.expand(["-"], standardInput: { tar.bytes }).map(\.name) == ["-/0.jpg"])
    tar.bytes[0] += 1
    #expect(!TarArchive.isTar(tar.bytes))
    #expect { try ImageInputs.expand(["-"], standardInput: { [0x1F, 0x8B, 8, 0] }) } throws: { ($0 as? DinoError)?.message.contains("gzip") == true }
  }

  /// Somebody writes the shard while it is read: what is cut off is missed, and no more.
  @Test func aShardThatIsCutShortLosesItsLastMembers() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var tar = TarBuilder()
    for name in ["0.ppm", "1.ppm"] { tar.add(name, [UInt8](repeating: 7, count: 20_000)) }
    tar.finish()
    let path = folder.appendingPathComponent("s.tar").path
    func bytes(_ input: ImageInput) -> Int? {
      guard case .member(let storage, let range) = input.place else { return nil }
      return input.bytes(of: storage, range)?.count
    }
    try Data(tar.bytes).write(to: URL(fileURLWithPath: path))
    let inputs = try ImageInputs.expand([path])
    #expect(inputs.map(bytes) == [20_000, 20_000])
    try #require(truncate(path, 21_000) == 0)
    #expect(inputs.map(bytes) == [20_000, nil])
    // One that is replaced keeps what it had.
    try FileManager.default.removeItem(atPath: path)
    try Data(tar.bytes).write(to: URL(fileURLWithPath: path))
    let replaced = try ImageInputs.expand([path])
    try FileManager.default.moveItem(atPath: path, toPath: path + ".old")
    try Data([1]).write(to: URL(fileURLWithPath: path))
    #expect(replaced.map(bytes) == [20_000, 20_000])
  }

  @Test func tellsOfPicturesThatAreNotRead() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.touch(folder, "x/1.png", "z/1.bmp", "z/2.GIF", "notes.md", ".thumbs/1.bmp")
    var tar = TarBuilder()
    for name in ["1.png", "2.heic"] { tar.add(name, [1]) }
    tar.finish()
    var told: [String] = []
    let archive = tar.bytes, found = try ImageInputs.expand([folder.path, "-"], standardInput: { archive }, note: { told.append($0) })
    #expect(found.count == 2 && told.count == 2 && told.first?.contains("2 pictures are passed over for the ending (bmp, gif)") == true && told.last?.contains("1 picture is passed over for the ending (heic)") == true, "\(told)")
  }

  /// As `tar -C folder -cf x.tar .` names its members, with what macOS puts beside them.
  @Test func namesInShardsAreThoseBelowTheFolder() throws {
    var tar = TarBuilder()
    for name in ["./a/1.png", "./a/._1.png", "b/./2.png", "./.hidden/3.png", "../up.png"] { tar.add(name, [1]) }
    tar.finish()
    #expect(try ImageInputs.expand(["-"], standardInput: { tar.bytes }).map(\.name) == ["-/a/1.png", "-/b/2.png", "-/../up.png"])
  }

  /// Links to nothing, a name that is not UTF-8 and a folder that is too deep stay inputs, so that who reads them names them; other files without images do not.
  @Test func keepsWhatCannotBeLookedInto() throws {
    let folder = try Fixtures.temporaryFolder(), deep = Array(repeating: "d", count: 65).joined(separator: "/")
    defer { try? FileManager.default.removeItem(at: folder) }
    try Self.touch(folder, "dog/1.png", deep + "/2.png")
    for name in ["gone", "gone.png", "gone.md", "gone.2019"] { try FileManager.default.createSymbolicLink(atPath: "\(folder.path)/\(name)", withDestinationPath: "/no/such/place") }
    let latin = Array("\(folder.path)/cat".utf8).map { CChar(truncatingIfNeeded: $0) } + [CChar(truncatingIfNeeded: 0xE9), 0]
    try #require(mkdir(latin, 0o755) == 0)
    defer { rmdir(latin) }
    let found = try ImageInputs.expand([folder.path])
    #expect(found.map { $0.name.dropFirst(folder.path.count + 1) } == ["cat\u{FFFD}", Substring(deep), "dog/1.png", "gone", "gone.2019", "gone.md", "gone.png"])
  }

  @Test func readsStandardInput() throws {
    #expect(try ImageInputs.expand(["-"], standardInput: { [0x89, 0x50, 0x4E, 0x47, 1] }).map(\.name) == ["-"])
    #expect(try ImageInputs.expand(["-"], standardInput: { Array("x.png\ny.png\n".utf8) }).map(\.name) == ["x.png", "y.png"])
    #expect { try ImageInputs.expand(["-", "-"], standardInput: { Array("x.png".utf8) }) } throws: { ($0 as? DinoError)?.kind == .usage }
    #expect { try ImageInputs.expand(["-"], standardInput: { [] }) } throws: { ($0 as? DinoError)?.kind == .notFound }
  }

  @Test func namesWhatIsNotThere() {
    #expect { try ImageInputs.expand(["/no/such/photo.png"]) } throws: {
      guard let e = $0 as? DinoError else { return false }
      return e.kind == .notFound && e.message.contains("/no/such/photo.png")
    }
  }
}

@Suite struct OrderedPrefetchTests {
  @Test(arguments: [(0, 0), (1, 4), (3, 2), (2, 100)])
  func keepsOrder(workers: Int, ahead: Int) {
    let prefetch = OrderedPrefetch(count: 50, ahead: ahead, workers: workers) { i -> Int in
      usleep(UInt32((i * 37) % 5) * 200)
      return i * i
    }
    var got: [Int] = []
    while let x = prefetch.next() { got.append(x) }
    #expect(got == (0..<50).map { $0 * $0 })
    #expect(prefetch.next() == nil)
  }
}

@Suite struct PartialFeaturesTests {
  @Test func goesOnBehindTheLastWholeRow() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let out = folder.appendingPathComponent("f.npy").path
    do {
      let partial = try PartialFeatures(output: out, fingerprint: "a", width: 3, stamps: known([1, 2, 3, 4]))
      try partial.append(row: [1, 2, 3], of: 0)
      try partial.append(row: [4, 5, 6], of: 2)
    }
    // A kill in the middle of a row, and in the middle of a line.
    let data = FileHandle(forWritingAtPath: out + ".partial")!
    data.seekToEndOfFile()
    data.write(Data([1, 2, 3, 4, 5]))
    let log = FileHandle(forWritingAtPath: out + ".partial.log")!
    log.seekToEndOfFile()
    log.write(Data("ro".utf8))
    let again = try PartialFeatures(output: out, fingerprint: "a", width: 3, stamps: known([1, 2, 3, 4]))
    #expect(again.finished == [0, 2] && again.pending == [1, 3] && again.resumed == 2 && again.unused == 0)
    try again.append(row: [7, 8, 9], of: 3)
    #expect(try again.rows().floats() == [1, 2, 3, 4, 5, 6, 7, 8, 9])
    again.remove()
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
  }

  /// Two runs into one file would mix their rows.
  @Test func oneAtATime() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let out = folder.appendingPathComponent("f.npy").path
    let first = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known([1, 2]))
    try first.append(row: [1], of: 0)
    for fingerprint in ["a", "b"] {
      let error = #expect(throws: DinoError.self) { try PartialFeatures(output: out, fingerprint: fingerprint, width: 1, stamps: known([1, 2])) }
      #expect(error?.kind == .io && error?.message.contains("another process") == true)
    }
    try first.append(row: [2], of: 1)
    #expect(try first.rows().floats() == [1, 2])
  }

  @Test func rowsOfOtherSettingsAreNotThrownAway() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let out = folder.appendingPathComponent("f.npy").path
    do {
      let partial = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known([1, 2, 3]))
      for i in 0..<3 { try partial.append(row: [Float(i)], of: i) }
    }
    for resumes in [true, false] {
      let error = #expect(throws: DinoError.self) { try PartialFeatures(output: out, fingerprint: "b", width: 1, stamps: known([1, 2, 3]), resumes: resumes) }
      #expect(error?.kind == .usage && error?.message.contains("holds 3 rows") == true)
    }
    // Nor are those of other inputs, also where some are of these.
    for stamps in [[4], [2], [4, 5, 1]] as [[UInt64]] {
      let error = #expect(throws: DinoError.self) { try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known(stamps)) }
      #expect(error?.kind == .usage && error?.message.contains("holds 3 rows") == true && error?.message.contains("other images") == true)
    }
    let same = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known([1, 2, 3]))
    #expect(same.resumed == 3)
    same.remove()
    // Rows that nobody can go on from are in nobody's way.
    do {
      let alone = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known([1, 2]), resumes: false)
      try alone.append(row: [1], of: 0)
    }
    do {
      let again = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known([1, 2]), resumes: false)
      #expect(again.resumed == 0 && again.rowCount == 0)
      try again.append(row: [1], of: 0)
    }
    let other = try PartialFeatures(output: out, fingerprint: "b", width: 1, stamps: known([1, 2]))
    #expect(other.resumed == 0 && other.rowCount == 0)
    try other.append(row: [2], of: 1)
    #expect(try other.rows().floats() == [2])
  }

  /// Photographs that were changed, deleted, added and put elsewhere in between, and one that could not be read then.
  @Test func rowsAreFoundByTheirInputs() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let out = folder.appendingPathComponent("f.npy").path
    do {
      let partial = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known([1, 2, 3, 4, 5, 6]))
      for i in [0, 2, 3, 4, 5] { try partial.append(row: [Float(i + 1)], of: i) }
    }
    // 2 could not be read, 4 has changed, 1 is gone, 7 is new, and 3 is named twice.
    let stamps: [UInt64] = [7, 2, 3, 44, 6, 5, 3]
    do {
      let again = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known(stamps))
      #expect(again.pending == [0, 1, 3] && again.resumed == 4 && again.unused == 2)
      for i in [0, 1] { try again.append(row: [Float(stamps[i])], of: i) }
    }
    let last = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known(stamps))
    #expect(last.pending == [3] && last.resumed == 6)
    try last.append(row: [44], of: 3)
    #expect(try last.rows().floats() == [7, 2, 3, 44, 6, 5, 3])
  }

  /// What only other permissions were given is the same image: its row is made anew, and nothing is refused.
  @Test func rowsOfFilesThatMayBeOthersAreMadeAnew() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let out = folder.appendingPathComponent("f.npy").path
    do {
      let partial = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: known([1, 2, 3]))
      for i in 0..<3 { try partial.append(row: [Float(i + 1)], of: i) }
    }
    let changed = [InputStamp(contents: 1, exact: 11), InputStamp(contents: 2, exact: 12), InputStamp(contents: 3, exact: 3)]
    let again = try PartialFeatures(output: out, fingerprint: "a", width: 1, stamps: changed)
    #expect(again.pending == [0, 1] && again.resumed == 1 && again.unused == 2)
    for i in 0..<2 { try again.append(row: [Float(i + 11)], of: i) }
    #expect(try again.rows().floats() == [11, 12, 3])
  }

  /// A file is known by its size and times, what is in memory by its bytes.
  @Test func stampsTellWhetherAnInputIsTheSame() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("a.ppm"), input = ImageInput(path: file.path)
    let missing = input.stamp
    try Data([1, 2]).write(to: file)
    let first = input.stamp
    #expect(first != missing && first == input.stamp && first != ImageInput(name: "b", place: .file(path: file.path)).stamp)
    try Data([1, 2, 3]).write(to: file)
    #expect(input.stamp != first)
    // Another file of the same size and time in its place is another input.
    let other = folder.appendingPathComponent("other.ppm")
    try Data([4, 5, 6]).write(to: other)
    for url in [file, other] { try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSince1970: 1e9)], ofItemAtPath: url.path) }
    let before = input.stamp
    // The clock of the file system ticks every few milliseconds.
    usleep(50_000)
    try #require(rename(other.path, file.path) == 0)
    let replaced = input.stamp
    #expect(before.contents == replaced.contents && before.exact != replaced.exact)
    usleep(50_000)
    try #require(chmod(file.path, 0o600) == 0)
    #expect(input.stamp.contents == replaced.contents && input.stamp.exact != replaced.exact)
    let bytes = ([[1, 2], [1, 3], [1, 2]] as [[UInt8]]).map { ImageInput(name: "-", place: .bytes($0)).stamp }
    #expect(bytes[0] != bytes[1] && bytes[0] == bytes[2])
  }

  @Test func doesNotBelieveALogWithoutItsRows() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let out = folder.appendingPathComponent("f.npy").path
    do {
      let partial = try PartialFeatures(output: out, fingerprint: "a", width: 2, stamps: known([1, 2, 3, 4, 5]))
      for i in 0..<5 { try partial.append(row: [Float(i), 0], of: i) }
    }
    truncate(out + ".partial", 19)
    let again = try PartialFeatures(output: out, fingerprint: "a", width: 2, stamps: known([1, 2, 3, 4, 5]))
    #expect(again.rowCount == 2 && again.finished == [0, 1])
  }
}
