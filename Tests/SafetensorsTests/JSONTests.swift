// The strict JSON reader: what it takes, what it refuses, its limits, and that text out is text in.

import Safetensors
import Testing
import TestSupport

@Suite struct JSONTests {
  @Test func values() throws {
    #expect(try JSONValue.parse(" null ") == .null)
    #expect(try JSONValue.parse("[true,false,-12,1.5,1e3,-0,\"a\\u00e9\\ud83e\\udd95\"]")
      == .array([.bool(true), .bool(false), .integer(-12), .number(1.5), .number(1000), .number(-0.0), .string("aé🦕")]))
    let object = try JSONValue.parse(#"{"b":{"c":[]},"a":{}}"#)
    #expect(object["b"]?["c"] == .array([]) && object["a"] == .object([]) && object["x"] == nil)
    #expect(try JSONValue.parse("9223372036854775807").integerValue == .max)
    #expect(try JSONValue.parse("9223372036854775808") == .number(9_223_372_036_854_775_808))
  }

  @Test(arguments: ["", " ", "nul", "tru", "[1,]", "[,1]", "{\"a\"}", "{\"a\":1,}", "{a:1}", "'a'", "01", "-", "1.", ".5", "1e", "+1", "NaN", "Infinity", "1e999",
                    "\"", "\"\\x\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\n\"", "1 2", "[1", "{\"a\":1", "[1}", "\u{FEFF}1", "1\u{0}", "/**/1"])
  func refused(_ text: String) { #expect(throws: JSONError.self) { try JSONValue.parse(text) } }

  @Test func limits() {
    #expect(throws: JSONError.duplicateKey("a")) { try JSONValue.parse(#"{"a":1,"\u0061":2}"#) }
    #expect(throws: JSONError.tooDeep(offset: 3, limit: 3)) { try JSONValue.parse("[[[[]]]]", limits: JSONLimits(depth: 3)) }
    #expect(throws: JSONError.tooManyValues(limit: 3)) { try JSONValue.parse("[1,2,3]", limits: JSONLimits(values: 3)) }
    #expect(throws: JSONError.tooLarge(bytes: 7, limit: 6)) { try JSONValue.parse("[1,2,3]", limits: JSONLimits(bytes: 6)) }
    #expect(throws: JSONError.self) { try JSONValue.parse(String(repeating: "[", count: 1_000_000), limits: JSONLimits(depth: .max)) }
    // What is compared in a normal form must not be long to bring into it: values are compared as keys are.
    let marks = { (count: Int) in "\"a" + String(repeating: "\u{0315}", count: count) + "\"" }
    #expect(throws: Never.self) { try JSONValue.parse(marks(30)) }
    #expect(throws: JSONError.tooManyMarks(offset: 65, limit: 30)) { try JSONValue.parse(marks(31)) }
    #expect(throws: JSONError.tooManyMarks(offset: 66, limit: 30)) { try JSONValue.parse("{\(marks(31)):1}") }
    #expect(throws: JSONError.notUTF8(offset: 1)) { try JSONValue.parse(([0x22, 0xFF, 0x22] as [UInt8]).span) }
  }

  static func random(_ generator: inout SplitMix64, depth: Int) -> JSONValue {
    switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &generator) {
    case 0: .null
    case 1: .bool(Bool.random(using: &generator))
    case 2: .integer(Int.random(in: .min ... .max, using: &generator))
    case 3, 4: .string(String((0..<8).map { _ in ["a", "\"", "\\", "\n", "\u{1}", "é", "🦕", "/"].randomElement(using: &generator)! }.joined()))
    case 5: .number(Double.random(in: -1e6...1e6, using: &generator) + 0.5)
    case 6: .array((0..<Int.random(in: 0...4, using: &generator)).map { _ in random(&generator, depth: depth - 1) })
    default: .object((0..<Int.random(in: 0...4, using: &generator)).map { .init("k\($0)\n", random(&generator, depth: depth - 1)) })
    }
  }

  @Test(arguments: 0..<100) func textAndBack(_ seed: UInt64) throws {
    var generator = SplitMix64(seed: seed)
    let value = JSONTests.random(&generator, depth: 5)
    #expect(try JSONValue.parse(value.text) == value)
  }
}
