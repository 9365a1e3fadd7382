"""Frame classification: utterances in the order of the archive, without shuffling (mathematics.md, section 8)."""

from __future__ import annotations

import torch
from torch import Tensor

from model import Model, cross_entropy
from normalization import Layout, Statistics, dealt_groups
from speech import Utterance, minibatches, normalize, pad, read_utterances
from training import Score, Trainer, complete, shape_of

# Where the label's logit and the best other one are closer than this, single precision may decide otherwise.
UNDECIDED_MARGIN = 1e-3


class FrameTrainer(Trainer):
    """Minibatches are utterances, each of which starts from a state of zeros."""

    def __init__(self, config: dict, weights: dict[str, Tensor], dtype: torch.dtype = torch.float64):
        config = complete(config)
        data, training = config["data"], config["training"]
        if training["shuffle"]:
            raise ValueError("the reference takes utterances in the archive's order: training.shuffle must be false")
        read = lambda paths: read_utterances(paths, int(data["classes"]), int(data["deltas"]))
        train, limit = read(data["train"]), data["maximum_frames"]
        if limit is not None:
            train = [utterance for utterance in train if len(utterance.labels) <= int(limit)]
        self.utterances = normalize(train, data["normalize"], train)
        self.validation = normalize(read(data["validation"]), data["normalize"], train) if data.get("validation") else []
        self.batches = minibatches(len(train), int(training["batch_size"]))
        longest, inputs = max(len(utterance.labels) for utterance in train), train[0].features.shape[1]
        super().__init__(config, Model(shape_of(config, int(data["classes"]), inputs, longest), weights, dtype))

    def __len__(self) -> int:
        return len(self.batches)

    def initial_state(self) -> None:
        return None

    def minibatch(self, index: int, state: None) -> tuple[Tensor, int, Score, None]:
        utterances = [self.utterances[k] for k in self.batches[index]]
        groups = dealt_groups(len(utterances), self.model.shape.shards, self.model.scope)
        loss_sum, score = self._forward(utterances, groups, None)
        return loss_sum, len(utterances), score, None

    @torch.no_grad()
    def validation_score(self, statistics: dict[str, Statistics]) -> Score | None:
        """One utterance at a time: nothing may depend on which are evaluated together."""
        if not self.validation:
            return None
        return sum((self._forward([utterance], [], statistics)[1] for utterance in self.validation), Score())

    def _forward(
        self, utterances: list[Utterance], groups: list[list[int]], statistics: dict[str, Statistics] | None
    ) -> tuple[Tensor, Score]:
        """Summed cross entropy of the frames that are no padding, and their score."""
        features, labels, lengths = (torch.from_numpy(part) for part in pad(utterances))
        layout = Layout(lengths, groups)
        logits, _ = self.model.forward(
            features.to(self.model.dtype), layout, self.model.zero_state(len(utterances)), statistics)
        live = layout.mask(0, len(features))
        logits_NV, labels_N = logits[live], labels[live]
        loss_sum = cross_entropy(logits_NV, labels_N).sum()
        return loss_sum, score(logits_NV.detach(), labels_N, float(loss_sum.detach()))


def score(logits_NV: Tensor, labels_N: Tensor, loss_sum: float) -> Score:
    right = logits_NV.gather(1, labels_N[:, None])[:, 0]
    others = logits_NV.scatter(1, labels_N[:, None], -torch.inf)
    margin = right - others.amax(dim=1)
    return Score(loss_sum, len(labels_N), int((margin < 0).sum()), int((margin.abs() < UNDECIDED_MARGIN).sum()))
