"""What the cases of all tasks have in common: settings, their keys in a configuration file, and random weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shape import Shape


@dataclass(frozen=True)
class BaseCase:
    """One training run: what differs from the rest, and the seed of its data and weights."""

    name: str
    seed: int
    cell: str = "lstm"
    normalization_method: str = "batch"
    placement: str = "none"
    statistics: str = "frame"
    scope: str | int = "global"  # an integer is {group: k}
    peepholes: str = "none"
    initial_state: str = "zero"
    momentum: float = 0.0
    clip_norm: float | None = None
    method: str = "sgd"
    learning_rate: float = 0.5
    decay_rate: float = 0.95
    optimizer_epsilon: float | None = None
    weight_decay: float = 0.0
    decay: tuple[float, int] = (1.0, 1000)
    warmup_steps: int = 0
    plateau: tuple[float, int, float] | None = None  # factor, patience, threshold
    cosine: float | None = None
    average_over: str = "sequences"
    accumulate_steps: int = 1
    layers: int = 2
    hidden: int = 10
    batch_size: int = 32
    shards: int = 4
    epochs: int = 2
    population_batches: int | None = None
    frames_per_step: int = 100
    norm_momentum: float = 0.1
    epsilon: float = 1e-5
    whitening_interval: int = 100
    kinds: tuple[str, ...] = ("running", "population")  # evaluation.statistics, in turn over cases and rank counts
    chaotic: bool = False  # held to the spread of the reference itself, not to a fixed bound

    @property
    def has_statistics(self) -> bool:
        """Whether the keys about statistics of batches have a meaning."""
        return self.normalization_method == "batch" and self.placement != "whitened-input"

    def limited(self, kinds: tuple[str, ...]) -> tuple[str | None, ...]:
        """The statistics of evaluation that runs take in turn, of those given; none where they have no meaning."""
        chosen = tuple(kind for kind in self.kinds if kind in kinds) or self.kinds
        return chosen if self.has_statistics else (None,)


def sections(case: BaseCase) -> dict:
    """All sections of the configuration but `data`, in the keys of interfaces.md; of newer keys only what is not the default."""
    scope = {"group": case.scope} if isinstance(case.scope, int) else case.scope
    normalization = {"placement": case.placement, "epsilon": case.epsilon}
    evaluation: dict = {"population_batches": case.population_batches}
    if case.normalization_method == "layer":
        normalization["method"] = "layer"
    else:
        normalization |= {"scope": scope, "momentum": case.norm_momentum}
    if case.has_statistics:
        normalization["statistics"] = case.statistics
        evaluation["statistics"] = case.kinds[0]
    if case.placement == "whitened-input":
        normalization["whitening_interval"] = case.whitening_interval
    evaluation |= _unless("frames_per_step", case.frames_per_step, 100)
    optimizer = {
        "method": case.method, "learning_rate": case.learning_rate, "momentum": case.momentum, "clip_norm": case.clip_norm,
        "decay": {"factor": case.decay[0], "after": case.decay[1]}}
    optimizer |= _unless("decay_rate", case.decay_rate, 0.95) | _unless("weight_decay", case.weight_decay, 0.0)
    optimizer |= _unless("epsilon", case.optimizer_epsilon, None)
    optimizer |= _unless("warmup_steps", case.warmup_steps, 0)
    if case.plateau:
        optimizer["plateau"] = dict(zip(("factor", "patience", "threshold"), case.plateau))
    if case.cosine is not None:
        optimizer["cosine"] = {"final": case.cosine}
    return {
        "model": {"cell": case.cell, "layers": case.layers, "hidden_size": case.hidden, "peepholes": case.peepholes, "dropout": 0}
        | _unless("initial_state", case.initial_state, "zero"),
        "normalization": normalization,
        "training": {
            "batch_size": case.batch_size, "shards": case.shards, "epochs": case.epochs, "average_over": case.average_over,
            "accumulate_steps": case.accumulate_steps},
        "optimizer": optimizer,
        "evaluation": evaluation,
    }


def _unless(key: str, value, default) -> dict:
    return {} if value == default else {key: value}


def random_weights(shape: Shape, seed: int) -> dict[str, torch.Tensor]:
    """Initial tensors in float32; γ, β, peepholes and initial states away from their usual starting values, so that all matter."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, size in shape.tensors().items():
        uniform = 2 * torch.rand(size, generator=generator, dtype=torch.float32) - 1
        if name.endswith("input_norm.gamma"):
            weights[name] = 0.6 + 0.3 * uniform
        elif name.endswith(".gamma"):
            weights[name] = 0.3 + 0.1 * uniform
        elif name.endswith((".beta", "bias", "peephole", "initial_hidden", "initial_cell")):
            weights[name] = 0.3 * uniform
        elif name == "embedding.weight":
            weights[name] = 1.0 * uniform
        else:
            weights[name] = 0.4 * uniform
    for name, size in shape.constants().items():  # the identity, as before training
        weights[name] = torch.eye(size[0]) if len(size) == 2 else torch.zeros(size)
    return {name: tensor.contiguous() for name, tensor in weights.items()}
