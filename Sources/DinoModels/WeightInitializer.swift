// Weights as the original training starts them (vision_transformer.py, DINOHead; ANCHORS 2.1), from a seed. The numbers are not torch's: the
// distributions are. The same seed gives the same bits on every platform: only + - * / and square roots are used, which IEEE 754 fixes, and no
// function of the system's mathematics library.

public import DinoTensor

public enum WeightInitializer {
  /// All tensors of a configuration in 32-bit floats, in the order of `config.tensors`.
  /// - Throws: `ModelError.invalid` for the configuration, `.outOfMemory`.
  public static func tensors(config: ViTConfig, seed: UInt64) throws(ModelError) -> [(name: String, tensor: Tensor)] {
    try config.validate()
    var result: [(name: String, tensor: Tensor)] = []
    for spec in config.tensors { result.append((spec.name, try tensor(spec, seed: seed))) }
    return result
  }

  /// One tensor. Each has a stream of its own, made from the seed and its name: it does not depend on which others are made.
  public static func tensor(_ spec: TensorSpec, seed: UInt64) throws(ModelError) -> Tensor {
    let stream = Stream(seed: seed, name: spec.name)
    do {
      return try unsafe Tensor(dtype: .f32, shape: spec.shape) { bytes in
        let out = unsafe bytes.bindMemory(to: Float.self)
        for i in out.indices { unsafe out[i] = stream.value(spec.start, at: i) }
      }
    } catch {
      throw .outOfMemory(name: spec.name, shape: spec.shape)
    }
  }

  /// The quantile function of the normal distribution with deviation `std`, cut off at ±2 as `trunc_normal_` of the original does (for
  /// deviations much smaller than that, its uniform range is the whole of (-1, 1) in double precision).
  /// - Parameter u: in (-1, 1), uniform.
  static func truncatedNormal(_ u: Double, std: Double = 0.02) -> Float {
    let x = inverseErf(u) * std * 1.4142135623730951
    return Float(min(max(x, -2), 2))
  }

  /// The inverse error function by the polynomials of M. Giles, "Approximating the erfinv function" (GPU Computing Gems, 2012), single-precision form:
  /// relative error below 4e-7 here.
  static func inverseErf(_ x: Double) -> Double {
    var w = -logarithm((1 - x) * (1 + x))
    var p: Double
    if w < 5 {
      w -= 2.5
      p = 2.81022636e-08
      p = p * w + 3.43273939e-07
      p = p * w - 3.5233877e-06
      p = p * w - 4.39150654e-06
      p = p * w + 0.00021858087
      p = p * w - 0.00125372503
      p = p * w - 0.00417768164
      p = p * w + 0.246640727
      p = p * w + 1.50140941
    } else {
      w = w.squareRoot() - 3
      p = -0.000200214257
      p = p * w + 0.000100950558
      p = p * w + 0.00134934322
      p = p * w - 0.00367342844
      p = p * w + 0.00573950773
      p = p * w - 0.0076224613
      p = p * w + 0.00943887047
      p = p * w + 1.00167406
      p = p * w + 2.83297682
    }
    return p * x
  }

  /// base^exponent for an exponent in [0, 1): the product of the roots base^½, base^¼, … that its binary digits name.
  static func power(_ base: Double, _ exponent: Double) -> Double {
    var result = 1.0, root = base, rest = exponent
    while rest > 0 {
      root = root.squareRoot()
      rest *= 2
      if rest >= 1 {
        result *= root
        rest -= 1
      }
    }
    return result
  }

  /// The natural logarithm of a positive normal number: exponent and, for the significand in [√½, √2), 2·artanh((m-1)/(m+1)) by its series.
  static func logarithm(_ x: Double) -> Double {
    var exponent = Double(x.exponent), m = x.significand
    if m > 1.4142135623730951 {
      m /= 2
      exponent += 1
    }
    let s = (m - 1) / (m + 1), s2 = s * s
    var sum = 1.0 / 21
    sum = sum * s2 + 1.0 / 19
    sum = sum * s2 + 1.0 / 17
    sum = sum * s2 + 1.0 / 15
    sum = sum * s2 + 1.0 / 13
    sum = sum * s2 + 1.0 / 11
    sum = sum * s2 + 1.0 / 9
    sum = sum * s2 + 1.0 / 7
    sum = sum * s2 + 1.0 / 5
    sum = sum * s2 + 1.0 / 3
    sum = sum * s2 + 1
    return exponent * 0.6931471805599453 + 2 * s * sum
  }
}

/// SplitMix64 by position: value i needs no other.
private struct Stream {
  let start: UInt64

  init(seed: UInt64, name: String) {
    // FNV-1a of the name.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
    start = SelfTest.mix(seed &+ SelfTest.golden) ^ hash
  }

  /// Uniform in (-1, 1): 52 bits, centred in their steps, so that neither end is reached.
  func uniform(_ i: Int) -> Double {
    let bits = SelfTest.mix(start &+ UInt64(truncatingIfNeeded: i + 1) &* SelfTest.golden) >> 12
    return (Double(bits) + 0.5) / 2_251_799_813_685_248 - 1
  }

  func value(_ start: TensorSpec.Start, at i: Int) -> Float {
    switch start {
    case .constant(let number): number
    case .truncatedNormal: WeightInitializer.truncatedNormal(uniform(i))
    case .uniform(let fanIn): Float(uniform(i) / Double(fanIn).squareRoot())
    case .periods(let base, let count): Float(WeightInitializer.power(base, Double(i) / Double(count)))
    }
  }
}
