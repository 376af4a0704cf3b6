// Why a safetensors file or a folder of shards cannot be read or written. What is wrong inside a file is SafetensorsProblem.swift.

public enum SafetensorsError: Error, Sendable, Equatable, CustomStringConvertible {
  case fileNotFound(path: String)
  case notAFile(path: String)
  case cannotRead(path: String, reason: String)
  case cannotWrite(path: String, reason: String)
  /// The file breaks a rule of the format.
  case malformed(path: String, SafetensorsProblem)
  /// What was given to the writer would break a rule of the format.
  case cannotStore(path: String, SafetensorsProblem)
  /// The index of a folder of shards is not what it should be.
  case malformedIndex(path: String, reason: String)
  /// The index names a file that is not a plain file name in its own folder.
  case shardOutsideFolder(path: String, shard: String)
  /// The index says that a tensor is in a shard, and the shard does not have it.
  case tensorNotInShard(path: String, tensor: String, shard: String)

  public var description: String { "\(path): \(reason)" }

  /// What went wrong, for sentences that have named the file already.
  public var reason: String {
    switch self {
    case .fileNotFound: "no such file; check the name"
    case .notAFile: "not a regular file; name a .safetensors file"
    case .cannotRead(_, let reason): "cannot be read: \(reason)"
    case .cannotWrite(_, let reason): "cannot be written: \(reason)"
    case .malformed(_, let problem): "\(problem)"
    case .cannotStore(_, let problem): "cannot be written as safetensors: \(problem)"
    case .malformedIndex(_, let reason): reason
    case .shardOutsideFolder(_, let shard): "the shard \(quoted(shard)) must be the plain name of a .safetensors file in the same folder"
    case .tensorNotInShard(_, let tensor, let shard): "says that tensor \(quoted(tensor)) is in \(quoted(shard)), which does not have it; the files are not of one set"
    }
  }

  /// The file.
  public var path: String {
    switch self {
    case .fileNotFound(let path), .notAFile(let path), .cannotRead(let path, _), .cannotWrite(let path, _), .malformed(let path, _), .cannotStore(let path, _),
         .malformedIndex(let path, _), .shardOutsideFolder(let path, _), .tensorNotInShard(let path, _, _): path
    }
  }
}
