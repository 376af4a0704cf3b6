// The quantized weights of a file held against its record: what is listed is there in the stated form, and nothing else is. Values are looked at when weights are asked
// for, tensor by tensor.

internal import DinoKernels
internal import DinoModels
internal import DinoTensor

struct QuantizedTensors: Sendable {
  let entries: [String: QuantizationRecord.Entry]
  /// Names of the tensors that hold scales.
  let scaleNames: Set<String>

  /// Whether layers are to compute on the integers themselves.
  var areInt8: Bool { entries.values.contains { $0.kind == .int8 } }

  /// - Throws: where record and tensors contradict each other.
  init(_ record: QuantizationRecord, stored: [StoredTensor], path: String) throws(DinoError) {
    entries = record.tensors
    scaleNames = Set(record.tensors.keys.map(QuantizationRecord.scaleName))
    let found = Dictionary(stored.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    for (name, entry) in record.tensors.sorted(by: { $0.key < $1.key }) {
      let form = QuantizationRecord.stored(entry)
      for (tensor, expected) in [(name, form.values), (QuantizationRecord.scaleName(of: name), form.scales)] {
        guard let there = found[tensor] else { throw DinoError(.data, "\(path): the tensor '\(tensor)' is missing, though '\(name)' is listed as \(entry.kind.rawValue)") }
        guard there.dtype == expected.dtype, there.shape == expected.shape else {
          throw DinoError(.data, "\(path): the tensor '\(tensor)' is \(there.dtype.rawValue) \(there.shape), but \(expected.dtype.rawValue) \(expected.shape) is the form of \(entry.kind.rawValue)")
        }
      }
    }
    // The other direction: scales that belong to nothing would be ignored silently.
    for tensor in stored where tensor.name.hasSuffix(".weight_scale") && !scaleNames.contains(tensor.name) {
      throw DinoError(.data, "\(path): the tensor '\(tensor.name)' has scales of a weight that dino.quantization does not list")
    }
  }

  /// Shapes of the network's own tensors, as floats would have them.
  func floatShapes(_ shapes: [String: [Int]]) -> [String: [Int]] {
    var result = shapes.filter { !scaleNames.contains($0.key) }
    for (name, entry) in entries { result[name] = entry.shape }
    return result
  }

  /// Checks the numbers of one weight.
  func check(_ name: String, values: Tensor, scales: Tensor, path: String) throws(DinoError) {
    guard scales.floats().allSatisfy({ $0.isFinite && $0 > 0 }) else {
      throw DinoError(.data, "\(path): the tensor '\(QuantizationRecord.scaleName(of: name))' has scales that are not finite and positive")
    }
    // -128, and the nibble that would stand for -8.
    let isSigned = values.dtype == .i8
    guard !(isSigned ? values.contains(byte: 0x80) : Int4Groups.hasForbidden(values)) else { throw DinoError(.data, "\(path): the tensor '\(name)' has the value \(isSigned ? "-128" : "-8"), which the format does not use") }
    values.releasePages()
  }

  /// A weight in f32.
  func expanded(_ name: String, values: Tensor, scales: Tensor) throws -> Tensor {
    guard let entry = entries[name] else { return values }
    defer { values.releasePages() }
    switch entry.kind {
    case .int8: return values.multipliedRows(by: scales)
    case .int4: return try Int4Groups.expanded(values, scales: scales, shape: Shape(entry.shape), team: .shared(availableCores()))
    }
  }
}
