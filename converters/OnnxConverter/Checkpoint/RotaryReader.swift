// Finds the periods behind the cosines and sines that a file turns queries and keys by at given image sizes: a tensor of the file that gives them (our own exports hold it), or the powers
// of a base. That they give what the file computes is the test, as for learned positions.

internal import DinoGraph
internal import DinoModels
internal import DinoTensor

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// The angles of all tokens, [S + N, d] each.
struct RotaryAnglesFound: Equatable {
  var cos: [Float]
  var sin: [Float]
  /// d.
  var headWidth: Int
}

struct RotaryReader {
  let special: Int
  let samples: [(rows: Int, columns: Int, angles: RotaryAnglesFound)]
  /// Float tables of exporters that compute in 32 bits: an angle of 2π is off by 5e-7, and a few roundings more.
  private static let tolerance: Float = 1e-5

  /// - Parameter base: where something says it.
  func find(in tensors: [(name: String, tensor: Tensor)], config: ViTConfig, base: Double?) -> (periods: Tensor, base: Double, isComputed: Bool)? {
    let count = (samples.first?.angles.headWidth ?? 0) / 4
    guard count > 0, let base = base ?? measuredBase(count) else { return nil }
    for (_, tensor) in tensors where tensor.count == count && tensor.dtype == .f32 && gives(tensor.floats()) { return (tensor.reshaped([count]), base, false) }
    guard let spec = config.rotary(base: base).tensors.first(where: \.isComputed), let computed = try? WeightInitializer.tensor(spec, seed: 0), gives(computed.floats()) else { return nil }
    return (computed, base, true)
  }

  private func gives(_ periods: [Float]) -> Bool {
    guard periods.allSatisfy({ $0.isFinite && $0 > 0 }) else { return false }
    return samples.allSatisfy { sample in
      func near(_ found: [Float], sine: Bool) -> Bool {
        let expected = RotaryAngles.table(periods: periods, rows: sample.rows, columns: sample.columns, special: special, sine: sine)
        return expected.count == found.count && zip(expected, found).allSatisfy { abs($0 - $1) <= Self.tolerance }
      }
      return near(sample.angles.cos, sine: false) && near(sample.angles.sin, sine: true)
    }
  }

  /// The base whose power the last period is, told from the angle of one patch: a whole number where it is near one.
  private func measuredBase(_ count: Int) -> Double? {
    guard count > 1 else { return ViTConfig.officialRotaryBase }
    guard let (rows, columns, angles) = samples.first else { return nil }
    // The last period is the longest, and no angle of it goes round.
    let at = (special + rows * columns - 1) * angles.headWidth + count - 1, centre = 1 - 1 / Double(rows)
    guard rows > 1, angles.cos.count == angles.sin.count, angles.cos.indices.contains(at) else { return ViTConfig.officialRotaryBase }
    let period = 2 * Double.pi * centre / atan2(Double(angles.sin[at]), Double(angles.cos[at]))
    guard period.isFinite, period > 1 else { return nil }
    let base = pow(period, Double(count) / Double(count - 1)), whole = base.rounded()
    return abs(base - whole) < 1e-4 * base ? whole : base
  }
}
