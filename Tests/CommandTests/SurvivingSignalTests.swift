import Foundation
import Testing

extension CommandTests.Survival {
  /// A run that was killed while it wrote its configuration, or found no room for it, is in nobody's way.
  @Test func aConfigurationHalfWritten() throws {
    let sandbox = try Sandbox()
    try sandbox.train("run", ["training.maximum_steps=5"])
    try sandbox.write("run/config.yaml.partial", "task: langu")
    try sandbox.train("run", [], ["--resume"])
    #expect(try !sandbox.exists("run/config.yaml.partial") && sandbox.text("run/config.yaml").contains("maximum_steps: 12"))
  }
}
