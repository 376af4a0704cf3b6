// dinoctl segment: the object in a photograph, as a mask, without training. Options and the way through the photographs; the methods are DinoSegmentation's, files and
// reports are in SegmentResults.swift.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoSegmentation
internal import Safetensors
#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

struct Segment: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Mask the object in each photograph: PNG mask, overlay, boxes, polygons, COCO JSON.",
    discussion: """
      Which method to take first: tokencut for the one object of a photograph, maskcut where there may be several. attention, the default, is the original's picture of what a head looks at. \
      head needs a checkpoint that dinoctl finetune --task segmentation wrote; --foreground needs a point in the object.
        dinoctl segment --model M --method tokencut -o masks photos/
        dinoctl segment --model M --method maskcut --refine bilateral -o masks a.jpg

      OUT is a folder; it must not be within a folder of photographs that is read. For a photograph X.jpg it gets X.png, the mask (0 or 255); X_overlay.png, the mask on the photograph; X.json, boxes and how they were made; \
      and coco.json for all of this run, at its end. Where another photograph or coco.json has one of these names already, -2, -3 and so on are appended to the stem. \
      Results of another photograph, of an earlier run into this folder, are not written over.
      All methods read the photograph at 480x480 bilinear, and head as it was trained, unless --image-size, --interpolation or --preprocessing say otherwise. --size photo draws the mask at the photograph's own \
      size, each pixel taking the patch that its centre falls in; --size model draws it at the network's, which gives the originals' exact masks.

      --method:
      attention: the patches that hold the share --mass of a head's attention, as visualize_attention.py keeps them, then the connected part that holds the \
      most of it, unless --no-component. --head best takes the head whose kept mass lies most in one part that does not touch the border.
      lost: the patch whose key resembles the fewest others, the 100 least connected ones like it, and the connected part around it that correlates with them.
      tokencut: normalised cut of the graph of patches whose keys have a cosine above --tau (0.2); the connected part around the eigenvector's peak.
      maskcut: the same up to --masks times (3), each time without the patches found before, with --tau 0.15. It also writes X_1.png, X_2.png and so on, and an annotation for each.
      spectral: the sign of the second eigenvector of the Laplacian of positive cosines of keys, the side of fewer patches; its largest connected part, unless --no-component.
      pca: the object's side of the first principal component of the patch tokens; X_pca.png shows the first three components of the object's patches as colours.
      kmeans: co-segmentation of all photographs together. It makes groups of keys (as many as still pay off, at most 14); the object is those groups that three quarters of the photographs \
      attend to. Photographs with none get an empty mask.
      head: what the checkpoint's segmentation head says. X.png is all but the background, X_labels.png the class of each pixel as a grey level, and \
      coco.json has the classes as categories.
      --foreground and --background, points of one photograph, take the place of a method: the patches that resemble a foreground point more than any background point, \
      connected to a foreground point. Without background points the limit is Otsu's.

      --refine bilateral: the bilateral solver of TokenCut moves the mask to the photograph's edges and fills holes. Where its result has little to do with the mask (IoU \
      below a half), the mask stays ("refined": false). The classes of head keep their parts and holes, and each pixel is of one class or none; "refined_labels" are those that moved.
      """)

  @Option(help: "How; see above. Default: attention.")
  var method: MethodArgument?

  @Option(help: ArgumentHelp("attention: the head, from 0; mean, of all; or best.", valueName: "k|mean|best"))
  var head = HeadArgument.best

  @Option(help: "attention: share of the head's attention that the mask holds, from 0 to 1.")
  var mass = 0.6

  @Flag(help: "attention, spectral: keep all parts of the mask, not only the strongest or largest connected one.")
  var noComponent = false

  @Option(help: "tokencut, maskcut: cosine above which two patches are alike, from -1 to 1. Default: 0.2 for tokencut, 0.15 for maskcut.")
  var tau: Double?

  @Option(help: "maskcut: most masks for a photograph.")
  var masks = 3

  @Option(help: ArgumentHelp("A point of the object, in pixels of the photograph from its upper left corner; may be repeated. For one photograph.", valueName: "x,y"))
  var foreground: [PointArgument] = []

  @Option(help: ArgumentHelp("A point of the background; may be repeated. Needs --foreground.", valueName: "x,y"))
  var background: [PointArgument] = []

  @Option(help: "Move the mask to the photograph's edges.")
  var refine = RefinementArgument.none

  @Flag(help: "Also the masks' outlines, in X.json: rings [x, y, x, y, …] along pixel edges; filled by the even-odd rule they are the mask.")
  var polygons = false

  @Option(help: "Size of the mask: the photograph's own, or the model's.")
  var size = MaskSize.photo

  @Flag(help: "No overlays.")
  var noOverlay = false

  @Option(name: .shortAndLong, help: ArgumentHelp("Folder for the results; made where it is not there.", valueName: "out"), completion: .directory)
  var output: String

  @OptionGroup var model: ModelOptions<PictureHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var running: RunningOptions<PictureHelp>

  func validate() throws {
    guard (0...1).contains(mass) else { throw ValidationError("--mass must be from 0 to 1, not \(mass)") }
    if let tau, !(-1...1).contains(tau) { throw ValidationError("--tau must be from -1 to 1, not \(tau)") }
    guard (1...100).contains(masks) else { throw ValidationError("--masks must be from 1 to 100, not \(masks)") }
    let read: [String: Set<String>] = ["--mass": ["attention"], "--head": ["attention"], "--tau": ["tokencut", "maskcut"], "--masks": ["maskcut"], "--no-component": ["attention", "spectral"]]
    for flag in GivenFlags.all() {
      if let methods = read[flag], !methods.contains(methodName) { throw ValidationError("\(flag) goes with --method \(methods.sorted().joined(separator: " or ")), not with \(methodName)") }
    }
    if !background.isEmpty && foreground.isEmpty { throw ValidationError("--background needs --foreground") }
    if !foreground.isEmpty && method != nil { throw ValidationError("--foreground takes the place of --method: give one of them") }
  }

  /// What results call it.
  var methodName: String { foreground.isEmpty ? (method ?? .attention).rawValue : "clicks" }

  /// What a photograph called `name` leaves in the folder.
  private func files(of name: String) -> [String] {
    var endings = [".png", ".json"]
    if !noOverlay { endings.append("_overlay.png") }
    switch methodName {
    case "maskcut": endings += (1...masks).map { "_\($0).png" }
    case "head": endings.append("_labels.png")
    case "pca": endings.append("_pca.png")
    default: break
    }
    return endings.map { name + $0 }
  }

  func run() throws {
    let inputs = try input.expand()
    if !foreground.isEmpty && inputs.count != 1 { throw Failure(.usage, "--foreground is for one photograph, not \(inputs.count)") }
    var names = ResultNames(reserved: ["coco.json"], files: files(of:))
    let stems = inputs.map { names.name(for: $0) }
    let originals = Originals(inputs.compactMap(\.path) + Originals.files(of: model.path))
    for stem in stems { try originals.spare(files(of: stem).map { "\(output)/\($0)" }) }
    try originals.spare(["\(output)/coco.json"])
    try Originals.keepApart(output, from: input.inputs)
    for (input, stem) in zip(inputs, stems) { try keep(resultsOf: input, "\(output)/\(stem).json") }
    let dino = try model.load(running.settings)
    if case .head(let k) = head.choice, k >= dino.heads { throw Failure(.usage, "there is no head \(k): the model has \(dino.heads), counted from 0") }
    let trained = method == .head ? try dino.checkpoint.segmentationHead() : nil
    let preparer = try Preparing.attentionPreparer(dino, preprocessing.changes(), head: trained, exifOrientation: input.exifOrientation)
    var results = try SegmentResults(command: self, preparer: preparer, hasRandomWeights: dino.hasRandomWeights)
    let together = method == .kmeans ? try CoSegmenting.masks(inputs, dino, preparer, threads: running.threads) : nil
    var skipped = SkippedInputs()
    var progress = ProgressBar(total: inputs.count, unit: "images")
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: 3, workers: inputs.count == 1 ? 0 : 1) { Photograph.read(inputs[$0], preparer) }
    for (i, source) in inputs.enumerated() {
      guard let next = prefetch.next() else { break }
      switch next {
      case .failure(let reason): try skipped.add(source.name, reason.message, strict: input.strict)
      case .success(let photograph):
        let found: Segmenter.Found
        if let together {
          guard let mask = together[i] else {
            try skipped.add(source.name, "changed while the command ran", strict: input.strict)
            continue
          }
          found = Segmenter.Found(masks: [mask])
        } else {
          found = try find(photograph, dino)
        }
        if !found.converged { Terminal.note("\(source.name): the eigenvector is not exact: the cut is nearly ambiguous") }
        try results.add(found, photograph, source: source.name, name: stems[i])
      }
      progress.advance()
    }
    progress.finish()
    if skipped.count == inputs.count { throw Failure(.data, "none of the \(inputs.count) inputs could be read") }
    try results.finish(skipped: skipped, json: running.json)
    try skipped.conclude(of: inputs.count)
  }

  /// Fails where results would take the place of another photograph's, from an earlier run into the same folder.
  private func keep(resultsOf input: ImageInput, _ report: String) throws {
    guard let text = FileManager.default.contents(atPath: report), let other = try? JSONValue.parse([UInt8](text).span)["image"]?.stringValue, !other.utf8.elementsEqual(input.name.utf8) else { return }
    if let path = input.path, let place = Originals.Place(existing: path), place == Originals.Place(existing: other) { return }
    throw Failure(.usage, "\(report) and the masks beside it are of \(other), and those of \(input.name) would take their place", hint: "name another folder for the results, or give both photographs to one command")
  }

  private func find(_ photograph: Photograph, _ dino: DinoModel) throws -> Segmenter.Found {
    if !foreground.isEmpty {
      let g = photograph.prepared.geometry
      func patches(_ points: [PointArgument]) throws -> [Int] {
        try points.map { point in
          guard let patch = g.patch(x: point.x, y: point.y) else {
            throw Failure(.usage, "the point \(point.x),\(point.y) is not in what the network sees of the photograph, which has \(g.width)x\(g.height) pixels")
          }
          return patch
        }
      }
      let mask = Clicks.object(try dino.patchFeatures(photograph.prepared), foreground: try patches(foreground), background: try patches(background), threads: running.threads)
      return Segmenter.Found(masks: [mask])
    }
    var settings = Segmenter.Settings()
    (settings.mass, settings.head, settings.onlyOnePart) = (mass, head.choice, !noComponent)
    (settings.tau, settings.rounds, settings.threads) = (tau, masks, running.threads)
    return try Segmenter(dino, method: (method ?? .attention).single ?? .attention, settings: settings)(photograph.prepared)
  }
}

