// Co-segmentation (Amir et al., "Deep ViT features as dense visual descriptors"): the patches of many photographs are grouped by k-means; the groups that most
// photographs attend to are the object that they share. Keys of the last block.

public import Dino

public struct CoSegmentation: Sendable {
  /// The numbers of the paper's code.
  public struct Settings: Sendable {
    /// Groups are added while each takes at least the share 1 - elbow off the mean squared distance.
    public var elbow = 0.975
    public var mostGroups = 14
    /// A group is attended to in a photograph where the mean of its patches is above this, of attention from 0 to 1.
    public var salience = 0.065
    /// Share of the photographs that must attend to a group.
    public var votes = 0.75
    /// Patches that the groups are made from; all are then sorted into them.
    public var sampledPatches = 20_000
    public init() {}
  }

  /// One photograph.
  public struct Input: Sendable {
    var rows: Int
    var columns: Int
    var width: Int
    var unit: [Float]
    var salience: [Float]

    public init(_ features: PatchFeatures, _ attention: AttentionMaps) {
      (rows, columns, width) = (features.rows, features.columns, features.width)
      unit = unitRows(features.values, width: features.width)
      // Of the six heads of ViT-S those that look at objects, by the paper's code; of other networks all.
      let heads = attention.heads.count == 6 ? [0, 2, 4, 5].map { attention.heads[$0] } : attention.heads
      let mean = PatchMap.mean(heads).values
      let low = mean.min() ?? 0, high = mean.max() ?? 0
      salience = mean.map { high > low ? ($0 - low) / (high - low) : 0 }
    }
  }

  /// Groups that were made, the share of the photographs that attend to each, and which of them are the object.
  public let groups: Int
  public let attending: [Double]
  public let salient: [Bool]
  /// The group of each patch, a photograph each.
  public let labels: [[Int]]
  /// The patches of salient groups, a photograph each.
  public let masks: [PatchMask]

  public init(_ inputs: [Input], settings: Settings = Settings(), threads: Int = 0) {
    precondition(inputs.allSatisfy { $0.width == inputs[0].width })
    let width = inputs.first?.width ?? 1
    let all = inputs.flatMap(\.unit), n = all.count / width
    let step = max(1, n / max(1, settings.sampledPatches))
    let sample = step == 1 ? all : stride(from: 0, to: n, by: step).flatMap { all[$0 * width..<($0 + 1) * width] }
    var labels: [Int] = [], groups = 0, before = Double.infinity
    if n > 0 {
      for k in 1...max(settings.mostGroups, 1) {
        let (found, sum) = KMeans(sample, width: width, k: k, threads: threads).nearest(all, threads: threads)
        (labels, groups) = (found, k)
        let objective = sum / Double(n)
        if k > 1 && objective > settings.elbow * before { break }
        before = objective
      }
    }
    self.groups = groups
    var perImage: [[Int]] = [], start = 0
    for input in inputs {
      perImage.append(Array(labels[start..<start + input.rows * input.columns]))
      start += input.rows * input.columns
    }
    self.labels = perImage
    let needed = (Double(inputs.count) * settings.votes).rounded(.up)
    let votes = (0..<groups).map { group in
      Double(inputs.indices.count { i in
        var sum = 0.0, count = 0.0
        for (p, label) in perImage[i].enumerated() where label == group {
          sum += Double(inputs[i].salience[p])
          count += 1
        }
        return count > 0 && sum / count > settings.salience
      })
    }
    attending = votes.map { $0 / Double(max(inputs.count, 1)) }
    let salient = votes.map { $0 >= needed }
    self.salient = salient
    masks = inputs.indices.map { i in PatchMask(rows: inputs[i].rows, columns: inputs[i].columns, kept: perImage[i].map { salient[$0] }) }
  }
}
