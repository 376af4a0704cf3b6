// The first look at a file's bytes: checks the wire format (lengths, depth, numbers, text), skips what is not known, and copies the rest to a
// skeleton in which the bytes of `raw_data` are replaced by their place in the file. What protobuf-c decodes is the skeleton, which is small and
// known to be sound. No recursion; time and memory grow with the file's length without its `raw_data`.

internal import DinoTensor

/// A place in the file, as the skeleton holds it instead of the bytes: two little-endian 64-bit numbers, offset and count.
struct PayloadPlace: Equatable {
  static let byteCount = 16
  var offset: Int
  var count: Int
}

struct WireScanner: ~Copyable {
  /// A message that is being walked through.
  private struct Frame {
    let message: WireMessage
    let end: Int
    /// Where the skeleton has the length of this message, to be filled in when it ends.
    let lengthAt: Int
    /// Slots of fields seen that may be there once.
    var seen: UInt64 = 0
  }

  private enum WireType {
    static let varint: UInt64 = 0, fixed64: UInt64 = 1, lengthPrefixed: UInt64 = 2, startGroup: UInt64 = 3, endGroup: UInt64 = 4, fixed32: UInt64 = 5
  }

  private let limits: OnnxLimits
  private var skeleton: [UInt8] = []
  private var stack: [Frame] = []
  private var position = 0
  private var fields = 0
  private var sawGraph = false

  private init(limits: OnnxLimits) { self.limits = limits }

  /// The skeleton of the model in `bytes`.
  static func skeleton(of bytes: Span<UInt8>, limits: OnnxLimits) throws(OnnxProblem) -> [UInt8] {
    var scanner = WireScanner(limits: limits)
    scanner.stack = [Frame(message: .model, end: bytes.count, lengthAt: -1)]
    while let frame = scanner.stack.last {
      if scanner.position == frame.end {
        scanner.close(frame)
      } else {
        try scanner.field(bytes, in: frame)
      }
    }
    guard scanner.sawGraph else { throw .noGraph }
    return scanner.skeleton
  }

  // MARK: fields

  private mutating func field(_ bytes: Span<UInt8>, in frame: Frame) throws(OnnxProblem) {
    let start = position
    fields += 1
    guard fields <= limits.fields else { throw .tooManyFields(limit: limits.fields) }
    let tag = try varint(bytes, before: frame.end)
    let number = tag >> 3, wireType = tag & 7
    guard number >= 1, number < 1 << 29 else { throw .invalidTag(at: start) }
    guard let field = frame.message.field(Int(number)), accepts(field, wireType) else {
      return try skip(bytes, wireType: wireType, number: number, start: start, in: frame)
    }
    switch wireType {
    case WireType.varint: _ = try varint(bytes, before: frame.end)
    case WireType.fixed32: try advance(4, before: frame.end, start: start)
    case WireType.fixed64: try advance(8, before: frame.end, start: start)
    default: return try lengthPrefixed(bytes, field, number: number, start: start, in: frame)
    }
    copy(bytes, start..<position)
  }

  /// Whether a field may have this wire type. Another one makes it an unknown field, as in every protobuf library.
  private func accepts(_ field: WireField, _ wireType: UInt64) -> Bool {
    switch field.content {
    case .varint: wireType == WireType.varint || field.isRepeated && wireType == WireType.lengthPrefixed
    case .fixed32: wireType == WireType.fixed32 || field.isRepeated && wireType == WireType.lengthPrefixed
    case .fixed64: wireType == WireType.fixed64 || field.isRepeated && wireType == WireType.lengthPrefixed
    case .text, .bytes, .payload, .message: wireType == WireType.lengthPrefixed
    }
  }

  private mutating func lengthPrefixed(_ bytes: Span<UInt8>, _ field: WireField, number: UInt64, start: Int, in frame: Frame) throws(OnnxProblem) {
    let tagEnd = position
    let length = try self.length(bytes, message: frame.message, number: number, start: start, end: frame.end)
    let content = position..<(position + length)
    if !field.isRepeated {
      // Libraries merge a message that is there twice; no exporter relies on it, and repeated merging takes quadratic time.
      let bit: UInt64 = 1 << UInt64(field.slot)
      guard frame.seen & bit == 0 else { throw .repeatedField(message: frame.message.name, field: number, at: start) }
      stack[stack.count - 1].seen |= bit
    }
    switch field.content {
    case .message(let message):
      guard stack.count < limits.depth else { throw .tooDeep(limit: limits.depth, at: start) }
      if message == .graph && stack.count == 1 { sawGraph = true }
      copy(bytes, start..<tagEnd)
      stack.append(Frame(message: message, end: content.upperBound, lengthAt: skeleton.count))
      skeleton.append(contentsOf: WireScanner.emptyLength)
      return
    case .payload:
      copy(bytes, start..<tagEnd)
      place(PayloadPlace(offset: content.lowerBound, count: length))
    case .text:
      guard isText(bytes.extracting(content)) else { throw .invalidText(message: frame.message.name, field: number, at: start) }
      copy(bytes, start..<content.upperBound)
    case .bytes:
      copy(bytes, start..<content.upperBound)
    case .varint, .fixed32, .fixed64:
      guard isPackedList(bytes.extracting(content), field.content) else { throw .invalidPackedList(message: frame.message.name, field: number, at: start) }
      copy(bytes, start..<content.upperBound)
    }
    position = content.upperBound
  }

