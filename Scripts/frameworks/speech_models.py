"""The paper's speech model as a user of PyTorch writes it, in float32: bidirectional layers over packed utterances, with
`nn.LSTM` where nothing is normalised, or with batch-normalised inputs (statistics over all frames) and a loop over time.

N frames of a minibatch without padding, I inputs, H cells a direction, V classes.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from packed import Packed
from recurrences import compiled_loop, loop, scripted_loop, unrolled_loop
from sizes import SpeechSize

FORMS = ("packed", "padded", "loop", "script", "compile", "unroll")


# -- batch normalisation over frames ----------------------------------------------------------------------------------


class GlobalSequenceNorm(torch.autograd.Function):
    """BN over the frames of all processes: one message forward, which carries the counts, and one backward."""

    @staticmethod
    def forward(ctx, z_NF: Tensor, gamma: Tensor, beta: Tensor, epsilon: float):
        sums = torch.cat((z_NF.sum(0), z_NF.square().sum(0), z_NF.new_tensor([len(z_NF)])))
        dist.all_reduce(sums)
        frames = sums[-1]
        mean, square = (sums[:-1] / frames).chunk(2)
        variance = (square - mean.square()).clamp_(min=0)
        inverse = torch.rsqrt(variance + epsilon)
        normalized = (z_NF - mean).mul_(inverse)
        ctx.save_for_backward(normalized, inverse, gamma, frames)
        ctx.mark_non_differentiable(mean, variance, frames)
        return torch.addcmul(beta, normalized, gamma), mean, variance, frames

    @staticmethod
    def backward(ctx, dy: Tensor, _mean, _variance, _frames):
        normalized, inverse, gamma, frames = ctx.saved_tensors
        local = torch.stack((dy.sum(0), (dy * normalized).sum(0)))
        total = local.clone()
        dist.all_reduce(total)
        total /= frames
        dz = torch.addcmul(dy - total[0], normalized, total[1], value=-1).mul_(gamma * inverse)
        return dz, local[1], local[0], None


class SequenceNorm(nn.Module):
    """One mean and variance a feature, over all frames; of all processes where there are several."""

    def __init__(self, features: int, epsilon: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.gamma, self.beta = nn.Parameter(torch.ones(features)), nn.Parameter(torch.zeros(features))
        self.epsilon, self.momentum = epsilon, momentum
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_variance", torch.ones(features))

    def forward(self, z_NF: Tensor) -> Tensor:
        if not dist.is_initialized():
            return F.batch_norm(z_NF, self.running_mean, self.running_variance, self.gamma, self.beta, training=True,
                                momentum=self.momentum, eps=self.epsilon)
        y, mean, variance, frames = GlobalSequenceNorm.apply(z_NF, self.gamma, self.beta, self.epsilon)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_variance.lerp_(variance * (frames / (frames - 1)), self.momentum)
        return y


class NormalizedDirection(nn.Module):
    """a_t = W_h h_{t-1} + BN(W_x x_t; γ, β): one product and one normalisation for all frames, then the loop."""

    def __init__(self, inputs: int, hidden: int, run):
        super().__init__()
        self.input_weight = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.recurrent_weight = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.input_norm = SequenceNorm(4 * hidden)
        self.run = run

    def forward(self, x_NI: Tensor, sizes: list[int]) -> Tensor:
        projected = self.input_norm(F.linear(x_NI, self.input_weight))
        return self.run(list(projected.split(sizes)), self.recurrent_weight.t())


class NormalizedLayer(nn.Module):
    """Both directions; the backward one takes and gives the frames of each sequence reversed."""

    def __init__(self, inputs: int, hidden: int, run):
        super().__init__()
        self.forward_direction = NormalizedDirection(inputs, hidden, run)
        self.backward_direction = NormalizedDirection(inputs, hidden, run)

    def forward(self, x_NI: Tensor, packed: Packed) -> Tensor:
        ahead = self.forward_direction(x_NI, packed.sizes)
        back = self.backward_direction(x_NI.index_select(0, packed.turned_N), packed.sizes)
        return torch.cat((ahead, back.index_select(0, packed.turned_N)), dim=1)


# -- the models -------------------------------------------------------------------------------------------------------


class SpeechModel(nn.Module):
    """The layers of a form, and the output layer over all frames."""

    def __init__(self, size: SpeechSize, form: str):
        super().__init__()
        self.form = form
        self.output = nn.Linear(2 * size.hidden, size.classes)
        if form in ("packed", "padded"):
            self.lstm = nn.LSTM(size.features, size.hidden, size.layers, bidirectional=True)
        else:
            run = {"loop": lambda: loop, "script": lambda: scripted_loop, "compile": compiled_loop, "unroll": unrolled_loop}[form]()
            widths = [size.features] + [2 * size.hidden] * (size.layers - 1)
            self.layers = nn.ModuleList(NormalizedLayer(width, size.hidden, run) for width in widths)

    def forward(self, packed: Packed) -> Tensor:
        """Cross entropy summed over frames and averaged over sequences."""
        logits = self.output(self._recurrent(packed))
        return F.cross_entropy(logits, packed.labels_N, reduction="sum") / len(packed.lengths)

    def _recurrent(self, packed: Packed) -> Tensor:
        x = packed.features_NI
        if self.form == "packed":
            return self.lstm(PackedSequence(x, torch.tensor(packed.sizes)))[0].data
        if self.form == "padded":  # the fused layers of oneDNN take no packed ones; where lengths differ, the backward direction begins in padding
            rows = x.new_zeros(len(packed.sizes) * len(packed.lengths), x.shape[1]).index_copy_(0, packed.padded_N, x)
            return self.lstm(rows.view(len(packed.sizes), len(packed.lengths), -1))[0].flatten(0, 1).index_select(0, packed.padded_N)
        for layer in self.layers:
            x = layer(x, packed)
        return x


def make_speech_model(size: SpeechSize, form: str) -> SpeechModel:
    """A model of the size, weights uniform in its range, γ 1 and β 0."""
    model = SpeechModel(size, form)
    for name, parameter in model.named_parameters():
        if not name.endswith(("gamma", "beta")):
            nn.init.uniform_(parameter, -size.initial_range, size.initial_range)
    return model
