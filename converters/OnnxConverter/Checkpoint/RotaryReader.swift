// Finds the periods behind the cosines and sines that a file turns queries and keys by at given image sizes: a tensor of the file that gives them or what its metadata note (our own exports
// have one of the two), or the powers of a base, as they are or rounded to bfloat16, as in the files of DINOv3's authors. That they give what the file computes is the test, as for learned positions.

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

  /// The name in a file's metadata of its periods: a file for one image size has their cosines and sines alone.
  static let periodsKey = "dino.rotary_periods"

  /// Decimals, by comma, that give each number back to the bit.
  static func text(_ periods: [Float]) -> String { periods.map { "\($0)" }.joined(separator: ",") }

  private static func noted(_ text: String) -> [Float] { text.split(separator: ",").compactMap { Float(String($0)) } }

  /// - Parameters:
  ///   - noted: what the file's metadata have under `periodsKey`.
  ///   - base: where something says it.
  /// - Returns: what there is to say of periods that are not the file's own, too.
  func find(in tensors: [(name: String, tensor: Tensor)], noted: String?, config: ViTConfig, base: Double?) -> (periods: Tensor, base: Double, note: String?)? {
    let count = (samples.first?.angles.headWidth ?? 0) / 4
    guard count > 0 else { return nil }
    let measured = measuredBase(count)
    var own = tensors.filter { $0.tensor.count == count && $0.tensor.dtype == .f32 }.map { $0.tensor.floats() }
    if let noted { own.append(Self.noted(noted)) }
    for periods in own where periods.count == count && gives(periods) { return (Tensor(periods, shape: [count]), base ?? measured ?? ViTConfig.officialRotaryBase, nil) }
    // What the file says comes first, but its periods need not be of that base.
    for tried in [base, ViTConfig.officialRotaryBase, measured].compactMap({ $0 }) {
      guard let spec = config.rotary(base: tried).tensors.first(where: \.isComputed), let computed = try? WeightInitializer.tensor(spec, seed: 0).floats() else { continue }
      let rounded = computed.map { Float(bitPattern: UInt32(bfloat16FromFloat($0)) << 16) }
      for (periods, form) in [(computed, ""), (rounded, ", rounded to bfloat16")] where gives(periods) {
        let note = "the periods of rotary positions are computed from the base \(tried)\(form), as the file has their cosines and sines alone"
        return (Tensor(periods, shape: [count]), tried, note)
      }
    }
    return nil
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
