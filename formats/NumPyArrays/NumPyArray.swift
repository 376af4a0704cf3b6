// One array in one .npy file: read (without a copy where the bytes already lie as a tensor's do) and write. Rows that come one after
// another are NPYWriter's; archives are NumPyArchive's.

internal import AtomicFiles
public import DinoTensor
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

public enum NumPyArray {
  /// Reads an .npy file of version 1.0, 2.0 or 3.0: booleans, integers, floats, complex64, either byte order, C or Fortran order.
  /// The tensor is row-major; where the file is little-endian and C-ordered it is a view of the mapped file.
  public static func read(path: String) throws(NumPyError) -> Tensor {
    let storage = try map(path)
    return try tensor(in: storage, 0..<storage.byteCount, path: path)
  }

  /// The same over bytes in memory; `path` is used in sentences only.
  public static func read(bytes: [UInt8], path: String = "the bytes given") throws(NumPyError) -> Tensor {
    try tensor(in: Tensor.copy(bytes, dtype: .u8, shape: [bytes.count]).storage, 0..<bytes.count, path: path)
  }

  /// Writes a tensor as numpy.save does, byte for byte. The file appears whole or not at all.
  public static func write(_ tensor: Tensor, to path: String) throws(NumPyError) {
    guard let header = NPYHeader.bytes(dtype: tensor.dtype, shape: tensor.shape) else { throw .cannotStore(path: path, dtype: tensor.dtype) }
    do {
      let file = try AtomicFile(path: path)
      try file.write(header.span)
      try tensor.withBytes { (bytes) throws(AtomicFileError) in try file.write(bytes) }
      try file.commit()
    } catch {
      throw .cannotWrite(path: path, reason: error.reason)
    }
  }

  /// The .npy file in `range` of a storage.
  static func tensor(in storage: Storage, _ range: Range<Int>, path: String) throws(NumPyError) -> Tensor {
    let header = try storage.withBytes { (bytes) throws(NumPyError) in
      try NPYHeader.parse(bytes.extracting(range), path: path)
    }
    let found = range.count - header.length
    guard header.dataSize <= found else {
      throw .dataTooShort(path: path, dtype: header.dtype, shape: header.shape, expected: header.dataSize, found: found)
    }
    guard header.dataSize == found else { throw .trailingBytes(path: path, bytes: found - header.dataSize) }
    let start = range.lowerBound + header.length
    if !header.byteSwapped, !header.fortranOrder || header.shape.rank < 2 {
      guard let tensor = Tensor(dtype: header.dtype, shape: header.shape, storage: storage, byteOffset: start) else {
        throw .sizeOverflows(path: path, dtype: header.dtype, shape: header.shape)
      }
      return tensor
    }
    return try rearranged(storage, start, header, path: path)
  }

  /// A copy in row-major order and this machine's byte order.
  private static func rearranged(_ storage: Storage, _ start: Int, _ header: NPYHeader, path: String) throws(NumPyError) -> Tensor {
    let data = start..<(start + header.dataSize)
    let width = header.dtype.bitWidth / 8
    // A complex number is two floats, each swapped by itself.
    let unit = header.dtype == .c64 ? 4 : width
    do {
      return try unsafe Tensor(dtype: header.dtype, shape: header.shape) { out in
        storage.withBytes { bytes in
          let source = bytes.extracting(data)
          var walk = FortranWalk(header.shape, reversed: header.fortranOrder)
          for element in 0..<header.shape.count {
            let from = walk.next() * width
            for i in 0..<width {
              let j = header.byteSwapped ? i / unit * unit + unit - 1 - i % unit : i
              unsafe out[element * width + i] = source[from + j]
            }
          }
        }
      }
    } catch {
      throw .cannotRead(path: path, reason: "no memory for \(header.dataSize) bytes")
    }
  }

  /// Maps a regular file. It is looked at before it is opened: opening a pipe would wait for its other end.
  static func map(_ path: String) throws(NumPyError) -> Storage {
    var info = stat()
    guard unsafe stat(path, &info) == 0 else { throw readError(path, errno) }
    guard info.st_mode & S_IFMT == S_IFREG else { throw .notAFile(path: path) }
    do {
      return try Storage(mapping: path)
    } catch {
      switch error {
      case .cannotOpen(_, let code): throw readError(path, code)
      case .notAFile: throw .notAFile(path: path)
      case .outOfMemory(let bytes): throw .cannotRead(path: path, reason: "no memory for \(bytes) bytes")
      }
    }
  }

  private static func readError(_ path: String, _ code: Int32) -> NumPyError {
    if code == ENOENT || code == ENOTDIR { return .fileNotFound(path: path) }
    return .cannotRead(path: path, reason: AtomicFile.reason(code))
  }
}

/// The places, in elements, that a row-major walk over a shape visits in the file: 0, 1, 2, … in C order, strided in Fortran order.
private struct FortranWalk {
  private let dims: [Int]
  private let strides: [Int]
  private var index: [Int]
  private var place = 0
  private var started = false

  init(_ shape: Shape, reversed: Bool) {
    dims = shape.dims
    strides = reversed ? Shape(shape.dims.reversed()).strides.reversed() : shape.strides
    index = [Int](repeating: 0, count: shape.rank)
  }

  mutating func next() -> Int {
    guard started else {
      started = true
      return 0
    }
    var axis = dims.count - 1
    while axis >= 0 {
      index[axis] += 1
      place += strides[axis]
      if index[axis] < dims[axis] { return place }
      place -= strides[axis] * dims[axis]
      index[axis] = 0
      axis -= 1
    }
    return place
  }
}
