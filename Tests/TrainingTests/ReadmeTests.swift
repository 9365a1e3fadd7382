import Foundation
import Testing
import Training

/// README.md says what the program does.
@Suite struct ReadmeTests {
  let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  func readme() throws -> String { try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8) }

  @Test func configurationTableIsThatOfTheProgram() throws {
    let text = try readme(), begin = "<!-- configuration: begin -->\n", end = "<!-- configuration: end -->"
    let start = try #require(text.range(of: begin)).upperBound
    let stop = try #require(text.range(of: end, range: start..<text.endIndex)).lowerBound
    let expected = TrainingConfiguration.referenceTable()
    #expect(text[start..<stop] == expected, "between the markers README.md must have:\n\(expected)")
  }

  @Test func everyExitCodeIsThere() throws {
    let text = try readme()
    for code in ExitCode.allCases { #expect(text.contains("\n| \(code.rawValue) |"), "exit code \(code.rawValue)") }
  }

  @Test func everyConfigurationAndScriptIsThere() throws {
    let text = try readme(), files = FileManager.default
    let configurations = try files.contentsOfDirectory(atPath: root.appendingPathComponent("Configs").path)
      .filter { $0.hasSuffix(".yaml") }
    #expect(configurations.count >= 12)
    for name in configurations { #expect(text.contains("`\(name)`"), "Configs/\(name)") }
    // What a user calls has no suffix.
    let scripts = try files.contentsOfDirectory(atPath: root.appendingPathComponent("Scripts").path)
      .filter { name in !name.contains(".") && files.isExecutableFile(atPath: root.appendingPathComponent("Scripts/\(name)").path) }
    for name in scripts {
      var isDirectory: ObjCBool = false
      _ = unsafe files.fileExists(atPath: root.appendingPathComponent("Scripts/\(name)").path, isDirectory: &isDirectory)
      if !isDirectory.boolValue { #expect(text.contains("Scripts/\(name)"), "Scripts/\(name)") }
    }
  }

  /// README.md or that of the folder names every file for clusters.
  @Test func everyClusterFileIsThere() throws {
    let folder = root.appendingPathComponent("Cluster")
    let own = try String(contentsOf: folder.appendingPathComponent("README.md"), encoding: .utf8)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0 != "README.md" && $0 != "__pycache__" }
    #expect(names.count >= 8)
    for name in names { #expect(own.contains("`\(name)`"), "Cluster/\(name)") }
    for name in ["slurm", "pbs", "sge", "lsf", "run-local", "testbed", "slurm-local"] {
      #expect(try readme().contains("Cluster/\(name)"), "Cluster/\(name)")
    }
  }

  @Test func versionIsInTheChangelog() throws {
    let text = try String(contentsOf: root.appendingPathComponent("CHANGELOG.md"), encoding: .utf8)
    #expect(text.contains("\n## \(Version.current)\n"))
  }
}
