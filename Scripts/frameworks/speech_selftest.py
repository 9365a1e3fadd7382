"""Checks that the measured speech models compute what they claim (run by selftest.py, after which the reference can be imported).

Each form against the reference of Scripts/parity (in float64, losses and gradients), and two processes against one.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile

import kaldiio
import torch
import torch.distributed as dist
import torch.multiprocessing as multiprocessing
from torch.nn.parallel import DistributedDataParallel

import recurrences
from measure import free_port
from model import Model, Shape, cross_entropy  # the reference's
from normalization import Layout
from speech import Utterance, pad
from packed import read_minibatches
from sizes import SpeechSize
from speech_data import SPREADS, minibatch_lengths, write_archives
from speech_models import FORMS, make_speech_model

SIZE = SpeechSize(features=5, classes=11, hidden=6, layers=2, initial_range=0.4)
LENGTHS = [9, 4, 7, 1, 9, 4, 2, 6]
BOUND = 1e-9  # float64
recurrences.UNROLLED = 3  # several pieces even of short sequences


def archives(form: str, folder: str) -> None:
    # Unrolled: a piece of steps with all sequences, then steps alone.
    lengths = {"padded": [6] * len(LENGTHS), "unroll": [6] * (len(LENGTHS) - 1) + [5]}.get(form, LENGTHS)
    write_archives(folder, [lengths], SIZE.features, SIZE.classes)


def seeded(form: str) -> torch.nn.Module:
    torch.manual_seed(6)
    model = make_speech_model(SIZE, form).double()
    if form in ("packed", "padded"):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if name.startswith("lstm.bias_hh"):
                    parameter.zero_()
    return model


def measured(model: torch.nn.Module, folder: str, rank: int = 0, processes: int = 1, replica: torch.nn.Module | None = None):
    """Loss and gradients of a measured model on one process's part of the minibatch."""
    (packed,), _ = read_minibatches(folder, rank, processes, batch=len(LENGTHS))
    loss = (replica or model)(dataclasses.replace(packed, features_NI=packed.features_NI.double()))
    loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in model.named_parameters()}


def reference_names(form: str) -> dict[str, str]:
    """Names of the measured model's parameters to the reference's."""
    names = {"output.weight": "output.weight", "output.bias": "output.bias"}
    for layer in range(SIZE.layers):
        for direction, end in (("forward", ""), ("backward", "_reverse")):
            prefix = f"lstm.{layer}.{direction}."
            if form in ("packed", "padded"):
                parts = {"weight_ih": "input_weight", "weight_hh": "recurrent_weight", "bias_ih": "bias"}
                names |= {f"lstm.{theirs}_l{layer}{end}": prefix + ours for theirs, ours in parts.items()}
            else:
                parts = ("input_weight", "recurrent_weight", "input_norm.gamma", "input_norm.beta")
                names |= {f"layers.{layer}.{direction}_direction.{part}": prefix + part for part in parts}
    return names


def check_against_reference(form: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        archives(form, folder)
        model, names = seeded(form), reference_names(form)
        labels = dict(kaldiio.load_ark(os.path.join(folder, "labels.ark")))
        utterances = [Utterance(key, array.astype(float), labels[key])
                      for key, array in kaldiio.load_ark(os.path.join(folder, "features.ark"))]
        loss, gradients = measured(model, folder)
    features, classes, lengths = (torch.from_numpy(part) for part in pad(utterances))
    shape = Shape(
        vocabulary=SIZE.classes, embedding=SIZE.features, hidden=SIZE.hidden, layers=SIZE.layers, cell="lstm", peepholes="none",
        placement="none" if form in ("packed", "padded") else "input", statistics="sequence", scope="global",
        batch_size=len(lengths), shards=1, steps=int(lengths.max()), bidirectional=True, embedded=False)
    parameters = dict(model.named_parameters())
    weights = {theirs: parameters[ours].detach() for ours, theirs in names.items()}
    reference = Model(shape, {name: weights[name] for name in shape.tensors()})
    layout = Layout(lengths, [list(range(len(lengths)))])
    logits, _ = reference.forward(features, layout, reference.zero_state(len(lengths)))
    live = layout.mask(0, len(features))
    expected = cross_entropy(logits[live], classes[live]).sum() / len(lengths)
    expected.backward()
    assert abs(loss - expected.item()) < BOUND, f"loss {loss}, the reference's {expected.item()}"
    for ours, theirs in names.items():
        difference = float((gradients[ours] - reference.parameters[theirs].grad).abs().max())
        assert difference < BOUND, f"gradient of {ours} differs by {difference}"


def half(rank: int, form: str, folder: str, port: int, results) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = seeded(form)
    loss, gradients = measured(model, folder, rank, 2, DistributedDataParallel(model))
    results.put((loss, {name: gradient.numpy() for name, gradient in gradients.items()}))
    dist.barrier()
    dist.destroy_process_group()


def check_two_processes(form: str) -> None:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    results = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        archives(form, folder)
        multiprocessing.spawn(half, (form, folder, free_port(), results), nprocs=2)
        halves = [results.get(), results.get()]
        loss, gradients = measured(seeded(form), folder)
    assert abs((halves[0][0] + halves[1][0]) / 2 - loss) < BOUND, "loss of two processes"
    for name, gradient in gradients.items():
        for _, found in halves:
            difference = float((torch.from_numpy(found[name]) - gradient).abs().max())
            assert difference < BOUND, f"two processes: gradient of {name} differs by {difference}"


def check_minibatches(_form: str) -> None:
    """Similar lengths within a minibatch, of the promised mean, and packing that PyTorch agrees with."""
    for kind, (shortest, longest, mean, _) in SPREADS.items():
        groups = minibatch_lengths(kind)
        every = [length for group in groups for length in group]
        assert all(len(group) == 24 and max(group) < 1.1 * min(group) for group in groups), "minibatches of unequal lengths"
        assert shortest <= min(every) and max(every) <= longest and abs(sum(every) / len(every) - mean) < 50, "unusual lengths"
    with tempfile.TemporaryDirectory() as folder:
        archives("packed", folder)
        (packed,), frames = read_minibatches(folder, batch=len(LENGTHS))
        parts = [read_minibatches(folder, rank, 2, len(LENGTHS))[0][0] for rank in range(2)]
        arrays = sorted((array for _, array in kaldiio.load_ark(os.path.join(folder, "features.ark"))), key=lambda a: -len(a))
    assert frames == [sum(LENGTHS)] and [sorted(part.lengths) for part in parts] == [sorted(LENGTHS[0::2]), sorted(LENGTHS[1::2])]
    expected = torch.nn.utils.rnn.pack_sequence([torch.from_numpy(array.copy()) for array in arrays])
    assert torch.equal(packed.features_NI, expected.data) and packed.sizes == expected.batch_sizes.tolist(), "packing"
    turned = torch.nn.utils.rnn.pack_sequence([torch.from_numpy(array[::-1].copy()) for array in arrays])
    assert torch.equal(packed.features_NI[packed.turned_N], turned.data), "reversal"


CHECKS = [(check_minibatches, "data"), *((check_against_reference, form) for form in FORMS),
          # The exchange of compiled forms is the other loops'.
          *((check_two_processes, form) for form in FORMS if form not in ("compile", "unroll"))]
