"""Checks of whitening, statistics of evaluation, schedules, accumulation and tasks (run by selftest.py)."""

from __future__ import annotations

import tempfile

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import cases
import draws
import speech_cases
from checking import close
from judging import spread_of
from moments import Layout, Statistics, dealt_groups
from normalization import BatchTerm, Mode
from optimizers import Optimizer, Schedule
from reference import make_trainer
from spread import measure
from text import TrainingPieces
from whitening import Whitening

E, H, B, S, T = 5, 6, 8, 4, 7
LENGTHS = torch.tensor([7, 1, 4, 4, 6, 7, 2, 5])


def check_whitening() -> None:
    """What the product reads has mean 0 and covariance I; a new estimate leaves the function as it is."""
    whitening, weight, bias = Whitening(E, 1e-9, 0.1, torch.float64), torch.randn(4, E).double(), torch.randn(4).double()
    mix, frames = torch.randn(E, E).double(), []
    for _ in range(3):
        x = torch.randn(500, E).double() @ mix + 3
        before = whitening.apply(x) @ weight.T + bias
        whitening.estimate(x, weight, bias)
        close(whitening.apply(x) @ weight.T + bias, before, "function", 1e-8)
        close(whitening.matrix, whitening.matrix.T, "symmetry")
        frames.append(x)
        if len(frames) == 1:
            white = whitening.apply(x)
            close(white.mean(0), torch.zeros(E), "white mean", 1e-9)
            close(white.T @ white / len(x), torch.eye(E), "white covariance", 1e-6)
    moments = lambda of: sum(share * of(x) for share, x in zip((0.81, 0.09, 0.1), frames))
    close(whitening.mean, moments(lambda x: x.mean(0)), "mean")
    close(whitening.covariance, moments(lambda x: torch.cov(x.T, correction=0)), "covariance")


def check_whitening_in_training() -> None:
    """The step's loss is that of before the estimate, unpadded frames alone count, and momentum is forgotten for W_x and b."""
    with tempfile.TemporaryDirectory() as folder:
        for interval in (3, 1000):
            case = speech_cases.SpeechCase("x", seed=1, placement="whitened-input", whitening_interval=interval, momentum=0.9)
            config, weights = speech_cases.write(case, folder, steps=10)
            trainer = make_trainer(config, load_file(weights))
            curve = trainer.run(4, evaluate=False)
            if interval == 3:
                first = curve.losses
                assert trainer.optimizer.updates == 4
        close(first[:3], curve.losses[:3], "losses until the second estimate")
        x = torch.cat([torch.from_numpy(u.features) for u in (trainer.utterances[k] for k in trainer.batches[0])])
        layer = trainer.model.layers[0]
        close(layer.whitening.mean, x.mean(0), "mean of a minibatch's frames")
        close(layer.whitening.matrix @ layer.whitening.matrix, torch.linalg.inv(torch.cov(x.T, correction=0) + 1e-5 * torch.eye(5).double()),
              "U² is the inverse covariance", 1e-8)
    optimizer, theta = Optimizer("sgd", 0.9), {"w": torch.zeros(2).double()}
    optimizer.update(theta, {"w": torch.ones(2).double()}, 1.0)
    optimizer.forget(["w"])
    optimizer.update(theta, {"w": torch.ones(2).double()}, 1.0)
    close(theta["w"], torch.full((2,), -2.0), "memory set to zero")


def check_averaged_statistics() -> None:
    """Unequal groups: the mean weighs frames, `averaged`'s variance weighs groups alike."""
    norm = BatchTerm("n", H, "sequence", T, 1e-5, 0.1, torch.float64)
    z, mask = torch.randn(T, B, H).double(), Layout(LENGTHS, []).mask(0, T)
    groups = dealt_groups(B, S, {"group": 3})
    norm.train(z, torch.ones(H), torch.zeros(H), Layout(LENGTHS, groups))
    found = norm.pooled()["averaged"]
    parts = [z[:, group][mask[:, group]] for group in groups]
    close(found.mean[0], z[mask].mean(0), "mean")
    close(found.variance[0], sum(part.var(0, unbiased=False) for part in parts) / len(parts), "variance")


def check_batch_evaluation() -> None:
    """Statistics of the evaluation's own frames, all in one group; nothing is noted."""
    norm, z = BatchTerm("n", H, "frame", T, 1e-5, 0.1, torch.float64), torch.randn(T, B, H).double()
    mode = Mode(Layout(LENGTHS, [list(range(B))]), None, observe=False)
    y, live = norm.apply(z, torch.ones(H), torch.zeros(H), mode), mode.layout.mask(0, T)
    for t in range(T):
        if int(live[t].sum()) > 1:
            close(y[t][live[t]], F.batch_norm(z[t][live[t]], None, None, training=True, eps=1e-5), f"step {t}")
    assert not norm.observed


