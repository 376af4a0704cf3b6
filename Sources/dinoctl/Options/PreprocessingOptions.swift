// Options that say how a photograph becomes the network's input. What is not said here comes from the model's record, or, without one,
// from the official evaluation (and a line on standard error says that this was assumed).

internal import ArgumentParser
internal import Dino
internal import DinoModels

struct PreprocessingOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Preprocessing from a JSON file with the keys of dino.preprocessing: resize, interpolation, crop, crop_rounding, mean, std, channel_order.", valueName: "file.json"), completion: .file())
  var preprocessing: String?

  @Option(help: ArgumentHelp("Mean of the channels, of values from 0 to 1: a,b,c.", valueName: "a,b,c"))
  var mean: Triple?

  @Option(help: ArgumentHelp("Standard deviation of the channels: a,b,c.", valueName: "a,b,c"))
  var std: Triple?

  @Option(help: "Resampling, as Pillow does it.")
  var interpolation: InterpolationArgument?

  @Option(help: ArgumentHelp(
    "S: shorter side to round(S·256/224), then a centre crop of S. HxW: resized to exactly that. A rest that does not fill a patch is cut off at the bottom and right.",
    valueName: "s|hxw"))
  var imageSize: ImageSize?

  func validate() throws {
    if let std, std.values.contains(where: { $0 == 0 }) { throw ValidationError("--std: a standard deviation of 0 cannot be divided by") }
  }

  var isGiven: Bool { preprocessing != nil || mean != nil || std != nil || interpolation != nil || imageSize != nil }

  /// These options as changes to a model's own preprocessing.
  func changes() throws -> PreprocessingChanges {
    var changes = PreprocessingChanges()
    changes.recordFile = preprocessing
    changes.mean = mean?.values
    changes.std = std?.values
    changes.interpolation = interpolation?.rawValue
    changes.size = imageSize?.size
    return changes
  }
}

/// How pixels become numbers where the size is the protocol's: the model's record with mean and deviation of choice.
struct StatisticsOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Mean of the channels, of values from 0 to 1: a,b,c. Default: the model's record, or ImageNet's.", valueName: "a,b,c"))
  var mean: Triple?

  @Option(help: ArgumentHelp("Standard deviation of the channels: a,b,c.", valueName: "a,b,c"))
  var std: Triple?

  func validate() throws {
    if let std, std.values.contains(where: { $0 == 0 }) { throw ValidationError("--std: a standard deviation of 0 cannot be divided by") }
  }

  func changes() -> PreprocessingChanges {
    var changes = PreprocessingChanges()
    changes.mean = mean?.values
    changes.std = std?.values
    return changes
  }

  /// Says on standard error where mean and deviation were assumed; `deviation` is what is assumed in place of ImageNet's.
  func record(of model: DinoModel, deviation: [Double]? = nil) throws -> Preprocessing {
    var record = try model.preparedRecord(changes())
    if let deviation, model.preprocessingIsAssumed, std == nil { record.std = deviation }
    if model.preprocessingIsAssumed && (mean == nil || std == nil) {
      Terminal.note("\(model.checkpoint.path) says nothing about preprocessing; assumed: mean \(record.mean.map { "\($0)" }.joined(separator: ",")), std \(record.std.map { "\($0)" }.joined(separator: ","))")
    }
    return record
  }
}

/// Three finite numbers by comma.
struct Triple: ExpressibleByArgument {
  var values: [Double]
  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { Double(String($0.drop { $0 == " " })) }
    let numbers = parts.compactMap { $0 }
    guard parts.count == 3, numbers.count == 3, numbers.allSatisfy(\.isFinite) else { return nil }
    values = numbers
  }
}

enum InterpolationArgument: String, ExpressibleByArgument, CaseIterable { case bicubic, bilinear, lanczos, nearest }

/// "224" or "480x480" (height first).
struct ImageSize: ExpressibleByArgument {
  var size: PreprocessingChanges.Size
  init?(argument: String) {
    let parts = argument.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard parts.allSatisfy({ $0 != nil && $0! >= 1 && $0! <= 65_536 }) else { return nil }
    switch parts.count {
    case 1: size = .shorterSide(parts[0]!)
    case 2: size = .exact(height: parts[0]!, width: parts[1]!)
    default: return nil
    }
  }
}
