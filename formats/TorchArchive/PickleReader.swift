// Turns the bytes of a pickle into tokens, protocols 0 to 5. It checks lengths and numbers; it gives tokens no meaning and keeps no stack.

internal import DinoTensor

/// One operation of the pickle machine with its argument.
enum PickleToken: Sendable, Equatable {
  case protocolVersion(Int), frame, stop
  case mark, pop, popMark, duplicate
  case none, bool(Bool), int(Int), bigInteger([UInt8]), float(Double), string(String), bytes([UInt8]), byteArray([UInt8])
  case emptyList, emptyDictionary, emptySet, emptyTuple
  case list, dictionary, tuple, frozenSet
  case shortTuple(Int)
  case append, appends, setItem, setItems, addItems
  case get(Int), put(Int), memoize
  case global(module: String, name: String), stackGlobal
  case reduce, build, newObject
  case instance(module: String, name: String)
  case persistentID
  /// Operations that no tensor archive needs. They are known so that they can be named when refused.
  case forbidden
}

/// Opcodes by name, as Python's `pickletools` names them.
enum PickleOpcode: UInt8, CaseIterable, Sendable {
  case MARK = 0x28, STOP = 0x2E, POP = 0x30, POP_MARK = 0x31, DUP = 0x32
  case FLOAT = 0x46, INT = 0x49, BININT = 0x4A, BININT1 = 0x4B, LONG = 0x4C, BININT2 = 0x4D, NONE = 0x4E
  case PERSID = 0x50, BINPERSID = 0x51, REDUCE = 0x52, STRING = 0x53, BINSTRING = 0x54, SHORT_BINSTRING = 0x55, UNICODE = 0x56, BINUNICODE = 0x58
  case APPEND = 0x61, BUILD = 0x62, GLOBAL = 0x63, DICT = 0x64, EMPTY_DICT = 0x7D, APPENDS = 0x65, GET = 0x67, BINGET = 0x68, INST = 0x69
  case LONG_BINGET = 0x6A, LIST = 0x6C, EMPTY_LIST = 0x5D, OBJ = 0x6F, PUT = 0x70, BINPUT = 0x71, LONG_BINPUT = 0x72, SETITEM = 0x73, TUPLE = 0x74
  case EMPTY_TUPLE = 0x29, SETITEMS = 0x75, BINFLOAT = 0x47, PROTO = 0x80, NEWOBJ = 0x81, EXT1 = 0x82, EXT2 = 0x83, EXT4 = 0x84
  case TUPLE1 = 0x85, TUPLE2 = 0x86, TUPLE3 = 0x87, NEWTRUE = 0x88, NEWFALSE = 0x89, LONG1 = 0x8A, LONG4 = 0x8B
  case BINBYTES = 0x42, SHORT_BINBYTES = 0x43, SHORT_BINUNICODE = 0x8C, BINUNICODE8 = 0x8D, BINBYTES8 = 0x8E, EMPTY_SET = 0x8F, ADDITEMS = 0x90
  case FROZENSET = 0x91, NEWOBJ_EX = 0x92, STACK_GLOBAL = 0x93, MEMOIZE = 0x94, FRAME = 0x95, BYTEARRAY8 = 0x96, NEXT_BUFFER = 0x97, READONLY_BUFFER = 0x98

  var name: String { "\(self)" }
}

/// Reads tokens one after the other.
struct PickleReader {
  let bytes: ByteView
  let file: String
  /// Where the next token begins.
  private(set) var position = 0
  /// Where the latest token began, and what it was.
  private(set) var tokenStart = 0
  private(set) var opcode = PickleOpcode.STOP

  init(_ bytes: ByteView, file: String) {
    self.bytes = bytes
    self.file = file
  }

  func fault(_ detail: String) -> TorchArchiveError { .badPickle(file: file, detail: detail, offset: tokenStart) }

