"""The paper's language models as a user of PyTorch writes them, in float32: the fused `nn.LSTM` where nothing is
normalised, and with batch-normalised inputs (statistics of every time step) a loop over time, in four forms.

B sequences, T time steps, I inputs, H cells, V words. The loops are batch-first, so that one native batch norm over
T · 4H channels normalises every time step at once.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from sizes import Size

FORMS = ("lstm", "loop", "script", "compile", "unroll")


# -- the recurrence --------------------------------------------------------------------------------------------------


def step(projected: Tensor, h: Tensor, c: Tensor, weight_t: Tensor) -> tuple[Tensor, Tensor]:
    """One time step from its normalised input projection, [B, 4H]; `weight_t` is the recurrent weight as [H, 4H]."""
    i, f, g, o = torch.addmm(projected, h, weight_t).chunk(4, dim=1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def loop(projected: list[Tensor], h: Tensor, c: Tensor, weight_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    outputs = []
    for each in projected:
        h, c = step(each, h, c, weight_t)
        outputs.append(h)
    return torch.stack(outputs, dim=1), h, c


@torch.jit.script
def scripted_loop(projected: list[Tensor], h: Tensor, c: Tensor, weight_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    outputs: list[Tensor] = []
    for each in projected:
        i, f, g, o = torch.addmm(each, h, weight_t).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs, dim=1), h, c


def compiled_loop():
    compiled = torch.compile(step, fullgraph=True, dynamic=False)

    def run(projected: list[Tensor], h: Tensor, c: Tensor, weight_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        outputs = []
        for each in projected:
            h, c = compiled(each, h, c, weight_t)
            outputs.append(h)
        return torch.stack(outputs, dim=1), h, c

    return run


def unrolled_loop():
    """All time steps of a layer in one compiled function."""
    return torch.compile(loop, fullgraph=True, dynamic=False)


# -- batch normalisation of every time step ---------------------------------------------------------------------------


class GlobalFrameNorm(torch.autograd.Function):
    """BN over the sequences of all processes, a feature and time step: one message forward and one backward."""

    @staticmethod
    def forward(ctx, z_BTF: Tensor, gamma: Tensor, beta: Tensor, epsilon: float):
        moments = torch.stack((z_BTF.mean(0), z_BTF.square().mean(0)))
        dist.all_reduce(moments)
        moments /= dist.get_world_size()
        mean, variance = moments[0], (moments[1] - moments[0].square()).clamp_(min=0)
        inverse = torch.rsqrt(variance + epsilon)
        normalized = (z_BTF - mean).mul_(inverse)
        ctx.save_for_backward(normalized, inverse, gamma)
        ctx.mark_non_differentiable(mean, variance)
        return torch.addcmul(beta, normalized, gamma), mean, variance

    @staticmethod
    def backward(ctx, dy: Tensor, _mean, _variance):
        normalized, inverse, gamma = ctx.saved_tensors
        local = torch.stack((dy.sum(0), (dy * normalized).sum(0)))
        total = local.clone()
        dist.all_reduce(total)
        total /= dy.shape[0] * dist.get_world_size()
        dz = torch.addcmul(dy - total[0], normalized, total[1], value=-1).mul_(gamma * inverse)
        return dz, local[1].sum(0), local[0].sum(0), None


class FrameNorm(nn.Module):
    """γ and β shared by all time steps, statistics of each; over all processes where there are several."""

    def __init__(self, features: int, steps: int, epsilon: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.epsilon, self.momentum = epsilon, momentum
        self.register_buffer("running_mean", torch.zeros(steps * features))
        self.register_buffer("running_variance", torch.ones(steps * features))

    def forward(self, z_BTF: Tensor) -> Tensor:
        B, T, features = z_BTF.shape
        if dist.is_initialized():
            y, mean, variance = GlobalFrameNorm.apply(z_BTF, self.gamma, self.beta, self.epsilon)
            n = B * dist.get_world_size()
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_variance.lerp_(variance.flatten() * (n / (n - 1)), self.momentum)
            return y
        y = F.batch_norm(
            z_BTF.reshape(B, T * features), self.running_mean, self.running_variance,
            self.gamma.repeat(T), self.beta.repeat(T), training=True, momentum=self.momentum, eps=self.epsilon)
        return y.view(B, T, features)


class NormalizedLSTM(nn.Module):
    """a_t = W_h h_{t-1} + BN(W_x x_t; γ, β): one product and one normalisation for all time steps, then the loop."""

    def __init__(self, inputs: int, hidden: int, steps: int, run):
        super().__init__()
        self.input_weight = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.recurrent_weight = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.input_norm = FrameNorm(4 * hidden, steps)
        self.run = run

    def forward(self, x_BTI: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        projected = self.input_norm(F.linear(x_BTI, self.input_weight))
        # unbind, not indexing: the derivative of an index writes a whole tensor of zeros a time step.
        outputs, h, c = self.run(list(projected.unbind(1)), *state, self.recurrent_weight.t())
        return outputs, (h, c)


# -- the models -------------------------------------------------------------------------------------------------------


class PlainModel(nn.Module):
    """Time-major, nn.LSTM for both layers."""

    def __init__(self, size: Size):
        super().__init__()
        self.size, self.time_axis = size, 0
        self.embedding = nn.Embedding(size.vocabulary, size.hidden)
        self.lstm = nn.LSTM(size.hidden, size.hidden, size.layers, dropout=size.dropout)
        self.output = nn.Linear(size.hidden, size.vocabulary)

    def zero_state(self, batch: int):
        zeros = torch.zeros(self.size.layers, batch, self.size.hidden)
        return zeros, zeros.clone()

    def detach(self, state):
        return tuple(part.detach() for part in state)

    def forward(self, inputs_TB: Tensor, targets_TB: Tensor, state):
        """Cross entropy summed over time and averaged over sequences, and the state after the window."""
        p, training = self.size.dropout, self.training
        outputs, state = self.lstm(F.dropout(self.embedding(inputs_TB), p, training), state)
        logits = self.output(F.dropout(outputs, p, training))
        return summed_loss(logits, targets_TB) / inputs_TB.shape[1], state


class NormalizedModel(nn.Module):
    """Batch-first, NormalizedLSTM layers."""

    def __init__(self, size: Size, form: str):
        super().__init__()
        self.size, self.time_axis = size, 1
        run = {"loop": lambda: loop, "script": lambda: scripted_loop, "compile": compiled_loop, "unroll": unrolled_loop}[form]()
        self.embedding = nn.Embedding(size.vocabulary, size.hidden)
        self.layers = nn.ModuleList(NormalizedLSTM(size.hidden, size.hidden, size.steps, run) for _ in range(size.layers))
        self.output = nn.Linear(size.hidden, size.vocabulary)

    def zero_state(self, batch: int):
        zeros = lambda: torch.zeros(batch, self.size.hidden)
        return [(zeros(), zeros()) for _ in self.layers]

    def detach(self, state):
        return [(h.detach(), c.detach()) for h, c in state]

    def forward(self, inputs_BT: Tensor, targets_BT: Tensor, state):
        """As PlainModel's, with [B, T] ids."""
        p, training = self.size.dropout, self.training
        x, after = self.embedding(inputs_BT), []
        for layer, each in zip(self.layers, state):
            x, final = layer(F.dropout(x, p, training), each)
            after.append(final)
        logits = self.output(F.dropout(x, p, training))
        return summed_loss(logits, targets_BT) / inputs_BT.shape[0], after


def summed_loss(logits: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum")


def make_model(size: Size, form: str) -> nn.Module:
    """A model of the size, weights uniform in the size's range, γ 1 and β 0."""
    model = PlainModel(size) if form == "lstm" else NormalizedModel(size, form)
    for name, parameter in model.named_parameters():
        if not name.endswith(("gamma", "beta")):
            nn.init.uniform_(parameter, -size.initial_range, size.initial_range)
    return model
