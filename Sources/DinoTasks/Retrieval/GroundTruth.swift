// What a retrieval is held against: the ground truth of revisited Oxford and Paris (Radenović et al. 2018) with its three settings, or folders whose images belong
// together. The published file is a Python pickle, which is code; it is read as JSON of the same shape.

internal import DinoTensor
internal import Safetensors

/// Queries, images, and which of them belong together.
public struct RetrievalGroundTruth: Sendable {
  public enum Setting: String, Sendable, CaseIterable { case easy, medium, hard }

  public struct Query: Sendable, Equatable {
    public var easy: Set<Int>
    public var hard: Set<Int>
    public var junk: Set<Int>
    /// Left, top, right, bottom of the object in the query image, where the file has it. The official DINO evaluation does not cut it out.
    public var box: [Double]?
    /// The image that the query is, where it is one of them: junk, and no positive although a set has it. So all queries of a class can share one set.
    public var image: Int?
  }

  /// What a query is to find in a setting, and what does not count.
  public typealias Truth = (positives: Set<Int>, junk: Set<Int>)

  /// Names without extension, as the file has them.
  public var images: [String]
  public var queryImages: [String]
  public var queries: [Query]

  public func truth(_ query: Int, _ setting: Setting) -> Truth {
    let q = queries[query]
    var truth: Truth
    switch setting {
    case .easy: truth = (q.easy, q.junk.union(q.hard))
    case .medium: truth = (q.easy.union(q.hard), q.junk)
    case .hard: truth = (q.hard, q.junk.union(q.easy))
    }
    if let image = q.image {
      truth.positives.remove(image)
      truth.junk.insert(image)
    }
    return truth
  }

  /// Every image asks for the others of its class; it is itself junk. There is one setting.
  public init(classesOf labels: [Int], names: [String]) {
    precondition(labels.count == names.count)
    let members = Dictionary(grouping: labels.indices) { labels[$0] }.mapValues { Set($0) }
    images = names
    queryImages = names
    queries = labels.indices.map { i in Query(easy: [], hard: members[labels[i]] ?? [], junk: [], box: nil, image: i) }
  }

  /// Reads {"imlist": […], "qimlist": […], "gnd": [{"easy": […], "hard": […], "junk": […], "bbx": […]}, …]}.
  public init(path: String) throws(TaskError) {
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch { throw TaskError(error, path: path) }
    func bad(_ reason: String) -> TaskError { .badGroundTruth(path: path, reason: reason) }
    let json: JSONValue
    do {
      json = try storage.withBytes { (bytes) throws(JSONError) in try JSONValue.parse(bytes, limits: JSONLimits(bytes: 1 << 30, values: 50_000_000)) }
    } catch { throw bad(error.description) }
    func names(_ key: String) throws(TaskError) -> [String] {
      guard let list = json[key]?.arrayValue?.compactMap(\.stringValue), list.count == json[key]?.arrayValue?.count, !list.isEmpty else { throw bad("'\(key)' must be a list of names") }
      return list
    }
    let images = try names("imlist"), queryImages = try names("qimlist")
    guard let list = json["gnd"]?.arrayValue, list.count == queryImages.count else { throw bad("'gnd' must have an entry for each of the \(queryImages.count) queries") }
    func indices(_ entry: JSONValue, _ q: Int, _ key: String) throws(TaskError) -> Set<Int> {
      guard let value = entry[key] else {
        if entry["ok"] != nil { throw bad("query \(q) has 'ok' where easy, hard and junk are needed: this is the form from before Oxford and Paris were revisited; take gnd_roxford5k or gnd_rparis6k") }
        throw bad("query \(q) has no '\(key)', where easy, hard and junk are needed, empty lists too")
      }
      let numbers = value.arrayValue?.compactMap(\.integerValue) ?? []
      guard numbers.count == value.arrayValue?.count, numbers.allSatisfy({ images.indices.contains($0) }) else {
        throw bad("'\(key)' of query \(q) must be a list of numbers of images, from 0 to \(images.count - 1)")
      }
      return Set(numbers)
    }
    var queries: [Query] = []
    for (q, entry) in list.enumerated() {
      guard entry.objectValue != nil else { throw bad("query \(q) is not an object with easy, hard and junk") }
      queries.append(Query(easy: try indices(entry, q, "easy"), hard: try indices(entry, q, "hard"), junk: try indices(entry, q, "junk"),
                           box: entry["bbx"]?.arrayValue?.compactMap(\.doubleValue)))
    }
    self.images = images
    self.queryImages = queryImages
    self.queries = queries
  }
}