  mutating func next() throws(TorchArchiveError) -> PickleToken {
    tokenStart = position
    let raw = try byte()
    guard let op = PickleOpcode(rawValue: raw) else { throw fault("unknown operation \(raw)") }
    opcode = op
    switch op {
    case .PROTO:
      let version = try byte()
      guard version <= 5 else { throw fault("protocol \(version), protocols up to 5 are known") }
      return .protocolVersion(Int(version))
    case .FRAME:
      let length = try u64()
      guard length <= UInt64(bytes.count - position) else { throw fault("a frame of \(length) bytes where \(bytes.count - position) are left") }
      return .frame
    case .STOP: return .stop
    case .MARK: return .mark
    case .POP: return .pop
    case .POP_MARK: return .popMark
    case .DUP: return .duplicate

    case .NONE: return .none
    case .NEWTRUE: return .bool(true)
    case .NEWFALSE: return .bool(false)
    case .BININT: return .int(Int(Int32(bitPattern: try u32())))
    case .BININT1: return .int(Int(try byte()))
    case .BININT2: return .int(Int(try u16()))
    case .LONG1: return try long(length: Int(try byte()))
    case .LONG4: return try long(length: Int(Int32(bitPattern: try u32())))
    case .INT: return try textInteger(allowsBool: true)
    case .LONG: return try textInteger(allowsBool: false)
    case .BINFLOAT: return .float(Double(bitPattern: try u64().byteSwapped))
    case .FLOAT:
      let text = try line()
      guard text.utf8.count <= 64, let value = Double(text) else { throw fault("\(quoted(text, limit: 24)) is not a number") }
      return .float(value)

    case .SHORT_BINUNICODE: return .string(try text(length: UInt64(try byte())))
    case .BINUNICODE: return .string(try text(length: UInt64(try u32())))
    case .BINUNICODE8: return .string(try text(length: try u64()))
    case .UNICODE: return .string(try rawUnicode())
    case .SHORT_BINSTRING: return try oldString(length: Int(try byte()))
    case .BINSTRING: return try oldString(length: Int(Int32(bitPattern: try u32())))
    case .STRING: return try quotedString()
    case .SHORT_BINBYTES: return .bytes(try data(length: UInt64(try byte())))
    case .BINBYTES: return .bytes(try data(length: UInt64(try u32())))
    case .BINBYTES8: return .bytes(try data(length: try u64()))
    case .BYTEARRAY8: return .byteArray(try data(length: try u64()))

    case .EMPTY_LIST: return .emptyList
    case .EMPTY_DICT: return .emptyDictionary
    case .EMPTY_SET: return .emptySet
    case .EMPTY_TUPLE: return .emptyTuple
    case .LIST: return .list
    case .DICT: return .dictionary
    case .TUPLE: return .tuple
    case .FROZENSET: return .frozenSet
    case .TUPLE1: return .shortTuple(1)
    case .TUPLE2: return .shortTuple(2)
    case .TUPLE3: return .shortTuple(3)
    case .APPEND: return .append
    case .APPENDS: return .appends
    case .SETITEM: return .setItem
    case .SETITEMS: return .setItems
    case .ADDITEMS: return .addItems

    case .BINGET: return .get(Int(try byte()))
    case .LONG_BINGET: return .get(Int(try u32()))
    case .GET: return .get(try memoIndex())
    case .BINPUT: return .put(Int(try byte()))
    case .LONG_BINPUT: return .put(Int(try u32()))
    case .PUT: return .put(try memoIndex())
    case .MEMOIZE: return .memoize

    case .GLOBAL: return .global(module: try line(), name: try line())
    case .STACK_GLOBAL: return .stackGlobal
    case .REDUCE: return .reduce
    case .BUILD: return .build
    case .NEWOBJ: return .newObject
    case .BINPERSID: return .persistentID

    // Arguments are read, so that a scan can go on behind them.
    case .PERSID:
      _ = try line()
      return .forbidden
    case .INST: return .instance(module: try line(), name: try line())
    case .EXT1:
      _ = try byte()
      return .forbidden
    case .EXT2:
      _ = try u16()
      return .forbidden
    case .EXT4:
      _ = try u32()
      return .forbidden
    case .OBJ, .NEWOBJ_EX, .NEXT_BUFFER, .READONLY_BUFFER: return .forbidden
    }
  }

  // MARK: Pieces

  private mutating func take(_ length: Int) throws(TorchArchiveError) -> Int {
    guard bytes.has(length, at: position) else { throw fault("it ends in the middle of an operation: the file is probably truncated") }
    defer { position += length }
    return position
  }

  private mutating func byte() throws(TorchArchiveError) -> UInt8 { bytes[try take(1)] }
  private mutating func u16() throws(TorchArchiveError) -> UInt16 { bytes.u16(try take(2)) }
  private mutating func u32() throws(TorchArchiveError) -> UInt32 { bytes.u32(try take(4)) }
  private mutating func u64() throws(TorchArchiveError) -> UInt64 { bytes.u64(try take(8)) }

  /// A length is compared with what is left before anything is allocated.
  private mutating func checked(_ length: UInt64) throws(TorchArchiveError) -> Int {
    guard length <= UInt64(bytes.count - position) else { throw fault("a value of \(length) bytes where \(bytes.count - position) are left") }
    return Int(length)
  }

  private mutating func data(length: UInt64) throws(TorchArchiveError) -> [UInt8] {
    let n = try checked(length)
    return bytes.bytes(at: try take(n), count: n)
  }

