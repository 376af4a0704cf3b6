// The values of an archive as a finite tree: no cycles, bounded depth and size, so that walking, printing and freeing it are safe.

public import DinoTensor

/// A Python value, as data.
public enum TorchValue: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  /// An integer of more than 64 bits: two's complement, least significant byte first.
  case bigInteger([UInt8])
  case float(Double)
  case complex(real: Double, imaginary: Double)
  case string(String)
  case bytes([UInt8])
  case list([TorchValue])
  /// A tuple or a `torch.Size`.
  case tuple([TorchValue])
  /// A dict, OrderedDict, defaultdict or Counter in its order. No string or integer key appears twice.
  case dictionary([(key: TorchValue, value: TorchValue)])
  /// A set or frozenset, in the file's order.
  case set([TorchValue])
  case slice([TorchValue])
  case tensor(TorchTensor)
  /// A NumPy array.
  case array(Tensor)
  /// An element type: `float32`.
  case dtype(String)
  /// A device: `cuda:0`.
  case device(String)
  /// A type that is named but not used: `torch.FloatStorage`.
  case type(String)
  /// An object with named fields, such as `argparse.Namespace`.
  case object(className: String, fields: [(name: String, value: TorchValue)])

  /// The value under a string key of a dictionary, or a field of an object.
  public subscript(_ key: String) -> TorchValue? {
    switch self {
    case .dictionary(let items):
      items.first { item in if case .string(key) = item.key { true } else { false } }?.value
    case .object(_, let fields): fields.first { $0.name == key }?.value
    default: nil
    }
  }

  /// String keys of a dictionary or names of an object's fields, in order.
  public var keys: [String] {
    switch self {
    case .dictionary(let items): items.compactMap { $0.key.stringValue }
    case .object(_, let fields): fields.map(\.name)
    default: []
    }
  }

  public var stringValue: String? { if case .string(let v) = self { v } else { nil } }
  public var intValue: Int? { if case .int(let v) = self { v } else { nil } }
  public var boolValue: Bool? { if case .bool(let v) = self { v } else { nil } }
  public var tensorValue: TorchTensor? { if case .tensor(let v) = self { v } else { nil } }
  /// A float, or an integer as one.
  public var doubleValue: Double? {
    switch self {
    case .float(let v): v
    case .int(let v): Double(v)
    default: nil
    }
  }
  /// Elements of a list, tuple or set.
  public var elements: [TorchValue]? {
    switch self {
    case .list(let v), .tuple(let v), .set(let v): v
    default: nil
    }
  }

  /// Every tensor in this value, named by the string keys that lead to it, joined with dots; integer keys and list positions count as
  /// numbers (`optimizer.state.0.exp_avg`). In file order.
  public var tensors: [(name: String, tensor: TorchTensor)] {
    var out: [(name: String, tensor: TorchTensor)] = []
    collect(prefix: "", into: &out)
    return out
  }

  private func collect(prefix: String, into out: inout [(name: String, tensor: TorchTensor)]) {
    func joined(_ name: String) -> String { prefix.isEmpty ? name : prefix + "." + name }
    switch self {
    case .tensor(let tensor): out.append((prefix, tensor))
    case .dictionary(let items):
      for (key, value) in items where value.mayHoldTensors {
        value.collect(prefix: joined(key.stringValue ?? key.text(limit: 40)), into: &out)
      }
    case .object(_, let fields):
      for (name, value) in fields where value.mayHoldTensors { value.collect(prefix: joined(name), into: &out) }
    case .list(let items), .tuple(let items), .set(let items):
      for (index, value) in items.enumerated() where value.mayHoldTensors { value.collect(prefix: joined(String(index)), into: &out) }
    default: break
    }
  }

  private var mayHoldTensors: Bool {
    switch self {
    case .tensor, .dictionary, .object, .list, .tuple, .set: true
    default: false
    }
  }
}

extension TorchValue: CustomStringConvertible {
  public var description: String { text(limit: 200) }

  /// Close to Python's `repr`, cut off after about `limit` characters.
  public func text(limit: Int) -> String {
    var out = ""
    write(to: &out, limit: limit)
    return out
  }

  private func write(to out: inout String, limit: Int) {
    switch self {
    case .none: out += "None"
    case .bool(let v): out += v ? "True" : "False"
    case .int(let v): out += String(v)
    case .bigInteger(let v): out += "an integer of \(v.count) bytes"
    case .float(let v): out += String(v)
    case .complex(let re, let im): out += "(\(re)+\(im)j)"
    case .string(let v): out += quoted(v, limit: limit)
    case .bytes(let v): out += "\(v.count) bytes"
    case .dtype(let v): out += "torch." + v
    case .device(let v): out += "device(" + quoted(v) + ")"
    case .type(let v): out += v
    case .tensor(let v): out += v.description
    case .array(let v): out += "array \(v.dtype.rawValue) \(v.shape)"
    case .list(let v): writeItems(v, "[", "]", to: &out, limit: limit)
    case .tuple(let v): writeItems(v, "(", ")", to: &out, limit: limit)
    case .set(let v): writeItems(v, "{", "}", to: &out, limit: limit)
    case .slice(let v): writeItems(v, "slice(", ")", to: &out, limit: limit)
    case .dictionary(let items):
      writeFields(items.lazy.map { ($0.key.text(limit: 40) + ": ", $0.value) }, "{", "}", to: &out, limit: limit)
    case .object(let name, let fields):
      let short = name.split(separator: ".").last.map(String.init) ?? name
      writeFields(fields.lazy.map { ($0.name + "=", $0.value) }, short + "(", ")", to: &out, limit: limit)
    }
  }

  private func writeItems(_ items: [TorchValue], _ open: String, _ close: String, to out: inout String, limit: Int) {
    writeFields(items.lazy.map { ("", $0) }, open, close, to: &out, limit: limit)
  }

  private func writeFields(_ fields: some Sequence<(String, TorchValue)>, _ open: String, _ close: String, to out: inout String, limit: Int) {
    out += open
    var first = true
    for (label, value) in fields {
      if !first { out += ", " }
      first = false
      // Counting bytes is cheap; the cut needs no exactness.
      if out.utf8.count > limit {
        out += "…"
        break
      }
      out += label
      value.write(to: &out, limit: limit)
    }
    out += close
  }
}