def check_frames_per_step() -> None:
    """Rows with too few frames take the last one's that has enough; where none has, the last one seen limits."""
    statistics = Statistics(torch.arange(5.0)[:, None], torch.ones(5, 1), [200, 150, 99, 3, 0])
    rows = lambda fewest: statistics.rows(0, 6, fewest)[0][:, 0].tolist()
    assert rows(100) == [0, 1, 1, 1, 1, 1] and rows(3) == [0, 1, 2, 3, 3, 3] and rows(1000) == [0, 1, 2, 3, 3, 3]
    norm = BatchTerm("n", H, "frame", T, 1e-5, 0.1, torch.float64)
    for _ in range(2):
        norm.train(torch.randn(T, B, H).double(), torch.ones(H), torch.zeros(H), Layout(LENGTHS, dealt_groups(B, S, "global")))
        norm.update_running()
    assert norm.running.frames == [2 * int((LENGTHS > t).sum()) if int((LENGTHS > t).sum()) > 1 else 0 for t in range(T)]


def check_schedules() -> None:
    base = {"learning_rate": 1, "decay": None, "warmup_steps": 0, "plateau": None, "cosine": None}
    schedule = lambda updates=100, **settings: Schedule(base | settings, updates)
    decay = schedule(decay={"factor": 2, "after": 6})
    assert [decay.rate(epoch, 9) for epoch in (1, 6, 7, 8)] == [1, 1, 0.5, 0.25]
    assert [schedule(warmup_steps=4).rate(1, s) for s in (1, 2, 4, 5)] == [0.25, 0.5, 1, 1]
    cosine = schedule(11, cosine={"final": 0.2})
    close([cosine.rate(1, s) for s in (1, 6, 11)], [1, 0.6, 0.2], "cosine")
    plateau = schedule(plateau={"factor": 2, "patience": 2, "threshold": 0.1})
    rates = []
    for loss in (4, 3.9, 3.8, 3.7, 3.3, 3.3, 3.3):  # 3.3 is below 0.9 · 3.7; the gains before it do not count
        plateau.validated(loss)
        rates.append(plateau.rate(1, 1))
    assert rates == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25], rates
    _check_schedules_against_torch(schedule)


def _check_schedules_against_torch(schedule) -> None:
    optimizer = lambda: torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    def followed(scheduler, steps: int, *arguments) -> list[float]:
        rates = []
        for step in range(steps):
            rates.append(scheduler.optimizer.param_groups[0]["lr"])
            scheduler.optimizer.step()
            scheduler.step(*(values[step] for values in arguments))
        return rates

    schedulers = torch.optim.lr_scheduler
    falling = schedule(31, cosine={"final": 0.2})
    torch_rates = followed(schedulers.CosineAnnealingLR(optimizer(), T_max=30, eta_min=0.2), 31)
    close([falling.rate(1, s) for s in range(1, 32)], torch_rates, "cosine against PyTorch")
    rising = schedule(warmup_steps=8)
    torch_rates = followed(schedulers.LinearLR(optimizer(), start_factor=1 / 8, total_iters=7), 12)
    close([rising.rate(1, s) for s in range(1, 13)], torch_rates, "warm-up against PyTorch")
    decaying = schedule(decay={"factor": 1.2, "after": 3})
    torch_rates = followed(schedulers.LambdaLR(optimizer(), lambda epoch: 1.2 ** -max(0, epoch - 2)), 9)
    close([decaying.rate(epoch, 1) for epoch in range(1, 10)], torch_rates, "decay against PyTorch")
    # PyTorch waits for more than `patience` validations. Without a threshold its best loss is the lowest, as here.
    losses = [4, 3, 3.5, 3, 2.9, 2.95, 2.9, 3, 2.8, 2.9, 2.9, 2.9, 2.9, 2.9, 2.5, 3]
    waiting, rates = schedule(plateau={"factor": 4, "patience": 2, "threshold": 0}), []
    for loss in losses:
        rates.append(waiting.rate(1, 1))
        waiting.validated(loss)
    scheduler = schedulers.ReduceLROnPlateau(optimizer(), factor=0.25, patience=1, threshold=0, eps=0)
    close(rates, followed(scheduler, len(losses), losses), "plateau against PyTorch")