enum MethodArgument: String, ExpressibleByArgument, CaseIterable {
  case attention, lost, tokencut, maskcut, spectral, pca, kmeans, head

  /// As a method that looks at one photograph; nil for kmeans.
  var single: Segmenter.Method? { Segmenter.Method(rawValue: rawValue) }
}

enum RefinementArgument: String, ExpressibleByArgument, CaseIterable { case none, bilateral }

/// "x,y" in pixels of the photograph.
struct PointArgument: ExpressibleByArgument {
  var x: Int, y: Int
  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
    guard parts.count == 2, let x = parts[0], let y = parts[1], x >= 0, y >= 0 else { return nil }
    (self.x, self.y) = (x, y)
  }
}

enum MaskSize: String, ExpressibleByArgument, CaseIterable { case photo, model }

/// "best", "mean" or a number.
struct HeadArgument: ExpressibleByArgument {
  var choice: HeadChoice
  static let best = HeadArgument(choice: .best)
  init(choice: HeadChoice) { self.choice = choice }
  init?(argument: String) {
    switch argument {
    case "best": choice = .best
    case "mean": choice = .mean
    default:
      guard let k = Int(argument), k >= 0 else { return nil }
      choice = .head(k)
    }
  }
  var defaultValueDescription: String { "best" }
}
