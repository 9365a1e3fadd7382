"""Checks of the reference itself against PyTorch's own modules and hand-computed examples.

    python selftest.py

Each check would fail if the reference read mathematics.md differently from PyTorch where the two agree.
"""

from __future__ import annotations

import os
import sys
import tempfile

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

import cases
import cell_checks
import setting_checks
import speech_checks
from case import random_weights
from checking import close, losses
from language import LanguageTrainer
from model import Model
from moments import Layout, statistics_groups
from normalization import BatchTerm
from optimizers import Optimizer, clip
from shape import Shape
from text import TrainingWindows, encode, evaluation_runs, make_vocabulary, read_tokens

V, E, H, L, B, S, T = 23, 5, 6, 2, 8, 4, 7


def shape(**changes) -> Shape:
    values = dict(vocabulary=V, embedding=E, hidden=H, layers=L, cell="lstm", peepholes="none", placement="none",
                  statistics="frame", scope="global", batch_size=B, shards=S, steps=T)
    return Shape(**(values | changes))


def model(**changes) -> Model:
    s = shape(**changes)
    return Model(s, random_weights(s, seed=3))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return tuple(torch.randint(V, (T, B), generator=generator) for _ in range(2))


def gradients(m: Model) -> dict[str, torch.Tensor]:
    inputs, targets = batch()
    (losses(m, inputs, targets).sum() / B).backward()
    return {name: tensor.grad for name, tensor in m.parameters.items()}


def check_plain_layers_against_torch() -> None:
    """Placement none without peepholes is nn.LSTM and nn.RNN: losses, state and all gradients."""
    for cell, module in (("lstm", torch.nn.LSTM), ("rnn", torch.nn.RNN)):
        m = model(cell=cell)
        net = module(E, H, L).double()
        with torch.no_grad():
            for layer in range(L):
                prefix = m.shape.prefix(layer)
                getattr(net, f"weight_ih_l{layer}").copy_(m.parameters[prefix + "input_weight"])
                getattr(net, f"weight_hh_l{layer}").copy_(m.parameters[prefix + "recurrent_weight"])
                getattr(net, f"bias_ih_l{layer}").copy_(m.parameters[prefix + "bias"])
                getattr(net, f"bias_hh_l{layer}").zero_()
        leaf = lambda name: m.parameters[name].detach().clone().requires_grad_()
        embedding, weight, bias = leaf("embedding.weight"), leaf("output.weight"), leaf("output.bias")
        inputs, targets = batch()
        out, _ = net(embedding[inputs])
        logits = out @ weight.T + bias
        loss = F.cross_entropy(logits.reshape(-1, V), targets.reshape(-1), reduction="none").reshape(T, B)
        close(losses(m, inputs, targets), loss, f"{cell} losses")
        (loss.sum() / B).backward()
        found = gradients(m)
        for layer in range(L):
            prefix = m.shape.prefix(layer)
            close(found[prefix + "input_weight"], getattr(net, f"weight_ih_l{layer}").grad, f"{cell} input weight")
            close(found[prefix + "recurrent_weight"], getattr(net, f"weight_hh_l{layer}").grad, f"{cell} recurrent weight")
            close(found[prefix + "bias"], getattr(net, f"bias_ih_l{layer}").grad, f"{cell} bias")
        close(found["embedding.weight"], embedding.grad, "embedding")
        close(found["output.weight"], weight.grad, "output weight")
        close(found["output.bias"], bias.grad, "output bias")


def normalization(statistics: str, steps: int = T) -> BatchTerm:
    return BatchTerm("n", H, statistics, steps, 1e-5, 0.1, torch.float64)


def layout(scope, batch_size: int = B) -> Layout:
    return Layout.full(T, batch_size, statistics_groups(batch_size, S, scope))


