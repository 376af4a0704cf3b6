// From a mask of patches to one that follows the photograph's edges.

public import Dino
public import DinoImaging

public enum Refinement {
  public struct Result: Sendable {
    /// The refined mask; the given one where `isAccepted` is false.
    public var mask: PixelMask
    /// The solver's values: about 0 outside, about 1 inside.
    public var soft: [Float]
    /// Whether the refined mask still is the given one: IoU of at least a half, as TokenCut and CutLER ask.
    public var isAccepted: Bool
  }

  /// TokenCut's: the bilateral solver, values above a half, holes filled, the largest connected part. (Its script takes the second largest of parts and background, which
  /// is the background where the object is more than half of the photograph; here it is the object.)
  public static func bilateral(_ mask: PixelMask, on photograph: Image, settings: BilateralSolver.Settings = .init()) -> Result {
    precondition(mask.width == photograph.width && mask.height == photograph.height)
    return bilateral([mask], on: photograph, settings: settings)[0]
  }

  /// The same for several masks of one photograph, whose cells are made once.
  public static func bilateral(_ masks: [PixelMask], on photograph: Image, settings: BilateralSolver.Settings = .init()) -> [Result] {
    guard masks.contains(where: { $0.area > 0 }) else { return masks.map { Result(mask: $0, soft: [Float](repeating: 0, count: $0.values.count), isAccepted: false) } }
    let solver = BilateralSolver(photograph, settings: settings)
    return masks.map { mask in
      let soft = solver.solve(mask.values.map { $0 > 0 ? 1 : 0 })
      let inside = Mask(width: mask.width, height: mask.height, values: soft.map { $0 > 0.5 ? 1 : 0 })
      let whole = inside.fillingHoles().largestComponent()
      var both = 0, either = 0
      for i in whole.values.indices {
        let a = whole.values[i] > 0, b = mask.values[i] > 0
        if a && b { both += 1 }
        if a || b { either += 1 }
      }
      guard either > 0, 2 * both >= either else { return Result(mask: mask, soft: soft, isAccepted: false) }
      var refined = mask
      refined.values = whole.values.map { $0 * 255 }
      return Result(mask: refined, soft: soft, isAccepted: true)
    }
  }
}

extension Mask {
  /// With what the mask encloses: parts of the outside that do not reach the border (scipy.ndimage.binary_fill_holes).
  public func fillingHoles() -> Mask {
    let (labels, areas) = inverted().components()
    var reachesBorder = [Bool](repeating: false, count: areas.count + 1)
    for y in 0..<height {
      for x in 0..<width where x == 0 || y == 0 || x == width - 1 || y == height - 1 { reachesBorder[Int(labels[y * width + x])] = true }
    }
    return Mask(width: width, height: height, values: labels.map { $0 == 0 || !reachesBorder[Int($0)] ? 1 : 0 })
  }
}
