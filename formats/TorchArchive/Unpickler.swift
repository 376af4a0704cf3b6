// The pickle machine: a stack, a memo and the operations on them, restricted to what tensor archives need. It imports nothing,
// calls nothing but the constructors in `Unpickler+Calls.swift`, and follows no reference, so cycles and depth do not matter here.

/// Runs one pickle.
struct Unpickler {
  var store: NodeStore
  private var reader: PickleReader
  private var stack: [NodeID] = []
  private var marks: [Int] = []
  private var memo: [Int: NodeID] = [:]
  private var globalIDs: [String: NodeID] = [:]
  private let file: String
  private let limits: TorchLimits

  init(_ bytes: ByteView, file: String, limits: TorchLimits) {
    reader = PickleReader(bytes, file: file)
    store = NodeStore(file: file, pickleBytes: bytes.count, limits: limits)
    self.file = file
    self.limits = limits
  }

  /// Where the pickle ended: after its STOP.
  var end: Int { reader.position }

  func fault(_ detail: String) -> TorchArchiveError { reader.fault(detail) }
  func refusal(_ what: String) -> TorchArchiveError { .forbiddenOperation(file: file, what: what, offset: reader.tokenStart) }

  /// Runs to STOP and returns the result.
  mutating func run() throws(TorchArchiveError) -> NodeID {
    while true {
      let token = try reader.next()
      guard reader.position <= limits.pickleBytes else { throw .limitExceeded(file: file, what: "a pickle of too many bytes", limit: limits.pickleBytes) }
      if token == .stop { break }
      try step(token)
    }
    guard stack.count == 1, marks.isEmpty else { throw fault("it ends with \(stack.count) values on the stack in place of one") }
    return stack[0]
  }

  private mutating func step(_ token: PickleToken) throws(TorchArchiveError) {
    switch token {
    case .protocolVersion, .frame, .stop: break
    case .mark:
      guard marks.count < limits.values else { throw .limitExceeded(file: file, what: "more marks than a checkpoint needs", limit: limits.values) }
      marks.append(stack.count)
    case .pop:
      // Python's own rule: POP on a mark takes the mark.
      if let mark = marks.last, mark == stack.count { marks.removeLast() } else { _ = try pop() }
    case .popMark: _ = try popToMark()
    case .duplicate:
      let id = try top()
      try push(id)

    case .none: try push(.none)
    case .bool(let v): try push(.bool(v))
    case .int(let v): try push(.int(v))
    case .bigInteger(let v): try push(.bigInteger(v))
    case .float(let v): try push(.float(v))
    case .string(let v): try push(.string(v))
    case .bytes(let v), .byteArray(let v): try push(.bytes(v))

    case .emptyList: try push(try store.add([], Node.list))
    case .emptyDictionary: try push(try store.add([], Node.dictionary))
    case .emptySet: try push(try store.add([], Node.set))
    case .emptyTuple: try push(try store.add([], Node.tuple))
    case .list: try pushContainer(try popToMark(), Node.list)
    case .tuple: try pushContainer(try popToMark(), Node.tuple)
    case .frozenSet: try pushContainer(try popToMark(), Node.set)
    case .dictionary:
      let items = try popToMark()
      try checkPairs(items)
      try pushContainer(items, Node.dictionary)
    case .shortTuple(let n):
      var items: [NodeID] = []
      for _ in 0..<n { items.append(try pop()) }
      try pushContainer(items.reversed(), Node.tuple)

    case .append: try extend([try pop()])
    case .appends: try extend(try popToMark())
    case .addItems: try addItems(try popToMark())
    case .setItem:
      let value = try pop()
      try setItems([try pop(), value])
    case .setItems:
      let items = try popToMark()
      try checkPairs(items)
      try setItems(items)

    case .get(let index):
      guard let id = memo[index] else { throw fault("it uses memo \(index), which was not set") }
      try push(id)
    case .put(let index): try remember(index)
    case .memoize: try remember(memo.count)

    case .global(let module, let name): try pushGlobal(module, name)
    case .stackGlobal:
      let nameID = try pop(), moduleID = try pop()
      guard case .string(let name) = store[nameID], case .string(let module) = store[moduleID] else { throw fault("a global's name is not a string") }
      try pushGlobal(module, name)
    case .reduce:
      let argumentsID = try pop(), targetID = try pop()
      let target = try callee(targetID, verb: "calls"), arguments = try tuple(argumentsID)
      let result = try call(target, arguments)
      try push(result)
    case .newObject:
      let argumentsID = try pop(), targetID = try pop()
      let target = try callee(targetID, verb: "makes an object of"), arguments = try tuple(argumentsID)
      guard target.global.isClass else { throw refusal("makes an object of \(target.name), which is no class") }
      let result = try call(target, arguments)
      try push(result)
    case .build:
      let state = try pop(), target = try top()
      try build(target, state: state)
    case .persistentID:
      let named = try pop()
      let result = try storage(named)
      try push(result)
    case .instance(let module, let name):
      guard AllowedGlobal.named(module: module, name: name) != nil else { throw .forbiddenGlobal(file: file, name: module + "." + name) }
      throw refusal("uses the operation INST")
    case .forbidden: throw refusal("uses the operation \(reader.opcode.name)")
    }
  }

