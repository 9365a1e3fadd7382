/// What is wrong with a Kaldi archive or index, or with a pair of them.
///
/// Byte offsets, rows and columns count from 0, lines from 1. The description is one line.
public enum KaldiError: Error, Equatable, Sendable {
  /// The file is missing or may not be read; `reason` is the system's.
  case cannotOpen(file: String, reason: String)
  /// A directory, pipe or device: archives are read at any place, and more than once.
  case notARegularFile(file: String, found: String)
  /// Reading failed in the middle of the file; `reason` is the system's.
  case cannotRead(file: String, offset: Int, reason: String)
  /// Writing failed; `reason` is the system's.
  case cannotWrite(file: String, reason: String)
  /// Packed by gzip, and it cannot be unpacked.
  case cannotUnpack(file: String, reason: String)
  /// A command before `|` that failed; `ending` says how, `message` is the last line of its standard error.
  case command(String, ending: String, message: String)
  /// A path that is `-`, or a command behind `|`.
  case stream(path: String)
  /// A command before `|`, where none may be run.
  case commandNotAllowed(path: String)
  /// A prefix with options, as `ark,t:`, where only `ark:` and `scp:` are read.
  case options(path: String)
  /// A name under which no archive can be written.
  case outputPath(path: String, problem: String)
  /// A character that looks like a space or like nothing, in words, where a key, a path or a number stands; columns count from 1, in scalars.
  case invisible(file: String, line: Int, column: Int, character: String)
  /// A line of an index.
  case indexLine(file: String, line: Int, problem: IndexProblem)
  /// The key that begins at `offset`, or has no place in a file yet.
  case key(file: String, offset: Int?, problem: KeyProblem)
  /// The entry of a key; `offset` is where the fault is.
  case entry(file: String, key: String, offset: Int, problem: EntryProblem)
  /// An infinity or what is not a number, as stored or as it becomes in single precision.
  case notFinite(file: String, key: String, row: Int, column: Int)
  /// Bytes that are no table as `KaldiTable.serialized()` writes it.
  case invalidTable(reason: String)

  /// A key twice in what should hold each utterance once. Positions count entries from 0.
  case duplicateKey(file: String, key: String, first: Int, second: Int)
  /// Utterances without labels, frames or features, or of other lengths than their labels; `others` can be used.
  case unusable(UnusableUtterances, others: Int)
  /// A matrix with another number of columns than the first one.
  case widthsDiffer(file: String, key: String, columns: Int, firstKey: String, firstColumns: Int)
  /// Features that are empty, and labels too, where there are any.
  case noUtterances(features: String, labels: String?)
}

extension KaldiError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .cannotOpen(let file, let reason):
      "\(file): cannot be opened: \(reason)\(remark(onPath: file))"
    case .notARegularFile(let file, let found):
      "\(file): is a \(found), expected a regular file"
    case .cannotRead(let file, let offset, let reason):
      "\(file): reading failed at byte \(offset): \(reason)"
    case .cannotWrite(let file, let reason):
      "\(file): writing failed: \(reason)"
    case .cannotUnpack(let file, let reason):
      "\(file): is packed by gzip and cannot be unpacked: \(reason)"
    case .command(let command, let ending, let message):
      "\(command.debugDescription): the command \(ending)\(message.isEmpty ? "" : ": \(message)")"
    case .stream(let path):
      "\(path): is standard input or an output pipe, expected a file, or a command before | with data.allow_commands: true"
    case .commandNotAllowed(let path):
      "\(path): is a command, expected a file, or data.allow_commands: true, with which commands are run"
    case .options(let path):
      "\(path): options before the path are not read, expected PATH, ark:PATH or scp:PATH"
    case .outputPath(let path, let problem):
      "\(path.debugDescription): \(problem), expected a name such as x.ark"
    case .invisible(let file, let line, let column, let character):
      "\(file):\(line): \(character) in column \(column), expected spaces of ASCII and no byte-order mark"
    case .indexLine(let file, let line, let problem):
      "\(file):\(line): \(problem)"
    case .key(let file, let offset?, let problem):
      "\(file): key at byte \(offset): \(problem)"
    case .key(let file, nil, let problem):
      "\(file): key: \(problem)"
    case .entry(let file, let key, let offset, let problem):
      "\(file): \(key.debugDescription) at byte \(offset): \(problem)"
    case .notFinite(let file, let key, let row, let column):
      "\(file): \(key.debugDescription): the value in row \(row), column \(column) (from 0) is not a finite number in single precision"
    case .invalidTable(let reason):
      "table of a Kaldi archive: \(reason)"
    case .duplicateKey(let file, let key, let first, let second):
      "\(file): \(key.debugDescription) is there twice, as entries \(first) and \(second) (from 0), expected each utterance once"
    case .unusable(let utterances, let others):
      "\(utterances); " + (others > 0 ? "data.on_unusable: skip goes on with the other \(others)" : "no utterance is left")
    case .widthsDiffer(let file, let key, let columns, let firstKey, let firstColumns):
      "\(file): \(key.debugDescription) has \(columns) columns, but \(firstKey.debugDescription) has \(firstColumns), "
        + "expected the same for all"
    case .noUtterances(let features, let labels):
      "\(features): holds no utterance" + (labels.map { ", nor does \($0)" } ?? "")
    }
  }
}
