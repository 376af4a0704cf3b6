// Arrays that NumPy wrote: every type and order reads to the same values, and what we write is what NumPy would, byte for byte.

import DinoTensor
import Foundation
import NumPyArrays
import Testing
import TestSupport

@Suite struct NumPyFixtureTests {
  static let ramp = (0..<24).map { Float($0) }
  static let codes: [(String, DType)] = [
    ("b1", .bool), ("u1", .u8), ("i1", .i8), ("u2", .u16), ("i2", .i16), ("u4", .u32), ("i4", .i32), ("u8", .u64), ("i8", .i64),
    ("f2", .f16), ("f4", .f32), ("f8", .f64),
  ]

  func data(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("numpy/\(name)")))) }

  @Test(arguments: codes, ["little", "big"]) func everyType(_ code: (String, DType), _ order: String) throws {
    let tensor = try NumPyArray.read(path: Fixtures.path("numpy/\(order)_\(code.0).npy"))
    #expect(tensor.dtype == code.1 && tensor.shape == [2, 3, 4])
    #expect(tensor.floats() == (code.1 == .bool ? Self.ramp.map { min($0, 1) } : Self.ramp))
  }

  @Test func complexNumbers() throws {
    let little = try NumPyArray.read(path: Fixtures.path("numpy/little_c8.npy")), big = try NumPyArray.read(path: Fixtures.path("numpy/big_c8.npy"))
    #expect(little.dtype == .c64 && little.shape == [2, 3, 4])
    #expect(little.storage.bytes(little.byteRange) == big.storage.bytes(big.byteRange))
    let parts = Tensor(dtype: .f32, shape: [24, 2], storage: little.storage, byteOffset: little.byteOffset)
    #expect(parts?.floats() == Self.ramp.flatMap { [$0, 0] })
  }

  @Test(arguments: ["fortran_f4", "fortran_big_i2", "version2_f4", "version3_f4"]) func ordersAndVersions(_ name: String) throws {
    let tensor = try NumPyArray.read(path: Fixtures.path("numpy/\(name).npy"))
    #expect(tensor.shape == [2, 3, 4] && tensor.floats() == Self.ramp)
  }

  @Test func shapes() throws {
    #expect(try NumPyArray.read(path: Fixtures.path("numpy/scalar_f4.npy")).floats() == [1.5])
    #expect(try NumPyArray.read(path: Fixtures.path("numpy/scalar_f4.npy")).shape == [])
    #expect(try NumPyArray.read(path: Fixtures.path("numpy/vector_f4.npy")).floats() == [0, 1, 2, 3, 4])
    #expect(try NumPyArray.read(path: Fixtures.path("numpy/empty_f4.npy")).shape == [0, 3])
    #expect(try NumPyArray.read(path: Fixtures.path("numpy/long_shape_f4.npy")).shape.rank == 32)
  }

  /// Read and written again, a file of NumPy's is the same bytes.
  @Test(arguments: codes.map { "little_\($0.0)" } + ["little_c8", "scalar_f4", "vector_f4", "empty_f4", "long_shape_f4"]) func sameBytes(_ name: String) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("x.npy").path
    try NumPyArray.write(try NumPyArray.read(path: Fixtures.path("numpy/\(name).npy")), to: path)
    let written = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))), expected = try data("\(name).npy")
    #expect(written == expected)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["x.npy"])
  }

  @Test(arguments: ["stored", "deflated"]) func archives(_ name: String) throws {
    let archive = try NumPyArchive(path: Fixtures.path("numpy/\(name).npz"))
    #expect(archive.names == ["a", "b", "empty", "ä"])
    let a = try archive.tensor("a"), b = try archive.tensor("b")
    #expect(a.floats() == Self.ramp && a.shape == [2, 3, 4])
    #expect(b.floats() == [0, 1, 2, 3, 4] && b.dtype == .i64)
    #expect(try archive.tensor("empty").shape == [0])
    #expect(try archive.tensor("ä").floats() == [2.5])
    #expect(throws: NumPyError.noSuchMember(path: archive.path, member: "c")) { try archive.tensor("c") }
  }
}
