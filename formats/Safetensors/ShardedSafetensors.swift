// A folder of safetensors files with model.safetensors.index.json, as large models are published. Each shard is checked as one file is, and
// only files in the folder itself are opened.

public import DinoTensor

/// Several safetensors files seen as one.
public struct ShardedSafetensors: Sendable {
  public static let indexName = "model.safetensors.index.json"
  /// Most shards that are opened: each keeps a map.
  public static let shardLimit = 4_096

  public let folder: String
  /// File names of the shards, sorted.
  public let shards: [String]
  /// Names of all tensors that the index lists, sorted.
  public let names: [String]
  private let files: [String: SafetensorsFile]
  private let weightMap: [String: String]

  /// Opens the index in `folder` and every shard that it names.
  public init(folder: String) throws(SafetensorsError) {
    let path = "\(folder)/\(ShardedSafetensors.indexName)"
    let weightMap = try ShardedSafetensors.weightMap(path)
    let shards = Set(weightMap.values).sorted()
    guard shards.count <= ShardedSafetensors.shardLimit else {
      throw .malformedIndex(path: path, reason: "it names \(shards.count) shards, more than \(ShardedSafetensors.shardLimit)")
    }
    var files: [String: SafetensorsFile] = [:]
    for shard in shards {
      guard ShardedSafetensors.isPlainName(shard) else { throw .shardOutsideFolder(path: path, shard: shard) }
      files[shard] = try SafetensorsFile(path: "\(folder)/\(shard)")
    }
    let names = weightMap.keys.sorted()
    for name in names {
      guard let shard = weightMap[name], files[shard]?.tensor(name) != nil else {
        throw .tensorNotInShard(path: path, tensor: name, shard: weightMap[name] ?? "")
      }
    }
    self.folder = folder
    self.shards = shards
    self.names = names
    self.files = files
    self.weightMap = weightMap
  }

  /// The tensor of that name; nil where the index does not list it.
  public func tensor(_ name: String) -> Tensor? {
    guard let shard = weightMap[name] else { return nil }
    return files[shard]?.tensor(name)
  }

  /// The file of a shard.
  public func file(_ shard: String) -> SafetensorsFile? { files[shard] }

  /// Metadata of all shards; where two disagree, the first by name wins.
  public var metadata: [String: String] {
    var all: [String: String] = [:]
    for shard in shards { all.merge(files[shard]?.metadata ?? [:]) { first, _ in first } }
    return all
  }

  private static func weightMap(_ path: String) throws(SafetensorsError) -> [String: String] {
    let storage = try SafetensorsFile.map(path)
    let index: JSONValue
    do {
      index = try storage.withBytes { (bytes) throws(JSONError) in try JSONValue.parse(bytes) }
    } catch {
      throw .malformedIndex(path: path, reason: "\(error)")
    }
    guard let members = index["weight_map"]?.objectValue, !members.isEmpty else {
      throw .malformedIndex(path: path, reason: "it must be an object with a 'weight_map' that maps names of tensors to names of files")
    }
    var map: [String: String] = [:]
    for member in members {
      guard let shard = member.value.stringValue else {
        throw .malformedIndex(path: path, reason: "the 'weight_map' must map tensor \(quoted(member.key)) to the name of a file")
      }
      map[member.key] = shard
    }
    return map
  }

  /// Whether `name` can only be a file in the folder itself.
  static func isPlainName(_ name: String) -> Bool {
    name.utf8.count <= 255 && name.hasSuffix(".safetensors") && !name.hasPrefix(".") && !name.utf8.contains { $0 == 0x2F || $0 == 0x5C || $0 < 0x20 }
  }
}
