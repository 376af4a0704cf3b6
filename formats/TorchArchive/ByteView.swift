// Bounds-checked little-endian reading from a part of a Storage: the only file here that turns file bytes into numbers through pointers.
// It knows no format. Callers ask `has` first; a read out of bounds is a fault in this room and stops the process.

internal import CZlib
internal import DinoTensor

/// A range of a storage's bytes. Offsets are relative to its start.
struct ByteView: Sendable {
  let storage: Storage
  let start: Int
  let count: Int

  init(_ storage: Storage) {
    self.storage = storage
    start = 0
    count = storage.byteCount
  }

  private init(storage: Storage, start: Int, count: Int) {
    self.storage = storage
    self.start = start
    self.count = count
  }

  /// Whether `length` bytes lie at `offset`. No sum overflows.
  func has(_ length: Int, at offset: Int) -> Bool {
    length >= 0 && offset >= 0 && offset <= count && length <= count - offset
  }

  /// The bytes from `offset` on, `length` of them; nil where they are not all there.
  func slice(at offset: Int, count length: Int) -> ByteView? {
    has(length, at: offset) ? ByteView(storage: storage, start: start + offset, count: length) : nil
  }

  subscript(_ offset: Int) -> UInt8 {
    precondition(offset >= 0 && offset < count)
    return unsafe storage.base.load(fromByteOffset: start + offset, as: UInt8.self)
  }

  private func load<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, at offset: Int) -> T {
    precondition(has(MemoryLayout<T>.size, at: offset))
    return T(littleEndian: unsafe storage.base.loadUnaligned(fromByteOffset: start + offset, as: type))
  }

  func u16(_ offset: Int) -> UInt16 { load(UInt16.self, at: offset) }
  func u32(_ offset: Int) -> UInt32 { load(UInt32.self, at: offset) }
  func u64(_ offset: Int) -> UInt64 { load(UInt64.self, at: offset) }

  func bytes(at offset: Int, count length: Int) -> [UInt8] {
    precondition(has(length, at: offset))
    return storage.bytes(start + offset..<start + offset + length)
  }

  /// UTF-8 text, or nil where the bytes are something else.
  func text(at offset: Int, count length: Int) -> String? {
    String(validating: bytes(at: offset, count: length), as: UTF8.self)
  }

  func starts(with prefix: [UInt8], at offset: Int = 0) -> Bool {
    guard has(prefix.count, at: offset) else { return false }
    for i in prefix.indices where self[offset + i] != prefix[i] { return false }
    return true
  }

  /// The position of `byte` in `range`, or nil.
  func firstIndex(of byte: UInt8, in range: Range<Int>) -> Int? {
    var i = range.lowerBound
    while i < range.upperBound {
      if self[i] == byte { return i }
      i += 1
    }
    return nil
  }

  /// CRC-32 as zip has it.
  var crc32: UInt32 {
    var crc: UInt = 0
    var done = 0
    while done < count {
      let n = min(count - done, 1 << 30)
      let p = unsafe UnsafeRawPointer(storage.base + start + done).assumingMemoryBound(to: UInt8.self)
      crc = unsafe CZlib.crc32(crc, p, UInt32(n))
      done += n
    }
    return UInt32(truncatingIfNeeded: crc)
  }

  /// The bytes inflated (raw deflate) to exactly `size` bytes, or a clause that says what is wrong. Allocates `size` bytes and no more.
  func inflated(to size: Int) -> Result<Storage, InflateFault> {
    guard let out = try? Storage(byteCount: size) else { return .failure(.outOfMemory) }
    var stream = unsafe z_stream()
    guard unsafe inflateInit2_(&stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { return .failure(.outOfMemory) }
    defer { unsafe _ = inflateEnd(&stream) }
    // One byte beside the output shows a stream that is longer than it says.
    var spare: UInt8 = 0
    var read = 0, written = 0
    while true {
      let input = min(count - read, 1 << 30), room = min(size - written, 1 << 30)
      unsafe stream.next_in = UnsafeMutablePointer(mutating: UnsafeRawPointer(storage.base + start + read).assumingMemoryBound(to: UInt8.self))
      unsafe stream.avail_in = UInt32(input)
      let status: Int32
      if room > 0 {
        unsafe stream.next_out = (out.base + written).assumingMemoryBound(to: UInt8.self)
        unsafe stream.avail_out = UInt32(room)
        status = unsafe inflate(&stream, Z_NO_FLUSH)
        unsafe written += room - Int(stream.avail_out)
      } else {
        status = unsafe withUnsafeMutablePointer(to: &spare) { p in
          unsafe stream.next_out = p
          unsafe stream.avail_out = 1
          return unsafe inflate(&stream, Z_NO_FLUSH)
        }
        if unsafe stream.avail_out == 0 { return .failure(.tooLong) }
      }
      let consumed = unsafe input - Int(stream.avail_in)
      read += consumed
      switch status {
      case Z_STREAM_END:
        if read != count { return .failure(.trailingBytes) }
        return written == size ? .success(out) : .failure(.tooShort)
      case Z_OK: continue
      case Z_BUF_ERROR: return .failure(.tooShort)
      default: return .failure(.corrupt)
      }
    }
  }
}

/// Why a deflated entry was not inflated.
enum InflateFault: String, Error {
  case outOfMemory = "there is no memory to inflate it"
  case tooLong = "it inflates to more bytes than the directory says"
  case tooShort = "it inflates to fewer bytes than the directory says"
  case trailingBytes = "its compressed stream ends before its entry does"
  case corrupt = "its compressed stream is corrupt"
}
