// A number by which a later run knows that an input is still what it was: FNV-1a over its name and cheap evidence of its contents. Not against anyone who chooses what is compared.

internal import DinoTensor

extension ImageInput {
  /// Of a file size and time count, of an archive's member those of the archive and its place there; of what came through standard input the bytes.
  public var stamp: UInt64 {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ bytes: some Sequence<UInt8>) { for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 } }
    add(name.utf8)
    add([0x0A] as [UInt8])
    switch place {
    case .file(let path): add(fileStamp(path).utf8)
    case .bytes(let bytes): add(bytes)
    case .member(let storage, let range):
      if let archive {
        add("\(fileStamp(archive)) \(range.lowerBound) \(range.upperBound)".utf8)
      } else {
        add(storage.bytes(range))
      }
    }
    return hash
  }
}
