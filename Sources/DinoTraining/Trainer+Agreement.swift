// Whether several processes that are to train together do the same: asked once, before the first step. What they exchange in a step is Trainer.swift's.

internal import Dino
internal import DinoKernels
internal import DinoTensor

extension Trainer {
  /// Fails where the processes that train together are not at one step of one run: the mean of their gradients would be no gradient.
  func checkAgreement(data: String) throws(DinoError) {
    guard let ranks, ranks.count > 1 else { return }
    var fingerprint = Fingerprint()
    fingerprint.add(data)
    for setting in settings.listed(stepsPerEpoch: schedule.stepsPerEpoch) { fingerprint.add("\(setting.flag) \(setting.value)") }
    for block in [student, teacher] { for tensor in block.tensors { for value in tensor.floats() { fingerprint.add(UInt64(value.bitPattern)) } } }
    let words = try gathered([UInt64(step), UInt64(schedule.count), fingerprint.value], ranks)
    guard let other = words.indices.first(where: { words[$0] != words[0] }) else { return }
    let hint = "all processes need the same command, images and files; to go on, all must see the checkpoint in --output-dir"
    if words[other][..<2] != words[0][..<2] {
      throw DinoError(.data, "process \(other) is at step \(words[other][0]) of \(words[other][1]) and process 0 at step \(words[0][0]) of \(words[0][1])", hint: hint)
    }
    throw DinoError(.data, "process \(other) has other images, settings or weights than process 0", hint: hint)
  }

  /// The words of each rank. Sums of floats are exact where one rank gives a number of 16 bits and the others 0.
  private func gathered(_ own: [UInt64], _ ranks: any Ranks) throws(DinoError) -> [[UInt64]] {
    let pieces = 4 * own.count
    var values = [Float](repeating: 0, count: pieces * ranks.count)
    for i in 0..<pieces { values[ranks.index * pieces + i] = Float(own[i / 4] >> UInt64(16 * (i % 4)) & 0xFFFF) }
    let all: ParameterBlock
    do { all = try ParameterBlock(shapes: [[ranks.count, pieces]]) } catch { throw DinoError(error, path: nil) }
    all.tensors[0].overwrite(with: values)
    ranks.sum(all)
    values = all.tensors[0].floats()
    var words = [[UInt64]](repeating: [UInt64](repeating: 0, count: own.count), count: ranks.count)
    for (at, value) in values.enumerated() { words[at / pieces][at % pieces / 4] |= UInt64(value) << UInt64(16 * (at % 4)) }
    return words
  }
}
