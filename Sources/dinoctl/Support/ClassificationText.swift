// What knn, linear and evaluate say of a classification: accuracy, who was taken for whom, the wrong ones by name; as text and as JSON.

internal import DinoTasks
internal import Safetensors

extension ClassificationReport {
  /// "82.41 % (top 5: 97.02 %)"; the second figure is among as many answers as there are.
  var accuracyText: String {
    let answers = images.map(\.ranking.count).max() ?? 0
    return "\(fixed(100 * top1, 2)) %" + (answers > 1 ? " (top \(answers): \(fixed(100 * top5, 2)) %)" : "")
  }

  /// Classes up to which the confusion is written as a table in JSON; of more, whose square would be gigabytes, what is not 0.
  private static let mostInTable = 1000

  /// Rows are true classes, columns answers.
  private var confusionTable: [[Int]] {
    var table = [[Int]](repeating: [Int](repeating: 0, count: classes.count), count: classes.count)
    for cell in confusion { table[cell.truth][cell.answer] = cell.count }
    return table
  }

  /// A table: rows are true classes, columns answers by number.
  var confusionText: String {
    let table = confusionTable, width = max(4, "\(images.count)".count + 1), name = (classes.map(\.count).max() ?? 0) + 1
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
      classes.count <= Self.mostInTable ? .init("confusion", .array(confusionTable.map { .array($0.map { .integer($0) }) }))
        : .init("confusion_cells", .array(confusion.map { .array([.integer($0.truth), .integer($0.answer), .integer($0.count)]) })),
      .init("wrong", .array(images.filter { !$0.isCorrect }.map { image in
        .object([
          .init("path", .string(rows.name(image.row))), .init("class", rows.labels[image.row].map { .string(rows.classes[$0]) } ?? .null),
          .init("answer", image.ranking.first.map { .string(classes[$0]) } ?? .null),
        ])
      })),
    ])
  }

  /// Every image's answer: path, true class, answer, and the next of the first five, where more than one class has votes.
  func predictionText(_ rows: LabelledRows) -> String {
    images.map { image in
      "\(printable(rows.name(image.row)))\t\(rows.labels[image.row].map { printable(rows.classes[$0]) } ?? "-")\t\(image.ranking.map { printable(classes[$0]) }.joined(separator: "\t"))\n"
    }.joined()
  }
}

extension LabelledRows {
  /// Notes that images of `training`'s classes alone can be right, where others or none are asked about.
  func noteClasses(missingFrom training: [String]) {
    let known = Set(training.map(ClassName.init)), unknown = classes.filter { !known.contains(ClassName($0)) }
    if !unknown.isEmpty { Terminal.note("\(unknown.count) class\(unknown.count == 1 ? " of the test images is" : "es of the test images are") not among the training images and count\(unknown.count == 1 ? "s" : "") as wrong: \(unknown.prefix(5).joined(separator: ", "))") }
    let unlabelled = rows.count { labels[$0] == nil }
    if unlabelled > 0 { Terminal.note("\(unlabelled) test image\(unlabelled == 1 ? " has no class and counts" : "s have no class and count") as wrong") }
  }
}
