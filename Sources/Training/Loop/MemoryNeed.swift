import Glibc
import MPI
import NeuralNetwork
import Tensors

/// The memory that training takes on one rank beside what the rank has already, in bytes by what it is for.
///
/// It is counted by the initialisers that allocate it, before any of it is allocated.
struct MemoryNeed {
  private(set) var parts: [(name: String, bytes: Int)] = []

  var total: Int { parts.reduce(0) { saturated($0.addingReportingOverflow($1.bytes)) } }

  /// The largest parts in words, the largest first.
  var largest: String {
    parts.sorted { $0.bytes > $1.bytes }.prefix(3).map { "\($0.name) \(size($0.bytes))" }.joined(separator: ", ")
  }

  /// - validation, test: what a run evaluates, and a benchmark does not.
  init(
    _ configuration: TrainingConfiguration, _ context: RankContext, data: any TrainingData, validation: (any EvaluationData)? = nil,
    test: (any EvaluationData)? = nil
  ) {
    let optimizer = configuration.optimizer, accumulateSteps = configuration.training.accumulateSteps
    let ownStatistics = configuration.evaluation.statistics == .batch && data.network.usesBatchStatistics
    // The plan goes on with a model that has addresses and no memory.
    var planned: SequenceModel<Float>?
    let parameters = MemoryPlan.bytes { planned = SequenceModel(data.network) }
    guard let model = planned else { return }
    let moments = MemoryPlan.bytes {
      _ = Optimizer<Float>(
        optimizer.method, momentum: optimizer.momentum, decayRate: optimizer.decayRate, epsilon: optimizer.epsilon,
        configuration: model.configuration, layout: model.layout)
    }
    let tokens = configuration.training.batchSize * configuration.training.unrollSteps * accumulateSteps
    let width = model.layout.embedding.lowerBound + model.embeddingGradientRows(tokens: tokens) * model.configuration.embeddingSize
    let vectors = ShardGradients.vectors(model, context, accumulateSteps: accumulateSteps)
    add("parameters", parameters)
    add("optimizer", moments)
    var averaged = 0
    if validation != nil, let average = configuration.evaluation.average {
      averaged = MemoryPlan.bytes { _ = WeightAverage(average, layout: model.layout) }
      add("averaged weights", averaged)
    }
    add("gradients", saturated((width * MemoryLayout<Float>.size).multipliedReportingOverflow(by: vectors)))
    add("activations of training", MemoryPlan.bytes { _ = ModelWorkspace(model, data.capacity, training: true) })
    for (name, evaluated) in [("validation", validation), ("test", test)] {
      guard let evaluated else { continue }
      add("activations of \(name)", MemoryPlan.bytes {
        _ = ModelWorkspace(model, evaluated.capacity, training: false, batchStatistics: ownStatistics)
      })
    }
    // Checkpoints are written while training goes on.
    if context.isFirst && validation != nil { add("copy for checkpoints", saturated(parameters.addingReportingOverflow(moments + averaged))) }
  }

  /// Address space that a process takes beside what is counted: buffers of files, messages of MPI, and stacks and heaps of threads, of which the
  /// C library reserves 64 MiB for a thread.
  private static var besideTensors: Int { 128 << 20 }

  private mutating func add(_ name: String, _ bytes: Int) { parts.append((name, bytes)) }

  /// Refuses more classes than the weights of the output layer find room for, before their labels are counted.
  /// - Throws: `UsageError`, on every rank.
  static func checkClasses(_ configuration: TrainingConfiguration, _ world: Communicator) throws {
    let model = configuration.model, classes = configuration.data.classes
    let bytes = classes * model.hiddenSize * (model.bidirectional ? 2 : 1) * MemoryLayout<Float>.size
    try world.agree {
      guard let room = MemoryRoom.ofHost, bytes > room.bytes else { return }
      throw UsageError(
        description: "data.classes: \(classes) classes need \(size(bytes)) for the weights of the output layer alone, and \(size(room.bytes)) are free \(room.place)")
    }
  }

