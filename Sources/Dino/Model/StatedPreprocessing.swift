// What a Hugging Face folder says about preprocessing: transformers' preprocessor_config.json, or `pretrained_cfg` in timm's config.json. Both leave out what
// their library takes for granted, so the defaults of its classes are here.

internal import DinoModels
internal import Safetensors

/// A folder's preprocessing as a record, or the part of it that no record can say.
enum StatedPreprocessing: Equatable {
  case record(Preprocessing)
  /// Continues "… is not followed: ".
  case strange(String)

  /// What a class of image processors does where its file says nothing.
  private struct Defaults {
    var resize: Preprocessing.Resize
    var interpolation: Preprocessing.Interpolation
    var crop: Int?
    var mean: [Double], std: [Double]
    /// Whether a size that is one number is the shorter side and not a square.
    var isShorterSide = false
  }

  private static let halves = [0.5, 0.5, 0.5]
  private static let clip = Defaults(resize: .shorterSide(224), interpolation: .bicubic, crop: 224, mean: [0.48145466, 0.4578275, 0.40821073],
                                     std: [0.26862954, 0.26130258, 0.27577711], isShorterSide: true)
  private static let processors: [String: Defaults] = [
    "ViT": Defaults(resize: .exact(height: 224, width: 224), interpolation: .bilinear, crop: nil, mean: halves, std: halves),
    "DeiT": Defaults(resize: .exact(height: 256, width: 256), interpolation: .bicubic, crop: 224, mean: halves, std: halves),
    "DINOv3ViT": Defaults(resize: .exact(height: 224, width: 224), interpolation: .bilinear, crop: nil, mean: Preprocessing.imageNet.mean, std: Preprocessing.imageNet.std),
    "Bit": clip,
    "CLIP": clip,
  ]

  /// Of preprocessor_config.json.
  static func transformers(_ json: JSONValue) -> StatedPreprocessing {
    guard json.objectValue != nil else { return .strange("it is not a JSON object") }
    let name = json["image_processor_type"]?.stringValue ?? json["feature_extractor_type"]?.stringValue ?? "ViTImageProcessor"
    // Behind these words may stand "Fast" or "Pil": the same in another form.
    let family = processors.keys.first { name.hasPrefix("\($0)ImageProcessor") || name.hasPrefix("\($0)FeatureExtractor") }
    guard let family, let defaults = processors[family] else { return .strange("image processors of type '\(name.prefix(64))' are not known") }
    for key in ["do_pad", "do_flip_channel_order", "do_grayscale", "rescale_offset"] where json[key]?.boolValue == true { return .strange("\(key) is not known") }
    var record = Preprocessing(resize: nil, interpolation: defaults.interpolation, crop: nil, mean: defaults.mean, std: defaults.std, cropRounding: .floor)
    if json["do_resize"]?.boolValue != false {
      guard let resize = target(given(json["size"]), defaults) else { return .strange("a size of \(brief(json["size"])) is not known") }
      record.resize = resize
    }
    if let value = given(json["resample"]) {
      // Numbers of PIL.Image.Resampling.
      let filters: [Int: Preprocessing.Interpolation] = [0: .nearest, 1: .lanczos, 2: .bilinear, 3: .bicubic]
      guard let filter = value.integerValue.flatMap({ filters[$0] }) else { return .strange("resample \(brief(value)) is not known") }
      record.interpolation = filter
    }
    if json["do_center_crop"]?.boolValue ?? (defaults.crop != nil) {
      guard let crop = square(given(json["crop_size"]), absent: defaults.crop) else { return .strange("a crop_size of \(brief(json["crop_size"])) is not a square") }
      record.crop = crop
    }
    guard let mean = numbers(given(json["image_mean"]), absent: defaults.mean), let std = numbers(given(json["image_std"]), absent: defaults.std) else {
      return .strange("image_mean and image_std must be three numbers each")
    }
    let isNormalized = json["do_normalize"]?.boolValue != false
    record.mean = isNormalized ? mean : [0, 0, 0]
    record.std = isNormalized ? std : [1, 1, 1]
    // (v · factor - mean) / std, where a record divides v by 255.
    var scale = 1.0
    if json["do_rescale"]?.boolValue == false {
      scale = 255
    } else if let factor = given(json["rescale_factor"]) {
      scale = 255 * (factor.doubleValue ?? 0)
    }
    guard scale > 0, scale.isFinite else { return .strange("rescale_factor \(brief(json["rescale_factor"])) is not a number above 0") }
    if abs(scale - 1) > 1e-9 {
      record.mean = record.mean.map { $0 / scale }
      record.std = record.std.map { $0 / scale }
    }
    return checked(record)
  }

