// A replay beside what its folder records of the original: losses, first gradients, final weights. It judges nothing; it says how far apart they are, and where.

public import Dino
internal import DinoModels
internal import DinoTensor
internal import Safetensors

public struct ReplayComparison: Sendable {
  /// The largest of the relative distances ‖a - b‖ / ‖b‖ of tensors, and whose it is.
  public struct Distance: Sendable {
    public var largest = 0.0
    public var name = ""
    mutating func add(_ distance: Double, _ name: String) {
      if name.isEmpty || !(distance <= largest) { (largest, self.name) = (distance, name) }
    }
  }
  /// Of the losses, absolute.
  public var losses: Double?
  public var gradients: Distance?
  /// Of student, teacher and centre, the keys' biases left out.
  public var final: Distance?
  /// Of each qkv bias as a whole, the keys' third in it.
  ///
  /// A constant that is added to all keys adds the same number to all scores of a query, and softmax does not see it: no output depends on these biases, and the derivative
  /// of any loss by them is zero. What both programs compute for it is rounding, and AdamW divides that by its own size, so that each moves them by noise of its own.
  public var keyBiases: Distance?

  /// nil where the folder records nothing.
  public init?(folder: String, _ result: Replay.Result) throws(DinoError) {
    let storage: Storage, json: JSONValue
    do {
      storage = try Storage(mapping: "\(folder)/case.json")
      json = try storage.withBytes { bytes throws(JSONError) in try JSONValue.parse(bytes) }
    } catch { throw DinoError(error, path: "\(folder)/case.json") }
    if let recorded = json["losses"]?.arrayValue?.compactMap(\.doubleValue), recorded.count == result.losses.count {
      losses = zip(recorded, result.losses).reduce(0.0) { $0.isNaN ? $0 : max($0, abs($1.0 - $1.1)) }
    }
    if let file = try? SafetensorsFile(path: "\(folder)/step0_gradients.safetensors") {
      var found = Distance()
      let pairs = result.firstGradients.compactMap { g in file.tensor(g.name).map { (g.name, g.tensor.floats(), $0.floats()) } }
      // A gradient that is zero but for rounding has no relative distance: below this it is measured against all of them.
      let least = 1e-5 * pairs.reduce(0.0) { $0 + Self.squares($1.2) }.squareRoot()
      for (name, a, b) in pairs { found.add(Self.distance(a, b, least: least), name) }
      gradients = found
    }
    if let file = try? SafetensorsFile(path: "\(folder)/final.safetensors") {
      var found = Distance(), keys = Distance()
      for (name, tensor) in result.final {
        guard let recorded = file.tensor(name) else { continue }
        var a = tensor.floats(), b = recorded.floats()
        if name.hasSuffix("attn.qkv.bias"), a.count == b.count {
          keys.add(Self.distance(a, b, least: 0), name)
          let third = a.count / 3
          a.removeSubrange(third..<2 * third)
          b.removeSubrange(third..<2 * third)
        }
        found.add(Self.distance(a, b, least: 0), name)
      }
      (final, keyBiases) = (found, keys.name.isEmpty ? nil : keys)
    }
    if losses == nil, gradients == nil, final == nil { return nil }
  }

  private static func squares(_ x: [Float]) -> Double { x.reduce(0.0) { $0 + Double($1) * Double($1) } }

  private static func distance(_ a: [Float], _ b: [Float], least: Double) -> Double {
    guard a.count == b.count else { return .infinity }
    let difference = zip(a, b).reduce(0.0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }.squareRoot()
    let size = max(squares(b).squareRoot(), least)
    return difference == 0 ? 0 : difference / size
  }
}
