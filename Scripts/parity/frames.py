"""Frame and sequence classification: utterances in the archive's order, without shuffling (mathematics.md, sections 8 and 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from configuration import complete, shape_of
from model import Model, cross_entropy
from moments import Layout, Statistics, dealt_groups
from normalization import Mode
from speech import Utterance, minibatches, normalize, pad, read_utterances
from training import Score, Trainer

# Where the label's logit and the best other one are closer than this, single precision may decide otherwise.
UNDECIDED_MARGIN = 1e-3


class FrameTrainer(Trainer):
    """Minibatches are utterances, each of which starts from the initial state; every frame has a label."""

    labels_a_frame = True

    def __init__(self, config: dict, weights: dict[str, Tensor], dtype: torch.dtype = torch.float64):
        config = complete(config)
        data, training = config["data"], config["training"]
        if training["shuffle"]:
            raise ValueError("the reference takes utterances in the archive's order: training.shuffle must be false")
        read = lambda paths: read_utterances(paths, int(data["classes"]), int(data["deltas"]), self.labels_a_frame)
        train, limit = read(data["train"]), data["maximum_frames"]
        if limit is not None:
            train = [utterance for utterance in train if len(utterance) <= int(limit)]
        self.utterances = normalize(train, data["normalize"], train)
        self.validation = normalize(read(data["validation"]), data["normalize"], train) if data.get("validation") else []
        self.batches = minibatches(len(train), int(training["batch_size"]))
        longest, inputs = max(len(utterance) for utterance in train), train[0].features.shape[1]
        super().__init__(config, Model(shape_of(config, int(data["classes"]), inputs, longest), weights, dtype))

    def __len__(self) -> int:
        return len(self.batches)

    def initial_state(self) -> None:
        return None

    def minibatch(
        self, index: int, state: None, collected: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, int, Score, None]:
        utterances = [self.utterances[k] for k in self.batches[index]]
        shape = self.model.shape
        groups = dealt_groups(len(utterances), shape.shards, shape.scope_setting)
        loss_sum, score = self._forward(utterances, groups, None, True, collected)
        return loss_sum, len(utterances), score, None

    @torch.no_grad()
    def validation_score(self, statistics: dict[str, Statistics] | None) -> Score | None:
        """With stored statistics one utterance at a time: nothing may depend on which are evaluated together."""
        if not self.validation:
            return None
        size = 1 if statistics is not None else int(self.config["training"]["batch_size"])
        total = Score()
        for batch in minibatches(len(self.validation), size):
            utterances = [self.validation[k] for k in batch]
            total = total + self._forward(utterances, [list(range(len(utterances)))], statistics, False)[1]
        return total

    def _forward(
        self, utterances: list[Utterance], groups: list[list[int]], statistics: dict[str, Statistics] | None, observe: bool,
        collected: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, Score]:
        """Summed cross entropy of what is classified, and its score."""
        features, lengths = (torch.from_numpy(part) for part in pad(utterances))
        mode = Mode(Layout(lengths, groups), statistics, observe)
        y_TBH, _ = self.model.hidden(
            features.to(self.model.dtype), mode, self.model.initial_state(len(utterances)), collected)
        logits_NV = self.model.logits(self._read_out(y_TBH, lengths))
        labels_N = torch.cat([torch.from_numpy(utterance.labels) for utterance in utterances])
        loss_sum = cross_entropy(logits_NV, labels_N).sum()
        return loss_sum, score(logits_NV.detach(), labels_N, float(loss_sum.detach()), int(lengths.sum()))

    def _read_out(self, y_TBH: Tensor, lengths: Tensor) -> Tensor:
        """What the output layer reads for each label, an utterance after the other."""
        return torch.cat([y_TBH[:length, b] for b, length in enumerate(lengths.tolist())])


class SequenceTrainer(FrameTrainer):
    """Every utterance has one label, and the output layer reads each direction's output at its own last step."""

    labels_a_frame = False

    def _read_out(self, y_TBH: Tensor, lengths: Tensor) -> Tensor:
        H, B = self.model.shape.hidden, len(lengths)
        last = y_TBH[lengths - 1, torch.arange(B), :H]
        return torch.cat([last, y_TBH[0, :, H:]], dim=-1)  # of width 0 in one direction


def score(logits_NV: Tensor, labels_N: Tensor, loss_sum: float, frames: int) -> Score:
    right = logits_NV.gather(1, labels_N[:, None])[:, 0]
    others = logits_NV.scatter(1, labels_N[:, None], -torch.inf)
    margin = right - others.amax(dim=1)
    return Score(loss_sum, len(labels_N), int((margin < 0).sum()), int((margin.abs() < UNDECIDED_MARGIN).sum()), frames)
