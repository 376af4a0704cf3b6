// The measures of segmentation on masks so small that their values can be seen.

import DinoImaging
import Testing

@testable import DinoSegmentation

@Suite struct ScoreTests {
  private func mask(_ rows: String...) -> Mask {
    Mask(width: rows[0].count, height: rows.count, values: rows.flatMap { $0.map { $0 == "#" ? 1 : 0 } })
  }

  @Test func masksThatCanBeCounted() {
    let truth = mask("##..", "##..", "...."), found = mask(".##.", ".##.", "...."), none = mask("....", "....", "....")
    #expect(MaskMeasures.iou(found, truth) == 2.0 / 6 && MaskMeasures.accuracy(found, truth) == 8.0 / 12)
    #expect(MaskMeasures.iou(none, none) == 1 && MaskMeasures.iou(none, truth) == 0)
    #expect(!MaskMeasures.isLocalized(found, truth: truth) && !MaskMeasures.isLocalized(none, truth: truth) && MaskMeasures.isLocalized(none, truth: none))
    // Boxes decide, not what is in them: half of the box is enough.
    #expect(MaskMeasures.isLocalized(mask("#...", ".#..", "...."), truth: truth))
    #expect(MaskMeasures.isLocalized(mask("##..", "....", "...."), truth: truth))
    #expect(!MaskMeasures.isLocalized(mask("#...", "....", "...."), truth: truth))
    #expect(MaskMeasures.jaccard([none, found, mask("##..", "#...", "....")], truth: truth) == 0.75)
    #expect(MaskMeasures.jaccard([], truth: truth) == 0)
  }

  @Test func precisionAndRecallOverThresholds() {
    let truth = mask("##..")
    let pr = MaskMeasures.precisionRecall([1, 0.5, 0.5, 0], truth: truth)
    #expect(pr.count == 255)
    // Above 0: three pixels, two right. Above 0.5 and more: one, right. A value is above a threshold only where it is greater.
    #expect(pr[0].precision == 2.0 / 3 && pr[0].recall == 1)
    #expect(pr[127].precision == 2.0 / 3 && pr[128].precision == 1 && pr[128].recall == 0.5 && pr[254].recall == 0.5)
    let f = MaskMeasures.f(1, 0.5)
    #expect(abs(f - 1.3 * 0.5 / 0.8) < 1e-15 && MaskMeasures.f(0, 0) == 0)
    let empty = MaskMeasures.precisionRecall([0, 0, 0, 0], truth: truth)
    #expect(empty[0].precision == 1 && empty[0].recall == 0)
  }

  @Test func meansOverPhotographs() {
    let truth = mask("##..")
    var scores = SegmentationScores()
    #expect(scores.iou == 0 && scores.jaccard == nil)
    scores.add(truth, truth: truth, heads: [mask("#..."), truth])
    scores.add(mask("..##"), truth: truth)
    #expect(scores.count == 2 && scores.iou == 0.5 && scores.accuracy == 0.5 && scores.corLoc == 0.5 && scores.jaccard == 1)
    #expect(abs(scores.maxF - 0.5) < 1e-12)
    // Soft values: the threshold is one for all photographs.
    var soft = SegmentationScores()
    soft.add(truth, truth: truth, soft: [0.9, 0.9, 0.2, 0.2])
    soft.add(truth, truth: truth, soft: [0.3, 0.3, 0.1, 0.1])
    #expect(abs(soft.maxF - 1) < 1e-12)
    soft.add(truth, truth: truth, soft: [0.1, 0.1, 0.05, 0.05])
    #expect(soft.maxF < 1)
  }

  /// What lies on void pixels is neither right nor wrong.
  @Test func voidPixelsDoNotCount() {
    let truth = mask("##......"), found = mask("##.#####"), void = mask("...#####")
    var scores = SegmentationScores()
    scores.add(found, truth: truth, soft: [1, 1, 0, 1, 1, 1, 1, 1], heads: [found], void: void)
    #expect(scores.count == 1 && scores.iou == 1 && scores.accuracy == 1 && scores.corLoc == 1 && scores.jaccard == 1 && abs(scores.maxF - 1) < 1e-12)
    scores.add(found, truth: truth, void: mask("........"))
    #expect(scores.iou < 1 && scores.accuracy < 1 && scores.corLoc == 0.5)
    // Of a photograph that is void everywhere nothing can be right or wrong.
    let before = scores.iou
    scores.add(found, truth: mask("........"), heads: [found], void: mask("########"))
    #expect(scores.count == 2 && scores.iou == before && scores.jaccard == 1)
  }

  /// One matrix over two photographs, counted by hand. Class 1: 3 pixels right of 4 true and 5 found. Class 2: 1 of 2 true and 2 found. Class 9 is found once and never true; 5 is nowhere.
  @Test func classesAreMeasuredOverAllPhotographs() {
    func map(_ values: [UInt8]) -> LabelMap { LabelMap(width: 6, height: 1, values: values) }
    var scores = ClassScores()
    #expect(scores.meanIoU == 0 && scores.accuracy == 0 && scores.classes.isEmpty)
    scores.add(map([1, 1, 1, 2, 0, 0]), truth: map([1, 1, 2, 2, 0, 0]))
    scores.add(map([1, 1, 2, 9, 0, 7]), truth: map([1, 0, 1, 0, 0, 255]), void: mask(".....#"))
    #expect(scores.classes.map(\.label) == [0, 1, 2, 9])
    let expected: [Double] = [3.0 / 5, 3.0 / 6, 1.0 / 3, 0]
    #expect(zip(scores.classes, expected).allSatisfy { abs($0.iou - $1) < 1e-15 })
    #expect(abs(scores.meanIoU - expected.reduce(0, +) / 4) < 1e-15 && scores.accuracy == 7.0 / 11)
  }
}
