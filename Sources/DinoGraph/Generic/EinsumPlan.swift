// What an equation of Einsum says for given shapes: the labels of each operand and of the result, and their extents. Ellipses stand for axes that broadcast.

public import DinoTensor

public struct EinsumPlan: Sendable, Equatable {
  /// Labels of each operand's axes; axes of an ellipsis are counted from -1 down, the last axis first, so that they line up at the right.
  public var operands: [[Int]]
  public var output: [Int]
  public var extents: [Int: Int]

  public var result: Shape { Shape(output.map { extents[$0] ?? 1 }) }

  public init(_ equation: String, _ shapes: [Shape]) throws(GenericProblem) {
    let text = equation.filter { $0 != " " }
    let sides = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
    var terms = (sides.first ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init), explicit: String?
    if sides.count == 2 {
      guard sides[1].first == ">" else { throw .invalid("Einsum: the equation '\(equation.prefix(80))' is not understood") }
      explicit = String(sides[1].dropFirst())
    }
    guard terms.count == shapes.count else { throw .invalid("Einsum: the equation '\(equation.prefix(80))' has \(terms.count) operands, and \(shapes.count) are given") }
    operands = []
    extents = [:]
    var ellipsis = 0
    for (i, shape) in shapes.enumerated() {
      let labels = try Self.labels(&terms[i], rank: shape.rank, equation)
      ellipsis = max(ellipsis, labels.count { $0 < 0 })
      for (label, n) in zip(labels, shape.dims) {
        if let known = extents[label], known != n {
          guard known == 1 || n == 1 else { throw .invalid("Einsum: the extents \(known) and \(n) stand for one label of '\(equation.prefix(80))'") }
          extents[label] = known == 1 ? n : known
        } else {
          extents[label] = n
        }
      }
      operands.append(labels)
    }
    let broadcast = (0..<ellipsis).map { $0 - ellipsis }
    if var explicit {
      output = try Self.labels(&explicit, rank: explicit.replacingEllipsis().count + (explicit.contains("...") ? ellipsis : 0), equation)
      guard Set(output).count == output.count, output.allSatisfy({ extents[$0] != nil }) else { throw .invalid("Einsum: the result of '\(equation.prefix(80))' has labels that no operand has, or one twice") }
    } else {
      let all = operands.joined().filter { $0 >= 0 }
      output = broadcast + Set(all).filter { label in all.count { $0 == label } == 1 }.sorted()
    }
  }

  private static func labels(_ term: inout String, rank: Int, _ equation: String) throws(GenericProblem) -> [Int] {
    let problem = GenericProblem.invalid("Einsum: '\(term.prefix(40))' of the equation '\(equation.prefix(80))' does not fit a tensor of rank \(rank)")
    let letters = term.replacingEllipsis(), free = rank - letters.count
    let parts = term.components(around: "...")
    guard parts.count <= 2, free >= 0, parts.count == 2 || free == 0, letters.allSatisfy({ $0.isASCII && $0.isLetter }) else { throw problem }
    func codes(_ text: String) -> [Int] { text.unicodeScalars.map { Int($0.value) } }
    return codes(parts[0]) + (0..<free).map { $0 - free } + (parts.count == 2 ? codes(parts[1]) : [])
  }
}

extension String {
  fileprivate func replacingEllipsis() -> String { components(around: "...").joined() }

  /// The pieces between occurrences of `mark`.
  fileprivate func components(around mark: String) -> [String] {
    var pieces = [""], rest = Substring(self)
    while let first = rest.first {
      if rest.hasPrefix(mark) {
        pieces.append("")
        rest = rest.dropFirst(mark.count)
      } else {
        pieces[pieces.count - 1].append(first)
        rest = rest.dropFirst()
      }
    }
    return pieces
  }
}
