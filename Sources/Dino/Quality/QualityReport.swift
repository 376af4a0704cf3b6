// What a network costs in quality against another that it stands for: the figures, their gates, and the same as named numbers. Values only: QualityMeter.swift
// finds them.

/// How near the second of two networks is to the first.
public struct QualityReport: Sendable, Equatable {
  /// Cosines of rows of the one network with those of the other.
  public struct Cosines: Sendable, Equatable {
    public var mean: Double
    /// One in a hundred is no better.
    public var percentile1: Double
    public var least: Double

    /// Of values in any order; NaN where there are none, or one of them is.
    public init(_ values: [Float]) {
      guard !values.isEmpty, values.allSatisfy({ !$0.isNaN }) else {
        (mean, percentile1, least) = (.nan, .nan, .nan)
        return
      }
      let sorted = values.sorted()
      mean = values.reduce(0) { $0 + Double($1) } / Double(values.count)
      percentile1 = Double(sorted[(values.count - 1) / 100])
      least = Double(sorted[0])
    }
  }

  /// Of each image's `k` nearest among the others, the share that both networks name.
  public struct Overlap: Sendable, Equatable {
    public var k: Int
    public var share: Double
  }

  /// Intersection over union of the masks that hold a share of the class token's attention, over all heads and images.
  public struct Masks: Sendable, Equatable {
    public var mass: Double
    public var meanIoU: Double
    public var leastIoU: Double
  }

  /// The weighted vote of each image's `k` nearest for its class.
  public struct Votes: Sendable, Equatable {
    public var k: Int
    public var classes: Int
    /// Share of images that the first (second) network's neighbours put into their class.
    public var first: Double
    public var second: Double
    /// Share of images that both put into the same class, right or wrong.
    public var agreement: Double
  }

  /// What one network takes. It depends on the machine, so it is no part of `numbers`.
  public struct Cost: Sendable, Equatable {
    public var millisecondsPerImage: Double
    /// Packed weights and the values of a run, in bytes.
    public var memoryBytes: Int
  }

  /// A bound that the second network should keep.
  public struct Gate: Sendable, Equatable {
    public var name: String
    public var found: Double
    public var least: Double
    public var passes: Bool { found >= least }
  }

  public var images: Int
  public var classToken: Cosines
  public var patchTokens: Cosines
  /// Smaller numbers of neighbours first; empty for fewer than two images.
  public var neighbours: [Overlap]
  /// Nil where it was not asked for, or the networks have different heads.
  public var masks: Masks?
  /// Nil where the images have no classes.
  public var votes: Votes?
  public var first: Cost
  public var second: Cost

  /// What ANCHORS of this field ask of an 8-bit network. Calibrated: one that was made with photographs.
  public func gates(calibrated: Bool) -> [Gate] {
    var gates = [
      Gate(name: "class token, mean cosine", found: classToken.mean, least: calibrated ? 0.9995 : 0.9990),
      Gate(name: "class token, 1st percentile", found: classToken.percentile1, least: calibrated ? 0.9980 : 0.9950),
    ]
    if let masks { gates.append(Gate(name: "masks, mean IoU", found: masks.meanIoU, least: 0.95)) }
    if let votes { gates.append(Gate(name: "accuracy, change in points", found: 100 * (votes.second - votes.first), least: -0.3)) }
    return gates
  }

  /// Those of `numbers` that count something.
  public static let counts: Set<String> = ["images", "votes_k"]

  /// The figures that depend on networks and images alone, by name.
  public var numbers: [(name: String, value: Double)] {
    var all: [(name: String, value: Double)] = [("images", Double(images))]
    for (name, c) in [("cosine", classToken), ("patch_cosine", patchTokens)] {
      all += [("\(name)_mean", c.mean), ("\(name)_percentile_1", c.percentile1), ("\(name)_least", c.least)]
    }
    for overlap in neighbours { all.append(("neighbour_overlap_\(overlap.k)", overlap.share)) }
    if let masks { all += [("mask_mass", masks.mass), ("mask_iou_mean", masks.meanIoU), ("mask_iou_least", masks.leastIoU)] }
    if let votes { all += [("votes_k", Double(votes.k)), ("accuracy_first", votes.first), ("accuracy_second", votes.second), ("label_agreement", votes.agreement)] }
    return all
  }
}
