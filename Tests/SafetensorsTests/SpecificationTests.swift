// The specification in formats/README.md against what is here: every rule that this room can break or keep is tried by a hostile file or named
// by a test; the examples are valid by their schemas; the printed vectors follow from the formulas.

import DinoTensor
import Foundation
import Safetensors
import Testing
import TestSupport

@Suite struct SpecificationTests {
  static let page = (try? String(contentsOf: Fixtures.repository.appendingPathComponent("formats/README.md"), encoding: .utf8)) ?? ""

  /// Rules as they are defined: "- **S1** ...".
  static func definedRules() -> [String] {
    page.split(separator: "\n").compactMap { line in
      line.hasPrefix("- **") ? line.dropFirst(4).prefix { $0 != "*" }.description : nil
    }
  }

  @Test func numbersAreUnique() {
    let rules = SpecificationTests.definedRules()
    #expect(rules.count == Set(rules).count)
    #expect(rules.filter { $0.hasPrefix("S") } == (1...26).map { "S\($0)" })
  }

  /// A test refers to a rule by "rule S25" in a comment or a name. Rules N, M and T about networks are DinoModels' to test; where they
  /// are about records alone, the schemas are tested here.
  @Test func everyRuleOfTheFileIsTried() throws {
    var tried = Set(HostileRow.all.map(\.rule))
    let tests = Fixtures.repository.appendingPathComponent("Tests/SafetensorsTests")
    for file in try FileManager.default.contentsOfDirectory(at: tests, includingPropertiesForKeys: nil) where file.pathExtension == "swift" {
      let text = try String(contentsOf: file, encoding: .utf8)
      for match in text.matches(of: /rule ([SQTM][0-9]+)/) { tried.insert(String(match.1)) }
    }
    for rule in SpecificationTests.definedRules() where rule.hasPrefix("S") { #expect(tried.contains(rule), "rule \(rule) has no test") }
  }

  @Test func everyProblemNamesADefinedRule() {
    let rules = Set(SpecificationTests.definedRules())
    for row in HostileRow.all { #expect(rules.contains(row.rule)) }
  }

  // MARK: Records (rule M4)

  static func block(_ kind: String, _ name: String) -> [Substring] {
    let lines = page.split(separator: "\n", omittingEmptySubsequences: false)
    guard let start = lines.firstIndex(of: "<!-- \(kind): \(name) -->") else { return [] }
    return lines[(start + 2)...].prefix { !$0.hasPrefix("```") && !$0.isEmpty }.map { $0 }
  }

  static func schema(_ name: String) throws -> JSONValue {
    try JSONValue.parse(String(contentsOf: Fixtures.repository.appendingPathComponent("formats/schema/\(name).json"), encoding: .utf8))
  }

  @Test(arguments: ["config", "preprocessing", "provenance", "quantization", "self_test"]) func examplesAreValid(_ name: String) throws {
    let text = SpecificationTests.block("example", name).joined(separator: "\n")
    let example = try JSONValue.parse(text)
    let schema = try SpecificationTests.schema(name)
    #expect(JSONSchema.problems(example, schema) == [])
    // Every key of an example matters: without it, the record is no longer valid, or the schema says that it is optional.
    let alternatives = schema["anyOf"]?.arrayValue ?? [schema]
    let required = Set((alternatives[0]["required"]?.arrayValue ?? []).compactMap(\.stringValue))
    for member in try #require(example.objectValue) {
      let without = JSONValue.object(example.objectValue!.filter { $0.key != member.key })
      #expect(JSONSchema.problems(without, schema).isEmpty == !required.contains(member.key), "\(name) without \(member.key)")
      let wrong = JSONValue.object(example.objectValue!.map { $0.key == member.key ? .init($0.key, .string("\u{1}")) : $0 })
      if member.key != "tool", member.key != "scheme" { #expect(!JSONSchema.problems(wrong, schema).isEmpty, "\(name) with a wrong \(member.key)") }
    }
  }

  @Test func headersOfFixturesAreValidByTheSchema() throws {
    let schema = try SpecificationTests.schema("header")
    for name in ["every_type", "odd_shapes", "nothing"] {
      let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("safetensors/\(name).safetensors"))))
      let length = Int(bytes[0]) | Int(bytes[1]) << 8
      #expect(JSONSchema.problems(try JSONValue.parse(Array(bytes[8..<(8 + length)]).span), schema) == [])
    }
    #expect(!JSONSchema.problems(try JSONValue.parse(#"{"w":{"dtype":"F31","shape":[],"data_offsets":[0,4]}}"#), schema).isEmpty)
  }

  // MARK: Vectors

  /// rule T2: the printed values are those of SplitMix64 started at seed times its increment.
  @Test func selfTestInput() throws {
    let rows = SpecificationTests.block("vector", "self_test").filter { $0.first == "|" && $0.dropFirst(2).first?.isNumber == true }
    #expect(rows.count == 3)
    for row in rows {
      let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      let seed = try #require(UInt64(cells[0]))
      var generator = SplitMix64(seed: seed &* 0x9E37_79B9_7F4A_7C15)
      for cell in cells.dropFirst() { #expect(Float(generator.next() >> 40) / 16_777_216 * 2 - 1 == Float(cell)) }
    }
  }

  /// rule Q5: low nibble first, eight is zero.
  @Test func int4Group() throws {
    let bytes = try #require(SpecificationTests.block("vector", "int4").first).split(separator: " ").map { UInt8($0, radix: 16)! }
    let values = bytes.flatMap { [Int($0 & 15) - 8, Int($0 >> 4) - 8] }
    #expect(values == Array(-7...7) + Array(-7...7) + [0, 1])
  }
}

