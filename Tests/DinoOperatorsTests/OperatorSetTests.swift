// The set of foreign operators itself: names are unique and found again.

import DinoGraph
import Testing

@Suite struct OperatorSetTests {
  @Test func everyNameLeadsBackToItsOperator() {
    for kind in GenericKind.all { #expect(GenericKind(name: kind.name) == kind) }
    #expect(Set(GenericKind.all.map(\.name)).count == GenericKind.all.count)
    #expect(GenericKind(name: "NoSuchOperator") == nil)
  }
}
