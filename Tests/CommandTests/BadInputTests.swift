import Foundation
import Testing

extension CommandTests {
  /// Bad input ends every rank with one message and the right code, and leaves nothing behind that is in the way.
  @Suite struct BadInput {
    struct Case: CustomTestStringConvertible, Sendable {
      var setting: String
      var code: Int32
      var words: [String]
      var ranks = [1, 4]
      var testDescription: String { setting }
    }

    static let texts = [
      Case(setting: "data.train=missing.txt", code: 65, words: ["missing.txt"]),
      Case(setting: "data.train=empty.txt", code: 65, words: ["empty.txt", "no token"]),
      Case(setting: "data.train=binary.txt", code: 65, words: ["binary.txt:1", "byte 3"]),
      Case(setting: "data.train=latin.txt", code: 65, words: ["latin.txt:2", "UTF-8"], ranks: [1, 2, 4]),
      Case(setting: "data.train=short.txt", code: 65, words: ["short.txt", "too few"]),
      Case(setting: "data.train=.", code: 65, words: ["directory"], ranks: [2]),
      Case(setting: "data.validation=missing.txt", code: 65, words: ["missing.txt"], ranks: [2]),
      Case(setting: "data.validation=empty.txt", code: 65, words: ["empty.txt"], ranks: [1]),
      Case(setting: "data.validation=latin.txt", code: 65, words: ["latin.txt:2"], ranks: [2]),
      Case(setting: "data.vocabulary_size=1000", code: 65, words: ["strange.txt:3", "zebra", "<unk>"]),
      Case(setting: "data.test=binary.txt", code: 65, words: ["binary.txt"], ranks: [1, 2]),
    ]

    static let configurations = [
      Case(setting: "training.batch_size=25", code: 64, words: ["training.batch_size", "8 shards"], ranks: [1, 4]),
      Case(setting: "training.shards=3", code: 64, words: ["training.shards", "4 ranks"], ranks: [4]),
      Case(setting: "training.batchsize=25", code: 64, words: ["training.batchsize", "unknown key", "training.batch_size"], ranks: [1, 2]),
      Case(setting: "training.batch_size=many", code: 64, words: ["training.batch_size", "many"], ranks: [1, 2]),
      Case(setting: "training.batch_size", code: 64, words: ["KEY=VALUE"], ranks: [1, 2]),
      Case(setting: "training.batch_size=0", code: 64, words: ["training.batch_size", "0"], ranks: [1]),
      Case(setting: "normalization.scope={group: 9}", code: 64, words: ["normalization.scope"], ranks: [2]),
      Case(setting: "model.bidirectional=true", code: 64, words: ["model.bidirectional"], ranks: [1, 4]),
      Case(setting: "model.cell=lstmm", code: 64, words: ["model.cell", "lstm, rnn or gru"], ranks: [1, 4]),
      Case(
        setting: "normalization.whitening_interval=5", code: 64, words: ["normalization.whitening_interval", "no meaning"], ranks: [2]),
      Case(setting: "communication.gradients=float8", code: 64, words: ["communication.gradients", "bfloat16"], ranks: [1, 4]),
      Case(setting: "task=frame-classification", code: 64, words: ["frame-classification"], ranks: [1, 2]),
    ]

    @Test(arguments: texts + configurations) func oneMessage(_ bad: Case) throws {
      let sandbox = try Sandbox()
      try sandbox.write("empty.txt", "")
      try sandbox.write("binary.txt", Data("ab \0 cd\n".utf8))
      try sandbox.write("latin.txt", Data([0x61, 0x0A, 0x62, 0xFF, 0x63, 0x0A]))
      try sandbox.write("short.txt", "a few words\n")
      try sandbox.write("strange.txt", "w1\nw2\nw3 zebra w4\n")
      let isStrange = bad.setting == "data.vocabulary_size=1000"
      let settings = [bad.setting] + (isStrange ? ["data.validation=strange.txt"] : [])
      try sandbox.expectFailure(bad.code, bad.words, ranks: bad.ranks, sandbox.training("run", settings))
      #expect(!sandbox.exists("run"))
      // The directory is free for the command without its mistake.
      if bad.code == 65 { try sandbox.train("run", ["training.maximum_steps=1"]) }
    }

