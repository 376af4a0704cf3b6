// Reads the golden data of this room: JSON with base64 pixels in Tests/Fixtures/imaging, and .npy files of the shared folder.

import DinoImaging
import Foundation
import TestSupport

struct GoldenPixels: Decodable {
  let width: Int
  let height: Int
  let rgb: Data
  var image: Image { Image(width: width, height: height, channels: 3, pixels: [UInt8](rgb)) }
}

struct DecodeCase: Decodable {
  let width: Int
  let height: Int
  let rgb: Data
  let upright: GoldenPixels?
  var image: Image { Image(width: width, height: height, channels: 3, pixels: [UInt8](rgb)) }
}

struct ResizeCases: Decodable {
  struct Case: Decodable {
    let filter: String
    let width: Int
    let height: Int
    let box: [Double]?
    let rgb: Data
  }
  let width: Int
  let height: Int
  let rgb: Data
  let cases: [Case]
  var source: Image { Image(width: width, height: height, channels: 3, pixels: [UInt8](rgb)) }
}

struct AugmentCases: Decodable {
  struct Step: Decodable {
    let step: String
    let value: Double
    let rgb: Data
  }
  struct Plan: Decodable {
    let resize: [Int]
    let crop: Int?
    let filter: String
    let height: Int
    let width: Int
    let values: Data
  }
  let steps: [Step]
  let plans: [Plan]
}

enum Golden {
  static let folder = "imaging/"
  static func json<T: Decodable>(_ name: String, _ type: T.Type) throws -> T {
    try JSONDecoder().decode(type, from: Data(contentsOf: URL(fileURLWithPath: Fixtures.path(folder + name))))
  }
  static func decodeCases() throws -> [String: DecodeCase] { try json("decode.json", [String: DecodeCase].self) }
  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path(folder + "decode/" + name))))
  }
}

/// A little-endian, C-ordered .npy file of version 1: its element type ("u1", "f2", "f4"), shape and bytes.
struct NPY {
  let kind: String
  let shape: [Int]
  let data: [UInt8]

  init(_ path: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let length = Int(bytes[8]) | Int(bytes[9]) << 8
    let header = String(decoding: bytes[10..<(10 + length)], as: UTF8.self)
    kind = String(header.split(separator: "'")[3].dropFirst())
    let tuple = header.split(separator: "(")[1].split(separator: ")")[0]
    shape = tuple.split(separator: ",").compactMap { Int($0.trimmingCharacters(in: .whitespaces)) }
    data = Array(bytes[(10 + length)...])
  }

  var image: Image { Image(width: shape[1], height: shape[0], channels: 3, pixels: data) }

  var floats: [Float] {
    data.withUnsafeBytes { raw in
      kind == "f2"
        ? (0..<(data.count / 2)).map { Float(Float16(bitPattern: raw.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self))) }
        : (0..<(data.count / 4)).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    }
  }
}

func largestDifference(_ a: Image, _ b: Image) -> Int {
  guard a.width == b.width, a.height == b.height, a.channels == b.channels else { return .max }
  return zip(a.pixels, b.pixels).map { abs(Int($0) - Int($1)) }.max() ?? 0
}

/// Random pixels.
func noise(_ width: Int, _ height: Int, channels: Int = 3, seed: UInt64) -> Image {
  var random = SplitMix64(seed: seed)
  return Image(width: width, height: height, channels: channels, pixels: (0..<(width * height * channels)).map { _ in UInt8(truncatingIfNeeded: random.next()) })
}
