// zlib, as far as .npz files need it: inflating one member into memory of known size, and checksums. What comes out can never be more than
// was asked for.

internal import CZlib
internal import DinoTensor

/// CRC-32 of some bytes, as ZIP archives use it.
func zipChecksum(_ bytes: Span<UInt8>, from start: UInt32 = 0) -> UInt32 {
  guard !bytes.isEmpty else { return start }
  return unsafe bytes.withUnsafeBufferPointer { unsafe UInt32(crc32_z(UInt(start), $0.baseAddress, $0.count)) }
}

/// No deflate stream grows to more than 1,032 times its size.
let deflateGrowthLimit: UInt64 = 1_032

/// Inflates a raw deflate stream that must fill `size` bytes exactly; nil where it does not, or is damaged.
func inflateMember(_ packed: Span<UInt8>, size: Int) throws -> Storage? {
  let storage = try Storage(byteCount: size)
  return inflate(packed, into: storage) ? storage : nil
}

private func inflate(_ packed: Span<UInt8>, into storage: Storage) -> Bool {
  // zlib counts in 32 bits: both sides are handed over in pieces.
  let piece = 1 << 30
  var stream = unsafe z_stream()
  guard unsafe inflateInit2_(&stream, -MAX_WBITS, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else { return false }
  defer { _ = unsafe inflateEnd(&stream) }
  return unsafe packed.withUnsafeBufferPointer { source in
    var read = 0, written = 0
    // An empty stream still has an end marker: zlib wants a place to write even where nothing comes.
    let out = unsafe storage.base.assumingMemoryBound(to: UInt8.self)
    while true {
      let input = min(source.count - read, piece), room = min(storage.byteCount - written, piece)
      unsafe stream.next_in = UnsafeMutablePointer(mutating: source.baseAddress.map { unsafe $0 + read })
      unsafe stream.avail_in = UInt32(input)
      unsafe stream.next_out = out + written
      unsafe stream.avail_out = UInt32(room)
      let status = unsafe CZlib.inflate(&stream, Z_NO_FLUSH)
      let taken = unsafe input - Int(stream.avail_in), made = unsafe room - Int(stream.avail_out)
      read += taken
      written += made
      if status == Z_STREAM_END { return read == source.count && written == storage.byteCount }
      // Without progress nothing more will come: the stream is cut short, damaged, or longer than it may be.
      guard status == Z_OK, taken + made > 0 else { return false }
    }
  }
}
