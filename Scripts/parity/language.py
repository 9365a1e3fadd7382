"""Language models: windows or pieces of the training text, and the validation text word by word (mathematics.md, section 7)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from configuration import complete, shape_of
from draws import shuffled_pieces
from model import Model, State, cross_entropy
from moments import Layout, Statistics, statistics_groups
from normalization import Mode
from text import TrainingPieces, TrainingWindows, encode, evaluation_runs, make_vocabulary, read_tokens
from training import Score, Trainer


class LanguageTrainer(Trainer):
    """Minibatches are windows, the state carried from one to the next, or shuffled pieces of the text."""

    def __init__(self, config: dict, weights: dict[str, Tensor], dtype: torch.dtype = torch.float64):
        config = complete(config)
        if config["model"]["bidirectional"]:
            raise ValueError("language models go in one direction")
        data, training = config["data"], config["training"]
        train = read_tokens(data["train"], data["unit"])
        self.vocabulary = make_vocabulary(train, int(data["vocabulary_size"]))
        self.tokens = encode(train, self.vocabulary, data["train"])
        self.shuffled = training["windows"] == "shuffled"
        self.batch_size, self.steps = int(training["batch_size"]), int(training["unroll_steps"])
        self.windows: TrainingWindows | TrainingPieces
        if not self.shuffled:
            self.windows = TrainingWindows.cut(self.tokens, self.batch_size, self.steps)
        self.validation = None
        if data.get("validation"):
            tokens = read_tokens(data["validation"], data["unit"])
            self.validation = torch.from_numpy(encode(tokens, self.vocabulary, data["validation"]))
        shape = shape_of(config, len(self.vocabulary), int(config["model"]["embedding_size"]), self.steps)
        super().__init__(config, Model(shape, weights, dtype))
        self.start_epoch(1)

    def __len__(self) -> int:
        return len(self.windows)

    def start_epoch(self, epoch: int) -> None:
        if self.shuffled:
            seed = int(self.config["training"]["seed"])
            pieces = shuffled_pieces(seed, epoch, len(self.tokens), self.steps)
            self.windows = TrainingPieces(self.tokens, pieces, self.batch_size, self.steps)

    def initial_state(self) -> State:
        return self.model.initial_state(self.batch_size)

    def minibatch(
        self, index: int, state: State, collected: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, int, Score, State]:
        inputs, targets = (torch.from_numpy(np.ascontiguousarray(part)) for part in self.windows[index])
        T, B = inputs.shape
        if self.shuffled:
            state = self.initial_state()
        shape = self.model.shape
        mode = Mode(Layout.full(T, B, statistics_groups(B, shape.shards, shape.scope_setting)))
        logits, state = self.model.forward(self.model.embed(inputs), mode, state, collected)
        loss_sum = cross_entropy(logits, targets).sum()
        return loss_sum, B, Score(float(loss_sum.detach()), inputs.numel(), frames=inputs.numel()), state

    @torch.no_grad()
    def validation_score(self, statistics: dict[str, Statistics] | None) -> Score | None:
        """Every validation token but the first, each predicted once."""
        if self.validation is None:
            return None
        tokens, streams = self.validation, self.config["evaluation"]["streams"]
        streams = self.batch_size if streams == "auto" else int(streams)
        runs = evaluation_runs(len(tokens), streams)
        state, total = self.model.initial_state(streams), 0.0
        for start in range(0, len(runs[0]), self.steps):
            steps = min(self.steps, len(runs[0]) - start)
            # A run that has ended is padding from then on.
            lengths = torch.tensor([max(0, min(steps, len(run) - start)) for run in runs])
            position = torch.tensor([[min(r.start + start + t, len(tokens) - 1) for r in runs] for t in range(steps)])
            mode = Mode(Layout(lengths, [list(range(streams))]), statistics, observe=False)
            logits, state = self.model.forward(self.model.embed(tokens[position - 1]), mode, state)
            total += float(cross_entropy(logits, tokens[position])[mode.layout.mask(0, steps)].sum())
        return Score(total, len(tokens) - 1, frames=len(tokens) - 1)
