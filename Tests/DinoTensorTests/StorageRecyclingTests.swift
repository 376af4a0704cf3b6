// Large blocks are used again while somebody asks for it, and only then; cleared ones are clear.

import DinoTensor
import Testing

@Suite(.serialized) struct StorageRecyclingTests {
  private func address(_ bytes: Int, zeroed: Bool = false, filled: UInt8) throws -> (at: Int, first: UInt8) {
    let block = try Storage(byteCount: bytes, zeroed: zeroed), first = block.withBytes { $0[bytes - 1] }
    block.base.initializeMemory(as: UInt8.self, repeating: filled, count: bytes)
    return (Int(bitPattern: block.base), first)
  }

  @Test func blocksComeBackDuringARun() throws {
    try StorageRecycling.during {
      let first = try address(5 << 20, filled: 7), second = try address(5 << 20, filled: 9)
      #expect(first.at == second.at && second.first == 7)
      let cleared = try address(5 << 20, zeroed: true, filled: 1)
      #expect(cleared.first == 0)
      let inner = try StorageRecycling.during { try address(5 << 20, filled: 3) }
      #expect(inner.first != 0)
    }
    let after = try address(5 << 20, filled: 1)
    #expect(after.first == 0)
  }
}
