"""Checks of the reference's frame classification against PyTorch's packed sequences and hand-computed examples (run by selftest.py)."""

from __future__ import annotations

import os
import tempfile

import kaldiio
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import speech_cases
from case import random_weights
from checking import close
from frames import FrameTrainer, score
from model import Model, cross_entropy, reverse
from moments import Layout, dealt_groups
from normalization import BatchTerm, Mode
from shape import RECURRENT_PLACEMENTS, Shape
from speech import Utterance, add_deltas, minibatches, normalize, pad, read_utterances

V, I, H, L, S, T = 7, 5, 6, 2, 4, 9
LENGTHS = torch.tensor([9, 1, 4, 4, 7, 9, 2, 1, 6, 5])  # ties, single frames, no order; ten over four shards
B = len(LENGTHS)
FRAMEWISE = ("input", *RECURRENT_PLACEMENTS)


def model(**changes) -> Model:
    values = dict(vocabulary=V, embedding=I, hidden=H, layers=L, cell="lstm", peepholes="none", placement="none", statistics="frame",
                  scope="global", batch_size=B, shards=S, steps=T, bidirectional=True, embedded=False)
    shape = Shape(**(values | changes))
    return Model(shape, random_weights(shape, seed=3))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features and labels of a padded minibatch, and which of them are frames."""
    generator = torch.Generator().manual_seed(4)
    features = torch.randn(T, B, I, generator=generator, dtype=torch.float64)
    return features, torch.randint(V, (T, B), generator=generator), Layout(LENGTHS, []).mask(0, T)


def loss_of(m: Model, features: torch.Tensor, lengths: torch.Tensor = LENGTHS) -> torch.Tensor:
    _, labels, mask = batch()
    logits, _ = m.forward(features, Mode(Layout(lengths, dealt_groups(B, S, m.shape.scope_setting))), m.initial_state(B))
    return cross_entropy(logits, labels)[mask].sum() / B


def gradients(m: Model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(m.parameters, torch.autograd.grad(loss, list(m.parameters.values()))))


def check_both_directions_against_packed_torch() -> None:
    """Placement none is nn.LSTM and nn.RNN over packed sequences, in both directions: loss and all gradients."""
    features, labels, mask = batch()
    for cell, module in (("lstm", torch.nn.LSTM), ("rnn", torch.nn.RNN)):
        m = model(cell=cell)
        net = module(I, H, L, bidirectional=True).double()
        parts = {"weight_ih": "input_weight", "weight_hh": "recurrent_weight", "bias_ih": "bias"}
        ends = {"forward": "", "backward": "_reverse"}
        names = {f"{theirs}_l{layer}{end}": m.shape.prefix(layer, direction) + ours
                 for layer in range(L) for direction, end in ends.items() for theirs, ours in parts.items()}
        with torch.no_grad():
            for name, parameter in net.named_parameters():
                parameter.copy_(m.parameters[names[name]]) if name in names else parameter.zero_()
        packed, _ = net(pack_padded_sequence(features, LENGTHS, enforce_sorted=False))
        out, _ = pad_packed_sequence(packed, total_length=T)
        weight, bias = (m.parameters[f"output.{part}"].detach().clone().requires_grad_() for part in ("weight", "bias"))
        expected = F.cross_entropy((out @ weight.T + bias)[mask], labels[mask], reduction="sum") / B
        expected.backward()
        loss = loss_of(m, features)
        close(loss, expected, f"{cell} loss")
        found = gradients(m, loss)
        for name, parameter in net.named_parameters():
            if name in names:
                close(found[names[name]], parameter.grad, f"{cell} {name}")
        close(found["output.weight"], weight.grad, "output weight")
        close(found["output.bias"], bias.grad, "output bias")


def check_padding_changes_nothing() -> None:
    """Other values in padded frames leave the loss and all gradients as they are, in every placement."""
    features, _, mask = batch()
    other = torch.where(mask.unsqueeze(-1), features, 100 * torch.randn_like(features))
    for placement in ("none", *FRAMEWISE):
        for statistics in ("frame", "sequence") if placement == "input" else ("frame",):
            m = model(placement=placement, statistics=statistics, peepholes="all", scope=("group", 2))
            one, two = loss_of(m, features), loss_of(m, other)
            close(one, two, f"{placement} loss")
            second = gradients(m, two)
            for name, gradient in gradients(m, one).items():
                close(gradient, second[name], f"{placement} {name}")


def check_masked_statistics_against_torch() -> None:
    """Every group's frames, taken out of the padding, through batch_norm; running averages are their frame-weighted means."""
    z_TBF, gamma, beta = torch.randn(T, B, H).double(), torch.rand(H).double() + 0.5, torch.randn(H).double()
    mask = Layout(LENGTHS, []).mask(0, T)
    for scope in ("local", {"group": 2}, {"group": 3}, "global"):
        groups = dealt_groups(B, S, scope)
        for statistics in ("sequence", "frame"):
            norm = BatchTerm("n", H, statistics, T, 1e-5, 0.1, torch.float64)
            y = norm.train(z_TBF, gamma, beta, Layout(LENGTHS, groups))
            norm.update_running()
            for steps in [range(T)] if statistics == "sequence" else [range(t, t + 1) for t in range(T)]:
                means, variances, counts = [], [], []
                for group in groups:
                    inside = torch.zeros_like(mask)
                    inside[steps.start : steps.stop, group] = mask[steps.start : steps.stop, group]
                    z = z_TBF[inside]
                    if len(z) >= 2:
                        close(y[inside], F.batch_norm(z, None, None, gamma, beta, training=True, eps=1e-5), f"{statistics} {scope}")
                        means.append(len(z) * z.mean(0)), variances.append(len(z) * z.var(0, unbiased=True)), counts.append(len(z))
                    elif len(z) == 1:
                        close(y[inside], gamma * z / (1 + 1e-5) ** 0.5 + beta, f"one frame, {scope}")
                if counts:
                    close(norm.running.mean[steps.start], sum(means) / sum(counts), "running mean")
                    close(norm.running.variance[steps.start], sum(variances) / sum(counts), "running variance")
                else:
                    assert not norm.running.seen[steps.start]


