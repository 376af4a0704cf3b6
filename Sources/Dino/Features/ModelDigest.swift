// Which network features come from, as a digest: SHA-256 over the configuration and every tensor of the backbone. The same weights in another file give the same
// digest; a head, which features do not depend on, is left out. An int8 file has that of the network it was made from, of which it is a precision; one of four bits, whose features are further away, has its own.

internal import DinoKernels
internal import DinoModels
internal import DinoTensor
internal import Synchronization

extension DinoModel {
  /// 64 lower-case hexadecimal digits.
  public func backboneDigest() throws(DinoError) -> String {
    if let record = checkpoint.record?.quantization, let digest = record.modelDigest, record.tensors.values.allSatisfy({ $0.kind == .int8 }) { return digest }
    var config = self.config
    config.head = nil
    let weights = try checkpoint.weights()
    let names = config.tensors.map(\.name).sorted()
    let digests = Mutex<[String: String]>([:])
    let threads = options.threads > 0 ? options.threads : availableCores()
    ThreadTeam.shared(threads).forEach(names.count) { i in
      guard let tensor = weights[names[i]] else { return }
      let digest = SHA256.hexDigest(tensor)
      digests.withLock { $0[names[i]] = "\(names[i]) \(tensor.dtype.rawValue) \(tensor.shape) \(digest)" }
    }
    let lines = digests.withLock { found in names.map { found[$0] ?? "" } }
    do { return SHA256.hexDigest(Array(([try config.json()] + lines).joined(separator: "\n").utf8)) } catch { throw DinoError(error, path: checkpoint.path) }
  }
}
