// dinoctl index IMAGE…: which of the images are in the bank already, and rows of the others.

internal import Dino
internal import DinoTasks

/// What there is to do for a bank to have rows of these images as they are now. Rows are in rising order.
struct ImagesBesideBank {
  /// Different files among the images.
  private(set) var count = 0
  private(set) var fresh: [ClassedInput] = []
  private(set) var found: [(input: ClassedInput, row: Int)] = []
  /// Those of `found` whose file has changed since, and those that have another class now.
  private(set) var changed: [(input: ClassedInput, row: Int)] = []
  private(set) var reclassed: [(input: ClassedInput, row: Int)] = []
  /// Both, each once; where they have no class by their path now, with the one that the row has.
  private(set) var stale: [(input: ClassedInput, row: Int)] = []
  /// Rows whose files are gone from the folders, archives and lists that are named.
  private(set) var gone: [Int] = []
  /// Images that cannot be looked into just now, such as links to a disk that is not there.
  private(set) var outOfReach: [ImageInput] = []
  /// Rows of such files, and of what is below such folders: whether it is gone nobody knows.
  private(set) var kept: [Int] = []
  /// Where they begin.
  private(set) var blocked: [String] = []
  /// Rows that stand for one of the images beside its row in `found`: of links that lead to one folder now, and of banks that were made before it was kept where names lead from.
  private(set) var doubled: [Int] = []
  /// Rows elsewhere whose folders are not there and, where something is to be added, which takes longer than looking for them, those whose files are not.
  private(set) var lost: [Int] = []

  /// - Parameter named: what the images were found in.
  init(_ inputs: [ClassedInput], named: [String], _ bank: FeatureBank) {
    var places = FilePlaces(), known: [FilePlaces.Place: [Int]] = [:], seen: Set<FilePlaces.Place> = [], below = RowsBelow(named), reach = FileReach()
    for row in bank.liveRows where bank.isOfFile(row) { known[places.place(bank.path(row)), default: []].append(row) }
    for input in inputs {
      var path = input.input.name, place = places.place(path)
      for other in input.input.alternatives where known[place] == nil {
        let its = places.place(other)
        if known[its] != nil { (path, place) = (other, its) }
      }
      guard seen.insert(place).inserted else { continue }
      func isChanged(_ row: Int) -> Bool {
        // A stamp is of the name too.
        var then = input.input
        then.name = bank.name(row)
        return bank.stamp(row).map { $0 != then.stamp.contents } ?? false
      }
      let rows = known[place] ?? [], unchanged = rows.filter { !isChanged($0) }
      // What has the stamp of its row is there.
      if input.input.path != nil, !unchanged.contains(where: { bank.stamp($0) != nil }) {
        switch reach.state(path) {
        case .gone where !rows.isEmpty:
          gone += rows
          continue
        case .outOfReach(let place):
          outOfReach.append(input.input)
          keep(rows, place)
          continue
        default: break
        }
      }
      // Of several rows whose names lead to the file that one is of it which has its stamp, and rather one of which it is known where it leads from.
      guard let row = unchanged.last(where: { !bank.lacksBase($0) }) ?? unchanged.last ?? rows.last else {
        fresh.append(input)
        continue
      }
      doubled += rows.filter { $0 != row && bank.areOfOneFile($0, row) }
      found.append((input, row))
      let stored = bank.label(row).map { bank.classes[$0] }, isOther = !unchanged.contains(row)
      // Named by itself, a class's folder says no class; what is known stays.
      let hasOtherClass = input.className.map { ClassName($0) != stored.map(ClassName.init) } ?? false
      if isOther { changed.append((input, row)) }
      if hasOtherClass { reclassed.append((input, row)) }
      if isOther || hasOtherClass { stale.append((ClassedInput(input: input.input, className: input.className ?? stored), row)) }
    }
    count = seen.count
    let namedPlaces = Set(named.flatMap { [places.place($0), places.folder($0)] })
    for row in known.filter({ !seen.contains($0.key) }).flatMap(\.value).sorted() {
      let path = bank.path(row), isBelow = below.contains(path), looksAtFile = isBelow || !fresh.isEmpty
      switch looksAtFile ? reach.state(path) : reach.folderState(path) {
      case .there: continue
      // What is in an archive is known where that was looked into: a folder's archives are not.
      case .inside(let archive) where !namedPlaces.contains(places.place(archive)): continue
      case .outOfReach(let place): if isBelow { keep([row], place) }
      // Rows that came as numbers may be of no file at all.
      case .inside, .gone: if isBelow { gone.append(row) } else if bank.stamp(row) != nil { lost.append(row) }
      }
    }
    gone.sort()
  }

  private mutating func keep(_ rows: [Int], _ place: String) {
    kept += rows
    if !rows.isEmpty, blocked.last?.utf8.elementsEqual(place.utf8) != true { blocked.append(place) }
  }

