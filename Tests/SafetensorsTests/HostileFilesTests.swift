// Every file of formats/hostile/safetensors does what its row in the table there says: the exact case, the rule, the word in the sentence.

import Foundation
import Safetensors
import Testing
import TestSupport

struct HostileRow: CustomTestStringConvertible {
  let file, rule, code, word: String
  var testDescription: String { file }

  static let folder = Fixtures.repository.appendingPathComponent("formats/hostile/safetensors")

  static let all: [HostileRow] = {
    let table = (try? String(contentsOf: folder.appendingPathComponent("README.md"), encoding: .utf8)) ?? ""
    return table.split(separator: "\n").compactMap { line in
      let cells = line.components(separatedBy: " | ").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "| ")) }
      return cells.count == 6 && cells[0].hasSuffix(".safetensors") ? HostileRow(file: cells[0], rule: cells[1], code: cells[2], word: cells[3]) : nil
    }
  }()
}

@Suite struct HostileFilesTests {
  @Test func tableAndFolderAgree() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: HostileRow.folder.path).filter { $0.hasSuffix(".safetensors") }
    #expect(Set(files) == Set(HostileRow.all.map(\.file)))
    #expect(HostileRow.all.count > 100)
    for file in files {
      let size = try FileManager.default.attributesOfItem(atPath: HostileRow.folder.appendingPathComponent(file).path)[.size] as? Int
      #expect((size ?? .max) < 32_768, "\(file) is small")
    }
  }

  @Test(arguments: HostileRow.all) func behavesAsTheTableSays(_ row: HostileRow) throws {
    let path = HostileRow.folder.appendingPathComponent(row.file).path
    if row.code == "loads" {
      let file = try SafetensorsFile(path: path)
      for name in file.names { #expect(file.tensor(name) != nil) }
      return
    }
    let error = #expect(throws: SafetensorsError.self) { try SafetensorsFile(path: path) }
    guard case .malformed(let named, let problem)? = error else {
      Issue.record("\(row.file) gave \(String(describing: error))")
      return
    }
    #expect(named == path)
    #expect(problem.code == row.code)
    #expect(problem.rule == row.rule)
    let sentence = "\(SafetensorsError.malformed(path: path, problem))"
    #expect(sentence.contains(row.word), "\(sentence)")
    #expect(sentence.contains("rule \(row.rule)"))
    #expect(sentence.utf8.count < 2_000 && !sentence.contains("\n"))
  }
}
