"""Checks that the models measured in JAX compute what they claim (run by selftest.py, after which the reference can be imported).

Two training steps of each against the reference of Scripts/parity from the same weights on the same data, in float64: losses,
gradients, clipping, SGD with momentum, and the state that is carried on. The compiled step runs on one device and on two.
"""

from __future__ import annotations

import jax
import numpy as np
import torch
import torch.nn.functional as F

import jax_layers
from jax_models import LanguageModel, SpeechModel
from jax_training import Training, distribute, make_step
from measure_jax import padded
from model import Model, Shape, cross_entropy  # the reference's
from normalization import Layout
from speech import Utterance, pad
from sizes import Size, SpeechSize

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)
# Clipping that takes effect, and momentum in both.
WORDS = Size(hidden=6, steps=5, initial_range=0.4, clip_norm=0.5, dropout=0, batch_size=8, vocabulary=23, momentum=0.5)
SPEECH = SpeechSize(features=5, classes=11, hidden=6, layers=2, initial_range=0.4, learning_rate=0.1, clip_norm=0.5)
LENGTHS = [[6] * 4, [9, 4, 7, 1]]  # of utterances, without padding and with it
BOUND = 1e-9  # float64, relative to the largest element


def close(found, expected, what: str) -> None:
    found, expected = np.asarray(found), np.asarray(expected)
    difference = np.abs(found - expected).max() / np.abs(expected).max()
    assert difference < BOUND, f"{what} differs by {difference} of its largest element"


def check_two_steps(model, minibatches: list, shape: Shape, reference_loss) -> None:
    """`reference_loss` makes from the reference, the number of a step and the state before it the loss and the state after."""
    size, batch = model.size, shape.batch_size
    start = model.parameters(seed=6)
    tensors = {name: torch.from_numpy(np.array(each)) for name, each in start.items()}
    velocity, state = {name: torch.zeros_like(each) for name, each in tensors.items()}, None
    training, step = Training.start(model, batch, start), make_step(model)
    distributed = [distribute(training, minibatches, jax.devices()[:count]) for count in (1, 2)]
    trainings, placed = [each for each, _ in distributed], [each for _, each in distributed]
    for number, minibatch in enumerate(minibatches):
        reference = Model(shape, tensors)
        expected, state = reference_loss(reference, number, reference.zero_state(batch) if state is None else state)
        expected.backward()
        theirs = {name: each.grad for name, each in reference.parameters.items()}
        (loss, carried), gradients = jax.value_and_grad(model.loss, has_aux=True)(
            {name: each.numpy() for name, each in tensors.items()}, training.carried, minibatch, training.key)
        training = training._replace(carried=carried)
        close(loss, expected.item(), f"step {number}: the loss")
        for name, each in gradients.items():
            close(each, theirs[name], f"step {number}: the gradient of {name}")
        norm = torch.sqrt(sum(each.square().sum() for each in theirs.values()))
        assert norm > size.clip_norm, "clipping is not tested"
        velocity = {name: size.momentum * velocity[name] + each * (size.clip_norm / norm) for name, each in theirs.items()}
        tensors = {name: each - size.learning_rate * velocity[name] for name, each in tensors.items()}
        for index, devices in enumerate(placed):
            trainings[index], loss = step(trainings[index], devices[number])
            close(loss, expected.item(), f"step {number}: the compiled step's loss on {index + 1} devices")
            for name, each in trainings[index].parameters.items():
                close(each, tensors[name], f"step {number}: {name} after it on {index + 1} devices")


def check_words(kind: str) -> None:
    random = np.random.default_rng(5)
    windows = [tuple(random.integers(WORDS.vocabulary, size=(WORDS.steps, WORDS.batch_size)) for _ in range(2)) for _ in range(2)]
    shape = Shape(vocabulary=WORDS.vocabulary, embedding=WORDS.hidden, hidden=WORDS.hidden, layers=WORDS.layers, cell="lstm",
                  peepholes="none", placement="none" if kind == "plain" else "input", statistics="frame", scope="global",
                  batch_size=WORDS.batch_size, shards=1, steps=WORDS.steps)

    def reference_loss(reference: Model, number: int, state):
        losses, state = reference.losses(*(torch.from_numpy(part) for part in windows[number]), state)
        return losses.sum() / WORDS.batch_size, state

    check_two_steps(LanguageModel(WORDS, kind == "normalized"), windows, shape, reference_loss)


def check_speech(kind: str) -> None:
    for lengths in LENGTHS:
        check_utterances(kind, lengths)


def check_utterances(kind: str, every: list[int]) -> None:
    random = np.random.default_rng(5)
    groups = [[(random.standard_normal((length, SPEECH.features)), random.integers(SPEECH.classes, size=length)) for length in every]
              for _ in range(2)]
    shape = Shape(vocabulary=SPEECH.classes, embedding=SPEECH.features, hidden=SPEECH.hidden, layers=SPEECH.layers, cell="lstm",
                  peepholes="none", placement="none" if kind == "plain" else "input", statistics="sequence", scope="global",
                  batch_size=len(every), shards=1, steps=max(every), bidirectional=True, embedded=False)

    def reference_loss(reference: Model, number: int, state):
        features, classes, counts = (torch.from_numpy(part) for part in pad([Utterance("", *each) for each in groups[number]]))
        layout = Layout(counts, [list(range(len(counts)))])
        logits, _ = reference.forward(features, layout, state)
        live = layout.mask(0, len(features))
        return cross_entropy(logits[live], classes[live]).sum() / len(counts), state  # no state is carried on

    check_two_steps(SpeechModel(SPEECH, kind == "normalized"), [padded(group) for group in groups], shape, reference_loss)


def check_batch_norm(_kind: str) -> None:
    """Results and running averages are those of PyTorch: over sequences of a time step, over all frames, and without padding."""
    random, before = np.random.default_rng(5), tuple(np.full((1, 1, 3), each) for each in (0.0, 1.0))
    z, gamma, beta = random.standard_normal((4, 5, 3)), random.standard_normal(3), random.standard_normal(3)
    live = (random.random((4, 5, 1)) < 0.7).astype(float)
    cases = {"a time step": (0, (1,), None), "all frames": (live[..., 0] >= 0, (0, 1), None), "padding": (live[..., 0] > 0, (0, 1), live)}
    for what, (rows, axes, mask) in cases.items():
        mean, variance = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
        expected = F.batch_norm(
            torch.from_numpy(z[rows]), mean, variance, torch.from_numpy(gamma), torch.from_numpy(beta),
            training=True, momentum=jax_layers.MOMENTUM, eps=jax_layers.EPSILON)
        y, batch = jax_layers.batch_norm(z, gamma, beta, axes, mask)
        close(np.asarray(y)[rows], expected, f"{what}: the result")
        for found, theirs in zip(jax_layers.averaged(before, batch), (mean, variance)):
            close(np.asarray(found)[0, 0], theirs, f"{what}: a running average")


CHECKS = [(check_batch_norm, "normalized"), *((check, kind) for check in (check_words, check_speech) for kind in ("plain", "normalized"))]