def check_backward_steps_count_from_the_end() -> None:
    """Row 0 of a backward direction's statistics is that of the last frames."""
    m = model(placement="input")
    features, _, _ = batch()
    loss_of(m, features)
    m.update_running()
    last = features[LENGTHS - 1, torch.arange(B)] @ m.parameters["lstm.0.backward.input_weight"].T
    close(m.norms["lstm.0.backward.input_norm"].running.mean[0], last.mean(0), "backward running mean")
    turned = reverse(features, LENGTHS)
    close(turned[0], features[LENGTHS - 1, torch.arange(B)], "first frame of the reversed")
    close(reverse(turned, LENGTHS), features, "reversed twice")


def check_dealt_groups() -> None:
    """Utterance k belongs to shard k mod S; groups of shards may be unequal or have no utterance."""
    assert dealt_groups(6, 4, "local") == [[0, 4], [1, 5], [2], [3]]
    assert dealt_groups(6, 4, {"group": 2}) == [[0, 1, 4, 5], [2, 3]]
    assert dealt_groups(6, 4, {"group": 3}) == [[0, 1, 2, 4, 5], [3]]
    assert dealt_groups(6, 4, "global") == [[0, 1, 2, 3, 4, 5]]
    assert dealt_groups(2, 4, "local") == [[0], [1]] and dealt_groups(2, 4, {"group": 2}) == [[0, 1]]
    assert minibatches(7, 3) == [range(0, 3), range(3, 6), range(6, 7)]


def check_masked_gradients_by_differences() -> None:
    """Along random directions; single frames are normalised with constants, through which no gradient goes."""
    features, _, _ = batch()
    for placement in ("none", *FRAMEWISE):
        for cell in ("lstm", "rnn"):
            # The large ε bounds the curvature where a group has two frames.
            m = model(placement=placement, cell=cell, peepholes="all" if cell == "lstm" else "none", scope=("group", 2), epsilon=0.1)
            found = gradients(m, loss_of(m, features))
            directions = {name: torch.randn_like(g) for name, g in found.items()}
            analytic = sum(float((found[n] * directions[n]).sum()) for n in found)
            values, step = [], 1e-6
            for sign in (1, -1):
                moved = {n: t.detach() + sign * step * directions[n] for n, t in m.parameters.items()}
                values.append(float(loss_of(Model(m.shape, moved), features).detach()))
            numeric = (values[0] - values[1]) / (2 * step)
            assert abs(analytic - numeric) <= 1e-5 * max(abs(analytic), 1), f"{cell} {placement}: {analytic} against {numeric}"


def check_population_of_unequal_groups() -> None:
    """Pooled by frames, the moments are those of all frames together."""
    norm, one, zero = BatchTerm("n", H, "sequence", T, 1e-5, 0.1, torch.float64), torch.ones(H).double(), torch.zeros(H).double()
    mask, frames = Layout(LENGTHS, []).mask(0, T), []
    for k in range(3):
        z = torch.randn(T, B, H).double() * (k + 1) + k
        norm.train(z, one, zero, Layout(LENGTHS, dealt_groups(B, S, {"group": 2})))
        frames.append(z[mask])
    pooled, every = norm.pooled()["population"], torch.cat(frames)
    close(pooled.mean[0], every.mean(0), "population mean")
    close(pooled.variance[0], every.var(0, unbiased=False), "population variance")


