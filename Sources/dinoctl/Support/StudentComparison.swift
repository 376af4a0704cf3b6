// A student beside the teacher it was distilled from, each with its own preprocessing: neighbours in common, accuracy where images have classes, size and speed. It measures; it
// judges nothing. Unreadable images are named and left out.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTasks
internal import DinoTensor
internal import Safetensors

struct StudentComparison {
  /// What one of the two is and does.
  struct Side {
    var parameters: Int
    var width: Int
    var fileBytes: Int
    /// In batches of 8, and the size of those images.
    var imagesPerSecond: Double
    var side: Int
    /// The share of images that its 20 nearest neighbours name rightly; nil without classes.
    var accuracy: Double?
  }

  let images: Int
  let isLabelled: Bool
  let teacher: Side
  let student: Side
  /// Of each image's k nearest by the teacher, the share that the student names too.
  let neighbours: [(k: Int, share: Double)]
  /// The share of images that both neighbours' votes give the same class, right or wrong.
  let agreement: Double?

  /// - Parameters:
  ///   - images: those whose neighbours are looked for; each in a class, or none.
  ///   - asked: those that ask; nil where each of `images` asks about the others.
  ///   - size: side of the images that speed is measured on.
  init(teacher: DinoModel, changes: PreprocessingChanges, student: DinoModel, images: [ClassedInput], asked: [ClassedInput]?, size: Int, threads: Int) throws {
    var skipped = SkippedInputs()
    let running = RunSettings(threads: threads, batchSize: 32)
    func rows(_ model: DinoModel, _ changes: PreprocessingChanges) throws -> (known: LabelledRows, asked: LabelledRows?) {
      let maker = try FeatureMaker(model: model, preparer: try Preparing.preparer(model, changes, exifOrientation: false), settings: FeatureSettings(), running: running)
      return (try maker.labelledRows(images, strict: false, skipped: &skipped), try asked.map { try maker.labelledRows($0, strict: false, skipped: &skipped) })
    }
    let a = try rows(teacher, changes), b = try rows(student, PreprocessingChanges())
    self.images = (a.asked ?? a.known).rows.count
    isLabelled = a.known.isLabelled && a.known.classes.count > 1
    let available = a.known.rows.count - (asked == nil ? 1 : 0)
    neighbours = NeighbourOverlap.shares(a, b, ks: [1, 10, 20].filter { $0 <= available }, threads: threads)
    var accuracies: [Double?] = [nil, nil], agreement: Double?
    if isLabelled, available > 0 {
      let reports = try [a, b].map { side in
        try WeightedVote.classify(side.asked ?? side.known, by: side.known, neighbours: [NeighbourAccuracy.neighbours], temperature: WeightedVote.officialTemperature, leaveOneOut: side.asked == nil, threads: threads)[0]
      }
      accuracies = reports.map(\.top1)
      agreement = Double(zip(reports[0].images, reports[1].images).count { $0.ranking.first == $1.ranking.first }) / Double(self.images)
    }
    self.agreement = agreement
    let rates = try Self.imagesPerSecond([teacher, student], size: size)
    self.teacher = try Side(teacher, rates[0], size, accuracies[0])
    self.student = try Side(student, rates[1], size, accuracies[1])
  }

  /// The median of five runs of each in turn, after one that makes the plan.
  private static func imagesPerSecond(_ models: [DinoModel], size: Int) throws -> [Double] {
    let batch = 8, shape: Shape = [batch, models[0].config.inChannels, size, size]
    let input = [DinoModel.inputName: Tensor((0..<shape.count).map { Float($0 % 251) / 125 - 1 }, shape: shape)]
    var seconds: [[Double]] = models.map { _ in [] }
    for turn in 0..<6 {
      for (i, model) in models.enumerated() {
        let start = Terminal.now()
        _ = try model.run(input, outputs: ["cls"])
        if turn > 0 { seconds[i].append(Terminal.now() - start) }
      }
    }
    return seconds.map { Double(batch) / max($0.sorted()[$0.count / 2], 1e-9) }
  }

  /// Name, teacher's and student's, as a person reads it.
  var lines: [(name: String, value: String)] {
    var all: [(name: String, value: String)] = neighbours.map { ("of the \($0.k == 1 ? "nearest neighbour" : "\($0.k) nearest neighbours") in common", "\(fixed(100 * $0.share, 1)) %") }
    if let x = teacher.accuracy, let y = student.accuracy, let agreement {
      all.append(("k-NN accuracy, teacher and student", "\(fixed(100 * x, 2)) % and \(fixed(100 * y, 2)) %; the same answer for \(fixed(100 * agreement, 2)) %"))
    }
    all.append(("weights", "\(teacher.parameters) and \(student.parameters)"))
    all.append(("file", "\(readable(bytes: teacher.fileBytes)) and \(readable(bytes: student.fileBytes))"))
    all.append(("images a second at \(teacher.side) pixels, batches of 8", "\(fixed(teacher.imagesPerSecond, 1)) and \(fixed(student.imagesPerSecond, 1)), \(fixed(student.imagesPerSecond / max(teacher.imagesPerSecond, 1e-9), 2)) times as fast"))
    return [("images compared", "\(images)")] + all
  }

  var json: JSONValue {
    func object(_ s: Side) -> JSONValue {
      .object([.init("parameters", .integer(s.parameters)), .init("width", .integer(s.width)), .init("file_bytes", .integer(s.fileBytes)), .init("images_per_second", .number(s.imagesPerSecond)),
               .init("knn_top1", s.accuracy.map { .number($0) } ?? .null)])
    }
    var members: [JSONValue.Member] = [.init("images", .integer(images)), .init("image_size", .integer(teacher.side)), .init("teacher", object(teacher)), .init("student", object(student))]
    members += neighbours.map { JSONValue.Member("neighbour_overlap_\($0.k)", .number($0.share)) }
    members.append(.init("label_agreement", agreement.map { .number($0) } ?? .null))
    return .object(members)
  }
}

extension StudentComparison.Side {
  /// Of the network that sees: a head, and what else a training's checkpoint holds, is not compared.
  fileprivate init(_ model: DinoModel, _ rate: Double, _ size: Int, _ accuracy: Double?) throws {
    var backbone = model.config
    backbone.head = nil
    var bytes = model.checkpoint.fileBytes
    if model.checkpoint.branch != nil {
      bytes = try model.checkpoint.weights().filter { !$0.key.hasPrefix("head.") && !$0.key.hasPrefix("probe.") }.values.reduce(0) { $0 + $1.byteRange.count }
    }
    self.init(parameters: backbone.parameterCount, width: backbone.embedDim, fileBytes: bytes, imagesPerSecond: rate, side: size, accuracy: accuracy)
  }
}
