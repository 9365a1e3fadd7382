import Foundation
import Testing

extension CommandTests {
  /// `Scripts/prepare-mnist` on small files of the same format.
  @Suite struct Mnist {
    /// Bytes of an IDX file.
    private func idx(_ magic: Int32, _ sizes: [Int32], _ values: [UInt8]) -> Data {
      Data(([magic] + sizes).flatMap { littleEndian($0).reversed() } + values)
    }

    /// Writes `count` images of 2 × 3 pixels and their labels: pixel p of image i is 10 i + p, its label i mod 4.
    private func writeImages(_ sandbox: Sandbox, _ name: String, count: Int) throws {
      try sandbox.write("\(name)-images-idx3-ubyte", idx(0x803, [Int32(count), 2, 3], (0..<count).flatMap { i in (0..<6).map { UInt8(10 * i + $0) } }))
      try sandbox.write("\(name)-labels-idx1-ubyte", idx(0x801, [Int32(count)], (0..<count).map { UInt8($0 % 4) }))
    }

    private func writeSet(_ sandbox: Sandbox) throws {
      try writeImages(sandbox, "train", count: 9)
      try writeImages(sandbox, "t10k", count: 4)
    }

    private func prepare(_ sandbox: Sandbox, _ arguments: [String]) throws -> Outcome {
      let script = repository.appendingPathComponent("Scripts/prepare-mnist").path
      return try RunningCommand(
        [script] + arguments, in: sandbox.path, files: (sandbox("mnist-output"), sandbox("mnist-errors"))
      ).wait()
    }

    /// The archives of images whose frames are the pixels `order`.
    private func expectArchives(_ sandbox: Sandbox, _ folder: String, order: [Int]) throws {
      for (part, name, images) in [("train", "train", 0..<6), ("valid", "train", 6..<9), ("test", "test", 0..<4)] {
        let utterances = images.map { i in
          Utterance(key: "\(name)-0000\(i)", features: order.map { [Float(10 * i + $0) / 255] }, labels: [Int32(i % 4)])
        }
        #expect(try sandbox.data("\(folder)/\(part)_feats.ark") == featureArchive(utterances), "\(folder)/\(part)")
        #expect(try sandbox.data("\(folder)/\(part)_labels.ark") == labelArchive(utterances), "\(folder)/\(part)")
      }
    }

    @Test func archives() throws {
      let sandbox = try Sandbox()
      try writeSet(sandbox)
      // What numpy 2.4.6 draws: RandomState(92916).permutation(6), RandomState(1).randint(0, 6, 6).
      let orders = [([], Array(0..<6)), (["--permute", "92916"], [1, 0, 4, 3, 2, 5]), (["--with-replacement", "1"], [5, 3, 4, 0, 1, 3])]
      for (number, (options, order)) in orders.enumerated() {
        let outcome = try prepare(sandbox, [".", "out-\(number)", "--validation", "3"] + options)
        #expect(outcome.exitCode == 0 && outcome.output.contains("\(Set(order).count) of 6 pixels occur"), "\(outcome)")
        try expectArchives(sandbox, "out-\(number)", order: order)
        #expect(try sandbox.names(in: "out-\(number)").count == 6)
      }
      // Compressed files, and the names of folders by default.
      let gzip = try RunningCommand(
        ["gzip", "train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"], in: sandbox.path, files: (sandbox("gzip-output"), sandbox("gzip-errors")))
      #expect(try gzip.wait().exitCode == 0)
      #expect(try prepare(sandbox, [".", "--validation", "3", "--permute", "92916"]).exitCode == 0)
      try expectArchives(sandbox, "Data/mnist-permuted-92916", order: [1, 0, 4, 3, 2, 5])
    }