  /// Says which images are passed over, and where that keeps what they are no more.
  func tell(_ bank: FeatureBank, updates: Bool) {
    let passedOver = found.count - (updates ? stale.count : 0)
    if passedOver > 0 {
      let elsewhere = found.count { rowKey($0.input.input.name) != rowKey(bank.path($0.row)) }
      Terminal.note("\(passedOver) of \(count) inputs are in the bank already\(elsewhere > 0 ? ", \(elsewhere) of them by another path to the same file, which their rows keep" : "")")
    }
    func name(_ row: Int) -> String { printable(bank.path(row)) }
    if let first = lost.first { Terminal.note("\(lost.count) rows elsewhere lead to no file, the first \(name(first)); --remove takes rows of what is gone, or of a folder that has another name now, away") }
    if let first = doubled.first {
      Terminal.note("\(doubled.count) rows are of files that have another row too, the first \(name(first)); \(updates ? "they are removed" : "--update removes them")")
    }
    if let first = blocked.first {
      let isOne = blocked.count == 1, place = printable(first)
      Terminal.note("\(kept.count) rows of \(place)\(isOne ? "" : " and other places"), which cannot be looked into, are kept; --remove \(isOne ? place : "PLACE") takes them away")
    }
    if updates {
      if !stale.isEmpty { Terminal.note("\(stale.count) rows of files that have changed, or have another class now, are made anew, the first \(name(stale[0].row))") }
      if let first = gone.first { Terminal.note("\(gone.count) rows whose files are gone will be removed, the first \(name(first))") }
      return
    }
    if let first = changed.first {
      Terminal.note("\(changed.count) of them have changed since (size or time), the first \(name(first.row)): their rows are of what they were; --update makes them anew")
    }
    if let first = reclassed.first {
      func said(_ name: String?) -> String { name.map { "class \($0)" } ?? "no class" }
      let stored = bank.label(first.row).map { bank.classes[$0] }
      Terminal.note("\(reclassed.count) of them keep another class than they would have now, the first \(name(first.row)): \(said(stored)) in the bank, \(said(first.input.className)) now; --update changes that")
    }
    if let first = gone.first { Terminal.note("the bank has \(gone.count) rows whose files are gone, the first \(name(first)); --update removes them") }
  }
}

extension Index {
  func addImages(_ inputs: [ClassedInput], _ maker: FeatureMaker, _ writer: BankWriter, _ changes: Changes, _ skipped: inout SkippedInputs) throws {
    let bank = try FeatureBank(path: output)
    if bank.rowCount > 0 { try bank.check(maker.record(), name: output) }
    let beside = ImagesBesideBank(inputs, named: self.inputs, bank)
    beside.tell(bank, updates: update)
    let stale = update ? beside.stale : [], fresh = beside.fresh + stale.map(\.input)
    changes.passedOver = beside.found.count - stale.count
    for input in beside.outOfReach { if case .failure(let reason) = maker.preparer.prepareOrExplain(input) { try skipped.add(input.name, reason.message, strict: reading.strict) } }
    let unknown = beside.found.map(\.row).filter { bank.lacksBase($0) }
    if !unknown.isEmpty { try Interruption.shielded { try writer.keepThatNamesLeadFromHere(unknown) } }
    let unclassed = fresh.filter { $0.className == nil }
    if let first = unclassed.first {
      Terminal.note("\(unclassed.count) of the new images have no class, the first \(first.input.name); knn and linear need one: the class is the first folder below the one that is named")
    }
    // From before they are read.
    let stamps = fresh.map(\.input.stamp.contents)
    writer.namesArePaths = true
    var progress = ProgressBar(total: fresh.count, unit: "images"), lastSaved = Terminal.now()
    try maker.forEach(fresh.map(\.input), strict: reading.strict, skipped: &skipped, progress: &progress) { index, row in
      // A minute's work at most is lost when the process is killed.
      try Interruption.shielded {
        let old = index < beside.fresh.count ? nil : stale[index - beside.fresh.count].row
        try writer.append(row, path: fresh[index].input.name, label: fresh[index].className, stamp: stamps[index], replacing: old)
        if old != nil { changes.removed += 1 }
        if Terminal.now() - lastSaved > 60 {
          try writer.flush()
          lastSaved = Terminal.now()
        }
        changes.added += 1
      }
    }
    try Interruption.shielded {
      try writer.flush()
      // Last, so that nothing is removed where adding fails. A changed file that could not be read keeps its row.
      if update { changes.removed += try writer.remove(rows: Set(beside.gone).union(beside.doubled).sorted()) }
    }
    progress.finish()
    if changes.added == 0 && changes.passedOver == 0 && !(fresh.isEmpty && beside.outOfReach.isEmpty) { throw Failure(.data, "none of the \(beside.count) inputs could be read") }
  }
}
