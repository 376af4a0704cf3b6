// How many labelled images a model's nearest neighbours name rightly: what training asks of its teacher from time to time. Unreadable images are named and left out;
// the exit code is training's own.

internal import ArgumentParser
internal import Dino
internal import DinoTasks

struct NeighbourAccuracy {
  /// As far as there are so many training images.
  static let neighbours = 20

  private let train: [ClassedInput]
  private let test: [ClassedInput]?
  private let threads: Int

  /// Looks at names only; images are read anew for each model.
  init(train: String, test: String?, threads: Int) throws {
    func classed(_ path: String) throws -> [ClassedInput] {
      let inputs = try ClassedInput.expand([path])
      guard inputs.count >= 2, inputs.allSatisfy({ $0.className != nil }) else {
        throw Failure(.data, "\(path): not two images at least, each with a class", hint: "put the images of each class into a folder of its own")
      }
      return inputs
    }
    self.train = try classed(train)
    self.test = try test.map(classed)
    self.threads = threads
    let known = Set(self.train.compactMap(\.className))
    if known.count < 2 { throw Failure(.data, "\(train): all its images are of one class, so every answer would be right", hint: "name the folder that holds the folders of two classes at least") }
    if let asked = self.test, !asked.contains(where: { $0.className.map(known.contains) ?? false }) {
      let named = known.sorted().prefix(5).joined(separator: ", ")
      throw Failure(.data, "\(test ?? ""): its images are of no class of \(train), so none could be named rightly", hint: "the folders of both are named alike: \(named)")
    }
  }

  /// Of the model in a file, as `dinoctl knn` would find it: a share from 0 to 1.
  func of(_ path: String) throws -> Double {
    let running = RunSettings(threads: threads, batchSize: 32)
    var options = DinoModel.Options()
    options.threads = threads
    options.manyImages = true
    let model = try DinoModel(contentsOf: path, options: options)
    let maker = try FeatureMaker(model: model, preparer: try Preparing.preparer(model, PreprocessingChanges(), exifOrientation: false), settings: FeatureSettings(), running: running)
    var skipped = SkippedInputs()
    let known = try maker.labelledRows(train, strict: false, skipped: &skipped), asked = try test.map { try maker.labelledRows($0, strict: false, skipped: &skipped) }
    return try WeightedVote.classify(asked ?? known, by: known, neighbours: [Self.neighbours], temperature: WeightedVote.officialTemperature, leaveOneOut: asked == nil,
                                     threads: threads)[0].top1
  }
}
