import Foundation
import SequenceData
import Testing

@Suite struct KaldiIndexTests {
  /// The indices of both programs name the archives beside them: found there, as the working directory has none of that name.
  @Test(arguments: [("kaldiio-fm", KaldiTable.Content.matrices), ("kaldi-fm", .matrices), ("kaldi-labels", .integers)])
  func fixtures(name: String, content: KaldiTable.Content) throws {
    let path = "\(KaldiFixtures.directory)/\(name).scp"
    let table = try KaldiTable(path: path, content: content)
    #expect(table.path == path && table.files == ["\(KaldiFixtures.directory)/\(name).ark"])
    let expected = try KaldiFixtures.expected("\(name).ark")
    #expect(try readObjects(path, content) == expected)
  }

  /// The working directory comes first, as in Kaldi.
  @Test func relativePaths() throws {
    let directory = try TemporaryDirectory()
    let working = FileManager.default.currentDirectoryPath.split(separator: "/").map(String.init)
    let up = Array(repeating: "..", count: working.count).joined(separator: "/")
    // "../../tmp/…/a.ark" from the working directory is the archive, and from the index's directory a file in `decoy`.
    let archive = try directory.write(KaldiBytes.matrix("k", rows: 1, columns: 1, [1]), to: "a.ark")
    let below = working.map { _ in "x" }.joined(separator: "/")
    let index = try directory.write("k \(up)\(archive):2\n", to: "decoy/\(below)/a.scp")
    try directory.write(KaldiBytes.matrix("k", rows: 1, columns: 1, [2]), to: "decoy\(archive)")
    #expect(try readObjects(index, .matrices)[0].bits == [Float(1).bitPattern])
    try FileManager.default.removeItem(atPath: archive)
    #expect(try readObjects(index, .matrices)[0].bits == [Float(2).bitPattern])
    // In neither place: the path as it is in the index.
    let missing = try directory.write("k no/such.ark:2\n", to: "b.scp")
    #expect(kaldiError(missing, .matrices) == .cannotOpen(file: "no/such.ark", reason: "No such file or directory"))
  }

  @Test func lines() throws {
    let directory = try TemporaryDirectory()
    try directory.write(KaldiBytes.matrix("k", rows: 1, columns: 1, [1]), to: "with space:7.ark")
    // One object without a key: binary, and text.
    try directory.write(KaldiBytes.matrix("", rows: 1, columns: 1, [2]).dropFirst(), to: "object")
    try directory.write("[ 3 ]\n", to: "object.txt")
    let lines = ["u1  with space:7.ark:2 ", "", "u2\tobject\r", " \t\r", "u3 object.txt", "u4 object:0"]
    for end in ["", "\n", "\r\n"] {
      let index = try directory.write(lines.joined(separator: "\n") + end, to: "a.scp")
      let objects = try readObjects(index, .matrices)
      #expect(objects.map(\.key) == ["u1", "u2", "u3", "u4"])
      #expect(objects.map(\.bits) == [1, 2, 3, 2].map { (value: Float) in [value.bitPattern] })
    }
  }

