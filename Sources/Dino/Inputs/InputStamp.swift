// Numbers by which a later run knows that an input is still what it was: FNV-1a over its name and cheap evidence of its contents. Not against anyone who chooses what is compared.

internal import DinoTensor

/// What an input was when it was looked at.
public struct InputStamp: Sendable, Hashable {
  /// Its name, and size and time of its file; of an archive's member those of the archive and its place there, of what came through standard input the bytes.
  public var contents: UInt64
  /// With when anything of the file last changed. A row is taken by this one: a file that was put in the place of another of its size and time has another. But so has one whose
  /// permissions changed, which is no other image.
  public var exact: UInt64

  public init(contents: UInt64, exact: UInt64) {
    self.contents = contents
    self.exact = exact
  }
}

extension ImageInput {
  public var stamp: InputStamp {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ bytes: some Sequence<UInt8>) { for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 } }
    add(name.utf8)
    add([0x0A] as [UInt8])
    var file: String?
    switch place {
    case .file(let path):
      add(fileStamp(path).utf8)
      file = path
    case .bytes(let bytes): add(bytes)
    case .member(let storage, let range):
      if let archive {
        add("\(fileStamp(archive)) \(range.lowerBound) \(range.upperBound)".utf8)
        file = archive
      } else {
        add(storage.bytes(range))
      }
    }
    let contents = hash
    if let file { add(fileChange(file).utf8) }
    return InputStamp(contents: contents, exact: hash)
  }
}
