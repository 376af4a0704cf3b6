// How many labelled images the classifier of a model names rightly: what fine-tuning asks of its network from time to time. Unreadable images are named and left out; the exit
// code is training's own.

internal import Dino
internal import DinoRuntime
internal import DinoTasks
internal import DinoTensor

extension ClassifierHead {
  /// Its layer; refused where it is of values that are not finite, which would name a class of every image all the same.
  /// - Parameter path: the file that it is from.
  func classifier(of path: String) throws -> LinearClassifier {
    let weights = weight.floats(), bias = bias.floats()
    guard weights.allSatisfy(\.isFinite), bias.allSatisfy(\.isFinite) else { throw Failure(.data, "the classifier of \(path) has values that are not finite", hint: "its training diverged, or the file is damaged") }
    return LinearClassifier(classes: classes, width: weight.shape[1], weights: weights, bias: bias)
  }
}

struct ClassifierAccuracy {
  private let inputs: [ClassedInput]
  private let labels: [Int]
  private let threads: Int
  private let precision: Precision?
  private let reading: ReadingOptions

  /// Looks at names only; images are read anew for each model.
  /// - Parameter classes: the names, in the order of the classifier's rows.
  init(_ path: String, classes: [String], threads: Int, precision: PrecisionArgument?, reading: ReadingOptions) throws {
    inputs = try ClassedInput.expand([path])
    let index = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($1, $0) })
    labels = try inputs.map { input in
      guard let label = input.className.flatMap({ index[$0] }) else {
        throw Failure(.data, "\(input.input.name) is of the class '\(input.className ?? "")', which the training images do not have", hint: "the folders of both are named alike: \(classes.prefix(5).joined(separator: ", "))")
      }
      return label
    }
    self.threads = threads
    self.reading = reading
    self.precision = precision?.precision
  }

  /// Of the model in a file, as `dinoctl classify` would name them: a share from 0 to 1.
  func of(_ path: String) throws -> Double {
    var options = DinoModel.Options()
    options.threads = threads
    options.manyImages = true
    options.precision = precision
    let model = try DinoModel(contentsOf: path, options: options)
    guard let head = try model.checkpoint.classifierHead() else { throw Failure(.bug, "\(path) has no classifier") }
    let extractor = try FeatureExtractor(model: model, settings: head.settings)
    let classifier = try head.classifier(of: path)
    let stream = ImageStream(preparer: try Preparing.preparer(model, PreprocessingChanges(), exifOrientation: reading.exifOrientation), batchSize: min(32, inputs.count), workers: threads)
    var correct = 0, read = 0
    try stream.forEach(inputs.map(\.input)) { part in
      switch part {
      case .unreadable(let index, let reason):
        if reading.strict { throw Failure(.data, "\(inputs[index].input.name): \(reason)", hint: "without --strict it is left out") }
        Terminal.say("\(inputs[index].input.name): \(reason); left out")
      case .batch(let indices, let prepared):
        for (index, feature) in zip(indices, try extractor.rows(prepared)) where LinearClassifier.ranking(classifier.logits(feature), count: 1).first == labels[index] { correct += 1 }
        read += prepared.count
      }
    }
    guard read > 0 else { throw Failure(.data, "none of the \(inputs.count) test images could be read") }
    return Double(correct) / Double(read)
  }
}
