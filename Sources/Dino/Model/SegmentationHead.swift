// A segmentation head that goes with a checkpoint: one linear layer on each patch token after the last norm, in `seg_head.weight` and `seg_head.bias`, and what its classes are
// called in masks (`dino.segmentation` of the weight format). It is kept beside the network, whose graph does not have it.

public import DinoModels
public import DinoTensor
internal import Safetensors

/// A linear classifier of a model's patches.
public struct SegmentationHead: Sendable {
  public static let metadataKey = "dino.segmentation"
  static let prefix = "seg_head."

  /// The grey level, or index of the palette, that each class has in masks, in the order of the rows; 0 is the background.
  public var labels: [UInt8]
  /// [classes, width]
  public var weight: Tensor
  /// [classes]
  public var bias: Tensor
  /// How photographs became the patches that it learnt from; nil where its file does not say.
  public var preprocessing: Preprocessing?

  public init(labels: [UInt8], weight: Tensor, bias: Tensor) {
    precondition(weight.shape.rank == 2 && weight.shape[0] == labels.count && bias.shape == [labels.count])
    self.labels = labels
    self.weight = weight
    self.bias = bias
  }

  /// The class of each row of [n, width]; of equal scores the first.
  public func classes(_ rows: [Float]) -> [Int] {
    let width = weight.shape[1], w = weight.floats(), b = bias.floats()
    return stride(from: 0, to: rows.count, by: width).map { start in
      var best = -Double.infinity, chosen = 0
      for c in b.indices {
        var sum = Double(b[c])
        for k in 0..<width { sum += Double(w[c * width + k]) * Double(rows[start + k]) }
        if sum > best { (best, chosen) = (sum, c) }
      }
      return chosen
    }
  }
}

extension Checkpoint {
  /// The segmentation head in the file; nil where there is none.
  public func segmentationHead() throws(DinoError) -> SegmentationHead? {
    guard let text = record?.other[SegmentationHead.metadataKey] else { return nil }
    func bad(_ reason: String) -> DinoError { DinoError(.data, "\(path): '\(SegmentationHead.metadataKey)' \(reason)") }
    let json: JSONValue
    do { json = try JSONValue.parse(text) } catch { throw bad("is no valid JSON: \(error.description)") }
    let labels = (json["labels"]?.arrayValue ?? []).map { $0.integerValue.flatMap { UInt8(exactly: $0) } }
    guard labels.count >= 2, !labels.contains(nil), Set(labels).count == labels.count else { throw bad("must list at least two labels from 0 to 255, none twice") }
    guard json["tokens"]?.stringValue == "patch" else { throw bad("must say 'patch' as the tokens that the head reads") }
    func stored(_ name: String) throws(DinoError) -> Tensor {
      guard storedTensors.contains(where: { $0.name == name }), let tensor = try source.tensor(name) else {
        throw DinoError(.data, "\(path): '\(SegmentationHead.metadataKey)' names labels, but the tensor '\(name)' is not there")
      }
      return tensor
    }
    let weight = try stored(SegmentationHead.prefix + "weight"), bias = try stored(SegmentationHead.prefix + "bias")
    guard weight.shape == [labels.count, config.embedDim], bias.shape == [labels.count], weight.dtype.convertsToFloat, bias.dtype.convertsToFloat else {
      throw DinoError(.data, "\(path): the segmentation head is \(weight.shape) with a bias \(bias.shape), where [\(labels.count), \(config.embedDim)] and [\(labels.count)] are expected")
    }
    var head = SegmentationHead(labels: labels.compactMap { $0 }, weight: weight, bias: bias)
    if let stated = json["preprocessing"] {
      do { head.preprocessing = try Preprocessing(json: stated.text) } catch { throw bad("has a malformed preprocessing: \(error.description)") }
    }
    return head
  }
}

extension ModelWriter {
  /// Puts a segmentation head beside the model, in place of the one that it has.
  public mutating func setSegmentationHead(_ head: SegmentationHead) {
    extra = extra.filter { !$0.name.hasPrefix(SegmentationHead.prefix) } + [(name: SegmentationHead.prefix + "weight", tensor: head.weight), (name: SegmentationHead.prefix + "bias", tensor: head.bias)]
    var members: [JSONValue.Member] = [.init("labels", .array(head.labels.map { .integer(Int($0)) })), .init("tokens", .string("patch"))]
    if let text = try? head.preprocessing?.json(), let json = try? JSONValue.parse(text) { members.append(.init("preprocessing", json)) }
    other[SegmentationHead.metadataKey] = JSONValue.object(members).text
  }
}