def check_sequence_statistics_against_torch() -> None:
    """Global sequence statistics are batch_norm over all frames, its running averages (after the first step) too."""
    norm = normalization("sequence")
    gamma, beta = torch.rand(H).double() + 0.5, torch.randn(H).double()
    mean, variance = torch.zeros(H).double(), torch.ones(H).double()
    for step in range(3):
        z = torch.randn(T, B, H).double() * 2 + 1
        momentum = 1.0 if step == 0 else 0.1
        expected = F.batch_norm(z.reshape(-1, H), mean, variance, gamma, beta, training=True, momentum=momentum, eps=1e-5)
        close(norm.train(z, gamma, beta, layout("global")), expected.reshape(T, B, H), "sequence statistics")
        norm.update_running()
        close(norm.running.mean[0], mean, "running mean")
        close(norm.running.variance[0], variance, "running variance")
    z = torch.randn(T, B, H).double()
    expected = F.batch_norm(z.reshape(-1, H), mean, variance, gamma, beta, training=False, eps=1e-5).reshape(T, B, H)
    close(norm.evaluate(z, norm.running, gamma, beta), expected, "evaluation with running statistics")


def check_frame_statistics_against_torch() -> None:
    """Frame statistics are one batch_norm a time step; local and group ones are one a group of sequences."""
    for scope, size in (("global", B), ("local", B // S), ({"group": 2}, 2 * B // S)):
        norm, gamma, beta = normalization("frame"), torch.rand(H).double() + 0.5, torch.randn(H).double()
        z = torch.randn(T, B, H).double().requires_grad_()
        y = norm.train(z, gamma, beta, layout(scope))
        expected = torch.stack([
            torch.cat([F.batch_norm(z[t, b : b + size], None, None, gamma, beta, training=True, eps=1e-5)
                       for b in range(0, B, size)]) for t in range(T)])
        close(y, expected, f"frame statistics, {scope}")
        weights = torch.randn(T, B, H).double()
        close(torch.autograd.grad((y * weights).sum(), z, retain_graph=True)[0],
              torch.autograd.grad((expected * weights).sum(), z)[0], f"frame gradient, {scope}", 1e-8)
        norm.update_running()
        groups = z.detach().reshape(T, B // size, size, H)
        close(norm.running.mean, groups.mean(dim=(1, 2)), "running mean")
        close(norm.running.variance, groups.var(dim=2, unbiased=True).mean(dim=1), "running variance")


def check_groups() -> None:
    """A group of all shards is `global`, of one `local`; three of four shards leave a smaller last group."""
    for placement, statistics in (("input", "frame"), ("input", "sequence"), ("preactivation", "frame"),
                                  ("separate", "frame"), ("hidden", "frame")):
        for k, scope in ((S, "global"), (1, "local")):
            one = gradients(model(placement=placement, statistics=statistics, scope=("group", k)))
            two = gradients(model(placement=placement, statistics=statistics, scope=scope))
            for name in one:
                close(one[name], two[name], f"{placement} {scope} {name}")
    assert statistics_groups(8, 4, {"group": 3}) == [range(0, 6), range(6, 8)]
    local, everywhere = (gradients(model(placement="input", scope=s)) for s in ("local", "global"))
    name = "lstm.0.forward.input_weight"
    assert float((local[name] - everywhere[name]).abs().max()) > 1e-3, "local and global statistics must differ"


def check_few_frames() -> None:
    """One frame in a group: the running statistics, initially 0 and 1, which take no gradient and are not updated."""
    norm = normalization("frame")
    z, gamma, beta = torch.randn(T, S, H).double().requires_grad_(), torch.ones(H).double(), torch.zeros(H).double()
    y = norm.train(z, gamma, beta, layout("local", batch_size=S))
    close(y, z / (1 + 1e-5) ** 0.5, "few frames")
    close(torch.autograd.grad(y.sum(), z)[0], torch.full((T, S, H), (1 + 1e-5) ** -0.5, dtype=torch.float64), "few frames' gradient")
    norm.update_running()
    close(norm.running.mean, torch.zeros(T, H), "running mean of few frames")


def check_population() -> None:
    """Pooled moments of the groups of several batches are the moments of all frames together (equal groups)."""
    norm, one, zero = normalization("frame"), torch.ones(H).double(), torch.zeros(H).double()
    batches = [torch.randn(T, B, H).double() * (k + 1) + k for k in range(3)]
    for z in batches:
        norm.train(z, one, zero, layout("local"))
    pooled, every = norm.pooled()["population"], torch.cat(batches, dim=1)
    close(pooled.mean, every.mean(dim=1), "population mean")
    close(pooled.variance, every.var(dim=1, unbiased=False), "population variance")


def check_placements() -> None:
    """Each placement against its row in the table of section 2, written out for one layer and two steps."""
    x, targets = torch.randint(V, (2, B)), torch.randint(V, (2, B))
    bn = lambda z, g, b=0.0: g * (z - z.mean(0)) / torch.sqrt(z.var(0, unbiased=False) + 1e-5) + b
    for placement in ("input", "preactivation", "state", "separate", "hidden"):
        m = model(placement=placement, layers=1, peepholes="all")
        p = {name.removeprefix("lstm.0.forward."): tensor.detach() for name, tensor in m.parameters.items()}
        h = c = torch.zeros(B, H).double()
        expected = []
        for t in range(2):
            wx, wh = p["embedding.weight"][x[t]] @ p["input_weight"].T, h @ p["recurrent_weight"].T
            a = {
                "input": lambda: wh + bn(wx, p["input_norm.gamma"], p["input_norm.beta"]),
                "preactivation": lambda: bn(wh + wx, p["preactivation_norm.gamma"], p["preactivation_norm.beta"]),
                "state": lambda: bn(wh, p["recurrent_norm.gamma"], p["recurrent_norm.beta"]) + wx,
                "separate": lambda: bn(wh, p["recurrent_norm.gamma"]) + bn(wx, p["input_norm.gamma"]) + p["bias"],
                "hidden": lambda: wh + wx + p["bias"],
            }[placement]()
            i, f, g, o = (a[:, k * H : (k + 1) * H] for k in range(4))
            i, f = torch.sigmoid(i + p["peephole"][0] * c), torch.sigmoid(f + p["peephole"][1] * c)
            c = f * c + i * torch.tanh(g)
            o = torch.sigmoid(o + p["peephole"][2] * c)
            h = o * torch.tanh(bn(c, p["cell_norm.gamma"], p["cell_norm.beta"]) if placement == "separate" else c)
            if placement == "hidden":
                h = bn(h, p["hidden_norm.gamma"], p["hidden_norm.beta"])
            expected.append(F.cross_entropy(h @ p["output.weight"].T + p["output.bias"], targets[t], reduction="none"))
        close(losses(m, x, targets), torch.stack(expected), placement)


def check_gradients_by_differences() -> None:
    """Along random directions, for the statistics that autograd passes through."""
    inputs, targets = batch()
    for placement in ("none", "input", "preactivation", "separate", "hidden"):
        m = model(placement=placement, peepholes="all", scope=("group", 2))
        found = gradients(m)
        directions = {name: torch.randn_like(g) for name, g in found.items()}
        analytic = sum(float((found[n] * directions[n]).sum()) for n in found)
        values, step = [], 1e-6
        for sign in (1, -1):
            with torch.no_grad():
                moved = {n: t + sign * step * directions[n] for n, t in m.parameters.items()}
                twin = Model(m.shape, moved)
                values.append(float(losses(twin, inputs, targets).sum()) / B)
        numeric = (values[0] - values[1]) / (2 * step)
        assert abs(analytic - numeric) <= 1e-5 * max(abs(analytic), 1), f"{placement}: {analytic} against {numeric}"


def check_optimizers_against_torch() -> None:
    """SGD with momentum, Adam, and RMSProp's first two steps by hand; clipping against clip_grad_norm_."""
    make = {
        "sgd": lambda p: torch.optim.SGD([p], lr=0.1, momentum=0.9),
        "adam": lambda p: torch.optim.Adam([p], lr=0.1, betas=(0.9, 0.999), eps=1e-8),
    }
    for method, optimizer in make.items():
        ours, theirs = torch.ones(4).double(), torch.ones(4).double().requires_grad_()
        mine, other = Optimizer(method, 0.9), optimizer(theirs)
        for _ in range(5):
            theirs.grad = torch.randn(4).double()
            mine.update({"w": ours}, {"w": theirs.grad.clone()}, 0.1)
            other.step()
        close(ours, theirs, method)
    theta, rms = torch.tensor([1.0]).double(), Optimizer("rmsprop", 0.5)
    rms.update({"w": theta}, {"w": torch.tensor([2.0]).double()}, 0.1)
    u = -0.1 * 2 / (0.05 * 4 + 1e-4) ** 0.5
    rms.update({"w": theta}, {"w": torch.tensor([1.0]).double()}, 0.1)
    second = 0.5 * u - 0.1 / (0.95 * 0.2 + 0.05 + 1e-4) ** 0.5
    close(theta, torch.tensor([1 + u + second], dtype=torch.float64), "rmsprop")
    parameter = torch.zeros(3, requires_grad=True)
    parameter.grad = torch.tensor([3.0, 4.0, 12.0])
    ours = {"w": parameter.grad.clone()}
    assert clip(ours, 6.5) == 13.0
    torch.nn.utils.clip_grad_norm_([parameter], 6.5)
    close(ours["w"], parameter.grad, "clipping", 1e-5)


def check_text() -> None:
    """Tokens, vocabulary, streams, windows and evaluation runs, by hand."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "text")
        with open(path, "wb") as file:
            file.write("b a  b\té\r\n\nb é z a".encode())
        tokens = read_tokens(path, "word")
        assert tokens == ["b", "a", "b", "é", "<eos>", "<eos>", "b", "é", "z", "a"], tokens
        assert read_tokens(path, "character")[:3] == ["b", " ", "a"]
        assert make_vocabulary(tokens, 10) == ["b", "<eos>", "a", "é", "z"]
        vocabulary = make_vocabulary(tokens, 4)
        assert vocabulary == ["b", "<eos>", "a", "<unk>"], vocabulary
        assert encode(tokens, vocabulary, path).tolist() == [0, 2, 0, 3, 1, 1, 0, 3, 3, 2]
        assert make_vocabulary(["<unk>"] * 3 + ["a", "b"], 2) == ["<unk>", "a"]
    windows = TrainingWindows.cut(torch.arange(23).numpy(), batch_size=2, steps=3)  # L = 11, the last token dropped
    assert len(windows) == 3
    assert [part.tolist() for part in windows[1]] == [[[3, 14], [4, 15], [5, 16]], [[4, 15], [5, 16], [6, 17]]]
    assert evaluation_runs(11, 4) == [range(1, 4), range(4, 7), range(7, 9), range(9, 11)]
    assert [p for run in evaluation_runs(201, 8) for p in run] == list(range(1, 201))


def check_evaluation_does_not_depend_on_streams() -> None:
    """With one state carried throughout, a text evaluated as one stream gives the loss of one long window."""
    with tempfile.TemporaryDirectory() as folder:
        case = cases.Case(name="x", seed=9, placement="input", evaluation_streams=1)
        config, weights = cases.write(case, folder, steps=4)
        trainer = LanguageTrainer(config, load_file(weights))
        trainer.run(4, evaluate=False)
        tokens, m = trainer.validation, trainer.model
        statistics = m.running_statistics()
        long = {n: type(s)(s.mean[[t % T for t in range(len(tokens))]], s.variance[[t % T for t in range(len(tokens))]],
                           [1] * len(tokens)) for n, s in statistics.items()}
        with torch.no_grad():
            expected = losses(m, tokens[:-1, None], tokens[1:, None], stored=long).mean()
        close(trainer.validation_score(statistics).loss, float(expected), "evaluation in windows")


def check_weight_files() -> None:
    """Weights are float32 on disk and survive the round trip."""
    weights = random_weights(shape(placement="separate"), seed=1)
    with tempfile.TemporaryDirectory() as folder:
        save_file(weights, os.path.join(folder, "w.safetensors"))
        loaded = load_file(os.path.join(folder, "w.safetensors"))
    assert all(t.dtype == torch.float32 and torch.equal(t, loaded[n]) for n, t in weights.items())


def main() -> int:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    checks = [(name, f) for module in (globals(), vars(speech_checks), vars(cell_checks), vars(setting_checks)) for name, f in module.items() if name.startswith("check_")]
    failures = 0
    for name, check in checks:
        try:
            check()
            print(f"ok    {name.removeprefix('check_')}")
        except AssertionError as error:
            failures += 1
            print(f"FAIL  {name.removeprefix('check_')}: {error}")
    print(f"{len(checks) - failures} of {len(checks)} checks of the reference pass")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