  /// Refuses a run that does not fit into the memory of a host of its ranks. All ranks call it together.
  /// - Returns: what the ranks of each host need together and what it has, in words.
  /// - Throws: `UsageError`, on every rank.
  func check(_ world: Communicator) throws -> [String] {
    let hosts = try world.allGather(bytes: Array(world.hostName.utf8)).map { String(decoding: $0, as: UTF8.self) }
    let needs: [Int] = try world.allGather(total)
    let mine = hosts.indices.filter { hosts[$0] == world.hostName }
    let together = mine.reduce(0) { saturated($0.addingReportingOverflow(needs[$1])) }
    let words = "\(mine.count == 1 ? "one rank needs" : "\(mine.count) ranks need") \(size(together))"
    var report = ""
    try world.agree {
      let room = MemoryRoom.ofHost
      if let room { report = "host \(world.hostName): \(words), \(size(room.bytes)) are free \(room.place)" }
      if let room, together > room.bytes {
        throw UsageError(
          description: "not enough memory on \(world.hostName): \(words), and \(size(room.bytes)) are free \(room.place); "
            + "the largest parts of a rank: \(largest)")
      }
      if let room = MemoryRoom.ofProcess, saturated(total.addingReportingOverflow(Self.besideTensors)) > room.bytes {
        throw UsageError(
          description: "not enough memory for rank \(world.rank): it needs \(size(total)) and \(size(Self.besideTensors)) for threads, files and "
            + "messages, and \(size(room.bytes)) are free \(room.place); the largest parts: \(largest)")
      }
    }
    return try world.allGather(bytes: Array(report.utf8)).enumerated().filter { rank, _ in hosts.firstIndex(of: hosts[rank]) == rank }
      .map { String(decoding: $1, as: UTF8.self) }
  }
}

/// What is left of the memory that a process may take.
struct MemoryRoom {
  var bytes: Int
  /// Of what, in words.
  var place: String

  /// What all processes on this host, and of this one's control group, may take together; nil where the system does not say.
  static var ofHost: MemoryRoom? { ([host] + groups).compactMap { $0 }.min { $0.bytes < $1.bytes } }

  /// What this process may take; nil without a limit.
  static var ofProcess: MemoryRoom? {
    var limit = rlimit()
    guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < rlim_t(Int.max) else { return nil }
    let pages = systemText("/proc/self/statm")?.split(separator: " ").first.flatMap { Int($0) } ?? 0
    return MemoryRoom(bytes: max(0, Int(limit.rlim_cur) - pages * Int(sysconf(Int32(_SC_PAGESIZE)))), place: "by its limit (ulimit -v)")
  }

  private static var host: MemoryRoom? {
    guard let lines = systemText("/proc/meminfo")?.split(separator: "\n") else { return nil }
    func kilobytes(_ key: String) -> Int? {
      lines.first { $0.hasPrefix(key + ":") }?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
    }
    guard let available = kilobytes("MemAvailable") else { return nil }
    return MemoryRoom(bytes: (available + (kilobytes("SwapFree") ?? 0)) << 10, place: "there")
  }

  /// Control groups of this process that have a limit, from its own to the outermost.
  private static var groups: [MemoryRoom] {
    guard let lines = systemText("/proc/self/cgroup")?.split(separator: "\n") else { return [] }
    return lines.flatMap { line -> [MemoryRoom] in
      // NUMBER:CONTROLLERS:PATH; without controllers in version 2.
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { return [] }
      let isUnified = fields[1].isEmpty
      guard isUnified || fields[1].split(separator: ",").contains("memory") else { return [] }
      let root = isUnified ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory"
      let names = fields[2].split(separator: "/")
      return (0...names.count).compactMap { count in
        room(root + names.prefix(count).map { "/\($0)" }.joined(), isUnified ? ("memory.max", "memory.current") : ("memory.limit_in_bytes", "memory.usage_in_bytes"))
      }
    }
  }

  private static func room(_ folder: String, _ files: (limit: String, usage: String)) -> MemoryRoom? {
    func number(_ file: String) -> Int? { systemText("\(folder)/\(file)").flatMap { Int($0.trimmingWhitespace) } }
    // "max" is no limit.
    guard let limit = number(files.limit), let usage = number(files.usage), limit < Int.max / 2 else { return nil }
    // Files that the system keeps at hand give way.
    let kept = (systemText("\(folder)/memory.stat")?.split(separator: "\n") ?? []).reduce(0) { sum, line in
      let fields = line.split(separator: " ")
      return fields.count == 2 && ["inactive_file", "active_file"].contains(fields[0]) ? sum + (Int(fields[1]) ?? 0) : sum
    }
    return MemoryRoom(bytes: max(0, limit - max(0, usage - kept)), place: "in its control group (\(size(limit)))")
  }
}

extension String {
  fileprivate var trimmingWhitespace: Substring { split(whereSeparator: \.isWhitespace).first ?? "" }
}

/// A result, or the largest integer where there is none.
private func saturated(_ result: (partialValue: Int, overflow: Bool)) -> Int { result.overflow ? .max : result.partialValue }

/// Bytes in words.
func size(_ bytes: Int) -> String {
  let mebibytes = Double(bytes) / 1_048_576
  return mebibytes < 1024 ? "\(fixed(mebibytes, mebibytes < 10 ? 1 : 0)) MiB" : "\(fixed(mebibytes / 1024, 1)) GiB"
}
