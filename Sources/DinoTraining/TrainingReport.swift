// A training's curves as one HTML page that needs nothing else: charts in SVG, made from log.jsonl and epochs.jsonl. It draws what the logs say and judges nothing.

internal import AtomicFiles
public import Dino
internal import Safetensors

public enum TrainingReport {
  /// A line of a chart: points in the order of x.
  struct Line {
    var name: String
    var points: [(x: Double, y: Double)]
  }

  struct Chart {
    var title: String
    /// What a reader should know to read it.
    var note: String
    var lines: [Line]
  }

  /// Writes `report.html` into the folder of a run, from the logs in it.
  public static func write(folder: String, title: String, comparison: [(name: String, value: String)] = [], settings: [(flag: String, value: String)], stepsPerEpoch: Int) throws(DinoError) {
    let steps = try LogFile.lines(of: "\(folder)/\(TrainingRun.logName)"), epochs = try LogFile.lines(of: "\(folder)/\(TrainingRun.epochsName)")
    let text = html(charts(steps, epochs, stepsPerEpoch: stepsPerEpoch), title: title, comparison: comparison, settings: settings, last: epochs.last)
    do {
      let file = try AtomicFile(path: "\(folder)/\(TrainingRun.reportName)")
      try file.write(Array(text.utf8))
      try file.commit()
    } catch { throw DinoError(error, path: "\(folder)/\(TrainingRun.reportName)") }
  }

  static func charts(_ steps: [JSONValue], _ epochs: [JSONValue], stepsPerEpoch: Int) -> [Chart] {
    func ofSteps(_ key: String, _ name: String) -> Line {
      Line(name: name, points: thinned(steps.compactMap { s in
        guard let step = s["step"]?.integerValue, let y = s[key]?.doubleValue, y.isFinite else { return nil }
        return (Double(step + 1) / Double(max(stepsPerEpoch, 1)), y)
      }))
    }
    func ofEpochs(_ key: String, _ name: String, _ scale: Double = 1) -> Line {
      Line(name: name, points: thinned(epochs.compactMap { e in
        guard let epoch = e["epoch"]?.integerValue, let y = e[key]?.doubleValue, y.isFinite else { return nil }
        return (Double(epoch + 1), y * scale)
      }))
    }
    let all = [
      Chart(title: "Loss", note: "Each point the mean of its stretch of steps. At ln K nothing is learnt.", lines: [ofSteps("loss", "loss"), ofEpochs("ln_k", "ln K")]),
      Chart(title: "Terms of the loss", note: "Before their weights.", lines: ["dino", "koleo", "ibot", "cls", "patch"].map { ofSteps("loss_\($0)", $0) }),
      Chart(title: "k-NN accuracy", note: "Per cent of the labelled test images that the model's nearest neighbours name rightly.", lines: [ofEpochs("knn_top1", "top 1", 100)]),
      Chart(title: "Teacher", note: "Entropy of its distributions, entropy of their mean, and the divergence of the student from it: the loss is the first and the last together.",
            lines: [ofEpochs("teacher_entropy", "entropy"), ofEpochs("marginal_entropy", "entropy of the mean"), ofEpochs("kl", "divergence")]),
      Chart(title: "Feature spread", note: "Of unit-length features: 0 where all images look the same.", lines: [ofEpochs("feature_spread", "spread")]),
      Chart(title: "Effective rank", note: "How many directions features spread over.", lines: [ofEpochs("effective_rank", "rank")]),
      Chart(title: "Prototypes in use", note: "Outputs that were the largest for some crop.", lines: [ofEpochs("active_prototypes", "prototypes")]),
      Chart(title: "Learning rate", note: "", lines: [ofSteps("lr", "rate")]),
      Chart(title: "Images a second", note: "", lines: [ofSteps("images_per_second", "images a second")]),
    ]
    return all.map { Chart(title: $0.title, note: $0.note, lines: $0.lines.filter { $0.points.count > 0 }) }.filter { !$0.lines.isEmpty }
  }

