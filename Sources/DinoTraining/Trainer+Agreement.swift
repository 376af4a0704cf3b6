// What several processes that train together exchange besides a step, which is Trainer.swift's: whether they do the same, asked once, before the first step; and sums of what each
// counted.

internal import Dino
internal import DinoKernels
internal import DinoTensor

extension Trainer {
  /// Fails where the processes that train together are not at one step of one run: the mean of their gradients would be no gradient.
  func checkAgreement(data: String) throws(DinoError) {
    guard let ranks, ranks.count > 1 else { return }
    var fingerprint = Fingerprint()
    fingerprint.add(data)
    for setting in listed { fingerprint.add("\(setting.flag) \(setting.value)") }
    for block in [student, teacher] { for tensor in block.tensors { for value in tensor.floats() { fingerprint.add(UInt64(value.bitPattern)) } } }
    let words = try gathered([UInt64(step), UInt64(schedule.count), fingerprint.value], ranks)
    guard let other = words.indices.first(where: { words[$0] != words[0] }) else { return }
    let hint = "all processes need the same command, images and files; to go on, all must see the checkpoint in --output-dir"
    if words[other][..<2] != words[0][..<2] {
      throw DinoError(.data, "process \(other) is at step \(words[other][0]) of \(words[other][1]) and process 0 at step \(words[0][0]) of \(words[0][1])", hint: hint)
    }
    throw DinoError(.data, "process \(other) has other images, settings or weights than process 0", hint: hint)
  }

  /// The sums over all ranks. Each number goes as two floats: a multiple of a unit that is so large that sums of multiples are exact, and the rest. Sums are right to 2⁻⁴⁰ of the
  /// largest, where those of single floats are to 2⁻²⁴.
  func total(_ values: [Double]) throws(DinoError) -> [Double] {
    guard let ranks, ranks.count > 1 else { return values }
    let block: ParameterBlock, largest: ParameterBlock
    do {
      block = try ParameterBlock(shapes: [[2 * values.count]])
      largest = try ParameterBlock(shapes: [[1]])
    } catch { throw DinoError(error, path: nil) }
    let own: Double = values.reduce(0) { max($0, abs($1)) }
    largest.tensors[0].overwrite(with: [Float(own)])
    ranks.sum(largest)
    // No sum is above that of the ranks' largest numbers, which is below 2²³ units.
    let bound = Double(largest.tensors[0].floats()[0]), unit = bound.isNormal ? bound.binade * 0x1p-22 : 1
    let whole = values.map { ($0 / unit).rounded() * unit }
    var parts: [Float] = whole.map { Float($0) }
    parts += zip(values, whole).map { Float($0 - $1) }
    block.tensors[0].overwrite(with: parts)
    ranks.sum(block)
    let sums = block.tensors[0].floats(), n = values.count
    return (0..<n).map { Double(sums[$0]) + Double(sums[n + $0]) }
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