/// As much of JSON Schema as formats/schema uses. An unknown keyword is a problem, so that no schema says what nobody checks.
enum JSONSchema {
  static func problems(_ value: JSONValue, _ schema: JSONValue, at path: String = "$") -> [String] {
    var found: [String] = []
    func check(_ good: Bool, _ what: String) { if !good { found.append("\(path): \(what)") } }
    for keyword in schema.objectValue ?? [] {
      let rule = keyword.value
      switch keyword.key {
      case "$schema", "title", "description": break
      case "type": check(type(value, rule.stringValue ?? ""), "is no \(rule)")
      case "const": check(value == rule, "is not \(rule)")
      case "enum": check(rule.arrayValue?.contains(value) == true, "is none of \(rule)")
      case "minimum": if let number = value.doubleValue { check(number >= rule.doubleValue!, "is below \(rule)") }
      case "exclusiveMinimum": if let number = value.doubleValue { check(number > rule.doubleValue!, "is not above \(rule)") }
      case "minItems": if let items = value.arrayValue { check(items.count >= rule.integerValue!, "has too few items") }
      case "maxItems": if let items = value.arrayValue { check(items.count <= rule.integerValue!, "has too many items") }
      case "pattern": if let text = value.stringValue { check((try? Regex(rule.stringValue!).firstMatch(in: text)) != nil, "does not match \(rule)") }
      case "items": for (i, item) in (value.arrayValue ?? []).enumerated() { found += problems(item, rule, at: "\(path)[\(i)]") }
      case "required": for key in rule.arrayValue ?? [] where value.objectValue != nil { check(value[key.stringValue!] != nil, "lacks \(key)") }
      case "anyOf": check(rule.arrayValue!.contains { problems(value, $0).isEmpty }, "fits no alternative")
      case "properties": for member in rule.objectValue ?? [] { if let inner = value[member.key] { found += problems(inner, member.value, at: "\(path).\(member.key)") } }
      case "additionalProperties":
        for member in value.objectValue ?? [] where schema["properties"]?[member.key] == nil {
          if rule == .bool(false) { check(false, "has \(member.key)") } else if rule != .bool(true) { found += problems(member.value, rule, at: "\(path).\(member.key)") }
        }
      default: check(false, "the schema has the unknown keyword \(keyword.key)")
      }
    }
    return found
  }

  private static func type(_ value: JSONValue, _ name: String) -> Bool {
    switch (name, value) {
    case ("object", .object), ("array", .array), ("string", .string), ("boolean", .bool), ("null", .null), ("integer", .integer): true
    case ("number", .integer), ("number", .number): true
    default: false
    }
  }
}
