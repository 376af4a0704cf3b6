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
      var refined = mask
      refined.values = whole.values.map { $0 * 255 }
      guard isStill(refined, mask) else { return Result(mask: mask, soft: soft, isAccepted: false) }
      return Result(mask: refined, soft: soft, isAccepted: true)
    }
  }

  /// Of classes, no pixel of which is in two masks: a pixel is of the class whose value is greatest there, or of none where what all leave to the background is. A class is in as many parts
  /// as it is, with its holes. One that would not be what it was keeps its own pixels, and gets no others.
  public static func bilateral(classes masks: [PixelMask], on photograph: Image, settings: BilateralSolver.Settings = .init()) -> [Result] {
    var results = masks.map { Result(mask: $0, soft: [], isAccepted: false) }
    let present = masks.indices.filter { masks[$0].area > 0 }
    guard let first = present.first else { return results }
    precondition(masks[first].width == photograph.width && masks[first].height == photograph.height)
    let solver = BilateralSolver(photograph, settings: settings)
    for k in present { results[k].soft = solver.solve(masks[k].values.map { $0 > 0 ? 1 : 0 }) }
    let pixels = masks[first].values.count
    /// The class of each pixel, -1 for none.
    func winners(staying: [Int], moving: [Int]) -> [Int] {
      (0..<pixels).map { i in
        if let own = staying.first(where: { masks[$0].values[i] > 0 }) { return own }
        // Values of all classes and the background's add up to 1.
        var greatest: Float = 1, winner = -1
        for k in moving { greatest -= results[k].soft[i] }
        for k in moving where results[k].soft[i] > greatest { (greatest, winner) = (results[k].soft[i], k) }
        return winner
      }
    }
    func mask(of k: Int, _ winners: [Int]) -> PixelMask {
      var mask = masks[k]
      mask.values = winners.map { $0 == k ? 255 : 0 }
      return mask
    }
    let all = winners(staying: [], moving: present)
    let moving = present.filter { isStill(mask(of: $0, all), masks[$0]) }
    let chosen = moving.count == present.count ? all : winners(staying: present.filter { !moving.contains($0) }, moving: moving)
    for k in moving { (results[k].mask, results[k].isAccepted) = (mask(of: k, chosen), true) }
    return results
  }

  /// Whether a refined mask is the given one, moved: an IoU of at least a half.
  private static func isStill(_ refined: PixelMask, _ given: PixelMask) -> Bool {
    var both = 0, either = 0
    for i in refined.values.indices {
      let a = refined.values[i] > 0, b = given.values[i] > 0
      if a && b { both += 1 }
      if a || b { either += 1 }
    }
    return either > 0 && 2 * both >= either
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
