"""Checks of cells, methods and states beside the LSTM with batch normalisation (run by selftest.py)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from case import random_weights
from checking import close, losses
from model import Model
from moments import Layout, dealt_groups
from normalization import Mode
from shape import RECURRENT_PLACEMENTS, REFUSED_BY_GRU, Shape

V, E, H, B, S, T = 11, 5, 6, 8, 4, 7
LENGTHS = torch.tensor([7, 1, 4, 4, 6, 7, 2, 5])


def model(**changes) -> Model:
    values = dict(vocabulary=V, embedding=E, hidden=H, layers=2, cell="lstm", peepholes="none", placement="none", statistics="frame",
                  scope="global", batch_size=B, shards=S, steps=T)
    shape = Shape(**(values | changes))
    return Model(shape, random_weights(shape, seed=5))


def words() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(6)
    return tuple(torch.randint(V, (T, B), generator=generator) for _ in range(2))


def gradients(m: Model, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    return dict(zip(m.parameters, torch.autograd.grad(loss, list(m.parameters.values()))))


def check_gru_against_packed_torch() -> None:
    """nn.GRU in both directions over packed sequences: r and z have one bias, n has b_n and d_n, as bias_hh of PyTorch."""
    m = model(cell="gru", bidirectional=True, embedded=False)
    net = torch.nn.GRU(E, H, 2, bidirectional=True).double()
    pairs = {}
    with torch.no_grad():
        for layer in range(2):
            for direction, end in (("forward", ""), ("backward", "_reverse")):
                prefix, suffix = m.shape.prefix(layer, direction), f"_l{layer}{end}"
                pairs |= {f"weight_ih{suffix}": prefix + "input_weight", f"weight_hh{suffix}": prefix + "recurrent_weight",
                          f"bias_ih{suffix}": prefix + "bias"}
                recurrent_bias = getattr(net, "bias_hh" + suffix)
                recurrent_bias.zero_()
                recurrent_bias[2 * H :] = m.parameters[prefix + "hidden_bias"]
        for theirs, ours in pairs.items():
            getattr(net, theirs).copy_(m.parameters[ours])
    x = torch.randn(T, B, E).double()
    out, _ = pad_packed_sequence(net(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))[0], total_length=T)
    mode = Mode(Layout(LENGTHS, dealt_groups(B, S, "global")))
    live = mode.layout.mask(0, T)
    y, _ = m.hidden(x, mode, m.initial_state(B))
    close(y[live], out[live], "gru outputs")
    weights = torch.randn(int(live.sum()), 2 * H).double()
    (out[live] * weights).sum().backward()
    (y[live] * weights).sum().backward()
    for theirs, ours in pairs.items():
        close(m.parameters[ours].grad, getattr(net, theirs).grad, ours)
    close(m.parameters["gru.1.backward.hidden_bias"].grad, net.bias_hh_l1_reverse.grad[2 * H :], "hidden bias")


def check_gru_placements() -> None:
    """Each placement of a GRU written out for one layer and two steps, by batch and by layer."""
    x, targets = (part[:2] for part in words())
    for method, over in (("batch", 0), ("layer", 1)):
        for placement in ("none", "input", "separate", "hidden"):
            m = model(cell="gru", placement=placement, layers=1, method=method)
            p = {name.removeprefix("gru.0.forward."): tensor.detach() for name, tensor in m.parameters.items()}

            def norm(z: torch.Tensor, name: str) -> torch.Tensor:
                scaled = (z - z.mean(over, keepdim=True)) / torch.sqrt(z.var(over, unbiased=False, keepdim=True) + 1e-5)
                return p[name + ".gamma"] * scaled + p.get(name + ".beta", 0)

            h, expected = torch.zeros(B, H).double(), []
            for t in range(2):
                wx, wh = p["embedding.weight"][x[t]] @ p["input_weight"].T, h @ p["recurrent_weight"].T
                if placement in ("input", "separate"):
                    wx = norm(wx, "input_norm")
                if placement == "separate":
                    wh = norm(wh, "recurrent_norm")
                wx = wx if placement == "input" else wx + p["bias"]
                r, z = torch.sigmoid(wx[:, :H] + wh[:, :H]), torch.sigmoid(wx[:, H : 2 * H] + wh[:, H : 2 * H])
                n = torch.tanh(wx[:, 2 * H :] + r * (wh[:, 2 * H :] + p["hidden_bias"]))
                h = (1 - z) * n + z * h
                h = norm(h, "hidden_norm") if placement == "hidden" else h
                expected.append(F.cross_entropy(h @ p["output.weight"].T + p["output.bias"], targets[t], reduction="none"))
            close(losses(m, x, targets), torch.stack(expected), f"gru {placement} {method}")


def check_layer_method_against_torch() -> None:
    """F.layer_norm over the rows of a product and over the cells, written out for one LSTM layer and two steps."""
    x, targets = (part[:2] for part in words())
    for placement in ("input", *RECURRENT_PLACEMENTS):
        m = model(placement=placement, method="layer", layers=1)
        p = {name.removeprefix("lstm.0.forward."): tensor.detach() for name, tensor in m.parameters.items()}
        norm = lambda z, name: F.layer_norm(z, (z.shape[-1],), p[name + ".gamma"], p.get(name + ".beta"), 1e-5)
        h = c = torch.zeros(B, H).double()
        expected = []
        for t in range(2):
            wx, wh = p["embedding.weight"][x[t]] @ p["input_weight"].T, h @ p["recurrent_weight"].T
            a = {
                "input": lambda: wh + norm(wx, "input_norm"),
                "preactivation": lambda: norm(wh + wx, "preactivation_norm"),
                "state": lambda: norm(wh, "recurrent_norm") + wx,
                "separate": lambda: norm(wh, "recurrent_norm") + norm(wx, "input_norm") + p["bias"],
                "hidden": lambda: wh + wx + p["bias"],
            }[placement]()
            i, f, g, o = a.chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(norm(c, "cell_norm") if placement == "separate" else c)
            h = norm(h, "hidden_norm") if placement == "hidden" else h
            expected.append(F.cross_entropy(h @ p["output.weight"].T + p["output.bias"], targets[t], reduction="none"))
        close(losses(m, x, targets), torch.stack(expected), f"layer {placement}")
        assert not m.norms and not m.running_statistics(), "a method without statistics"


def check_layer_method_does_not_depend_on_others() -> None:
    """A sequence alone has the losses that it has among others, in training too."""
    x, targets = words()
    for placement in ("input", *RECURRENT_PLACEMENTS):
        m = model(placement=placement, method="layer")
        alone = Model(Shape(**(vars(m.shape) | {"batch_size": 1, "shards": 1})), m.parameters)
        close(losses(alone, x[:, 3:4], targets[:, 3:4]), losses(m, x, targets)[:, 3:4], placement)


def check_gradients_of_all_cells_by_differences() -> None:
    """Along random directions, in both methods, for every cell and placement, from a learned state."""
    x, targets = words()
    for cell in ("lstm", "rnn", "gru"):
        for method in ("batch", "layer"):
            for placement in ("none", "input", *RECURRENT_PLACEMENTS):
                if cell == "gru" and placement in REFUSED_BY_GRU:
                    continue
                # The large ε bounds the curvature where all sequences have the same initial state.
                m = model(cell=cell, method=method, placement=placement, initial_state="learned", scope=("group", 2), epsilon=0.1)
                found = gradients(m, losses(m, x, targets).sum() / B)
                directions = {name: torch.randn_like(g) for name, g in found.items()}
                analytic = sum(float((found[n] * directions[n]).sum()) for n in found)
                values, step = [], 1e-6
                for sign in (1, -1):
                    moved = {n: t.detach() + sign * step * directions[n] for n, t in m.parameters.items()}
                    values.append(float(losses(Model(m.shape, moved), x, targets).detach().sum()) / B)
                numeric = (values[0] - values[1]) / (2 * step)
                assert abs(analytic - numeric) <= 1e-5 * max(abs(analytic), 1), f"{cell} {method} {placement}: {analytic} against {numeric}"


def check_learned_state() -> None:
    """The vectors serve every sequence, h and c in their places; their gradients are sums over sequences."""
    for cell in ("lstm", "rnn", "gru"):
        m, plain = model(cell=cell, initial_state="learned"), model(cell=cell)
        twin = Model(plain.shape, {name: m.parameters[name] for name in plain.parameters})
        state = [(m.parameters[p + "initial_hidden"].detach().repeat(B, 1).requires_grad_(),
                  m.parameters.get(p + "initial_cell", torch.zeros(H)).detach().double().repeat(B, 1).requires_grad_())
                 for p in m.shape.prefixes()]
        x, targets = words()
        one, two = losses(m, x, targets), losses(twin, x, targets, state)
        close(one, two, f"{cell} losses")
        one.sum().backward(), two.sum().backward()
        for prefix, (h, c) in zip(m.shape.prefixes(), state):
            close(m.parameters[prefix + "initial_hidden"].grad, h.grad.sum(0), f"{cell} initial hidden")
            if cell == "lstm":
                close(m.parameters[prefix + "initial_cell"].grad, c.grad.sum(0), "initial cell")
            else:
                assert prefix + "initial_cell" not in m.parameters


def check_tied_embedding() -> None:
    """The gradient of the tied matrix is the sum of those of an embedding and an output matrix with its values."""
    m = model(tied=True, embedding=H)
    twin = model(embedding=H)
    weights = {n: m.parameters.get(n, m.parameters["embedding.weight"]) for n in twin.parameters}
    twin, (x, targets) = Model(twin.shape, weights), words()
    assert "output.weight" not in m.parameters
    found, other = gradients(m, losses(m, x, targets).sum()), gradients(twin, losses(twin, x, targets).sum())
    close(found["embedding.weight"], other["embedding.weight"] + other["output.weight"], "tied gradient")
