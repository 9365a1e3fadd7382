import Foundation
import Testing
import Training

/// Learning rates against the formulas of mathematics.md, section 6, worked out by hand where that can be done exactly.
@Suite struct ScheduleTests {
  private func schedule(_ settings: String, updates: Int = 100) throws -> Schedule {
    let configuration = try TrainingConfiguration(
      yaml: "task: language-model\ndata: {train: a, validation: b}\noptimizer.learning_rate: 8\n" + settings, file: "c.yaml", overrides: [])
    return Schedule(configuration, updates: updates)
  }

  private func rates(_ schedule: Schedule, _ updates: [Int], epoch: Int = 1) -> [Double] {
    updates.map { schedule.rate(update: $0, epoch: epoch, .init()) }
  }

  @Test func factors() throws {
    #expect(try [1, 6, 7, 9].map { try schedule("").rate(update: 1, epoch: $0, .init()) } == [8, 8, 4, 1])
    #expect(try rates(schedule("optimizer.warmup_steps: 4"), [1, 2, 4, 5]) == [2, 4, 8, 8])
    // Half a cosine over 101 updates: at its ends, its middle, and a third of the way.
    let found = try rates(schedule("optimizer.cosine: {final: 0.25}", updates: 103), [1, 35, 52, 103, 500])
    for (rate, share) in zip(found, [1, 0.8125, 0.625, 0.25, 0.25]) { #expect(abs(rate / 8 - share) <= 1e-15, "\(rate)") }
    // A run of one update.
    #expect(try rates(schedule("optimizer.cosine: {final: 0.25}", updates: 1), [1]) == [8])
    let all = try schedule("optimizer: {warmup_steps: 4, cosine: {final: 0}, decay: {factor: 2, after: 1}}", updates: 5)
    #expect(abs(all.rate(update: 3, epoch: 3, .init()) - 8 * 0.75 * 0.5 / 4) <= 1e-15)
  }

  /// The sine's series against the C library, whose result is off by at most one in the last place.
  @Test func cosine() {
    for i in 0...1000 {
      let x = Double(i) / 1000
      #expect(abs(Schedule.cosine(halfTurns: x) - cos(.pi * x)) <= 1e-15, "\(x)")
    }
  }

  @Test func plateau() throws {
    let schedule = try schedule("optimizer.plateau: {factor: 2, patience: 2, threshold: 0.125}")
    var state = Schedule.State(), rates: [Double] = []
    // The first is the best so far; 4 to 3.5 is not below by more than the share 0.125, and counts as the best all the same.
    for loss in [4, 3.5, 3.4, 3.4, 2.9, 3, 3, 3, 2] {
      schedule.validated(loss, &state)
      rates.append(schedule.rate(update: 1, epoch: 1, state))
    }
    #expect(rates == [8, 8, 4, 4, 4, 4, 2, 2, 2])
    #expect(state.bestLoss == 2 && state.divisions == 2 && state.validationsOnPlateau == 0)
    state.forgetLosses()
    schedule.validated(100, &state)
    #expect(state.bestLoss == 100 && state.divisions == 2 && state.validationsOnPlateau == 0)
  }

  @Test func earlyStopping() throws {
    let schedule = try schedule("training.early_stopping: {patience: 2}"), never = try self.schedule("")
    var state = Schedule.State(), stops: [Bool] = []
    for loss in [4, 4, 3, 3, 5.0] {
      schedule.validated(loss, &state)
      stops.append(schedule.isStopped(state))
      #expect(!never.isStopped(state))
    }
    #expect(stops == [false, false, false, false, true])
  }
}
