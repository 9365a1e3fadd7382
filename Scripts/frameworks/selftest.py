"""Checks that the models which are measured compute what they claim.

    python selftest.py

Each form of PyTorch and the models in JAX against the reference of Scripts/parity (in float64, losses and gradients), and
two processes against one.
"""

from __future__ import annotations

import os
import sys

import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.nn.parallel import DistributedDataParallel

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "parity"))

import jax_selftest
import speech_selftest
from measure import free_port
from model import Model, Shape  # the reference's
from models import make_model
from sizes import Size

SIZE = Size(hidden=6, steps=5, initial_range=0.4, clip_norm=5, dropout=0, batch_size=8, vocabulary=23)
BOUND = 1e-9  # float64


def windows() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randint(SIZE.vocabulary, (SIZE.steps, SIZE.batch_size), generator=generator) for _ in range(2))


def seeded(form: str) -> torch.nn.Module:
    torch.manual_seed(6)
    return make_model(SIZE, form).double()


def measured(model: torch.nn.Module, columns: slice = slice(None), replica: torch.nn.Module | None = None):
    """Loss and gradients of a measured model on some columns of the window."""
    inputs, targets = (part[:, columns] if model.time_axis == 0 else part.T[columns].contiguous() for part in windows())
    batch = inputs.shape[1 - model.time_axis]
    state = [tuple(part.double() for part in pair) for pair in model.zero_state(batch)] if model.time_axis else tuple(
        part.double() for part in model.zero_state(batch))
    loss, _ = (replica or model)(inputs, targets, state)
    loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in model.named_parameters()}


def reference_names(form: str) -> dict[str, str]:
    """Names of the measured model's parameters to the reference's; the second bias of nn.LSTM has the first's gradient."""
    names = {"embedding.weight": "embedding.weight", "output.weight": "output.weight", "output.bias": "output.bias"}
    for layer in range(SIZE.layers):
        prefix = f"lstm.{layer}.forward."
        if form == "lstm":
            names |= {f"lstm.weight_ih_l{layer}": prefix + "input_weight", f"lstm.weight_hh_l{layer}": prefix + "recurrent_weight",
                      f"lstm.bias_ih_l{layer}": prefix + "bias"}
        else:
            names |= {f"layers.{layer}.{name}": prefix + name for name in ("input_weight", "recurrent_weight", "input_norm.gamma", "input_norm.beta")}
    return names


def check_against_reference(form: str) -> None:
    model = seeded(form)
    parameters = dict(model.named_parameters())
    if form == "lstm":
        with torch.no_grad():
            for layer in range(SIZE.layers):
                parameters[f"lstm.bias_hh_l{layer}"].zero_()
    names = reference_names(form)
    shape = Shape(vocabulary=SIZE.vocabulary, embedding=SIZE.hidden, hidden=SIZE.hidden, layers=SIZE.layers, cell="lstm",
                  peepholes="none", placement="none" if form == "lstm" else "input", statistics="frame", scope="global", batch_size=SIZE.batch_size,
                  shards=1, steps=SIZE.steps)
    other = {theirs: parameters[ours].detach() for ours, theirs in names.items()}
    reference = Model(shape, {name: other[name] for name in shape.tensors()})
    losses, _ = reference.losses(*windows(), reference.zero_state(SIZE.batch_size))
    expected = losses.sum() / SIZE.batch_size
    expected.backward()
    loss, gradients = measured(model)
    assert abs(loss - expected.item()) < BOUND, f"loss {loss}, the reference's {expected.item()}"
    for ours, theirs in names.items():
        difference = float((gradients[ours] - reference.parameters[theirs].grad).abs().max())
        assert difference < BOUND, f"gradient of {ours} differs by {difference}"


def half(rank: int, form: str, port: int, results) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = seeded(form)
    size = SIZE.batch_size // 2
    loss, gradients = measured(model, slice(rank * size, (rank + 1) * size), DistributedDataParallel(model))
    results.put((loss, {name: gradient.numpy() for name, gradient in gradients.items()}))
    dist.barrier()
    dist.destroy_process_group()


def check_two_processes(form: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    results = multiprocessing.get_context("spawn").SimpleQueue()
    multiprocessing.spawn(half, (form, free_port(), results), nprocs=2)
    halves = [results.get(), results.get()]
    loss, gradients = measured(seeded(form))
    assert abs((halves[0][0] + halves[1][0]) / 2 - loss) < BOUND, "loss of two processes"
    for name, gradient in gradients.items():
        for _, found in halves:
            difference = float((torch.from_numpy(found[name]) - gradient).abs().max())
            assert difference < BOUND, f"two processes: gradient of {name} differs by {difference}"


def main() -> int:
    torch.set_num_threads(1)
    failures = 0
    # The exchange of compiled forms is the other loops'.
    words = [(check, form) for form in ("lstm", "loop", "script", "compile", "unroll") for check in (check_against_reference, check_two_processes)
             if check is not check_two_processes or form not in ("compile", "unroll")]
    for task, checks in (("words", words), ("speech", speech_selftest.CHECKS), ("JAX", jax_selftest.CHECKS)):
        for check, form in checks:
            what = f"{task}, {form}: {check.__name__.removeprefix('check_').replace('_', ' ')}"
            try:
                check(form)
                print(f"ok    {what}", flush=True)
            except AssertionError as error:
                failures += 1
                print(f"FAIL  {what}: {error}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
