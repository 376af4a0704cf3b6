// A number by which runs know whether they are of the same images, settings and weights: FNV-1a. Not against anyone who chooses what is compared.

struct Fingerprint {
  private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

  mutating func add(_ word: UInt64) { value = (value ^ word) &* 0x0000_0100_0000_01B3 }
  mutating func add(_ text: String) { for byte in text.utf8 { add(UInt64(byte)) } }

  var text: String { String(value, radix: 16) }
}
