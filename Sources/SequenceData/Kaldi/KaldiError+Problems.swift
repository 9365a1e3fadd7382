extension KaldiError {
  /// What can be wrong with a key.
  public enum KeyProblem: Error, Equatable, Sendable {
    /// A space where a key should begin, or no key to write.
    case empty
    case tooLong(limit: Int)
    case notUTF8(bytes: [UInt8])
    /// A control character or white space, where a key ends with one space.
    case unexpected(byte: UInt8)
    /// The file ends in the key or behind it.
    case cutOff
  }

  /// What can be wrong with a line of an index, which should be `KEY PATH:OFFSET` or `KEY PATH`.
  public enum IndexProblem: Error, Equatable, Sendable {
    case key(KeyProblem)
    case noPath(key: String)
    /// A command behind `|`, or `-`.
    case stream(path: String)
    /// A command before `|`, where none may be run.
    case commandNotAllowed(path: String)
    /// A command that failed; `ending` says how, `message` is the last line of its standard error.
    case command(String, ending: String, message: String)
    /// Rows or columns picked in brackets, as `x.ark:5[0:9]`.
    case range(path: String)
    /// An offset that no file can have.
    case offset(path: String)
    case notUTF8
    /// A NUL byte, as in an archive that is named like an index.
    case binary
    case tooLong(limit: Int)
  }

  /// What can be wrong with the matrix or vector of one key.
  public enum EntryProblem: Equatable, Sendable {
    /// Neither the bytes 00 42 of binary objects nor the beginning of a text object.
    case unrecognized(found: [UInt8], expected: KaldiTable.Content)
    /// An object of another type, in words.
    case wrongType(found: String, expected: KaldiTable.Content)
    /// The size of an integer that follows, which is 4 bytes everywhere in these formats.
    case wrongSize(found: UInt8)
    /// Negative, or rows without columns, or columns without rows, or more than a file can hold.
    case dimensions(rows: Int, columns: Int)
    /// The object takes at least `needed` bytes from its start, and the file has `found` of them.
    case truncated(needed: Int, found: Int)
    /// The file ends in the middle of a text object.
    case unfinished(expected: String)
    /// A byte that has no place in a text object.
    case unexpected(byte: UInt8, expected: String)
    case notANumber(text: String, expected: String)
    case numberTooLong(limit: Int)
    /// A row of a text matrix with another number of values than the first.
    case raggedRow(row: Int, columns: Int, firstColumns: Int)
    /// Not the object that stood there when the file was indexed.
    case changed
  }
}

extension KaldiError.KeyProblem: CustomStringConvertible {
  public var description: String {
    switch self {
    case .empty: "is empty, expected a name before a space"
    case .tooLong(let limit): "has more than \(limit) bytes: not an archive or index of Kaldi"
    case .notUTF8(let bytes): "is not UTF-8: \(bytes.hexadecimal)"
    case .unexpected(let byte): "holds the byte \([byte].hexadecimal), expected a name before a space"
    case .cutOff: "the file ends before an entry"
    }
  }
}

extension KaldiError.IndexProblem: CustomStringConvertible {
  public var description: String {
    switch self {
    case .key(let problem): "key \(problem)"
    case .noPath(let key): "no path behind \(key.debugDescription), expected KEY PATH:OFFSET"
    case .stream(let path):
      "\(path.debugDescription) is standard input or an output pipe, expected PATH:OFFSET, or a command before | with data.allow_commands: true"
    case .commandNotAllowed(let path):
      "\(path.debugDescription) is a command, expected PATH:OFFSET, or data.allow_commands: true, with which commands are run"
    case .command(let command, let ending, let message):
      "\(command.debugDescription): the command \(ending)\(message.isEmpty ? "" : ": \(message)")"
    case .range(let path):
      "\(path.debugDescription) picks rows or columns, expected PATH:OFFSET: write the part to an archive of its own first"
    case .offset(let path): "\(path.debugDescription) has an offset that no file can have"
    case .notUTF8: "is not UTF-8"
    case .binary: "holds a NUL byte: an archive, expected an index (lines of KEY PATH:OFFSET)"
    case .tooLong(let limit): "has more than \(limit) bytes, expected KEY PATH:OFFSET"
    }
  }
}

extension KaldiError.EntryProblem: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unrecognized(let found, let expected):
      "expected \(expected.description), found \(found.hexadecimal): neither binary (00 42) nor text"
    case .wrongType(let found, let expected): "is \(found), expected \(expected.description)"
    case .wrongSize(let found): "an integer of \(found) bytes, expected 4"
    case .dimensions(let rows, let columns): "\(rows) rows and \(columns) columns cannot be"
    case .truncated(let needed, let found): "takes at least \(needed) bytes, but the file ends after \(found) of them"
    case .unfinished(let expected): "the file ends, expected \(expected)"
    case .unexpected(let byte, let expected): "found the byte \([byte].hexadecimal), expected \(expected)"
    case .notANumber(let text, let expected): "\(text.debugDescription) is not \(expected)"
    case .numberTooLong(let limit): "a number of more than \(limit) characters"
    case .raggedRow(let row, let columns, let firstColumns):
      "row \(row) (from 0) has \(columns) values, but the first has \(firstColumns)"
    case .changed: "is not what it was when the file was indexed: it changed in between, or hosts have different files"
    }
  }
}
