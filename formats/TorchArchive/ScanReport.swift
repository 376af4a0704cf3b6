// Which names and operations a file's pickles use, found without building anything: for files of doubtful origin, also those that are refused.

public import DinoTensor

/// What a scan found.
public struct ScanReport: Sendable, Equatable {
  /// A name that a pickle asks for.
  public struct Global: Sendable, Equatable {
    /// `module.name`; `?` stands for a part that the pickle computes.
    public let name: String
    public let uses: Int
    /// Whether `TorchArchive` would let it be.
    public let isAllowed: Bool
  }

  public let file: String
  public let container: TorchArchive.Container
  /// Bytes of the scanned pickles together.
  public let pickleBytes: Int
  /// By name.
  public let globals: [Global]
  /// Operations by name, as `pickletools` names them.
  public let operations: [(name: String, uses: Int)]
  /// Operations that are refused wherever they stand: INST, OBJ, EXT1 and their like.
  public let forbiddenOperations: [String]
  /// Why opening the file would fail, in a sentence; nil where it opens.
  public let problem: String?

  /// Whether nothing was found that asks for more than data.
  public var isClean: Bool { problem == nil && forbiddenOperations.isEmpty && globals.allSatisfy(\.isAllowed) }

  public static func == (a: ScanReport, b: ScanReport) -> Bool {
    a.file == b.file && a.container == b.container && a.pickleBytes == b.pickleBytes && a.globals == b.globals && a.problem == b.problem
      && a.forbiddenOperations == b.forbiddenOperations && a.operations.elementsEqual(b.operations) { $0.name == $1.name && $0.uses == $1.uses }
  }
}

extension TorchArchive {
  /// Scans a file. Throws only where no pickle can be found in it; a damaged or hostile pickle is reported.
  public static func scan(path: String, limits: TorchLimits = .standard) throws(TorchArchiveError) -> ScanReport {
    try scan(storage: try mapped(path), name: path, limits: limits)
  }

  /// Scans bytes in memory.
  public static func scan(storage: Storage, name: String, limits: TorchLimits = .standard) throws(TorchArchiveError) -> ScanReport {
    let bytes = ByteView(storage)
    var scanner = PickleScanner(limits: limits)
    let container: Container
    switch FileKind(bytes, file: name) {
    case .other(let fault): throw fault
    case .zip:
      container = .zip
      let zip = try ZipContainer(bytes, file: name, limits: limits)
      // A wrong checksum is part of the report of opening, not a reason to look at nothing.
      _ = scanner.scan(try contents(of: zip.pickle, in: bytes, file: name, verify: false), file: name)
    case .pickle:
      container = .legacy
      // The head's three pickles, the object and the keys; a plain pickle has fewer.
      var position = 0
      for _ in 0..<5 {
        guard let rest = bytes.slice(at: position, count: bytes.count - position), rest.count > 0, let end = scanner.scan(rest, file: name) else { break }
        position += end
      }
    }
    var problem: String?
    do { _ = try TorchArchive(storage: storage, name: name, limits: limits) } catch { problem = error.description }
    return scanner.report(file: name, container: container, problem: problem)
  }
}

/// Follows a pickle with a stack on which only strings are known: enough to know every name, however it is put together.
struct PickleScanner {
  private enum Item { case mark, string(String), other }

  private let limits: TorchLimits
  private var globals: [String: (uses: Int, isAllowed: Bool)] = [:]
  private var operations: [PickleOpcode: Int] = [:]
  private var forbidden: Set<String> = []
  private var bytesSeen = 0

  init(limits: TorchLimits) { self.limits = limits }

  /// Scans one pickle; returns where it ended, or nil where it is damaged.
  mutating func scan(_ bytes: ByteView, file: String) -> Int? {
    var reader = PickleReader(bytes, file: file)
    var stack: [Item] = [], memo: [Int: String] = [:], memoCount = 0
    defer { bytesSeen += reader.position }
    // An index may be set again, and then means something else.
    func remember(_ index: Int) {
      if case .string(let text)? = stack.last { memo[index] = text } else { memo[index] = nil }
      memoCount += 1
    }
    while reader.position < limits.pickleBytes {
      guard let token = try? reader.next() else { return nil }
      operations[reader.opcode, default: 0] += 1
      guard stack.count < limits.values, memo.count < limits.values, globals.count < 10_000 else { return nil }
      switch token {
      case .stop: return reader.position
      case .protocolVersion, .frame: break
      case .mark: stack.append(.mark)
      case .string(let text): stack.append(.string(text))
      case .put(let index):
        remember(index)
      case .memoize: remember(memoCount)
      case .get(let index): stack.append(memo[index].map { .string($0) } ?? .other)
      case .duplicate: stack.append(stack.last ?? .other)
      case .global(let module, let name):
        note(module: module, name: name)
        stack.append(.other)
      case .instance(let module, let name):
        note(module: module, name: name)
        forbidden.insert(reader.opcode.name)
        dropToMark(&stack)
        stack.append(.other)
      case .stackGlobal:
        let name = stack.popLast(), module = stack.popLast()
        note(module: text(module), name: text(name))
        stack.append(.other)
      case .none, .bool, .int, .bigInteger, .float, .bytes, .byteArray, .emptyList, .emptyDictionary, .emptySet, .emptyTuple:
        stack.append(.other)
      case .pop, .append, .build: _ = stack.popLast()
      case .setItem: stack.removeLast(min(2, stack.count))
      case .reduce, .newObject:
        stack.removeLast(min(2, stack.count))
        stack.append(.other)
      case .persistentID:
        _ = stack.popLast()
        stack.append(.other)
      case .shortTuple(let n):
        stack.removeLast(min(n, stack.count))
        stack.append(.other)
      case .list, .dictionary, .tuple, .frozenSet:
        dropToMark(&stack)
        stack.append(.other)
      case .appends, .setItems, .addItems, .popMark: dropToMark(&stack)
      case .forbidden:
        forbidden.insert(reader.opcode.name)
        switch reader.opcode {
        case .OBJ: dropToMark(&stack)
        case .NEWOBJ_EX: stack.removeLast(min(3, stack.count))
        case .READONLY_BUFFER: _ = stack.popLast()
        default: break
        }
        stack.append(.other)
      }
    }
    return nil
  }

  private mutating func note(module: String, name: String) {
    let full = module + "." + name
    globals[full] = ((globals[full]?.uses ?? 0) + 1, AllowedGlobal.named(module: module, name: name) != nil)
  }

  private func text(_ item: Item?) -> String { if case .string(let text)? = item { text } else { "?" } }

  private func dropToMark(_ stack: inout [Item]) {
    while let item = stack.popLast() { if case .mark = item { return } }
  }

  func report(file: String, container: TorchArchive.Container, problem: String?) -> ScanReport {
    ScanReport(
      file: file, container: container, pickleBytes: bytesSeen,
      globals: globals.map { ScanReport.Global(name: $0.key, uses: $0.value.uses, isAllowed: $0.value.isAllowed) }.sorted { $0.name < $1.name },
      operations: operations.map { ($0.key.name, $0.value) }.sorted { $0.0 < $1.0 },
      forbiddenOperations: forbidden.sorted(), problem: problem)
  }
}
