"""What is measured: training steps of a model on words or on frames, one process's part of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models import FORMS, make_model
from packed import read_minibatches
from sizes import SIZES, SpeechSize
from speech_data import BATCH, LENGTHS
from speech_models import FORMS as SPEECH_FORMS
from speech_models import make_speech_model

MODELS = (*SIZES, *(f"speech-{kind}" for kind in LENGTHS))
ALL_FORMS = tuple(dict.fromkeys(FORMS + SPEECH_FORMS))


def divide(sequences: int, processes: int) -> int:
    """Sequences of a process; DistributedDataParallel weighs all processes alike."""
    if sequences % processes:
        raise ValueError(f"a minibatch of {sequences} does not divide into {processes} processes")
    return sequences // processes


class Words:
    """Windows of random words; the state is carried from step to step."""

    unit = "tokens"

    def __init__(self, name: str, form: str, rank: int, processes: int):
        self.size = SIZES[name]
        batch = divide(self.size.batch_size, processes)
        self.model = make_model(self.size, form)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=self.size.learning_rate, momentum=self.size.momentum)
        self.clip_norm = self.size.clip_norm
        torch.manual_seed(2 + rank)
        shape = (self.size.steps, batch) if self.model.time_axis == 0 else (batch, self.size.steps)
        self.windows = [(torch.randint(self.size.vocabulary, shape), torch.randint(self.size.vocabulary, shape)) for _ in range(8)]
        self.state = self.model.zero_state(batch)

    def loss(self, replica: nn.Module, step: int) -> Tensor:
        inputs, targets = self.windows[step % len(self.windows)]
        loss, self.state = replica(inputs, targets, self.model.detach(self.state))
        return loss

    def units(self, step: int) -> int:
        return self.size.batch_size * self.size.steps


class Frames:
    """The minibatches of the archives in a folder, in their order."""

    unit = "frames"

    def __init__(self, folder: str, form: str, rank: int, processes: int):
        size = SpeechSize()
        divide(BATCH, processes)
        self.model = make_speech_model(size, form)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=size.learning_rate, momentum=size.momentum)
        self.clip_norm = size.clip_norm
        self.minibatches, self.frames = read_minibatches(folder, rank, processes)

    def loss(self, replica: nn.Module, step: int) -> Tensor:
        return replica(self.minibatches[step % len(self.minibatches)])

    def units(self, step: int) -> int:
        return self.frames[step % len(self.frames)]