  @Test func faults() throws {
    let directory = try TemporaryDirectory()
    let archive = try directory.write(KaldiBytes.matrix("k", rows: 1, columns: 1, [1]), to: "a.ark")
    func expect(_ problem: KaldiError.IndexProblem, _ line: [UInt8]) throws {
      let index = try directory.write(Array("k \(archive):2\n\n".utf8) + line + Array("\nk \(archive):2\n".utf8), to: "a.scp")
      #expect(kaldiError(index, .matrices) == .indexLine(file: index, line: 3, problem: problem))
    }
    func expect(_ problem: KaldiError.IndexProblem, _ line: String) throws { try expect(problem, Array(line.utf8)) }
    try expect(.noPath(key: "u"), "u")
    try expect(.noPath(key: "u"), "u  \r")
    try expect(.noPath(key: "u"), "u :12")
    try expect(.key(.empty), " a.ark:2")
    try expect(.key(.tooLong(limit: 4096)), String(repeating: "k", count: 4097) + " a.ark:2")
    try expect(.key(.notUTF8(bytes: [0xFF])), [0xFF, 0x20, 0x61])
    try expect(.notUTF8, [0x61, 0x20, 0xFF])
    try expect(.binary, "u a\0.ark")
    try expect(.commandNotAllowed(path: "gunzip -c a.ark.gz |"), "u gunzip -c a.ark.gz |")
    try expect(.stream(path: "| cat"), "u | cat")
    try expect(.stream(path: "-"), "u -")
    try expect(.range(path: "\(archive):2[0:9]"), "u \(archive):2[0:9]")
    try expect(.offset(path: "\(archive):9223372036854775808"), "u \(archive):9223372036854775808")
    try expect(.tooLong(limit: 16384), String(repeating: "x ", count: 9000))
    #expect(
      KaldiError.indexLine(file: "a.scp", line: 3, problem: .range(path: "a.ark:2[0:9]")).description
        == "a.scp:3: \"a.ark:2[0:9]\" picks rows or columns, expected PATH:OFFSET: write the part to an archive of its own first")
    #expect(
      KaldiError.indexLine(file: "a.scp", line: 3, problem: .commandNotAllowed(path: "cat x |")).description
        == "a.scp:3: \"cat x |\" is a command, expected PATH:OFFSET, or data.allow_commands: true, with which commands are run")
  }

  /// Offsets that are not those of an object.
  @Test func offsets() throws {
    let directory = try TemporaryDirectory()
    let bytes = KaldiBytes.matrix("k", rows: 1, columns: 1, [1])
    let archive = try directory.write(bytes, to: "a.ark")
    for offset in 0...bytes.count + 3 where offset != 2 {
      let index = try directory.write("u \(archive):\(offset)\n", to: "a.scp")
      let error = kaldiError(index, .matrices)
      if offset >= bytes.count {
        #expect(error == .entry(file: archive, key: "u", offset: offset, problem: .truncated(needed: 1, found: bytes.count - offset)))
      } else if case .entry(archive, "u", _, _) = error {
      } else {
        Issue.record("offset \(offset): \(String(describing: error))")
      }
    }
    let index = try directory.write("u \(archive):9223372036854775807\n", to: "a.scp")
    #expect(throws: KaldiError.self) { try readObjects(index, .matrices) }
  }

  @Test func prefixesAndStreams() throws {
    let directory = try TemporaryDirectory()
    let archive = try directory.write(KaldiBytes.matrix("k", rows: 1, columns: 1, [1]), to: "a.ark")
    let odd = try directory.write("k \(archive):2\n", to: "list")
    try directory.write("k \(archive):2\n", to: "a.scp")
    for path in [archive, "ark:\(archive)", "scp:\(odd)", "\(directory.path)/a.scp", "scp:\(directory.path)/a.scp"] {
      #expect(try readObjects(path, .matrices).map(\.bits) == [[Float(1).bitPattern]])
      #expect(try KaldiTable(path: path, content: .matrices).path == path)
    }
    for path in ["-", "ark:-", "scp:-", "ark:|cat"] { #expect(kaldiError(path, .matrices) == .stream(path: path)) }
    for path in ["ark:gunzip -c a.gz |", "gunzip -c a.gz|", "scp:cat a.scp|"] {
      #expect(kaldiError(path, .matrices) == .commandNotAllowed(path: path))
    }
    for path in ["ark,t:\(archive)", "scp,p:a.scp", "ark,s,cs:-"] { #expect(kaldiError(path, .matrices) == .options(path: path)) }
    #expect(
      KaldiError.options(path: "ark,t:x").description
        == "ark,t:x: options before the path are not read, expected PATH, ark:PATH or scp:PATH")
  }
}
