// Reads Tests/Fixtures/tasks/golden.json, which Tests/Reference/make_task_fixtures.py made with the official formulas.

import Foundation
import Safetensors
import TestSupport

enum Golden {
  static let all: JSONValue = {
    let text = (try? String(contentsOfFile: Fixtures.path("tasks/golden.json"), encoding: .utf8)) ?? ""
    return (try? JSONValue.parse(text)) ?? .null
  }()

  static subscript(_ name: String) -> JSONValue { all[name] ?? .null }
}

extension JSONValue {
  var floats: [Float] { (arrayValue ?? []).compactMap { $0.doubleValue.map { Float($0) } } }
  var doubles: [Double] { (arrayValue ?? []).compactMap(\.doubleValue) }
  var integers: [Int] { (arrayValue ?? []).compactMap(\.integerValue) }

  /// An array of rows of this width.
  func rows(_ width: Int) -> [[Float]] {
    let values = floats
    return stride(from: 0, to: values.count, by: width).map { Array(values[$0..<$0 + width]) }
  }
}