  private mutating func text(length: UInt64) throws(TorchArchiveError) -> String {
    let n = try checked(length)
    guard let text = bytes.text(at: try take(n), count: n) else { throw fault("a string that is not UTF-8") }
    return try comparable(text)
  }

  /// A Python 2 string: text where it is valid UTF-8, bytes otherwise.
  private mutating func oldString(length: Int) throws(TorchArchiveError) -> PickleToken {
    guard length >= 0 else { throw fault("a string of \(length) bytes") }
    let raw = try data(length: UInt64(length))
    guard let text = String(validating: raw, as: UTF8.self) else { return .bytes(raw) }
    return .string(try comparable(text))
  }

  /// Two's complement, little-endian, as `LONG1` and `LONG4` have it.
  private mutating func long(length: Int) throws(TorchArchiveError) -> PickleToken {
    guard length >= 0 else { throw fault("an integer of \(length) bytes") }
    var raw = try data(length: UInt64(length))
    let negative = raw.last.map { $0 >= 0x80 } ?? false
    let padding: UInt8 = negative ? 0xFF : 0
    while raw.count > 8, raw.last == padding, (raw[raw.count - 2] >= 0x80) == negative { raw.removeLast() }
    if raw.count > 8 { return .bigInteger(raw) }
    var value: UInt64 = negative ? .max : 0
    for byte in raw.reversed() { value = value << 8 | UInt64(byte) }
    return .int(Int(bitPattern: UInt(value)))
  }

  /// Text up to a line feed, which is taken too. Lines hold names and numbers: short.
  private mutating func line() throws(TorchArchiveError) -> String {
    let limit = min(bytes.count, position + 4096)
    guard let end = bytes.firstIndex(of: 0x0A, in: position..<limit) else { throw fault("a line without an end") }
    let text = bytes.text(at: position, count: end - position)
    position = end + 1
    guard let text else { throw fault("a name that is not UTF-8") }
    return try comparable(text)
  }

  private mutating func textInteger(allowsBool: Bool) throws(TorchArchiveError) -> PickleToken {
    var text = try line()
    if allowsBool, text == "00" { return .bool(false) }
    if allowsBool, text == "01" { return .bool(true) }
    if text.hasSuffix("L") { text.removeLast() }
    guard let value = Int(text) else { throw fault("\(quoted(text, limit: 24)) is not an integer of 64 bits") }
    return .int(value)
  }

  private mutating func memoIndex() throws(TorchArchiveError) -> Int {
    let text = try line()
    guard let value = Int(text), value >= 0 else { throw fault("\(quoted(text, limit: 24)) is not a memo number") }
    return value
  }

  /// Protocol 0 text with Python's raw-unicode-escape: only `\uXXXX` and `\UXXXXXXXX` are escapes, other bytes are Latin-1.
  private mutating func rawUnicode() throws(TorchArchiveError) -> String {
    guard let end = bytes.firstIndex(of: 0x0A, in: position..<bytes.count) else { throw fault("a line without an end") }
    let raw = bytes.bytes(at: position, count: end - position)
    position = end + 1
    var out = String.UnicodeScalarView()
    var i = 0
    while i < raw.count {
      let digits = raw[i] == UInt8(ascii: "\\") && i + 1 < raw.count ? (raw[i + 1] == UInt8(ascii: "u") ? 4 : raw[i + 1] == UInt8(ascii: "U") ? 8 : 0) : 0
      if digits == 0 {
        out.append(Unicode.Scalar(raw[i]))
        i += 1
        continue
      }
      guard i + 2 + digits <= raw.count, let hex = String(validating: raw[i + 2..<i + 2 + digits], as: UTF8.self),
            let value = UInt32(hex, radix: 16), let scalar = Unicode.Scalar(value) else { throw fault("a damaged escape in a string") }
      out.append(scalar)
      i += 2 + digits
    }
    return try comparable(String(out))
  }

  /// Any string may become a key.
  private func comparable(_ text: String) throws(TorchArchiveError) -> String {
    guard isStreamSafe(text) else { throw fault("a string with more than \(mostMarksInARow) combining marks in a row") }
    return text
  }

  /// Protocol 0 bytes: a Python literal. Only those without escapes are read: names and device strings have none.
  private mutating func quotedString() throws(TorchArchiveError) -> PickleToken {
    let text = try line()
    guard text.utf8.count >= 2, let quote = text.utf8.first, quote == text.utf8.last, quote == 0x27 || quote == 0x22, !text.utf8.contains(0x5C) else {
      throw fault("a string literal of protocol 0 that is not plain")
    }
    return .string(String(text.dropFirst().dropLast()))
  }
}
