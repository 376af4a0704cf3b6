// What knn, linear and evaluate say of a classification: accuracy, who was taken for whom, the wrong ones by name; as text and as JSON.

internal import DinoTasks
internal import Safetensors

extension ClassificationReport {
  /// "82.41 % (top 5: 97.02 %)"; the second figure is among as many answers as there are.
  var accuracyText: String {
    let answers = images.first?.ranking.count ?? 0
    return "\(fixed(100 * top1, 2)) %" + (answers > 1 ? " (top \(answers): \(fixed(100 * top5, 2)) %)" : "")
  }

  /// A table: rows are true classes, columns answers by number.
  var confusionText: String {
    let table = confusion, width = max(4, "\(images.count)".count + 1), name = (classes.map(\.count).max() ?? 0) + 1
    func pad(_ text: String, _ n: Int) -> String { String(repeating: " ", count: max(0, n - text.count)) + text }
    var text = pad("", name + 4) + classes.indices.map { pad("\($0)", width) }.joined() + "\n"
    for (c, row) in table.enumerated() {
      text += pad("\(c)", 3) + " " + printable(classes[c]) + String(repeating: " ", count: name - classes[c].count) + row.map { pad($0 == 0 ? "." : "\($0)", width) }.joined() + "\n"
    }
    return text
  }

  /// One line a wrong answer: path, true class, answer.
  func wrongText(_ rows: LabelledRows) -> String {
    images.filter { !$0.isCorrect }.map { image in
      let truth = rows.labels[image.row].map { rows.classes[$0] } ?? "-"
      return "\(printable(rows.name(image.row)))\t\(printable(truth))\t\(image.ranking.first.map { printable(classes[$0]) } ?? "-")\n"
    }.joined()
  }

  func json(_ rows: LabelledRows) -> JSONValue {
    .object([
      .init("top1", .number(100 * top1)), .init("top5", .number(100 * top5)), .init("images", .integer(images.count)), .init("classes", .array(classes.map { .string($0) })),
      .init("confusion", .array(confusion.map { .array($0.map { .integer($0) }) })),
      .init("wrong", .array(images.filter { !$0.isCorrect }.map { image in
        .object([
          .init("path", .string(rows.name(image.row))), .init("class", rows.labels[image.row].map { .string(rows.classes[$0]) } ?? .null),
          .init("answer", image.ranking.first.map { .string(classes[$0]) } ?? .null),
        ])
      })),
    ])
  }

  /// Every image's answer: path, true class, answer, and the next of the first five.
  func predictionText(_ rows: LabelledRows) -> String {
    images.map { image in
      "\(printable(rows.name(image.row)))\t\(rows.labels[image.row].map { printable(rows.classes[$0]) } ?? "-")\t\(image.ranking.map { printable(classes[$0]) }.joined(separator: "\t"))\n"
    }.joined()
  }
}
