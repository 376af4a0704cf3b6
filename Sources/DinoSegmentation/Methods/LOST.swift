// LOST (Siméoni et al., BMVC 2021): the patch that resembles the fewest others is on an object; patches like it are the rest of the object. Keys of the last
// block, as they are: not normalised.

public import Dino
internal import DinoKernels

public enum LOST {
  public struct Result: Sendable {
    /// The connected part of positive correlation around the seed.
    public var mask: PatchMask
    public var seed: Int
    /// Correlation of each patch with the expanded seed.
    public var correlation: PatchMap
  }

  /// - Parameter seeds: how many patches of lowest degree may join the seed; 100 in the paper.
  public static func object(_ features: PatchFeatures, seeds: Int = 100, threads: Int = 0) -> Result {
    let n = features.count, width = features.width
    let graph = BinaryAffinity(rows: features.values, width: width, above: 0, threads: threads)
    // Degree: how many others a patch correlates with positively. Of equal ones the first comes first.
    let degrees = graph.degrees
    let others = (0..<n).map { degrees[$0] - (graph[$0, $0] ? 1 : 0) }
    let order = (0..<n).sorted { others[$0] != others[$1] ? others[$0] < others[$1] : $0 < $1 }
    guard let seed = order.first else { return Result(mask: .empty(rows: 0, columns: 0), seed: 0, correlation: PatchMap(rows: 0, columns: 0, values: [])) }
    let expanded = order.prefix(seeds).filter { graph[seed, $0] }
    // The sum of the rows of K·Kᵀ of these patches is one product with the sum of their keys.
    var sum = [Double](repeating: 0, count: width)
    for i in expanded {
      for (c, v) in features.row(i).enumerated() { sum[c] += Double(v) }
    }
    let values = RowProducts(threads: threads).all(features.values, sum.map { Float($0) }, width: width)
    let correlation = PatchMap(rows: features.rows, columns: features.columns, values: values)
    let positive = PatchMask(rows: features.rows, columns: features.columns, kept: values.map { $0 > 0 })
    return Result(mask: positive.component(containing: seed), seed: seed, correlation: correlation)
  }
}