  private mutating func remember(_ index: Int) throws(TorchArchiveError) {
    let id = try top()
    memo[index] = id
    guard memo.count <= limits.values else { throw .limitExceeded(file: file, what: "more memo entries than a checkpoint needs", limit: limits.values) }
  }

  // MARK: Stack
  // A value taken from the stack gets a name before anything is called with it: `f(try pop())` would copy the whole machine,
  // because `self` is read before the argument changes it.

  mutating func push(_ node: Node) throws(TorchArchiveError) { try push(try store.add(node)) }

  private mutating func push(_ id: NodeID) throws(TorchArchiveError) {
    guard stack.count < limits.values else { throw .limitExceeded(file: file, what: "more values on the stack than a checkpoint needs", limit: limits.values) }
    stack.append(id)
  }

  private mutating func pushContainer(_ items: [NodeID], _ wrap: (Int32) -> Node) throws(TorchArchiveError) { try push(try store.add(items, wrap)) }

  /// Values below the latest mark are out of reach.
  private var floor: Int { marks.last ?? 0 }

  private mutating func pop() throws(TorchArchiveError) -> NodeID {
    guard stack.count > floor else { throw fault("it takes a value from an empty stack") }
    return stack.removeLast()
  }

  private func top() throws(TorchArchiveError) -> NodeID {
    guard stack.count > floor, let id = stack.last else { throw fault("it takes a value from an empty stack") }
    return id
  }

  private mutating func popToMark() throws(TorchArchiveError) -> [NodeID] {
    guard let mark = marks.popLast() else { throw fault("it looks for a mark that was not set") }
    let items = Array(stack[mark...])
    stack.removeSubrange(mark...)
    return items
  }

  // MARK: Containers

  private func checkPairs(_ items: [NodeID]) throws(TorchArchiveError) {
    guard items.count % 2 == 0 else { throw fault("a dictionary with a key and no value") }
  }

  private mutating func extend(_ items: [NodeID]) throws(TorchArchiveError) {
    let id = try top()
    let target = store[id]
    guard case .list(let list) = target else { throw refusal("appends to \(target.kind)") }
    try store.charge(slots: items.count)
    store.containers[Int(list)].append(contentsOf: items)
  }

  private mutating func addItems(_ items: [NodeID]) throws(TorchArchiveError) {
    let id = try top()
    let target = store[id]
    guard case .set(let set) = target else { throw refusal("adds set items to \(target.kind)") }
    try store.charge(slots: items.count)
    store.containers[Int(set)].append(contentsOf: items)
  }

  private mutating func setItems(_ items: [NodeID]) throws(TorchArchiveError) {
    let id = try top()
    let target = store[id]
    guard case .dictionary(let dictionary) = target else { throw refusal("sets items of \(target.kind)") }
    try store.charge(slots: items.count)
    store.containers[Int(dictionary)].append(contentsOf: items)
  }

  // MARK: Globals

  private mutating func pushGlobal(_ module: String, _ name: String) throws(TorchArchiveError) {
    let full = module + "." + name
    if let known = globalIDs[full] { return try push(known) }
    guard let global = AllowedGlobal.named(module: module, name: name) else { throw .forbiddenGlobal(file: file, name: full) }
    store.globals.append((global, full))
    let id = try store.add(.global(Int32(store.globals.count - 1)))
    globalIDs[full] = id
    try push(id)
  }

  private func callee(_ id: NodeID, verb: String) throws(TorchArchiveError) -> (global: AllowedGlobal, name: String) {
    guard case .global(let index) = store[id] else { throw refusal("\(verb) \(store[id].kind)") }
    return store.globals[Int(index)]
  }

  func tuple(_ id: NodeID) throws(TorchArchiveError) -> [NodeID] {
    guard case .tuple(let index) = store[id] else { throw fault("arguments that are \(store[id].kind) in place of a tuple") }
    return store.containers[Int(index)]
  }
}
