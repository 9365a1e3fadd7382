import SequenceData

/// `lockstep inspect`: what a configuration, tensor file, Kaldi archive, checkpoint or run holds.
/// - Throws: what is wrong with the file, or that it is none of these.
public func inspect(_ path: String, console: Console) throws {
  let system = FileSystem()
  guard let kind = try system.kind(path, followingLinks: true) else {
    throw UsageError(description: "\(path): no such file or directory\(remark(onPath: path))")
  }
  if kind == .directory {
    let isCheckpoint = try system.kind("\(path)/\(CheckpointLayout.state)", followingLinks: true) != nil
    let isRun = try RunDirectory(path: path).holdsRun()
    if isCheckpoint { return try inspectCheckpoint(path, console) }
    if isRun { return try inspectRun(path, console) }
    throw UsageError(description: "\(path): a directory that is neither a checkpoint nor a run")
  }
  if path.hasSuffix(".safetensors") { return try inspectTensors(path, console) }
  if path.hasSuffix(".yaml") || path.hasSuffix(".yml") {
    let configuration = try TrainingConfiguration.load(path: path, overrides: [])
    return console.printRaw(configuration.yaml())
  }
  if path.hasSuffix(".ark") || path.hasSuffix(".scp") { return try inspectArchive(path, console) }
  throw UsageError(
    description: "\(path): not a file that inspect knows; it reads configurations (.yaml), tensors (.safetensors), Kaldi archives and indices "
      + "(.ark, .scp), checkpoints and runs")
}

private func inspectArchive(_ path: String, _ console: Console) throws {
  let table: KaldiTable
  do throws(KaldiError) {
    table = try KaldiTable(path: path, content: .matrices)
  } catch {
    let asMatrices = error
    do throws(KaldiError) {
      table = try KaldiTable(path: path, content: .integers)
    } catch {
      throw error.isCloser(than: asMatrices) ? error : asMatrices
    }
  }
  switch table.content {
  case .matrices: try inspectMatrices(table, console)
  case .integers: try inspectLabels(table, console)
  }
}

extension KaldiError {
  /// Where objects were found that are of no use, and not damage to what they should be.
  private var misfit: Int? {
    guard case .entry(_, _, let offset, let problem) = self else { return nil }
    switch problem {
    case .unrecognized, .wrongType, .wrongSize, .unexpected: return offset
    default: return nil
    }
  }

  /// Whether an archive that is damaged is more likely what this error takes it for than what `other` does.
  fileprivate func isCloser(than other: KaldiError) -> Bool {
    guard let otherMisfit = other.misfit else { return false }
    return misfit.map { $0 > otherMisfit } ?? true
  }
}

private func inspectMatrices(_ table: KaldiTable, _ console: Console) throws {
  let rows = table.entries.map(\.rows).sorted(), columns = Set(table.entries.map(\.columns)).sorted()
  console.print("\(table.entries.count) matrices, \(rows.reduce(0, +)) rows, \(lengths(rows)), \(formats(table))")
  console.print("columns \(columns.map { "\($0)" }.joined(separator: ", "))")
  let reader = KaldiReader(table)
  var values: [Float] = [], least = Float.infinity, greatest = -Float.infinity
  for (number, entry) in table.entries.enumerated() {
    values = Array(repeating: 0, count: entry.rows * entry.columns)
    var span = values.mutableSpan
    try reader.readMatrix(number, into: &span)
    for value in values {
      least = min(least, value)
      greatest = max(greatest, value)
    }
  }
  if least <= greatest { console.print("values from \(least) to \(greatest), all finite") }
  try printFiles(table, console)
}

private func inspectLabels(_ table: KaldiTable, _ console: Console) throws {
  let rows = table.entries.map(\.rows).sorted(), reader = KaldiReader(table)
  console.print("\(table.entries.count) vectors of integers, \(rows.reduce(0, +)) labels, \(lengths(rows)), \(formats(table))")
  var labels: [Int32] = [], seen: Set<Int32> = []
  for (number, entry) in table.entries.enumerated() {
    labels = Array(repeating: 0, count: entry.rows)
    var span = labels.mutableSpan
    try reader.readIntegers(number, into: &span)
    seen.formUnion(labels)
  }
  if let least = seen.min(), let greatest = seen.max() { console.print("\(seen.count) labels from \(least) to \(greatest)") }
  try printFiles(table, console)
}

private func lengths(_ sorted: [Int]) -> String {
  guard let least = sorted.first, let greatest = sorted.last else { return "none" }
  return "\(least) to \(greatest) each, median \(sorted[sorted.count / 2])"
}

private func formats(_ table: KaldiTable) -> String {
  "format \(Set(table.entries.map(\.formatName)).sorted().joined(separator: ", "))"
}

private func printFiles(_ table: KaldiTable, _ console: Console) throws {
  for file in table.files { console.print("\(file)  checksum \(try Checksum(ofFile: file))") }
}

private func inspectTensors(_ path: String, _ console: Console) throws {
  let file = try SafetensorsFile(path)
  var total = 0
  for tensor in file.tensors {
    console.print("\(tensor.name)  \(tensor.elementType.rawValue) \(tensor.shape)")
    total += tensor.count
  }
  console.print("\(file.tensors.count) tensors, \(total) values, checksum \(try Checksum(ofFile: path))")
}

private func inspectCheckpoint(_ path: String, _ console: Console) throws {
  let checkpoint = try Checkpoint(verifying: path), state = checkpoint.state
  console.print("checkpoint of step \(state.step), epoch \(state.epoch), minibatch \(state.position); every checksum is right")
  console.print("written by Lockstep \(state.programVersion); \(state.shards) shards, seed \(state.seed), \(state.frames) frames trained on")
  if let validation = state.validation {
    // A checkpoint of a program that knows other keys is shown, too.
    let measure = (try? state.trainingConfiguration)?.task.definition.measure
    let words = measure.flatMap { measure in measure.value(ofLoss: validation.loss).map { ", \(measure.name) \($0)" } } ?? ""
    console.print("validation loss \(validation.loss)\(words); best \(validation.bestLoss) at step \(validation.bestStep)")
  }
  console.print("statistics for evaluation: \(state.statistics.rawValue)")
  for (name, record) in state.files.sorted(by: { $0.key < $1.key }) {
    console.print("\(name)  \(record.bytes) bytes, checksum \(record.checksum)")
  }
  for name in [CheckpointLayout.model, CheckpointLayout.training] { try inspectTensors("\(path)/\(name)", console) }
}

private func inspectRun(_ path: String, _ console: Console) throws {
  let directory = RunDirectory(path: path)
  if try FileSystem().kind(directory.metricsPath, followingLinks: true) != nil {
    var reader = try MetricsReader(path: directory.metricsPath)
    var counts: [String: Int] = [:], last: [String: MetricsEvent] = [:]
    while let event = try reader.next() {
      counts[event.kind, default: 0] += 1
      last[event.kind] = event
    }
    for (kind, count) in counts.sorted(by: { $0.key < $1.key }) {
      console.print("\(count) × \(kind), the last: \(last[kind]?.line ?? "")")
    }
  }
  for step in try directory.store.steps() {
    do throws(CheckpointError) {
      _ = try Checkpoint(verifying: directory.store.path(step: step))
      console.print("checkpoint \(step): whole")
    } catch {
      console.print("checkpoint \(step): \(error)")
    }
  }
  if let latest = try directory.store.latestStep() { console.print("latest: step \(latest)") }
  if let best = try directory.store.bestStep() { console.print("best: step \(best)") }
}
