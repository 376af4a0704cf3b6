// Protobuf's wire format, written: tags, varints, messages inside messages. Large bytes are kept by reference until the file is written. What a
// message consists of is OnnxWriter+Messages.swift.

/// The fields of one message. Numbers and texts are copied; payloads are not.
struct WireWriter {
  /// Everything but the payloads.
  private(set) var bytes: [UInt8] = []
  /// Where in `bytes` each payload belongs, in order.
  private(set) var payloads: [(position: Int, bytes: OnnxBytes)] = []
  /// Length of the message, payloads included.
  private(set) var count = 0
  /// Messages that this one lies in, itself included. No more than a reader lets through.
  private var depth = 1

  mutating func varint(_ field: Int, _ value: Int64) {
    tag(field, 0)
    raw(varint: UInt64(bitPattern: value))
  }

  /// A number that is left out where it is 0: protobuf's default.
  mutating func nonzero(_ field: Int, _ value: Int64) {
    if value != 0 { varint(field, value) }
  }

  mutating func float(_ field: Int, _ value: Float) {
    tag(field, 5)
    raw(littleEndian: value.bitPattern)
  }

  /// A string, left out where it is empty.
  mutating func text(_ field: Int, _ value: String) throws(OnnxError) {
    if !value.isEmpty { try element(field, value) }
  }

  /// One string of a repeated field: written even where it is empty.
  mutating func element(_ field: Int, _ value: String) throws(OnnxError) {
    if value.utf8.contains(0) { throw .cannotStore(reason: "the text \(quoted(value)) holds a NUL") }
    tag(field, 2)
    raw(varint: UInt64(value.utf8.count))
    raw(value.utf8)
  }

  mutating func bytes(_ field: Int, _ value: [UInt8]) {
    tag(field, 2)
    raw(varint: UInt64(value.count))
    raw(value)
  }

  mutating func payload(_ field: Int, _ value: OnnxBytes) {
    tag(field, 2)
    raw(varint: UInt64(value.count))
    payloads.append((bytes.count, value))
    count += value.count
  }

  /// A message; its length is known when `body` has written it.
  mutating func message(_ field: Int, _ body: (inout WireWriter) throws(OnnxError) -> Void) throws(OnnxError) {
    guard depth < OnnxLimits.defaultDepth else {
      throw .cannotStore(reason: "graphs or types lie in one another more than \(OnnxLimits.defaultDepth) messages deep")
    }
    var inner = WireWriter()
    inner.depth = depth + 1
    try body(&inner)
    tag(field, 2)
    raw(varint: UInt64(inner.count))
    for payload in inner.payloads { payloads.append((bytes.count + payload.position, payload.bytes)) }
    bytes.append(contentsOf: inner.bytes)
    count += inner.count
  }

  // MARK: packed lists

  mutating func packed(_ field: Int, varints values: [UInt64]) {
    var inner = WireWriter()
    for value in values { inner.raw(varint: value) }
    bytes(field, inner.bytes)
  }

  mutating func packed(_ field: Int, floats values: [Float]) {
    var inner = WireWriter()
    for value in values { inner.raw(littleEndian: value.bitPattern) }
    bytes(field, inner.bytes)
  }

  mutating func packed(_ field: Int, doubles values: [Double]) {
    var inner = WireWriter()
    for value in values { inner.raw(littleEndian: value.bitPattern) }
    bytes(field, inner.bytes)
  }

  // MARK: bytes

  private mutating func tag(_ field: Int, _ wireType: UInt64) { raw(varint: UInt64(field) << 3 | wireType) }

  private mutating func raw(varint value: UInt64) {
    var value = value
    while value >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
      count += 1
      value >>= 7
    }
    bytes.append(UInt8(value))
    count += 1
  }

  private mutating func raw<T: FixedWidthInteger>(littleEndian value: T) {
    for shift in stride(from: 0, to: T.bitWidth, by: 8) { bytes.append(UInt8(truncatingIfNeeded: value >> T(shift))) }
    count += T.bitWidth / 8
  }

  private mutating func raw(_ more: some Collection<UInt8>) {
    bytes.append(contentsOf: more)
    count += more.count
  }

  /// The whole message in order: its bytes, with the payloads at their places. No piece is copied.
  func forEachPiece<E: Error>(_ body: (Span<UInt8>) throws(E) -> Void) throws(E) {
    var start = 0
    for payload in payloads {
      try body(bytes.span.extracting(start..<payload.position))
      try payload.bytes.withBytes(body)
      start = payload.position
    }
    try body(bytes.span.extracting(start..<bytes.count))
  }
}
