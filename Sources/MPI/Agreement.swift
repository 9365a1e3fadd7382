import Tensors

/// An error that carries the exit code with which the program should end.
public protocol ExitCodeError: Error {
  /// Exit code, not 0.
  var exitCode: Int32 { get }
  /// Whether a command cannot be carried out as it was given, so that its help is of use.
  var isOfUsage: Bool { get }
}

extension ExitCodeError {
  public var isOfUsage: Bool { false }
}

/// The failure of one rank, thrown alike on every rank.
public struct RemoteFailure: ExitCodeError, CustomStringConvertible, Equatable {
  /// The lowest rank that failed.
  public let rank: Int
  /// Exit code of its error; 70, a fault of the program, for errors that carry none.
  public let code: Int32
  /// Its error in words.
  public let message: String
  public let isOfUsage: Bool

  /// The failure of `rank`, with its exit code and its error in words.
  public init(rank: Int, code: Int32, message: String, isOfUsage: Bool = false) {
    self.rank = rank
    self.code = code
    self.message = message
    self.isOfUsage = isOfUsage
  }

  public var exitCode: Int32 { code }
  public var description: String { message }
}

extension Communicator {
  /// Runs `body` on every rank and returns only when it succeeded on all of them.
  ///
  /// `body` must not communicate with other ranks: a rank that fails early would leave them waiting.
  /// - Throws: on every rank the same `RemoteFailure`, of the lowest rank whose `body` threw; `MPIError` when the exchange fails.
  public func agree<T>(_ body: () throws -> T) throws -> T {
    let result = Result(catching: body)
    var failure: RemoteFailure?
    if case .failure(let error) = result {
      failure = error as? RemoteFailure
        ?? RemoteFailure(
          rank: rank, code: (error as? any ExitCodeError)?.exitCode ?? 70, message: String(describing: error),
          isOfUsage: (error as? any ExitCodeError)?.isOfUsage ?? false)
    }
    outcome[0] = failure == nil ? 0 : 1
    try allGather(outcome, into: outcomes)
    guard let first = (0..<size).first(where: { outcomes[$0] != 0 }) else { return try result.get() }
    let header = VectorView<Int64>(zeros: 3)
    if rank == first, let failure {
      header[0] = Int64(failure.rank)
      header[1] = Int64(failure.code)
      header[2] = failure.isOfUsage ? 1 : 0
    }
    try broadcast(header, root: first)
    let message = try broadcast(bytes: failure.map { Array($0.message.utf8) }, root: first)
    throw RemoteFailure(rank: Int(header[0]), code: Int32(header[1]), message: String(decoding: message, as: UTF8.self), isOfUsage: header[2] == 1)
  }
}