    @Test func missingConfiguration() throws {
      let sandbox = try Sandbox()
      try sandbox.expectFailure(64, ["nowhere.yaml"], ["train", "nowhere.yaml"])
      try sandbox.write("bad.yaml", "task: language-model\ndata: [\n")
      try sandbox.expectFailure(64, ["bad.yaml"], ranks: [1, 2], ["train", "bad.yaml"])
      #expect(!sandbox.exists("Runs"))
    }

    @Test func initialWeights() throws {
      let sandbox = try Sandbox()
      try sandbox.train("source", ["training.maximum_steps=1"])
      let source = "source/checkpoints/latest/model.safetensors", good = try sandbox.tensors(source)
      func expectRefusal(_ name: String, _ data: Data, _ words: [String]) throws {
        try sandbox.write(name, data)
        try sandbox.expectFailure(65, [name] + words, sandbox.training("run", [], ["--initialize-from", name]))
        #expect(!sandbox.exists("run"))
      }
      try expectRefusal("missing.safetensors", FileTensor.write(good.filter { $0.name != "output.bias" }), ["output.bias"])
      try expectRefusal(
        "extra.safetensors", FileTensor.write(good + [FileTensor(name: "surplus", shape: [1], values: [0])]), ["surplus"])
      let misshapen = good.map { tensor in
        tensor.name == "output.weight" ? FileTensor(name: tensor.name, shape: tensor.shape.reversed(), values: tensor.values) : tensor
      }
      try expectRefusal("misshapen.safetensors", FileTensor.write(misshapen), ["output.weight", "[8, 40]", "[40, 8]"])
      let partial = good.filter { !$0.name.hasPrefix("lstm.0.forward.input_norm.running") }
      try expectRefusal("partial.safetensors", FileTensor.write(partial), ["lstm.0.forward.input_norm.running_mean"])
      try expectRefusal("truncated.safetensors", try sandbox.data(source).dropLast(100), [])
      try expectRefusal("text.safetensors", Data("not tensors at all".utf8), [])
      try sandbox.expectFailure(65, ["nowhere.safetensors"], sandbox.training("run", [], ["--initialize-from", "nowhere.safetensors"]))

      try expectRefusal("integers.safetensors", FileTensor.write(good, type: "I32"), ["the type I32", "F16, BF16, F32 or F64"])
      let large = good.map { $0.name == "output.bias" ? FileTensor(name: $0.name, shape: $0.shape, values: $0.values.map { _ in 3e38 }) : $0 }
      var bytes = try FileTensor.write(large, type: "F64")
      // The highest byte of a double: 3e38 becomes 3e38 · 2^256.
      let last = try #require(bytes.firstRange(of: unsafe withUnsafeBytes(of: Double(Float(3e38)).bitPattern.littleEndian) { unsafe Data($0) })?.upperBound)
      bytes[last - 1] = 0x57
      try expectRefusal("large.safetensors", bytes, ["output.bias", "float32 can hold"])

      // Other types of floating-point numbers are read as what they are; these of bfloat16 are exact in each but F16.
      let rounded = good.map { tensor in
        FileTensor(name: tensor.name, shape: tensor.shape, values: tensor.values.map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) })
      }
      for type in ["F32", "F64", "BF16", "F16"] {
        try sandbox.write("\(type).safetensors", FileTensor.write(rounded, type: type))
        try sandbox.train(type, ["training.maximum_steps=2"], ["--initialize-from", "\(type).safetensors"])
        if type != "F16" { #expect(try sandbox.numbers(type) == sandbox.numbers("F32"), "\(type)") }
      }

      // Without any running statistics the file is complete.
      try sandbox.write("plain.safetensors", FileTensor.write(good.filter { !$0.name.contains(".running_") }))
      try sandbox.train("run", ranks: 2, [], ["--initialize-from", "plain.safetensors"])
    }

    /// Running statistics of a file go on as those of a run do, on every rank alike.
    @Test func initialStatistics() throws {
      let sandbox = try Sandbox()
      try sandbox.train("source", ["evaluation.statistics=running"])
      for ranks in [1, 2, 4] {
        try sandbox.train(
          "on-\(ranks)", ranks: ranks, ["evaluation.statistics=running"], ["--initialize-from", "source/checkpoints/latest/model.safetensors"])
        #expect(try sandbox.numbers("on-\(ranks)") == sandbox.numbers("on-1"), "\(ranks) ranks")
      }
    }
  }
}
