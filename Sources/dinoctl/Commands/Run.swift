// dinoctl run: raw tensors in, raw tensors out. No image is read, nothing is normalised.

internal import ArgumentParser
internal import Dino
internal import DinoTensor
internal import NumPyArrays
internal import Safetensors

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a model on .npy tensors; one NAME.npy for each output.",
    discussion: """
      The input is pixel_values, [B, 3, H, W], normalised already. Outputs: cls [B, D]; tokens [B, T, D], class token first; tokens.K, the same after block K \
      (from 0), normed; attention [B, heads, T, T] of the last block; attention_cls [B, heads, T], its class row; head or logits where the file has one. \
      Files are named after outputs, with characters outside A-Za-z0-9._- as _.
      """)

  @OptionGroup var model: ModelOptions

  @Option(name: .customLong("input"), parsing: .upToNextOption, help: ArgumentHelp("The tensor to run on, as .npy; NAME= where the model has several inputs.", valueName: "[name=]x.npy"))
  var inputs: [String]

  @Option(help: "Folder for the results; made where it is not there.")
  var outputDir: String

  @Option(help: "Outputs by comma. Default: cls.")
  var outputs = "cls"

  func run() throws {
    let names = outputs.split(separator: ",").map(String.init)
    guard !names.isEmpty else { throw Failure(.usage, "--outputs names no output") }
    var tensors: [String: Tensor] = [:]
    for argument in inputs {
      let (name, path) = Self.parse(argument)
      guard tensors[name] == nil else { throw Failure(.usage, "input '\(name)' was given twice") }
      do { tensors[name] = try NumPyArray.read(path: path) } catch { throw Failure(DinoError(error)) }
    }
    let dino = try model.load()
    for (name, tensor) in tensors {
      guard name == DinoModel.inputName else { throw Failure(.usage, "the model has no input '\(name)'", hint: "its input is \(DinoModel.inputName)") }
      guard tensor.dtype.convertsToFloat else { throw Failure(.data, "input '\(name)' has elements of type \(tensor.dtype.rawValue), not numbers") }
      try Self.checkShape(tensor.shape, dino)
    }
    let results = try dino.run(tensors, outputs: names)
    try Output.makeFolder(outputDir)
    var written: [JSONValue] = []
    for name in names {
      guard let tensor = results[name] else { throw Failure(.bug, "the network gave no '\(name)'") }
      let path = "\(outputDir)/\(Self.fileName(name)).npy"
      try Interruption.shielded { do { try NumPyArray.write(tensor, to: path) } catch { throw Failure(DinoError(error)) } }
      written.append(.object([.init("output", .string(name)), .init("file", .string(path)), .init("shape", .array(tensor.shape.dims.map { .integer($0) }))]))
    }
    if model.running.json {
      try Terminal.output(JSONValue.object([.init("outputs", .array(written)), .init("random_weights", .bool(dino.hasRandomWeights))]).text + "\n")
    }
  }

  /// "NAME=PATH", or a path that is there as it stands.
  private static func parse(_ argument: String) -> (name: String, path: String) {
    guard let equals = argument.firstIndex(of: "="), !argument[..<equals].contains("/") else { return (DinoModel.inputName, argument) }
    return (String(argument[..<equals]), String(argument[argument.index(after: equals)...]))
  }

  private static func checkShape(_ shape: Shape, _ model: DinoModel) throws {
    let c = model.checkpoint
    guard shape.rank == 4, shape[1] == c.channels, shape[0] >= 1, shape[2] >= c.patch, shape[3] >= c.patch else {
      throw Failure(.data, "the input has shape \(shape); the model reads [images, \(c.channels), height, width] with sides of at least \(c.patch)")
    }
  }

  /// A name as a file's.
  static func fileName(_ name: String) -> String {
    String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) ? $0 : "_" })
  }
}