  /// At most 400 points: means of equal stretches.
  static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
    let most = 400
    if points.count <= most { return points }
    return (0..<most).map { i in
      let part = points[i * points.count / most..<(i + 1) * points.count / most], n = Double(part.count)
      return (part.reduce(0) { $0 + $1.x } / n, part.reduce(0) { $0 + $1.y } / n)
    }
  }

  // MARK: Drawing

  private static func html(_ charts: [Chart], title: String, comparison: [(name: String, value: String)], settings: [(flag: String, value: String)], last: JSONValue?) -> String {
    let colors = (1...3).map { "--c\($0)" }
    var body = "<h1>\(escaped(title))</h1>\n"
    if let verdict = last?["verdict"]?.stringValue { body += "<p>After epoch \((last?["epoch"]?.integerValue ?? 0) + 1): \(escaped(verdict)).</p>\n" }
    func table(_ rows: [(String, String)]) -> String { "<table>\n" + rows.map { "<tr><td>\(escaped($0.0))</td><td>\(escaped($0.1))</td></tr>\n" }.joined() + "</table>" }
    if !comparison.isEmpty { body += "<h2>Student beside teacher</h2>\n\(table(comparison.map { ($0.name, $0.value) }))\n" }
    body += "<div class=\"charts\">\n" + charts.map { svg($0, colors) }.joined() + "</div>\n<details><summary>Settings</summary>\(table(settings.map { ($0.flag, $0.value) }))</details>\n"
    return """
      <!doctype html>
      <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>\(escaped(title))</title><style>
      :root { color-scheme: light dark; --ink: #222; --soft: #6b6b6b; --grid: #e3e3e3; --c1: #2458a6; --c2: #b4541a; --c3: #2f7d4f; }
      @media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --soft: #a0a0a0; --grid: #3a3a3a; --c1: #7fb0f5; --c2: #f0a46c; --c3: #7ccf9c; } }
      body { font: 15px/1.4 system-ui, sans-serif; color: var(--ink); margin: 2em auto; max-width: 62em; padding: 0 1em; }
      h1 { font-size: 1.3em; } h2 { font-size: 1em; margin: 0; } .charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(26em, 1fr)); gap: 1.5em; }
      figure { margin: 0; } figcaption { color: var(--soft); font-size: .85em; } svg { width: 100%; height: auto; } text { fill: var(--soft); font-size: 11px; } td { padding-right: 1.5em; }
      </style></head><body>
      \(body)</body></html>

      """
  }

  private static func svg(_ chart: Chart, _ colors: [String]) -> String {
    let width = 460.0, height = 220.0, left = 52.0, right = 10.0, top = 12.0, bottom = 26.0
    let points = chart.lines.flatMap(\.points)
    var (x0, x1) = (points.map(\.x).min() ?? 0, points.map(\.x).max() ?? 1), (y0, y1) = (points.map(\.y).min() ?? 0, points.map(\.y).max() ?? 1)
    if x1 - x0 < 1e-12 { (x0, x1) = (x0 - 0.5, x1 + 0.5) }
    if y1 - y0 < 1e-12 { let half = max(abs(y0) * 0.05, 1e-6); (y0, y1) = (y0 - half, y1 + half) }
    func px(_ x: Double) -> Double { left + (x - x0) / (x1 - x0) * (width - left - right) }
    func py(_ y: Double) -> Double { top + (y1 - y) / (y1 - y0) * (height - top - bottom) }
    var out = "<figure><h2>\(escaped(chart.title))</h2><svg viewBox=\"0 0 \(Int(width)) \(Int(height))\" role=\"img\" aria-label=\"\(escaped(chart.title))\">\n"
    for i in 0...4 {
      let y = y0 + (y1 - y0) * Double(i) / 4
      out += "<line x1=\"\(Int(left))\" x2=\"\(Int(width - right))\" y1=\"\(short(py(y)))\" y2=\"\(short(py(y)))\" stroke=\"var(--grid)\"/>"
      out += "<text x=\"\(Int(left) - 6)\" y=\"\(short(py(y) + 4))\" text-anchor=\"end\">\(short(y))</text>\n"
    }
    for (x, anchor) in [(x0, "start"), (x1, "end")] {
      out += "<text x=\"\(short(px(x)))\" y=\"\(Int(height) - 8)\" text-anchor=\"\(anchor)\">\(anchor == "end" ? "epoch " : "")\(short(x))</text>\n"
    }
    for (i, line) in chart.lines.enumerated() {
      let color = colors[i % colors.count]
      if line.points.count == 1 {
        out += "<circle cx=\"\(short(px(line.points[0].x)))\" cy=\"\(short(py(line.points[0].y)))\" r=\"3\" fill=\"var(\(color))\"/>\n"
      } else {
        out += "<polyline fill=\"none\" stroke=\"var(\(color))\" stroke-width=\"1.6\" points=\"\(line.points.map { "\(short(px($0.x))),\(short(py($0.y)))" }.joined(separator: " "))\"/>\n"
      }
    }
    out += "</svg>"
    let ends = chart.lines.enumerated().map { i, line in
      "<span style=\"color: var(\(colors[i % colors.count]))\">\(escaped(line.name)) \(short(line.points.last?.y ?? 0))</span>"
    }.joined(separator: ", ")
    return out + "<figcaption>At last \(ends). \(escaped(chart.note))</figcaption></figure>\n"
  }

  /// Four significant digits.
  static func short(_ value: Double) -> String {
    if value == 0 || !value.isFinite { return value == 0 ? "0" : "\(value)" }
    var scale = 1.0, size = abs(value)
    if size < 1e-3 {
      var exponent = 0
      while size < 1 { (size, exponent) = (size * 10, exponent - 1) }
      return "\(value < 0 ? "-" : "")\((size * 100).rounded() / 100)e\(exponent)"
    }
    while size * scale < 1000 { scale *= 10 }
    let rounded = (value * scale).rounded() / scale
    return rounded == rounded.rounded() && abs(rounded) < 1e15 ? "\(Int(rounded))" : "\(rounded)"
  }

  private static func escaped(_ text: String) -> String {
    var out = ""
    for c in text {
      switch c {
      case "&": out += "&amp;"
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "\"": out += "&quot;"
      default: out.append(c)
      }
    }
    return out
  }
}
