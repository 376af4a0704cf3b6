// A quality report as a table for people and as members of a JSON object.

internal import Dino
internal import Safetensors

struct QualityTable {
  let report: QualityReport
  let calibrated: Bool

  var text: String {
    let r = report
    var lines: [String] = []
    func add(_ label: String, _ value: String) { lines.append(label + String(repeating: " ", count: max(1, 28 - label.count)) + value) }
    func spread(_ c: QualityReport.Cosines) -> String { "mean \(fixed(c.mean, 5)), 1st percentile \(fixed(c.percentile1, 5)), least \(fixed(c.least, 5))" }
    add("images", "\(r.images)")
    add("cosine of class tokens", spread(r.classToken))
    add("cosine of patch tokens", spread(r.patchTokens))
    if !r.neighbours.isEmpty { add("neighbours in common", r.neighbours.map { "\(fixed(100 * $0.share, 1)) % of \($0.k == 1 ? "the nearest" : "\($0.k)")" }.joined(separator: ", ")) }
    if let m = r.masks { add("masks of \(fixed(100 * m.mass, 0)) % mass", "IoU mean \(fixed(m.meanIoU, 4)), least \(fixed(m.leastIoU, 4))") }
    if let v = r.votes {
      add("\(v.k) neighbours' vote", "\(fixed(100 * v.first, 2)) % and \(fixed(100 * v.second, 2)) % right of \(v.classes) classes, \(fixed(100 * v.agreement, 2)) % the same answer")
    }
    add("milliseconds an image", "\(fixed(r.first.millisecondsPerImage, 2)) and \(fixed(r.second.millisecondsPerImage, 2)), \(fixed(r.first.millisecondsPerImage / max(r.second.millisecondsPerImage, 1e-9), 2)) times as fast")
    add("memory", "\(readable(bytes: r.first.memoryBytes)) and \(readable(bytes: r.second.memoryBytes))")
    for g in r.gates(calibrated: calibrated) { add(g.name, "\(fixed(g.found, 5)), \(g.passes ? "keeps" : "MISSES") the bound of \(g.least)") }
    return lines.joined(separator: "\n") + "\n"
  }

  var members: [JSONValue.Member] {
    func number(_ value: Double) -> JSONValue { value.isFinite ? .number(value) : .null }
    func cost(_ c: QualityReport.Cost) -> JSONValue { .object([.init("milliseconds_per_image", number(c.millisecondsPerImage)), .init("memory_bytes", .integer(c.memoryBytes))]) }
    let figures = report.numbers.map { JSONValue.Member($0.name, QualityReport.counts.contains($0.name) ? .integer(Int($0.value)) : number($0.value)) }
    return figures + [
      .init("first_cost", cost(report.first)), .init("second_cost", cost(report.second)),
      .init("gates", .array(report.gates(calibrated: calibrated).map {
        .object([.init("name", .string($0.name)), .init("found", number($0.found)), .init("least", .number($0.least)), .init("passes", .bool($0.passes))])
      })),
    ]
  }
}
