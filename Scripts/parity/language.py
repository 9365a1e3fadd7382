"""Language models: windows of the training text, and the validation text word by word (mathematics.md, section 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from model import Model, State
from normalization import Statistics
from text import TrainingWindows, encode, evaluation_runs, make_vocabulary, read_tokens
from training import Score, Trainer, complete, shape_of


class LanguageTrainer(Trainer):
    """Minibatches are windows; the state is carried from one to the next."""

    def __init__(self, config: dict, weights: dict[str, Tensor], dtype: torch.dtype = torch.float64):
        config = complete(config)
        if config["model"]["bidirectional"]:
            raise ValueError("language models go in one direction")
        data, training = config["data"], config["training"]
        train = read_tokens(data["train"], data["unit"])
        self.vocabulary = make_vocabulary(train, int(data["vocabulary_size"]))
        self.windows = TrainingWindows.cut(
            encode(train, self.vocabulary, data["train"]), int(training["batch_size"]), int(training["unroll_steps"]))
        self.validation = None
        if data.get("validation"):
            tokens = read_tokens(data["validation"], data["unit"])
            self.validation = torch.from_numpy(encode(tokens, self.vocabulary, data["validation"]))
        shape = shape_of(config, len(self.vocabulary), int(config["model"]["embedding_size"]), int(training["unroll_steps"]))
        super().__init__(config, Model(shape, weights, dtype))

    def __len__(self) -> int:
        return len(self.windows)

    def initial_state(self) -> State:
        return self.model.zero_state(int(self.config["training"]["batch_size"]))

    def minibatch(self, index: int, state: State) -> tuple[Tensor, int, Score, State]:
        inputs, targets = (torch.from_numpy(part.copy()) for part in self.windows[index])
        losses, state = self.model.losses(inputs, targets, state)
        return losses.sum(), inputs.shape[1], Score(float(losses.detach().sum()), inputs.numel()), state

    @torch.no_grad()
    def validation_score(self, statistics: dict[str, Statistics]) -> Score | None:
        """Every validation token but the first, each predicted once."""
        if self.validation is None:
            return None
        tokens, T = self.validation, int(self.config["training"]["unroll_steps"])
        streams = self.config["evaluation"]["streams"]
        streams = int(self.config["training"]["batch_size"]) if streams == "auto" else int(streams)
        runs = evaluation_runs(len(tokens), streams)
        state, total = self.model.zero_state(streams), 0.0
        for start in range(0, len(runs[0]), T):
            steps = min(T, len(runs[0]) - start)
            # A run that has ended goes on with any token: nothing depends on the others, and its losses are not taken.
            position = torch.tensor([[min(r.start + start + t, len(tokens) - 1) for r in runs] for t in range(steps)])
            live = torch.tensor([[start + t < len(r) for r in runs] for t in range(steps)])
            losses, state = self.model.losses(tokens[position - 1], tokens[position], state, statistics)
            total += float(losses[live].sum())
        return Score(total, len(tokens) - 1)
