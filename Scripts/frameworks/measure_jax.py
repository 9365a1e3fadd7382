"""Measures training steps of one model in JAX (forward, softmax, backward, clipping, SGD) on random words or frames.

    python measure_jax.py --model small --kind normalized --threads 2 --steps 40

prints one JSON object. Of several processes each has its sequences of the minibatch; all-reduces over gloo add gradients and
batch statistics, as the compiler places them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import time

import numpy as np

from sizes import SIZES, SpeechSize
from speech_data import BATCH, LENGTHS, read_utterances


def words(name: str) -> tuple[list, list[int]]:
    """Windows of random words, time-major, and the words of each."""
    size, random = SIZES[name], np.random.default_rng(2)
    shape = (size.steps, size.batch_size)
    windows = [tuple(random.integers(size.vocabulary, size=shape, dtype=np.int32) for _ in range(2)) for _ in range(8)]
    return windows, [size.steps * size.batch_size] * len(windows)


def padded(utterances: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """A minibatch for SpeechModel.loss: features, [T, B, I], labels, [T, B], and live frames, [T, B, 1]."""
    lengths = [len(labels) for _, labels in utterances]
    T, B, first = max(lengths), len(utterances), utterances[0][0]
    features, live = np.zeros((T, B, first.shape[1]), first.dtype), np.zeros((T, B, 1), first.dtype)
    labels = np.zeros((T, B), np.int32)
    for b, (x, y) in enumerate(utterances):
        features[: len(x), b], labels[: len(y), b], live[: len(y), b] = x, y, 1
    return features, labels, None if min(lengths) == T else live


def frames(folder: str) -> tuple[list, list[int]]:
    """Minibatches of the archives in a folder, and the frames of each."""
    groups = read_utterances(folder)
    return [padded(group) for group in groups], [sum(len(labels) for _, labels in group) for group in groups]


def train(rank: int, arguments: argparse.Namespace, port: int, results) -> None:
    # Threads of the pool, which computes everything. JAX reads the variable when it makes the first array.
    os.environ["PJRT_NPROC"] = str(arguments.threads)
    import jax

    import jax_layers
    from jax_models import LanguageModel, SpeechModel
    from jax_training import Training, distribute, make_step

    if arguments.processes > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", arguments.processes, rank)
    jax_layers.UNROLL = arguments.unroll or jax_layers.UNROLL
    speech, normalized = arguments.model.startswith("speech"), arguments.kind == "normalized"
    minibatches, units = frames(arguments.data) if speech else words(arguments.model)
    model = SpeechModel(SpeechSize(), normalized) if speech else LanguageModel(SIZES[arguments.model], normalized)
    training = Training.start(model, BATCH if speech else model.size.batch_size)

    training, minibatches = distribute(training, minibatches, jax.devices()[: arguments.processes])

    # One compilation for each shape of a minibatch, before anything is timed.
    step, compiled = make_step(model), {}
    shapes = [str(jax.tree.map(jax.numpy.shape, minibatch)) for minibatch in minibatches]
    for shape, minibatch in zip(shapes, minibatches):
        if shape not in compiled:
            compiled[shape] = step.lower(training, minibatch).compile()
    seconds, counts, loss = [], [], None
    for number in range(arguments.warm_up + arguments.steps):
        index = number % len(minibatches)
        begin = time.perf_counter()
        training, loss = compiled[shapes[index]](training, minibatches[index])
        jax.block_until_ready((training, loss))
        if number >= arguments.warm_up:
            seconds.append(time.perf_counter() - begin)
            counts.append(units[index])
    if rank == 0:
        rate, unit = statistics.median(count / spent for count, spent in zip(counts, seconds)), "frames" if speech else "tokens"
        results.put({
            f"{unit}_per_second": rate, "step_seconds_median": statistics.median(seconds), "step_seconds_minimum": min(seconds),
            "step_seconds_maximum": max(seconds), "steps": len(seconds), unit: sum(counts), "last_loss_per_sequence": float(loss),
            "parameters": sum(each.size for each in training.parameters.values())})
    if arguments.processes > 1:
        jax.distributed.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", choices=(*SIZES, *(f"speech-{kind}" for kind in LENGTHS)), required=True)
    parser.add_argument("--kind", choices=("plain", "normalized"), required=True)
    parser.add_argument("--data", metavar="DIR", help="features.ark and labels.ark for a speech model")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="of each process's pool")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--unroll", type=int, help="time steps in one pass of the loop")
    arguments = parser.parse_args()
    if arguments.model.startswith("speech") and not arguments.data:
        parser.error("a speech model needs --data")
    context = multiprocessing.get_context("spawn")
    results, port = context.SimpleQueue(), free_port()
    others = [context.Process(target=train, args=(rank, arguments, port, results), daemon=True) for rank in range(1, arguments.processes)]
    for other in others:
        other.start()
    train(0, arguments, port, results)
    for other in others:
        other.join()
    print(json.dumps(results.get()))
    return max((other.exitcode for other in others), default=0)


if __name__ == "__main__":
    sys.exit(main())