  /// Of timm's `pretrained_cfg`: the shorter side to size / crop_pct, then the centre.
  static func timm(_ json: JSONValue) -> StatedPreprocessing {
    let mode = given(json["crop_mode"])?.stringValue ?? "center"
    guard mode == "center" else { return .strange("crop_mode '\(mode.prefix(64))' is not known") }
    var sides: [Int?] = [224, 224]
    if let size = given(json["input_size"]) { sides = (size.arrayValue ?? []).dropFirst().map(\.integerValue) }
    guard sides.count == 2, let side = sides[0], sides[1] == side, side > 0 else { return .strange("an input_size of \(brief(json["input_size"])) is not a square") }
    let share = given(json["crop_pct"])?.doubleValue ?? 0.875
    let shorter = (Double(side) / share).rounded(.down)
    guard share > 0, shorter <= 65536 else { return .strange("a crop_pct of \(brief(json["crop_pct"])) is not known") }
    let filter = given(json["interpolation"])?.stringValue ?? "bicubic"
    guard let interpolation = Preprocessing.Interpolation(rawValue: filter) else { return .strange("the interpolation '\(filter.prefix(64))' is not known") }
    let original = Preprocessing.imageNet
    guard let mean = numbers(given(json["mean"]), absent: original.mean), let std = numbers(given(json["std"]), absent: original.std) else {
      return .strange("mean and std must be three numbers each")
    }
    return checked(Preprocessing(resize: .shorterSide(Int(shorter)), interpolation: interpolation, crop: side, mean: mean, std: std))
  }

  private static func checked(_ record: Preprocessing) -> StatedPreprocessing {
    do { try record.validate() } catch { return .strange(error.description) }
    return .record(record)
  }

  private static func target(_ size: JSONValue?, _ defaults: Defaults) -> Preprocessing.Resize? {
    guard let size else { return defaults.resize }
    if let side = size.integerValue { return defaults.isShorterSide ? .shorterSide(side) : .exact(height: side, width: side) }
    // A longest edge limits what the shorter one asks for.
    if let edge = size["shortest_edge"]?.integerValue { return given(size["longest_edge"]) == nil ? .shorterSide(edge) : nil }
    guard let height = size["height"]?.integerValue, let width = size["width"]?.integerValue else { return nil }
    return .exact(height: height, width: width)
  }

  private static func square(_ size: JSONValue?, absent: Int?) -> Int? {
    // Each class that may crop has this size.
    guard let size else { return absent ?? 224 }
    if let side = size.integerValue { return side }
    guard let height = size["height"]?.integerValue, size["width"]?.integerValue == height else { return nil }
    return height
  }

  private static func numbers(_ value: JSONValue?, absent: [Double]) -> [Double]? {
    guard let value else { return absent }
    let numbers = (value.arrayValue ?? []).compactMap(\.doubleValue)
    return value.arrayValue?.count == 3 && numbers.count == 3 ? numbers : nil
  }

  /// What is null is as if it was not there.
  private static func given(_ value: JSONValue?) -> JSONValue? { value == .null ? nil : value }

  private static func brief(_ value: JSONValue?) -> String { String((value?.text ?? "none").prefix(40)) }
}