    /// What is written can be trained on.
    @Test func training() throws {
      let sandbox = try Sandbox()
      try writeSet(sandbox)
      #expect(try prepare(sandbox, [".", "mnist", "--validation", "3"]).exitCode == 0)
      try sandbox.write("mnist.yaml", """
        task: sequence-classification
        data:
          train: {features: mnist/train_feats.ark, labels: mnist/train_labels.ark}
          validation: {features: mnist/valid_feats.ark, labels: mnist/valid_labels.ark}
          classes: 10
          normalize: none
        model: {hidden_size: 4, layers: 1}
        training: {batch_size: 3, epochs: 2}

        """)
      let outcome = try sandbox.run(ranks: 2, ["train", "mnist.yaml"])
      #expect(outcome.exitCode == 0 && outcome.output.contains("sequence error rate"), "\(outcome)")
    }

    @Test func faults() throws {
      let sandbox = try Sandbox()
      func expectFault(_ code: Int32, _ words: [String], _ arguments: [String] = [".", "out", "--validation", "3"]) throws {
        let outcome = try prepare(sandbox, arguments)
        #expect(outcome.exitCode == code && !outcome.errors.contains("Traceback"), "\(outcome)")
        #expect(outcome.errors.split(separator: "\n").count { $0.hasPrefix("prepare-mnist: ") } == 1, "\(outcome)")
        for word in words { #expect(outcome.errors.contains(word), "no \(word) in \(outcome)") }
        #expect(!sandbox.exists("out"))
      }
      try expectFault(65, ["holds neither train-images-idx3-ubyte nor"])
      try expectFault(64, ["nowhere"], ["nowhere"])
      try expectFault(64, ["not allowed with"], [".", "out", "--permute", "1", "--with-replacement", "1"])
      try expectFault(64, ["--permute"], [".", "out", "--permute", "-1"])
      try writeSet(sandbox)
      try expectFault(64, ["--validation 9", "9 images"], [".", "out", "--validation", "9"])
      try expectFault(64, ["--validation 10000"], [".", "out"])
      let labels = try sandbox.data("t10k-labels-idx1-ubyte"), images = try sandbox.data("train-images-idx3-ubyte")
      let faults: [(file: String, data: Data, words: [String])] = [
        ("train-images-idx3-ubyte", labels, ["magic number is 0x00000801", "0x00000803"]),
        ("train-images-idx3-ubyte", images.dropLast(), ["69 bytes, expected 70", "9 × 2 × 3"]),
        ("train-images-idx3-ubyte", images + [0], ["71 bytes, expected 70"]),
        ("train-images-idx3-ubyte", images.prefix(7), ["7 bytes", "header"]),
        ("train-images-idx3-ubyte", idx(0x803, [9, 0, 3], []), ["0 × 3 pixels"]),
        ("train-images-idx3-ubyte", idx(0x803, [9, 1, 3], Array(repeating: 0, count: 27)), ["t10k", "2 × 3", "1 × 3"]),
        ("train-images-idx3-ubyte", idx(0x803, [0, 2, 3], []), ["train-labels-idx1-ubyte", "9 labels", "0 images"]),
        ("t10k-labels-idx1-ubyte", idx(0x801, [5], [1, 2, 3, 4, 5]), ["t10k-labels-idx1-ubyte", "5 labels", "4 images"]),
        ("t10k-labels-idx1-ubyte", Data(), ["t10k-labels-idx1-ubyte", "0 bytes"]),
      ]
      for fault in faults {
        let before = try sandbox.data(fault.file)
        try sandbox.write(fault.file, fault.data)
        try expectFault(65, [fault.file.prefix(5) == "train" ? "train" : "t10k"] + fault.words)
        try sandbox.write(fault.file, before)
      }
      try FileManager.default.removeItem(atPath: sandbox("train-images-idx3-ubyte"))
      try sandbox.write("train-images-idx3-ubyte.gz", Data("no gzip".utf8))
      try expectFault(65, ["train-images-idx3-ubyte.gz", "not to be unpacked"])
    }
  }
}