def check_weight_decay() -> None:
    """Beside the update, by the step's rate, on matrices and used rows alone."""
    parameters = {name: torch.ones(2, 2).double() for name in ("embedding.weight", "lstm.0.forward.recurrent_weight", "output.weight")}
    parameters |= {name: torch.ones(2).double() for name in ("output.bias", "x.hidden_bias", "x.peephole", "n.gamma", "x.initial_hidden")}
    gradient = {name: torch.zeros_like(tensor) for name, tensor in parameters.items()}
    gradient["embedding.weight"][1, 0] = 1
    Optimizer("sgd", weight_decay=0.5).update(parameters, gradient, 0.1)
    close(parameters["embedding.weight"], torch.tensor([[1, 1], [0.85, 0.95]], dtype=torch.float64), "embedding")
    for name, tensor in parameters.items():
        if name != "embedding.weight":
            close(tensor, torch.full_like(tensor, 0.95 if name.endswith("weight") else 1.0), name)


def check_accumulation() -> None:
    """Without statistics of minibatches, k micro-batches of B / k are one minibatch of B, of unequal frame counts too."""
    for average_over in ("sequences", "frames"):
        for task in ("frame-classification", "sequence-classification"):
            curves = []
            for size, accumulate in ((16, 1), (4, 4)):
                with tempfile.TemporaryDirectory() as folder:
                    case = speech_cases.SpeechCase("x", seed=3, placement="none", average_over=average_over, task=task)
                    config, weights = speech_cases.write(case, folder, steps=20)
                    config["training"] |= {"batch_size": size, "accumulate_steps": accumulate}
                    curves.append(make_trainer(config, load_file(weights)).run(4, evaluate=False))
            close(curves[0].losses, curves[1].losses, f"losses, {task} {average_over}")
            close(curves[0].gradient_norms, curves[1].gradient_norms, f"norms, {task} {average_over}")


def check_sequence_classification() -> None:
    """The softmax reads what nn.LSTM gives as h_n of both directions, which for packed sequences are those of the own last steps."""
    with tempfile.TemporaryDirectory() as folder:
        case = speech_cases.SpeechCase("x", seed=4, placement="none", task="sequence-classification", layers=1)
        config, weights = speech_cases.write(case, folder, steps=10)
        trainer = make_trainer(config, load_file(weights))
        p = trainer.model.parameters
        net = torch.nn.LSTM(5, case.hidden, bidirectional=True).double()
        with torch.no_grad():
            for direction, end in (("forward", ""), ("backward", "_reverse")):
                for theirs, ours in (("weight_ih", "input_weight"), ("weight_hh", "recurrent_weight"), ("bias_ih", "bias")):
                    getattr(net, f"{theirs}_l0{end}").copy_(p[f"lstm.0.{direction}.{ours}"])
                getattr(net, f"bias_hh_l0{end}").zero_()
        utterances = [trainer.utterances[k] for k in trainer.batches[0]]
        packed = torch.nn.utils.rnn.pack_sequence([torch.from_numpy(u.features) for u in utterances], enforce_sorted=False)
        _, (h, _) = net(packed)
        logits = torch.cat([h[0], h[1]], dim=1) @ p["output.weight"].T + p["output.bias"]
        labels = torch.tensor([int(u.labels[0]) for u in utterances])
        loss_sum, count, score, _ = trainer.minibatch(0, None)
        close(loss_sum, F.cross_entropy(logits, labels, reduction="sum"), "loss")
        assert (count, score.count, score.frames) == (16, 16, sum(len(u) for u in utterances))


def check_shuffled_pieces() -> None:
    """Philox's known blocks; every piece once, each beginning with the last token of the one before; other draws of other epochs."""
    assert draws.philox((0, 0, 0, 0), (0, 0)) == (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)
    assert draws.philox((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)) == (
        0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)
    orders = [draws.shuffled_pieces(1, epoch, 1000, T) for epoch in range(8)]
    for starts in orders:
        ranked = sorted(starts)
        assert 0 <= ranked[0] < T and ranked == list(range(ranked[0], 1000 - T, T)) and starts != ranked
    assert len({order[0] for order in orders}) > 4
    pieces = TrainingPieces(torch.arange(1000).numpy(), orders[0], 8, T)
    inputs, targets = pieces[1]
    assert inputs[0].tolist() == orders[0][8:16] and (targets == inputs + 1).all() and inputs.shape == (T, 8)


def check_perturbed_runs_spread() -> None:
    """A stable case spreads as rounding does: a fixed bound and the spread's agree."""
    with tempfile.TemporaryDirectory() as folder:
        config, path = cases.write(cases.Case("x", seed=2, placement="input", batch_size=8), folder, steps=4)
        run = lambda weights, dtype: make_trainer(config, weights, dtype).run(4)
        expected = run(load_file(path), torch.float64)
        spread = measure(run, load_file(path), lambda curve: spread_of(curve, expected))
    assert len(spread.losses) == 4 and 0 < max(spread.losses) < 1e-5 and spread.losses == sorted(spread.losses)
    assert spread.tensors < 1e-4
