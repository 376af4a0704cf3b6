// A number by which runs know whether they are of the same images, settings and weights: FNV-1a. Not against anyone who chooses what is compared.

internal import Dino

struct Fingerprint {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ word: UInt64) { value = (value ^ word) &* 0x0000_0100_0000_01B3 }
  mutating func add(_ text: String) { for byte in text.utf8 { add(UInt64(byte)) } }

  var text: String { String(value, radix: 16) }
}

extension Fingerprint {
  /// Which images these are: names below the folder that holds them all (which may be moved), bytes, and their order; with the class of each where they have one.
  init(of images: [ImageInput], classes: [String]? = nil) {
    self.init()
    let shared = Self.sharedFolders(images.map(\.name))
    for (i, image) in images.enumerated() {
      if let classes { add("\(classes[i])\n") }
      for byte in image.name.utf8.dropFirst(shared) { add(UInt64(byte)) }
      add("\n\(Self.byteCount(image))\n")
    }
  }

  private static func byteCount(_ image: ImageInput) -> Int {
    switch image.place {
    case .file(let path): Dino.byteCount(ofFile: path)
    case .member(_, let range): range.count
    case .bytes(let bytes): bytes.count
    }
  }

  /// Bytes of the folders that all names begin with.
  private static func sharedFolders(_ names: [String]) -> Int {
    let slash = UInt8(ascii: "/")
    var shared = Array((names.first ?? "").utf8)
    func shorten() { shared.removeSubrange((shared.dropLast().lastIndex(of: slash).map { $0 + 1 } ?? 0)...) }
    if !shared.isEmpty { shorten() }
    for name in names {
      while !name.utf8.starts(with: shared) { shorten() }
    }
    return shared.count
  }
}
