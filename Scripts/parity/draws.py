"""The program's random numbers that minibatches depend on, as its documentation of `RandomStream` and `ShuffledWindows` gives them."""

from __future__ import annotations

MASK = 0xFFFFFFFF


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """A block of Philox 4×32-10 (Salmon et al. 2011)."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        first, second = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (second >> 32) ^ c1 ^ k0, second & MASK, (first >> 32) ^ c3 ^ k1, first & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return c0, c1, c2, c3


def uniform(seed: int, name: str, count: int) -> list[float]:
    """The first numbers of the stream `name`, in [0, 1) with 53 bits."""
    stream = 2166136261
    for byte in name.encode("utf-8"):  # FNV-1a
        stream = (stream ^ byte) * 16777619 & MASK
    numbers: list[float] = []
    for block in range((count + 1) // 2):
        words = philox((block & MASK, block >> 32, stream, MASK), (seed & MASK, seed >> 32))
        numbers += [((words[2 * j] << 32 | words[2 * j + 1]) >> 11) * 2.0**-53 for j in range(2)]
    return numbers[:count]


def shuffled_pieces(seed: int, epoch: int, tokens: int, steps: int) -> list[int]:
    """First tokens of the pieces of `steps + 1` tokens, in the order in which `windows: shuffled` takes them.

    Epoch 0 is the order of the population's passes.
    """
    most = (tokens - 1) // steps  # pieces of an epoch whose offset is 0
    u = uniform(seed, f"windows.{epoch}", most + 1)
    offset = int(u[0] * steps)
    pieces = (tokens - 1 - offset) // steps
    order = list(range(pieces))
    for i in range(pieces - 1, 0, -1):
        other = int(u[1 + i] * (i + 1))
        order[i], order[other] = order[other], order[i]
    return [offset + piece * steps for piece in order]
