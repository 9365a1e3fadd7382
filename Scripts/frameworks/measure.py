"""Measures one form of one model: training steps (forward, softmax, backward, clipping, SGD) on random words or frames.

    python measure.py --model small --form lstm --processes 1 --threads 2 --steps 40

prints one JSON object. With several processes the minibatch is divided among them, gradients are averaged by
DistributedDataParallel over gloo, and batch statistics are those of the whole minibatch.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.nn.parallel import DistributedDataParallel

from work import ALL_FORMS, MODELS, Frames, Words


def train(rank: int, arguments: argparse.Namespace, port: int, results) -> None:
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)  # the same weights on every rank
    if arguments.processes > 1:
        dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=arguments.processes)
    speech = arguments.model.startswith("speech")
    work = (Frames if speech else Words)(arguments.data if speech else arguments.model, arguments.form, rank, arguments.processes)
    model = work.model.train()
    replica = DistributedDataParallel(model, gradient_as_bucket_view=True) if arguments.processes > 1 else model
    seconds, units, loss = [], [], None
    for step in range(arguments.warm_up + arguments.steps):
        if arguments.processes > 1:
            dist.barrier()  # steps are timed from a common start, as a rank that waits is part of the cost
        begin = time.perf_counter()
        work.optimizer.zero_grad(set_to_none=arguments.processes == 1)
        loss = work.loss(replica, step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), work.clip_norm)
        work.optimizer.step()
        loss.item()
        if step >= arguments.warm_up:
            seconds.append(time.perf_counter() - begin)
            units.append(work.units(step))
    if rank == 0:
        # The median over steps of their rates, as `lockstep benchmark` reports it: minibatches may have different sizes.
        rate = statistics.median(count / spent for count, spent in zip(units, seconds))
        results.put({
            f"{work.unit}_per_second": rate, "step_seconds_median": statistics.median(seconds),
            "step_seconds_minimum": min(seconds), "step_seconds_maximum": max(seconds), "steps": len(seconds),
            f"{work.unit}": sum(units), "last_loss_per_sequence": loss.item(),
            "parameters": sum(parameter.numel() for parameter in model.parameters())})
    if arguments.processes > 1:
        dist.destroy_process_group()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--form", choices=ALL_FORMS, required=True)
    parser.add_argument("--data", metavar="DIR", help="features.ark and labels.ark for a speech model")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warm-up", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.model.startswith("speech") and not arguments.data:
        parser.error("a speech model needs --data")
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    if arguments.processes == 1:
        train(0, arguments, 0, results)
    else:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        multiprocessing.spawn(train, (arguments, free_port(), results), nprocs=arguments.processes)
    print(json.dumps(results.get()))


if __name__ == "__main__":
    main()
