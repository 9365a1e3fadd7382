"""The keys of interfaces.md that matter here, with their defaults, and the model's shape that they decide."""

from __future__ import annotations

import copy

from shape import Shape

DEFAULTS = {
    "task": "language-model",
    "data": {"unit": "word", "vocabulary_size": 10000, "deltas": 0, "maximum_frames": None, "normalize": "global"},
    "model": {"embedding_size": 200, "cell": "lstm", "layers": 2, "hidden_size": 200, "bidirectional": False,
              "peepholes": "none", "dropout": 0, "initial_state": "zero", "tied_embedding": False},
    "normalization": {"method": "batch", "placement": "input", "statistics": "frame", "scope": "global", "epsilon": 1e-5,
                      "momentum": 0.1, "whitening_interval": 100},
    "training": {"seed": 1, "batch_size": 32, "shards": 1, "unroll_steps": 20, "windows": "continued", "epochs": 15,
                 "maximum_steps": None, "average_over": "sequences", "shuffle": True, "accumulate_steps": 1},
    "optimizer": {"method": "sgd", "learning_rate": 1, "momentum": 0, "clip_norm": 10, "decay": {"factor": 2, "after": 6},
                  "warmup_steps": 0, "plateau": None, "cosine": None, "weight_decay": 0, "decay_rate": 0.95,
                  "epsilon": None},
    "evaluation": {"statistics": "population", "frames_per_step": 100, "population_batches": None, "streams": "auto"},
}
# Without batch normalisation all of these are the same.
KINDS = ("running", "population", "averaged", "batch")


def complete(config: dict) -> dict:
    """The configuration with the defaults of the keys that matter here."""
    result = copy.deepcopy(DEFAULTS)
    for section, values in config.items():
        if isinstance(values, dict):
            result.setdefault(section, {}).update(values)
        else:
            result[section] = values
    if result["model"]["dropout"]:
        raise ValueError("the reference has no dropout: the program's masks are its own")
    return result


def statistics_kinds(config: dict) -> tuple[str, ...]:
    """The values of `evaluation.statistics` that differ."""
    norm = config["normalization"]
    plain = norm["method"] == "layer" or norm["placement"] in ("none", "whitened-input")
    return KINDS[:1] if plain else KINDS


def shape_of(config: dict, outputs: int, inputs: int, steps: int) -> Shape:
    """The model's shape from a completed configuration: `outputs` words or classes, `steps` rows of framewise statistics."""
    model, norm, training = config["model"], config["normalization"], config["training"]
    scope = norm["scope"] if isinstance(norm["scope"], str) else ("group", int(norm["scope"]["group"]))
    return Shape(
        vocabulary=outputs, embedding=inputs, hidden=int(model["hidden_size"]), layers=int(model["layers"]), cell=model["cell"],
        peepholes=model["peepholes"], placement=norm["placement"], statistics=norm["statistics"], scope=scope,
        batch_size=int(training["batch_size"]), shards=int(training["shards"]), steps=steps, epsilon=float(norm["epsilon"]),
        momentum=float(norm["momentum"]), bidirectional=bool(model["bidirectional"]), embedded=config["task"] == "language-model",
        method=norm["method"], initial_state=model["initial_state"], tied=bool(model["tied_embedding"]),
        frames_per_step=int(config["evaluation"]["frames_per_step"]))
