import Foundation
import SequenceData
import Testing

@Suite struct KaldiMatrixWriterTests {
  private func write(_ objects: [KaldiObject], to path: String) throws {
    var writer = try KaldiMatrixWriter(path: path)
    for object in objects {
      let values = object.bits.map(Float.init(bitPattern:))
      try writer.write(key: object.key, rows: object.rows, columns: object.columns, values: values.span)
    }
    try writer.finish()
  }

  /// The very bytes that kaldiio and Kaldi write.
  @Test func asKaldi() throws {
    let directory = try TemporaryDirectory()
    let path = "\(directory.path)/a.ark"
    try write(try KaldiFixtures.expected("kaldi-fm.ark"), to: path)
    #expect(directory.names == ["a.ark", "a.scp"])
    let bytes = Array(try Data(contentsOf: URL(filePath: path)))
    for name in ["kaldiio-fm.ark", "kaldi-fm.ark"] { #expect(try KaldiFixtures.bytes(name) == bytes) }
    let index = try String(contentsOfFile: "\(directory.path)/a.scp", encoding: .utf8)
    let expected = String(decoding: try KaldiFixtures.bytes("kaldi-fm.scp"), as: UTF8.self)
    #expect(index == expected.replacingOccurrences(of: "kaldi-fm.ark", with: path))
  }

  /// What is written is read, through the archive and through the index, over what was there before; some of it is more than
  /// the writer keeps before it writes.
  @Test func roundTrip() throws {
    let directory = try TemporaryDirectory()
    var random = TestRandom(seed: 6)
    let objects = [(0, 0), (1, 1), (700, 400), (3, 5), (1, 300_000)].enumerated().map { number, shape in
      KaldiObject(
        key: "ü\(number)", rows: shape.0, columns: shape.1,
        bits: (0..<shape.0 * shape.1).map { _ in Float.random(in: -9...9, using: &random).bitPattern })
    }
    for (name, index) in [("a.ark", "a.scp"), ("posteriors", "posteriors.scp")] {
      try directory.write("before", to: name)
      try write(objects, to: "\(directory.path)/\(name)")
      for file in [name, index] { #expect(try readObjects("\(directory.path)/\(file)", .matrices) == objects) }
    }
    #expect(directory.names == ["a.ark", "a.scp", "posteriors", "posteriors.scp"])
  }

  /// Without `finish()` there is neither a new file nor a change to the old one.
  @Test func notFinished() throws {
    let directory = try TemporaryDirectory()
    let path = try directory.write("before", to: "a.ark")
    do {
      var writer = try KaldiMatrixWriter(path: path)
      try writer.write(key: "k", rows: 1, columns: 1, values: [1].span)
      #expect(directory.names.count == 3)
    }
    #expect(directory.names == ["a.ark"])
    #expect(try String(contentsOfFile: path, encoding: .utf8) == "before")
  }

  @Test func faults() throws {
    let directory = try TemporaryDirectory()
    for path in ["", "a.scp", "a/", "a\n.ark", " a.ark", "-", "| gzip", "ark:a.ark", "ark,t:a.ark"] {
      let error = #expect(throws: KaldiError.self) { try write([], to: path) }
      guard case .outputPath(path, _) = error else {
        Issue.record("\(path): \(String(describing: error))")
        continue
      }
    }
    #expect(
      KaldiError.outputPath(path: "a.scp", problem: "the name of an index").description
        == "\"a.scp\": the name of an index, expected a name such as x.ark")
    let missing = "\(directory.path)/no/a.ark"
    #expect(throws: KaldiError.cannotWrite(file: missing, reason: "No such file or directory")) { try write([], to: missing) }
    let path = "\(directory.path)/a.ark"
    let keys: [(String, KaldiError.KeyProblem)] = [("", .empty), ("a b", .unexpected(byte: 0x20)), ("a\n", .unexpected(byte: 0x0A))]
    for (key, problem) in keys {
      let object = KaldiObject(key: key, rows: 1, columns: 1, bits: [0])
      #expect(throws: KaldiError.key(file: path, offset: nil, problem: problem)) { try write([object], to: path) }
    }
    // A directory in the way of either file: found at once, and nothing is left.
    try directory.write("x", to: "b.ark/x")
    try directory.write("x", to: "c.scp/x")
    for (path, blocked) in [("b.ark", "b.ark"), ("c.ark", "c.scp")].map({ ("\(directory.path)/\($0)", "\(directory.path)/\($1)") }) {
      #expect(throws: KaldiError.cannotWrite(file: blocked, reason: "Is a directory")) { _ = try KaldiMatrixWriter(path: path) }
    }
    #expect(directory.names == ["b.ark", "c.scp"])
    #expect(throws: KaldiError.outputPath(path: "/dev/null", problem: "neither a file nor free for one")) { try write([], to: "/dev/null") }
  }

  /// Nothing takes the place of what is still to be read, whatever its name; other files may be replaced.
  @Test func inputs() throws {
    let directory = try TemporaryDirectory()
    let objects = try KaldiFixtures.expected("kaldi-fm.ark"), path = "\(directory.path)/a.ark", index = "\(directory.path)/a.scp"
    try write(objects, to: path)
    #expect(try KaldiTable(path: path, content: .matrices).sources == [path])
    let inputs = try KaldiTable(path: "scp:\(index)", content: .matrices).sources
    #expect(inputs == [index, path])
    let link = "\(directory.path)/link.ark"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "a.ark")
    for (output, same) in [(path, path), (link, link), ("\(directory.path)/./a", "\(directory.path)/./a.scp")] {
      #expect(throws: KaldiError.outputPath(path: same, problem: "one of the files that are read")) {
        _ = try KaldiMatrixWriter(path: output, keeping: inputs)
      }
    }
    try directory.write("before", to: "b.ark")
    let other = try KaldiMatrixWriter(path: "\(directory.path)/b.ark", keeping: inputs)
    try other.finish()
    #expect(try readObjects(path, .matrices) == objects)
  }

  /// A disk without room, by way of a device that never has any: the link stands where the temporary file is made.
  @Test func full() throws {
    let directory = try TemporaryDirectory()
    let path = "\(directory.path)/a.ark"
    let temporary = "\(path).partial-\(ProcessInfo.processInfo.processIdentifier)"
    try FileManager.default.createSymbolicLink(atPath: temporary, withDestinationPath: "/dev/full")
    let object = KaldiObject(key: "k", rows: 1, columns: 2, bits: [0, 0])
    #expect(throws: KaldiError.cannotWrite(file: path, reason: "No space left on device")) { try write([object], to: path) }
    #expect(directory.names == [])
  }
}
