// Helpers of this room's tests: expected values, and mutated copies of small files.

import DinoTensor
import Foundation
import TestSupport
@testable import TorchArchive

/// What the original says about one tensor.
struct ExpectedTensor: Decodable {
  let dtype: String
  let shape: [Int]
  let strides: [Int]
  let values: [Double]

  static let all: [String: [String: ExpectedTensor]] = {
    guard let data = FileManager.default.contents(atPath: Fixtures.path("torch/expected.json")),
          let table = try? JSONDecoder().decode([String: [String: ExpectedTensor]].self, from: data) else { return [:] }
    return table
  }()
}

func fixture(_ name: String) -> String { Fixtures.path("torch/" + name) }

func contents(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }

func storage(_ bytes: [UInt8]) throws -> Storage {
  let storage = try Storage(byteCount: bytes.count)
  storage.base.copyMemory(from: bytes, byteCount: bytes.count)
  return storage
}

/// Elements of a tensor as doubles, exactly; complex numbers as pairs.
func doubles(_ tensor: Tensor) -> [Double] {
  let raw = tensor.unsafeBytes
  func all<T: BitwiseCopyable>(_ type: T.Type, _ count: Int, _ convert: (T) -> Double) -> [Double] {
    (0..<count).map { convert(raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.stride, as: type)) }
  }
  switch tensor.dtype {
  case .f64: return all(Double.self, tensor.count) { $0 }
  case .i64: return all(Int64.self, tensor.count) { Double($0) }
  case .c64: return all(Float.self, tensor.count * 2) { Double($0) }
  default: return tensor.floats().map(Double.init)
  }
}

/// Opens and reads everything; a refusal is fine, a trap or a hang is what a caller looks for.
@discardableResult
func readEverything(_ bytes: [UInt8]) throws -> TorchArchiveError? {
  let storage = try storage(bytes)
  _ = try? TorchArchive.scan(storage: storage, name: "bytes")
  do {
    let archive = try TorchArchive(storage: storage, name: "bytes")
    _ = archive.root.description
    _ = archive.args
    for (_, tensor) in archive.root.tensors { _ = doubles(try tensor.tensor()) }
    return nil
  } catch {
    return error
  }
}
