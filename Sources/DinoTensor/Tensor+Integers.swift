// Elements as Swift integers: shapes, axes and indices that files hold in tensors. Not for data.

extension Tensor {
  /// All elements of an integer (or BOOL) tensor; nil for other types and for U64 values that do not fit.
  public func integers() -> [Int]? {
    let n = count
    func read<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) -> [Int]? {
      var out: [Int] = []
      out.reserveCapacity(n)
      let from = storage.base + byteOffset
      for i in 0..<n {
        guard let v = Int(exactly: (from + i * MemoryLayout<T>.stride).loadUnaligned(as: T.self)) else { return nil }
        out.append(v)
      }
      return out
    }
    switch dtype {
    case .i64: return read(Int64.self)
    case .i32: return read(Int32.self)
    case .i16: return read(Int16.self)
    case .i8: return read(Int8.self)
    case .u64: return read(UInt64.self)
    case .u32: return read(UInt32.self)
    case .u16: return read(UInt16.self)
    case .u8, .bool: return read(UInt8.self)
    default: return nil
    }
  }
}
