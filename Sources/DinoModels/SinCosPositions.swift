// Positions that are known from the start: the two-dimensional sine and cosine embedding of MAE and MoCo v3 (Chen et al. 2021, He et al. 2022), in place of small random
// numbers. On few images a network learns where things are from these, and hardly at all from random ones (LOG). They are trained on like any others.

public import DinoTensor
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

public enum SinCosPositions {
  /// [1, 1 + rows · columns, width]: zeros for the class token; for a patch width/4 sines and as many cosines of its column times 10000^(-4i/width), then the same of its row.
  /// - Throws: `ModelError.invalid` where the width is no multiple of 4.
  public static func tensor(rows: Int, columns: Int, width: Int) throws(ModelError) -> Tensor {
    guard width % 4 == 0, rows > 0, columns > 0 else { throw .invalid(key: "embed_dim", reason: "sine and cosine positions need a multiple of 4, not \(width)") }
    let quarter = width / 4
    let frequencies = (0..<quarter).map { pow(10_000, -Double($0) / Double(quarter)) }
    var values = [Float](repeating: 0, count: width)
    values.reserveCapacity((1 + rows * columns) * width)
    for y in 0..<rows {
      for x in 0..<columns {
        for p in [x, y] {
          values += frequencies.map { Float(sin(Double(p) * $0)) }
          values += frequencies.map { Float(cos(Double(p) * $0)) }
        }
      }
    }
    return Tensor(values, shape: [1, 1 + rows * columns, width])
  }
}