def check_deltas() -> None:
    """Impulse, ramp and single frame against the filters of Kaldi's add-deltas, worked out by hand."""
    impulse = np.zeros((13, 1))
    impulse[6] = 1
    delta, second = add_deltas(impulse, 2)[:, 1], add_deltas(impulse, 2)[:, 2]
    close(delta[4:9], np.array([0.2, 0.1, 0, -0.1, -0.2]), "first derivative")
    close(second[2:11], np.array([0.04, 0.04, 0.01, -0.04, -0.1, -0.04, 0.01, 0.04, 0.04]), "second derivative")
    # The ends are repeated once for both filters: differences of the first derivative would begin with 0.13.
    ramp = add_deltas(np.arange(12.0)[:, None], 2)
    close(ramp[:4, 1], np.array([0.5, 0.8, 1, 1]), "first derivative at the edge")
    close(ramp[:5, 2], np.array([0.26, 0.21, 0.12, 0.04, 0]), "second derivative at the edge")
    close(add_deltas(np.array([[3.0, 4.0]]), 2), np.array([[3.0, 4, 0, 0, 0, 0]]), "one frame")


def check_normalization_of_features() -> None:
    """Global statistics are the training set's; those of an utterance its own, and a single frame becomes 0."""
    generator = np.random.default_rng(1)
    make = lambda length: Utterance("u", generator.normal(size=(length, 3)) * [1, 2, 3] + 5, np.zeros(length, dtype=np.int64))
    train, other = [make(4), make(1), make(9)], [make(5)]
    every = np.concatenate([u.features for u in normalize(train, "global", train)])
    close(every.mean(0), np.zeros(3), "mean")
    close((every**2).mean(0), np.ones(3), "variance")
    raw = np.concatenate([u.features for u in train])
    close(normalize(other, "global", train)[0].features, (other[0].features - raw.mean(0)) / raw.std(0), "other data")
    for utterance in normalize(train, "utterance", train):
        close(utterance.features.mean(0), np.zeros(3), "mean of an utterance")
        close(utterance.features.var(0), np.ones(3) if len(utterance.features) > 1 else np.zeros(3), "variance of an utterance")
    assert normalize(train, "none", train) is train


def check_archives() -> None:
    """Utterances in the order of the features, whatever that of the labels; too long ones are left out; padding."""
    with tempfile.TemporaryDirectory() as folder:
        for storage in ("float", "double", "compressed", "scp"):
            case = speech_cases.SpeechCase("x", seed=1, storage=storage)
            config, weights = speech_cases.write(case, folder, steps=10)
            paths = config["data"]["train"]
            utterances = read_utterances(paths, speech_cases.CLASSES, 0)
            assert [u.key for u in utterances] == [f"train-{k:04d}" for k in range(len(utterances))]
            longest = max(len(u.labels) for u in utterances)
            assert longest == 20 and all(u.features.shape == (len(u.labels), speech_cases.FEATURES) for u in utterances)
        labels = dict(kaldiio.load_scp(paths["labels"]))
        kaldiio.save_ark(os.path.join(folder, "turned.ark"), dict(reversed(labels.items())))
        turned = read_utterances({"features": paths["features"], "labels": os.path.join(folder, "turned.ark")}, speech_cases.CLASSES, 0)
        assert all((a.labels == b.labels).all() for a, b in zip(turned, utterances))
        trainer = FrameTrainer(config, load_file(weights))
        assert [len(batch) for batch in trainer.batches] == [16, 2] and trainer.model.shape.steps == 12
        assert len(trainer.utterances) == len(utterances) - 2 and len(trainer.validation) == 7
    features, lengths = pad(utterances[:3])
    assert lengths.tolist() == [len(u.labels) for u in utterances[:3]] and features.shape[:2] == (max(lengths), 3)
    close(features[: lengths[1], 1], utterances[1].features, "padded features")


def check_scores() -> None:
    """Wrong arg maxes, and those that are close, counted by hand."""
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 2.9999, 0.0], [0.0, 0.0, 5.0], [2.0, 2.0004, 1.0]])
    found = score(logits, torch.tensor([0, 0, 2, 1]), 1.5, 4)
    assert (found.count, found.wrong, found.undecided, found.loss_sum) == (4, 1, 2, 1.5), found


def check_evaluation_does_not_depend_on_the_batch() -> None:
    """The validation utterances as one padded minibatch give the score that they give one by one."""
    with tempfile.TemporaryDirectory() as folder:
        for statistics, placement in (("frame", "preactivation"), ("frame", "input"), ("sequence", "input")):
            case = speech_cases.SpeechCase("x", seed=2, statistics=statistics, placement=placement)
            config, weights = speech_cases.write(case, folder, steps=10)
            trainer = FrameTrainer(config, load_file(weights))
            trainer.run(2, evaluate=False)
            for kind in (trainer.model.running_statistics(), *trainer.pooled_statistics().values()):
                with torch.no_grad():
                    _, together = trainer._forward(trainer.validation, [], kind, False)
                close(trainer.validation_score(kind).loss, together.loss, f"{placement} {statistics}")
