// Preprocessing and augmentation against torchvision, and the way back to the photograph.

import DinoImaging
import DinoTensor
import Foundation
import TestSupport
import Testing

@Suite struct PreprocessingTests {
  @Test func plansEqualTorchvision() throws {
    let source = try Golden.json("resize.json", ResizeCases.self).source
    let golden = try Golden.json("augment.json", AugmentCases.self)
    #expect(golden.plans.count == 6)
    for p in golden.plans {
      let resize: PreprocessingPlan.Resize = p.resize.isEmpty ? .none : p.resize.count == 1 ? .shorterSide(p.resize[0]) : .exact(height: p.resize[0], width: p.resize[1])
      let plan = PreprocessingPlan(resize: resize, interpolation: try #require(Interpolation(rawValue: p.filter)), crop: p.crop)
      let tensor = try plan.tensor(source)
      #expect(tensor.shape == [3, p.height, p.width])
      let expected = p.values.withUnsafeBytes { raw in (0..<(p.values.count / 4)).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) } }
      #expect(tensor.floats() == expected, "\(p.resize) \(String(describing: p.crop)) \(p.filter)")
    }
  }

  @Test func augmentationEqualsTorchvision() throws {
    let source = try Golden.json("resize.json", ResizeCases.self).source
    let golden = try Golden.json("augment.json", AugmentCases.self)
    #expect(golden.steps.count > 15)
    for s in golden.steps {
      let out: Image = switch s.step {
      case "brightness": source.adjustingBrightness(Float(s.value))
      case "contrast": source.adjustingContrast(Float(s.value))
      case "saturation": source.adjustingSaturation(Float(s.value))
      case "hue": try source.adjustingHue(s.value)
      case "solarize": source.solarized(threshold: Int(s.value))
      case "blur": try source.gaussianBlurred(radius: Float(s.value))
      default: source.grayscale()
      }
      let expected = Image(width: source.width, height: source.height, channels: 3, pixels: [UInt8](s.rgb))
      #expect(out == expected, "\(s.step) \(s.value): \(largestDifference(out, expected))")
    }
  }

  @Test(.enabled(if: Fixtures.shared("reference/preprocessing") != nil, "needs the shared golden data"), arguments: ["astronaut", "coffee"], ["png", "jpg"])
  func sharedEvaluationInput(name: String, kind: String) throws {
    let folder = try #require(Fixtures.shared("reference/preprocessing/\(name)"))
    let tensor = try PreprocessingPlan().tensor(try ImageDecoder.decode(path: "\(folder)/image.\(kind)"))
    #expect(tensor.shape == [3, 224, 224])
    #expect(maxAbsoluteDifference(tensor.floats(), try NPY("\(folder)/eval_\(kind).npy").floats) < 2e-3)
  }

  @Test(.enabled(if: Fixtures.shared("reference/augmentation") != nil, "needs the shared golden data"))
  func sharedAugmentation() throws {
    let folder = try #require(Fixtures.shared("reference/augmentation"))
    let image = try ImageDecoder.decode(path: folder + "/image.png")
    let results: [(String, Image)] = [
      ("brightness_1.3", image.adjustingBrightness(1.3)), ("contrast_0.7", image.adjustingContrast(0.7)), ("saturation_1.2", image.adjustingSaturation(1.2)),
      ("hue_-0.08", try image.adjustingHue(-0.08)), ("grayscale", image.grayscale()), ("solarize_128", image.solarized()),
      ("gaussian_blur_radius_1.5", try image.gaussianBlurred(radius: 1.5)),
      ("resized_crop_i10_j20_h80_w90_to_64", try image.resizedCrop(PixelBox(x: 20, y: 10, width: 90, height: 80), width: 64, height: 64, interpolation: .bicubic)),
    ]
    for (name, result) in results {
      #expect(result == (try NPY("\(folder)/\(name).npy").image), "\(name)")
    }
  }

  @Test func imageSizeRules() throws {
    let plan = PreprocessingPlan()
    #expect(plan.withImageSize(224) == plan)
    #expect(plan.withImageSize(96).resize == .shorterSide(110))  // round(109.71)
    let exact = plan.withImageSize(height: 480, width: 300)
    let g = try exact.geometry(width: 1000, height: 500)
    #expect((g.outputWidth, g.outputHeight) == (300, 480))
    var patched = exact
    patched.patchMultiple = 16
    let cut = try patched.geometry(width: 1000, height: 500)
    #expect((cut.outputWidth, cut.outputHeight, cut.visible.x, cut.visible.y) == (288, 480, 0, 0))
    #expect(cut.sourceRectangle == PixelRectangle(x: 0, y: 0, width: 960, height: 500))
  }

  /// Cropping at the bottom and right removes rows and columns and changes no other.
  @Test func patchMultipleOnlyCuts() throws {
    let image = noise(50, 40, seed: 8)
    let plan = PreprocessingPlan(resize: .exact(height: 37, width: 45), crop: nil)
    var patched = plan
    patched.patchMultiple = 8
    let whole = try plan.resized(image)
    #expect(try patched.resized(image) == whole.cropped(to: PixelBox(x: 0, y: 0, width: 40, height: 32)))
  }

  @Test func centreCropRectangle() throws {
    let g = try PreprocessingPlan().geometry(width: 640, height: 480)
    #expect((g.resizedWidth, g.resizedHeight) == (341, 256))
    #expect(g.visible == PixelBox(x: 58, y: 16, width: 224, height: 224))  // round(58.5) to even
    let odd = try PreprocessingPlan(resize: .none, crop: 2).geometry(width: 5, height: 7), floored = try PreprocessingPlan(resize: .none, crop: 2, floorsCrop: true).geometry(width: 5, height: 7)
    let corners: [Int] = [odd.visible.x, odd.visible.y, floored.visible.x, floored.visible.y]
    #expect(corners == [2, 2, 1, 2])
  }

  /// What the plan did and the way back cancel: a mask of a square in the photograph survives the trip where it was seen.
  @Test func masksReturnToTheirPlace() throws {
    let g = try PreprocessingPlan(resize: .shorterSide(64), crop: 48).geometry(width: 200, height: 100)
    let all = g.mapToSource(Mask(width: 6, height: 6, values: [UInt8](repeating: 1, count: 36)))
    let seen = g.sourceRectangle
    let box = try #require(all.boundingBox)
    #expect(abs(Double(box.x) - seen.x) <= 1 && abs(Double(box.y) - seen.y) <= 1)
    #expect(abs(Double(box.width) - seen.width) <= 1 && abs(Double(box.height) - seen.height) <= 1)
    #expect(all.area == box.width * box.height)
    var one = [UInt8](repeating: 0, count: 36)
    one[2 * 6 + 3] = 1
    let cell = try #require(g.mapToSource(Mask(width: 6, height: 6, values: one)).boundingBox)
    #expect(abs(Double(cell.x) - (seen.x + seen.width / 2)) <= 1 && abs(Double(cell.width) - seen.width / 6) <= 1)
    let smooth = g.mapToSource(Mask(width: 6, height: 6, values: one), smooth: true)
    #expect(smooth.area > 0 && smooth.area < cell.width * cell.height)
    #expect(g.mapToSource(HeatMap(width: 1, height: 1, values: [2]), outside: -1).values.contains(-1))
  }

  @Test func badPlansAreSentences() {
    let image = noise(10, 10, seed: 1)
    var plans = [PreprocessingPlan(resize: .shorterSide(0)), PreprocessingPlan(resize: .shorterSide(Int.max)), PreprocessingPlan(resize: .exact(height: -1, width: 3)),
                 PreprocessingPlan(crop: 0), PreprocessingPlan(crop: Int.max), PreprocessingPlan(mean: [0.5]), PreprocessingPlan(standardDeviation: [1, 0, 1]),
                 PreprocessingPlan(patchMultiple: 0), PreprocessingPlan(crop: 8, patchMultiple: 16)]
    plans.append(PreprocessingPlan(resize: .shorterSide(1 << 15), crop: nil))
    for plan in plans.dropLast() { #expect(throws: ImageError.self) { try plan.tensor(image) } }
    #expect(throws: ImageError.self) { try plans.last!.geometry(width: 1, height: 1000) }
  }

  @Test func batchesNeedOneSize() throws {
    let plan = PreprocessingPlan(resize: .exact(height: 8, width: 6), crop: nil)
    let batch = try plan.batch([noise(20, 20, seed: 1), noise(5, 9, seed: 2)])
    #expect(batch.shape == [2, 3, 8, 6])
    #expect(Array(batch.floats()[144...]) == (try plan.tensor(noise(5, 9, seed: 2)).floats()))
    #expect(throws: ImageError.self) { try PreprocessingPlan(resize: .none, crop: nil).batch([noise(4, 4, seed: 1), noise(5, 4, seed: 1)]) }
    #expect(throws: ImageError.self) { try plan.batch([]) }
  }
}
