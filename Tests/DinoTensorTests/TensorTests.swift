// Conversions between element types, all 65,536 halves among them; shapes that overflow; storage from files.

import DinoTensor
import Foundation
import Testing
import TestSupport

@Suite struct ConversionTests {
  @Test func everyHalf() {
    for bits in UInt16.min...UInt16.max {
      let expected = Float(Float16(bitPattern: bits)), found = floatFromHalf(bits)
      #expect(found.bitPattern == expected.bitPattern || found.isNaN && expected.isNaN, "half \(bits)")
      if !expected.isNaN { #expect(halfFromFloat(expected) == bits) } else { #expect(Float16(bitPattern: halfFromFloat(expected)).isNaN) }
    }
  }

  @Test func floatsRoundToNearestEvenHalf() {
    var random = SplitMix64(seed: 1)
    for _ in 0..<200_000 {
      let f = Float(bitPattern: UInt32.random(in: 0...UInt32.max, using: &random))
      if f.isNaN { continue }
      #expect(halfFromFloat(f) == Float16(f).bitPattern, "\(f)")
    }
    for f: Float in [65504, 65519.996, 65520, 5.9604645e-8, 2.9802322e-8, 2.9802326e-8, 0, -0.0, .infinity] { #expect(halfFromFloat(f) == Float16(f).bitPattern, "\(f)") }
  }

  @Test func bfloat16() {
    #expect(bfloat16FromFloat(1) == 0x3F80)
    #expect(bfloat16FromFloat(Float(bitPattern: 0x3F80_8000)) == 0x3F80)  // a tie goes to even
    #expect(bfloat16FromFloat(Float(bitPattern: 0x3F81_8000)) == 0x3F82)
    #expect(bfloat16FromFloat(Float(bitPattern: 0x7F7F_FFFF)) == 0x7F80)
    #expect(bfloat16FromFloat(.nan) & 0x7F == 0x40 | bfloat16FromFloat(.nan) & 0x3F)
    let t = Tensor.copy([UInt16(0x3F80), 0xC000], dtype: .bf16, shape: [2])
    #expect(t.floats() == [1, -2])
  }

  @Test func integersAndDoubles() {
    #expect(Tensor.copy([Int8(-128), 127], dtype: .i8, shape: [2]).floats() == [-128, 127])
    #expect(Tensor.copy([Int64(-5), 1 << 40], dtype: .i64, shape: [2]).floats() == [-5, 1_099_511_627_776])
    #expect(Tensor.copy([0.1, 1e300], dtype: .f64, shape: [2]).floats() == [0.1, .infinity])
    #expect(Tensor.copy([UInt16(65535)], dtype: .u16, shape: []).floats() == [65535])
  }

  /// Files do not align what they hold.
  @Test func unalignedBytes() throws {
    let storage = try Storage(byteCount: 64)
    let values: [Float] = [1, -2, 3.5]
    values.withUnsafeBytes { (storage.base + 3).copyMemory(from: $0.baseAddress!, byteCount: 12) }
    #expect(Tensor(dtype: .f32, shape: [3], storage: storage, byteOffset: 3)!.floats() == values)
    #expect(Tensor(dtype: .f32, shape: [16], storage: storage, byteOffset: 4) == nil)
    #expect(Tensor(dtype: .f32, shape: [-1], storage: storage, byteOffset: 0) == nil)
    #expect(Tensor(dtype: .f32, shape: [Int.max, 8], storage: storage, byteOffset: 0) == nil)
  }
}

@Suite struct ShapeTests {
  @Test func countsAreChecked() {
    #expect(Shape([]).checkedCount == 1)
    #expect(Shape([3, 0, 5]).checkedCount == 0)
    #expect(Shape([Int.max, 2]).checkedCount == nil)
    #expect(Shape([-1, 2]).checkedCount == nil)
    #expect(Shape([2, 3, 4]).strides == [12, 4, 1])
    #expect(Shape([2, 3, 4])[-1] == 4)
    #expect(DType.f4.byteCount(of: 3) == nil && DType.f4.byteCount(of: 4) == 2)
    #expect(DType.f64.byteCount(of: Int.max) == nil)
  }
}

@Suite struct StorageTests {
  @Test func mapsFiles() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("bytes").path
    try Data((0..<10_000).map { UInt8($0 % 251) }).write(to: URL(fileURLWithPath: path))
    let storage = try Storage(mapping: path)
    #expect(storage.byteCount == 10_000 && storage.bytes(250..<253) == [250, 0, 1])
    storage.release(0..<10_000)
    #expect(storage.withBytes { $0[9_999] } == UInt8(9_999 % 251))
    try Data().write(to: URL(fileURLWithPath: path + ".empty"))
    #expect(try Storage(mapping: path + ".empty").byteCount == 0)
    #expect(throws: StorageError.self) { try Storage(mapping: path + ".absent") }
    #expect(throws: StorageError.notAFile(path: folder.path)) { try Storage(mapping: folder.path) }
  }

  @Test func joinsAlongTheFirstAxis() throws {
    let a = Tensor([1, 2, 3, 4, 5, 6], shape: [1, 2, 3]), b = Tensor([7, 8, 9, 10, 11, 12], shape: [1, 2, 3])
    let both = try Tensor.joined([a, b])
    #expect(both.shape == [2, 2, 3] && both.floats() == (1...12).map { Float($0) })
    #expect(try Tensor.joined([a]).floats() == a.floats())
    // What lies in order already is not copied; in another order it is.
    var joiner = try TensorJoiner(capacity: 3, like: a)
    let first = joiner.append(a), second = joiner.append(b)
    let there = try Tensor.joined([first, second]), other = try Tensor.joined([second, first])
    #expect(there.storage === first.storage && there.floats() == both.floats() && joiner.count == 2)
    #expect(other.storage !== first.storage && other.floats() == b.floats() + a.floats())
  }

  /// Joined floats are there while they are read, take no memory after they were let go, and come again.
  @Test func derivedBytesComeAndGo() throws {
    let halves = Tensor.copy([UInt16](repeating: 0x3C00, count: 100_000), dtype: .f16, shape: [100, 1000]), floats = Tensor((0..<100_000).map { Float($0) }, shape: [100, 1000])
    let both = try Tensor.derived(joining: [halves, floats], shape: [200, 1000])
    #expect(both.storage.kind == .derived && both.shape == [200, 1000] && both.dtype == .f32)
    let third = Tensor(dtype: .f32, shape: [1, 1000], storage: both.storage, byteOffset: 400_000)!
    func resident(_ base: UnsafeMutableRawPointer) -> Int {
      var pages = [UInt8](repeating: 0, count: (both.byteCount + 4095) / 4096)
      return mincore(base, both.byteCount, &pages) == 0 ? pages.count { $0 & 1 == 1 } : -1
    }
    let all = (both.byteCount + 4095) / 4096
    for _ in 0..<3 {
      let base = both.storage.reading { $0 }
      #expect(resident(base) == all)
      #expect(both.floats() == [Float](repeating: 1, count: 100_000) + floats.floats())
      // Not while somebody reads.
      both.storage.reading { _ in third.releasePages() }
      #expect(resident(base) == all)
      // A part of it lets go of all.
      third.releasePages()
      #expect(resident(base) == 0)
      #expect(third.floats() == (0..<1000).map { Float($0) })
    }
    // Nor once somebody has the pointer.
    let base = both.storage.base
    third.releasePages()
    #expect(resident(base) == all)
  }

  /// What `residentBytes` says is what the system counts, once every page was written.
  @Test(arguments: [300_000, 1_300_000, 2_400_000, 3_200_000, 9_000_000]) func saysWhatABlockTakes(bytes: Int) throws {
    let storage = try Storage(byteCount: bytes)
    for i in stride(from: 0, to: bytes, by: 4096) { storage.base.storeBytes(of: 1, toByteOffset: i, as: UInt8.self) }
    let unit = bytes < 1 << 20 ? 1 << 16 : 2 << 20, length = (bytes + unit - 1) / unit * unit
    var pages = [UInt8](repeating: 0, count: length / 4096)
    #expect(mincore(storage.base, length, &pages) == 0)
    let resident = pages.count { $0 & 1 == 1 } * 4096
    // Where the system gives no huge pages, only what was written is there.
    let plain = (bytes + 4095) / 4096 * 4096
    #expect(resident >= plain && resident <= max(Storage.residentBytes(bytes), plain), "\(resident)")
  }

  /// The end of a block goes back, in whole pages: what is before it stays, and so does what is written there later.
  @Test(arguments: [300_000, 5 << 20]) func givesItsEndBack(bytes: Int) throws {
    let storage = try Storage(byteCount: bytes), middle = bytes / 2, pages = (bytes + 4095) / 4096
    func resident() -> Int {
      var found = [UInt8](repeating: 0, count: pages)
      #expect(mincore(storage.base, bytes, &found) == 0)
      return found.count { $0 & 1 == 1 }
    }
    func value(_ at: Int) -> UInt8 { storage.base.load(fromByteOffset: at, as: UInt8.self) }
    memset(storage.base, 7, bytes)
    #expect(resident() == pages)
    storage.releaseEnd(from: middle)
    #expect(resident() == (middle + 4095) / 4096)
    #expect(value(0) == 7 && value(middle - 1) == 7 && value(bytes - 1) == 0)
    storage.base.storeBytes(of: 5, toByteOffset: bytes - 1, as: UInt8.self)
    storage.releaseEnd(from: bytes)
    #expect(value(bytes - 1) == 5)
  }

  @Test(arguments: [0, 1, 63, 64, 65, 300_000, 1 << 20, (1 << 20) + 1, 5 << 20]) func allocates(bytes: Int) throws {
    let storage = try Storage(byteCount: bytes, zeroed: true)
    #expect(Int(bitPattern: storage.base) % 64 == 0)
    #expect(storage.withBytes { span in (0..<span.count).allSatisfy { span[$0] == 0 } })
    if bytes > 0 { storage.base.storeBytes(of: 7, toByteOffset: bytes - 1, as: UInt8.self) }
  }
}