  /// Passes over a field that is not known, groups (an old form of messages) included.
  private mutating func skip(_ bytes: Span<UInt8>, wireType: UInt64, number: UInt64, start: Int, in frame: Frame) throws(OnnxProblem) {
    var groups: [UInt64] = []
    var wireType = wireType, number = number
    while true {
      switch wireType {
      case WireType.varint: _ = try varint(bytes, before: frame.end)
      case WireType.fixed32: try advance(4, before: frame.end, start: start)
      case WireType.fixed64: try advance(8, before: frame.end, start: start)
      case WireType.lengthPrefixed: position += try length(bytes, message: frame.message, number: number, start: start, end: frame.end)
      case WireType.startGroup:
        guard stack.count + groups.count < limits.depth else { throw .tooDeep(limit: limits.depth, at: start) }
        groups.append(number)
      case WireType.endGroup:
        guard groups.popLast() == number else { throw .unbalancedGroup(at: start) }
      default: throw .invalidTag(at: start)
      }
      if groups.isEmpty { return }
      fields += 1
      guard fields <= limits.fields else { throw .tooManyFields(limit: limits.fields) }
      let tag = try varint(bytes, before: frame.end)
      number = tag >> 3
      wireType = tag & 7
      guard number >= 1, number < 1 << 29 else { throw .invalidTag(at: start) }
    }
  }

  // MARK: numbers

  private mutating func varint(_ bytes: Span<UInt8>, before end: Int) throws(OnnxProblem) -> UInt64 {
    let start = position
    var value: UInt64 = 0, shift: UInt64 = 0
    while true {
      guard position < end else { throw .truncated(at: start) }
      let byte = bytes[position]
      position += 1
      if shift == 63 && byte > 1 { throw .invalidVarint(at: start) }
      value |= UInt64(byte & 0x7F) << shift
      if byte < 0x80 { return value }
      shift += 7
    }
  }

  /// A length that fits before `end`.
  private mutating func length(_ bytes: Span<UInt8>, message: WireMessage, number: UInt64, start: Int, end: Int) throws(OnnxProblem) -> Int {
    let length = try varint(bytes, before: end)
    guard length <= UInt64(end - position) else {
      throw .lengthBeyondEnd(message: message.name, field: number, length: length, available: end - position, at: start)
    }
    return Int(length)
  }

  private mutating func advance(_ count: Int, before end: Int, start: Int) throws(OnnxProblem) {
    guard count <= end - position else { throw .truncated(at: start) }
    position += count
  }

  private func isPackedList(_ bytes: Span<UInt8>, _ content: WireContent) -> Bool {
    switch content {
    case .fixed32: return bytes.count % 4 == 0
    case .fixed64: return bytes.count % 8 == 0
    default:
      var run = 0
      for i in 0..<bytes.count {
        if bytes[i] < 0x80 {
          run = 0
        } else {
          run += 1
          if run > 9 { return false }
        }
      }
      return run == 0
    }
  }

  /// UTF-8 without NUL, whose comparison does not take for ever: C strings hold it whole, so that two names never become one.
  private func isText(_ bytes: Span<UInt8>) -> Bool {
    var plain = true
    for i in 0..<bytes.count {
      if bytes[i] == 0 { return false }
      if bytes[i] >= 0x80 { plain = false }
    }
    if plain { return true }
    guard let text = try? UTF8Span(validating: bytes) else { return false }
    return isStreamSafe(String(copying: text))
  }

  // MARK: the skeleton

  /// A length is written as five bytes whatever its value, since it is known only when the message ends.
  private static let emptyLength: [UInt8] = [0x80, 0x80, 0x80, 0x80, 0x00]

  private mutating func close(_ frame: Frame) {
    stack.removeLast()
    guard frame.lengthAt >= 0 else { return }
    var length = skeleton.count - frame.lengthAt - WireScanner.emptyLength.count
    for i in 0..<WireScanner.emptyLength.count {
      skeleton[frame.lengthAt + i] |= UInt8(length & 0x7F)
      length >>= 7
    }
  }

  private mutating func copy(_ bytes: Span<UInt8>, _ range: Range<Int>) {
    unsafe bytes.extracting(range).withUnsafeBufferPointer { unsafe skeleton.append(contentsOf: $0) }
  }

  private mutating func place(_ place: PayloadPlace) {
    skeleton.append(UInt8(PayloadPlace.byteCount))
    for number in [place.offset, place.count] {
      for shift in stride(from: 0, to: 64, by: 8) { skeleton.append(UInt8(truncatingIfNeeded: number >> shift)) }
    }
  }
}
