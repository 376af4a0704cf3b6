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

  public var description: String {
    switch self {
    case .fileNotFound(let path): "\(path): no such file; check the name"
    case .notAFile(let path): "\(path): not a regular file; name a .safetensors file"
    case .cannotRead(let path, let reason): "\(path): cannot be read: \(reason)"
    case .cannotWrite(let path, let reason): "\(path): cannot be written: \(reason)"
    case .malformed(let path, let problem): "\(path): \(problem)"
    case .cannotStore(let path, let problem): "\(path): cannot be written as safetensors: \(problem)"
    case .malformedIndex(let path, let reason): "\(path): \(reason)"
    case .shardOutsideFolder(let path, let shard):
      "\(path): the shard \(quoted(shard)) must be the plain name of a .safetensors file in the same folder"
    case .tensorNotInShard(let path, let tensor, let shard):
      "\(path): says that tensor \(quoted(tensor)) is in \(quoted(shard)), which does not have it; the files are not of one set"
    }
  }
}
