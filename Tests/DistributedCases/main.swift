import MPI

// One case on all ranks of a job: `mpirun -n P DistributedCases CASE`. Ends with 0 only if every rank found what it expected.

/// The case of a name; each runs on any number of ranks.
func distributedCase(_ name: String) -> ((Communicator) throws -> Void)? {
  let cases: [String: (Communicator) throws -> Void] = [
    "blocking": blockingCollectives,
    "small": smallMessages,
    "pending": pendingCollectives,
    "errors": errors,
    "agree": agreement,
    "dropped": droppedCollective,
    "abort": abortFromLastRank,
    "reducer": reducer,
    "reducer-unordered": unorderedReducer,
    "gradients": gradients,
    "half-gradients": halfGradients,
    "many-steps": manySteps,
    "abandoned": abandonedReducer,
    "background": gradientsInTheBackground,
    "exchange-rates": exchangeRates,
    "splits": splits,
    "window": sharedWindow,
    "window-in-use": windowInUse,
    "statistics-single": { try statistics(Float.self, $0) },
    "statistics-double": { try statistics(Double.self, $0) },
    "values": shardValues,
    "failing": { try expect([$0.rank], equals: [$0.rank == $0.size - 1 ? -1 : $0.rank], "must fail on the last rank") },
  ]
  return cases[name]
}

/// `MPIEnvironment` cannot live at the top level, where nothing is ever destroyed.
func run() throws {
  let environment = try MPIEnvironment()
  let world = environment.world
  let name = CommandLine.arguments.last ?? ""
  guard let body = distributedCase(name) else { stop(world, "no case named \(name)", code: 64) }
  do { try body(world) } catch { stop(world, "case \(name), rank \(world.rank) of \(world.size): \(error)", code: 1) }
  try environment.finalize()
  if world.rank == 0 { print("\(name) passed on \(world.size)") }
}

func stop(_ world: Communicator, _ message: String, code: Int32) -> Never {
  print(message)
  world.abort(code: code)
}

try run()
