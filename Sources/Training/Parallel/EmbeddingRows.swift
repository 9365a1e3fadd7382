import MPI
import Tensors

/// The rows of the embedding that a minibatch touches, the same list on every rank.
final class EmbeddingRows {
  private let world: Communicator
  private let isDense: Bool
  // For each token its row in the gradient; valid for the tokens of the update under way.
  private let rowOfToken: VectorView<Int32>
  private let isUsed: VectorView<UInt8>
  private let blocks: BlockLayout
  private let all: VectorView<Int32>
  private let local: VectorView<Int32>
  private let maximumWindows: Int
  /// Token of each row, ascending.
  private(set) var tokens: [Int32]

  /// - tokensOfRank: the most tokens that each rank reads in one update of `maximumWindows` windows.
  init(world: Communicator, vocabularySize: Int, tokensOfRank: [Int], maximumWindows: Int) throws {
    self.maximumWindows = maximumWindows
    self.world = world
    let total = tokensOfRank.reduce(0, +)
    isDense = vocabularySize <= total
    rowOfToken = VectorView(zeros: vocabularySize)
    isUsed = VectorView(zeros: vocabularySize)
    blocks = try BlockLayout(counts: tokensOfRank)
    all = VectorView(zeros: isDense ? 0 : total)
    local = VectorView(zeros: isDense ? 0 : tokensOfRank[world.rank])
    tokens = isDense ? (0..<Int32(vocabularySize)).map { $0 } : []
    if isDense { for token in 0..<vocabularySize { rowOfToken[token] = Int32(token) } }
    tokens.reserveCapacity(min(vocabularySize, total))
  }

  /// Collects the tokens of all ranks that an update reads.
  /// - windows: the windows of the update, fewer than announced at the end of an epoch.
  /// - fill: writes the tokens that a local shard reads in a window.
  func collect(windows: Range<Int>, shards: Int, fill: (_ window: Int, _ shard: Int, VectorView<Int32>) -> Void) throws {
    if isDense { return }
    let size = local.count / (maximumWindows * shards)
    var end = 0
    for window in windows {
      for shard in 0..<shards {
        fill(window, shard, local[end..<end + size])
        end += size
      }
    }
    // A repeated token changes nothing.
    local[end..<local.count].fill(local[0])
    if world.size == 1 { all.copy(from: local) } else { try world.allGatherV(local, into: all, blocks: blocks) }
    isUsed.fill(0)
    isUsed.withMutableSpan { used in
      all.withSpan { all in for i in 0..<all.count { used[Int(all[i])] = 1 } }
    }
    tokens.removeAll(keepingCapacity: true)
    rowOfToken.withMutableSpan { rows in
      isUsed.withSpan { used in
        for token in 0..<used.count where used[token] != 0 {
          rows[token] = Int32(tokens.count)
          tokens.append(Int32(token))
        }
      }
    }
  }

  /// Writes the row of each of `tokens` to `slots`.
  func lookUp(_ tokens: VectorView<Int32>, into slots: VectorView<Int32>) {
    slots.withMutableSpan { slots in
      tokens.withSpan { tokens in
        rowOfToken.withSpan { rows in for i in 0..<tokens.count { slots[i] = rows[Int(tokens[i])] } }
      }
    }
  }
}
