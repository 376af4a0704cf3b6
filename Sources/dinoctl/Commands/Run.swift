// dinoctl run: raw tensors in, raw tensors out. No image is read, nothing is normalised.

internal import ArgumentParser
internal import Dino
internal import DinoTensor
internal import NumPyArrays
internal import Safetensors

enum RunHelp: SharedHelp {
  static var model: String { "The model: our .safetensors, any plain .safetensors with official names, a PyTorch .pth (zip or legacy, bare or a full training checkpoint), a Hugging Face folder, or any .onnx file, which is run by its own graph." }
  static var batchSize: String { "Has no effect here: all images of the input are run at once, or as many as --budget allows." }
}

struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Run a model on .npy tensors; one NAME.npy for each output.",
    discussion: """
        dinoctl run --model M --input pixels.npy --output-dir results

      An .onnx file has its own inputs and outputs, by its own names (dinoctl inspect lists them), and is run whole: --budget and the options of checkpoints do not go with it. \
      Results in BF16, which .npy files do not have, are written as F32.
      Of a checkpoint, the input is pixel_values, [B, 3, H, W], normalised already. Outputs: cls [B, D]; tokens [B, T, D], class token first; tokens.K, the same after block K \
      (from 0), normed; attention [B, heads, T, T] of the last block; attention_cls [B, heads, T], its class row; keys [B, T, D] and keys.K, the keys of attention; head or logits where the file has one. \
      Files are named after outputs, with characters outside A-Za-z0-9._- as _.
      """)

  @Option(name: .customLong("input"), parsing: .upToNextOption, help: ArgumentHelp("The tensor to run on, as .npy; NAME= where the model has several inputs.", valueName: "[name=]x.npy"), completion: .file())
  var inputs: [String] = []

  @Option(help: "Folder for the results; made where it is not there.", completion: .directory)
  var outputDir: String

  @Option(help: "Outputs by comma. Default: cls; of an ONNX file, all of its own.")
  var outputs: String?

  @OptionGroup var budget: BudgetOptions
  @OptionGroup var model: ModelOptions<RunHelp>
  @OptionGroup var running: RunningOptions<RunHelp>

  func validate() throws {
    let unread = ["--budget", "--heads", "--arch", "--checkpoint-key", "--batch-size"]
    if model.isOnnx, let flag = GivenFlags.all().first(where: unread.contains) { throw ValidationError("\(flag) does not go with an .onnx file, which is run whole by its own graph") }
  }

  func run() throws {
    if model.isOnnx { return try runOnnx() }
    let names = Self.names(outputs ?? "cls")
    guard !names.isEmpty else { throw Failure(.usage, "--outputs names no output") }
    let tensors = try read(known: [DinoModel.inputName])
    guard !tensors.isEmpty else { throw Failure(.usage, "no input was given", hint: "--input X.npy") }
    let dino = try model.load(running.settings)
    for (name, tensor) in tensors {
      guard name == DinoModel.inputName else { throw Failure(.usage, "the model has no input '\(name)'", hint: "its input is \(DinoModel.inputName)") }
      guard tensor.dtype.convertsToFloat else { throw Failure(.data, "input '\(name)' has elements of type \(tensor.dtype.rawValue), not numbers") }
      try Self.checkShape(tensor.shape, dino)
    }
    try checkFiles(names, known: [DinoModel.inputName])
    try write(try runInParts(dino, tensors, names), names, more: [.init("random_weights", .bool(dino.hasRandomWeights))])
  }

  /// The whole batch at once, or as many images of it as the budget allows.
  private func runInParts(_ dino: DinoModel, _ tensors: [String: Tensor], _ names: [String]) throws -> [String: Tensor] {
    guard let bytes = budget.bytes, let all = tensors[DinoModel.inputName] else { return try dino.run(tensors, outputs: names) }
    let s = all.shape
    let part = try MemoryBudget(bytes: bytes, program: peakMemoryBytes(), question: dino.memoryQuestion, outputs: names).batch(atMost: s[0], height: s[2], width: s[3])
    if part == s[0] { return try dino.run(tensors, outputs: names) }
    var found: [String: [Float]] = [:], shapes: [String: Shape] = [:]
    for first in stride(from: 0, to: s[0], by: part) {
      let count = min(part, s[0] - first), image = all.byteCount / s[0]
      guard let some = Tensor(dtype: all.dtype, shape: Shape([count] + s.dims.dropFirst()), storage: all.storage, byteOffset: all.byteOffset + first * image) else { throw Failure(.bug, "a part of the input is not there") }
      for (name, tensor) in try dino.run([DinoModel.inputName: some], outputs: names) {
        found[name, default: []] += tensor.floats()
        shapes[name] = Shape([s[0]] + tensor.shape.dims.dropFirst())
      }
    }
    return found.reduce(into: [:]) { $0[$1.key] = Tensor($1.value, shape: shapes[$1.key] ?? []) }
  }

  /// An ONNX file by its own graph.
  private func runOnnx() throws {
    let network = try model.loadOnnx(running.settings)
    let tensors = try read(known: network.inputs.map(\.name))
    let names = outputs.map(Self.names) ?? network.outputNames
    guard !names.isEmpty else { throw Failure(.usage, "--outputs names no output") }
    try checkFiles(names, known: network.inputs.map(\.name))
    try write(try network.run(tensors, outputs: names), names, more: [])
  }

  /// Names by comma, each once.
  private static func names(_ list: String) -> [String] {
    list.split(separator: ",").map(String.init).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
  }

  /// The given tensors by the names of the inputs they are for.
  private func read(known: [String]) throws -> [String: Tensor] {
    var tensors: [String: Tensor] = [:]
    for argument in inputs {
      let (name, path) = Self.parse(argument, known: known)
      if known.count > 1, path == argument, !known.contains(name) { throw Failure(.usage, "\(argument): the model has the inputs \(known.joined(separator: ", "))", hint: "say which one it is for: --input NAME=\(argument)") }
      guard tensors[name] == nil else { throw Failure(.usage, "input '\(name)' was given twice") }
      do { tensors[name] = try NumPyArray.read(path: path) } catch { throw Failure(DinoError(error)) }
    }
    return tensors
  }

  private func file(_ output: String) -> String { "\(outputDir)/\(Self.fileName(output)).npy" }

  /// Neither an input nor the model may be written over, nor one result by another.
  private func checkFiles(_ names: [String], known: [String]) throws {
    var owners: [String: String] = [:]
    for name in names {
      if let other = owners.updateValue(name, forKey: file(name)), other != name { throw Failure(.usage, "the outputs '\(other)' and '\(name)' would both be \(file(name))", hint: "ask for one of them with --outputs") }
    }
    try Originals(inputs.map { Self.parse($0, known: known).path } + Originals.files(of: model.path)).spare(names.map(file))
  }

  private func write(_ results: [String: Tensor], _ names: [String], more: [JSONValue.Member]) throws {
    try Output.makeFolder(outputDir)
    var written: [JSONValue] = []
    for name in names {
      guard let result = results[name] else { throw Failure(.bug, "the network gave no '\(name)'") }
      // NumPy has no BF16; each of its values is one of F32 too.
      let tensor = result.dtype == .bf16 ? Tensor(result.floats(), shape: result.shape) : result
      let path = file(name)
      try Interruption.shielded { do { try NumPyArray.write(tensor, to: path) } catch { throw Failure(DinoError(error)) } }
      written.append(.object([.init("output", .string(name)), .init("file", .string(path)), .init("shape", .array(tensor.shape.dims.map { .integer($0) }))]))
    }
    if running.json {
      try Terminal.output(JSONValue.object([.init("outputs", .array(written))] + more).text + "\n")
    }
  }

  /// "NAME=PATH", or a path that is there as it stands. Names of ONNX files hold anything, so the known ones are looked for first.
  private static func parse(_ argument: String, known: [String]) -> (name: String, path: String) {
    if let name = known.filter({ argument.hasPrefix($0 + "=") }).max(by: { $0.utf8.count < $1.utf8.count }) {
      return (name, String(argument.dropFirst(name.count + 1)))
    }
    if known.count == 1, known[0] != DinoModel.inputName, !argument.contains("=") { return (known[0], argument) }
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
