"""Cases of what the full grids of cases.py and speech_cases.py leave out: each cell with each placement and method that goes with it,
initial states, tied weights, schedules, sequence classification, and curves that rounding alone drives apart.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Iterator

from case import BaseCase
from cases import Case
from configuration import KINDS
from shape import PLACEMENTS, RECURRENT_PLACEMENTS, REFUSED_BY_GRU
from speech_cases import SpeechCase, framewise

SCOPES = ("local", 2, "global")


def combinations() -> list[Case]:
    """Language models: one of each cell, placement, method, statistics and scope; the rest varies along with them."""
    return [_language(index, *settings) for index, settings in enumerate(_settings())]


def speech_combinations() -> list[SpeechCase]:
    """The same with archives, in one direction and in both by turns."""
    return [_speech(index, *settings) for index, settings in enumerate(_settings())]


def _settings() -> Iterator[tuple[str, str, str, str, str | int]]:
    """Cell, placement, method, statistics and scope."""
    for cell in ("lstm", "rnn", "gru"):
        for placement in PLACEMENTS:
            in_grid = cell != "gru" and placement in ("none", "input", "preactivation")
            if cell == "gru" and placement in (*REFUSED_BY_GRU, "whitened-input"):
                continue
            if placement in ("none", "whitened-input"):
                if not in_grid:
                    yield cell, placement, "batch", "frame", "global"
                continue
            for statistics in ("frame", "sequence") if placement == "input" else ("frame",):
                for scope in () if in_grid else SCOPES:
                    yield cell, placement, "batch", statistics, scope
            yield cell, placement, "layer", "frame", "global"


def _name(*parts: str | int | None) -> str:
    return "/".join(f"group{part}" if isinstance(part, int) else part for part in parts if part)


def _common(index: int, cell: str, placement: str, method: str, statistics: str, scope: str | int) -> dict:
    # The periods have no common factor, so that every value meets many of the combinations.
    learned = index // 4 % 2 == 1
    # All sequences start from one state: W_h h_0 has no variance, and BN multiplies its rounding by 1/√ε. The normalised output of gru cells at
    # steps with few frames has hardly any, so that evaluation with running statistics moves by 2e-3 in the reference's own float32.
    parts = placement in ("state", "separate") or (cell == "gru" and placement == "hidden")
    return {
        "cell": cell, "placement": placement, "normalization_method": method, "statistics": statistics, "scope": scope,
        "peepholes": ("all", "none", "output")[index % 3] if cell == "lstm" else "none", "momentum": (0.0, 0.9)[index // 2 % 2],
        "clip_norm": (None, 1.0, 1.0)[index // 3 % 3], "initial_state": "learned" if learned else "zero", "kinds": KINDS,
        "whitening_interval": 7, "chaotic": parts and method == "batch" and learned}


def _parts(placement: str, method: str, statistics: str, scope: str | int) -> tuple:
    if placement in ("none", "whitened-input"):
        return (placement,)
    return (placement, "layer") if method == "layer" else (placement, statistics, scope)


def _language(index: int, cell: str, placement: str, method: str, statistics: str, scope: str | int) -> Case:
    values = _common(index, cell, placement, method, statistics, scope)
    rate = (0.05 if values["momentum"] else 0.5) * (1 if values["clip_norm"] else 0.5)
    rate *= 0.2 if placement in RECURRENT_PLACEMENTS and method == "batch" else 0.5
    name = _name("variant", cell, *_parts(placement, method, statistics, scope), values["initial_state"])
    return Case(_name("chaotic", name) if values["chaotic"] else name, 11000 + index, learning_rate=rate, **values)


def _speech(index: int, cell: str, placement: str, method: str, statistics: str, scope: str | int) -> SpeechCase:
    values = _common(index + 1, cell, placement, method, statistics, scope)
    rate = (0.02 if values["momentum"] else 0.2) * (1 if values["clip_norm"] else 0.5) * (1 if cell == "lstm" else 0.4)
    both = index % 2 == 0
    name = _name(
        "variant/speech", cell, "both" if both else "forward", *_parts(placement, method, statistics, scope), values["initial_state"])
    case = SpeechCase(
        _name("chaotic", name) if values["chaotic"] else name, 15000 + index, bidirectional=both, learning_rate=rate, normalize=("global", "utterance", "none")[index // 4 % 3],
        average_over=("sequences", "frames")[index // 5 % 2], **values)
    if case.average_over == "frames":
        case = replace(case, learning_rate=case.learning_rate * 5)
    framed = method == "batch" and statistics == "frame" and placement in ("input", *RECURRENT_PLACEMENTS)
    return framewise(case) if framed else case


def further() -> list[Case | SpeechCase]:
    """Settings beside normalisation."""
    base = Case("", seed=0, placement="input", kinds=KINDS)
    plain, speech = replace(base, placement="none"), framewise(SpeechCase("", seed=0, kinds=KINDS))
    uneven = SpeechCase("", seed=0, statistics="sequence", kinds=KINDS)
    sequences = replace(uneven, task="sequence-classification", learning_rate=0.3)
    cases = [
        replace(plain, name="initial-learned/adam", initial_state="learned", method="adam", learning_rate=0.005),
        replace(base, name="initial-learned/rnn/weight-decay", cell="rnn", initial_state="learned", weight_decay=0.01),
        replace(base, name="weight-decay/adam", weight_decay=0.1, method="adam", learning_rate=0.005),
        replace(plain, name="tied", tied=True, embedding=10),
        replace(base, name="tied/weight-decay/gru", tied=True, embedding=10, cell="gru", weight_decay=0.01),
        replace(base, name="shuffled-windows", windows="shuffled"),
        replace(base, name="shuffled-windows/learned/preactivation", windows="shuffled", initial_state="learned", placement="preactivation",
                learning_rate=0.1),
        replace(base, name="rmsprop/decay-rate0.8", method="rmsprop", learning_rate=0.002, decay_rate=0.8),
        replace(base, name="rmsprop/epsilon1e-6", method="rmsprop", learning_rate=0.001, optimizer_epsilon=1e-6),
        replace(base, name="warmup/cosine", warmup_steps=20, cosine=0.1),
        replace(base, name="plateau", plateau=(2.0, 2, 0.01), epochs=10, kinds=("population",)),
        replace(base, name="plateau/gru", cell="gru", plateau=(3.0, 1, 0.05), epochs=10, decay=(1.5, 6), kinds=("running",)),
        replace(base, name="accumulate3/layer", accumulate_steps=3, normalization_method="layer", learning_rate=0.3),
        replace(base, name="accumulate2/separate", accumulate_steps=2, placement="separate", learning_rate=0.1),
        replace(base, name="frames-per-step-many", frames_per_step=10**6),
        replace(base, name="one-evaluation-stream/batch", evaluation_streams=3, kinds=("batch", "averaged", "batch")),
        replace(speech, name="speech/accumulate2/frames", accumulate_steps=2, average_over="frames", learning_rate=0.3),
        replace(uneven, name="speech/accumulate2/sequence", accumulate_steps=2),
        replace(speech, name="speech/frames-per-step150", even=False, batch_size=16, last=(9, 4), epsilon=0.1, frames_per_step=150),
        replace(speech, name="speech/whitened-input/interval1", placement="whitened-input", whitening_interval=1),
        replace(speech, name="speech/initial-learned/adam", initial_state="learned", method="adam", learning_rate=0.002),
        replace(sequences, name="sequence-classification/both"),
        replace(sequences, name="sequence-classification/forward/gru", cell="gru", bidirectional=False, average_over="frames"),
        replace(sequences, name="sequence-classification/both/layer/learned", placement="separate", normalization_method="layer",
                initial_state="learned", learning_rate=0.03),
        replace(framewise(sequences), name="sequence-classification/both/rnn/hidden", cell="rnn", placement="hidden", statistics="frame",
                learning_rate=0.05),
        replace(sequences, name="sequence-classification/accumulate2/none", placement="none", accumulate_steps=2, clip_norm=1.0),
    ]
    return [replace(case, name=f"variant/{case.name}", seed=19000 + index) for index, case in enumerate(cases)]


def chaotic() -> list[BaseCase]:
    """Two or three sequences or frames in a statistics group: with two x̂ is ±1, and rounding grows from step to step.

    With three and a low rate the first ten steps or so are still held to the contract's bound.
    """
    base = Case("", seed=0, batch_size=12, scope="local", kinds=KINDS, learning_rate=0.02, chaotic=True)
    few = SpeechCase("", seed=0, batch_size=12, scope="local", learning_rate=0.02, last=(9, 4), kinds=KINDS, chaotic=True)
    cases = [replace(base, name=placement, placement=placement) for placement in ("input", *RECURRENT_PLACEMENTS)]
    cases += [
        replace(base, name="two-sequences/input", placement="input", batch_size=8),
        replace(base, name="gru/hidden", cell="gru", placement="hidden"),
        replace(base, name="rnn/state/learned", cell="rnn", placement="state", initial_state="learned"),
        replace(base, name="preactivation/learned/global", placement="preactivation", batch_size=4, scope="global", initial_state="learned"),
        replace(few, name="speech/input"),
        replace(few, name="speech/preactivation", placement="preactivation"),
        replace(few, name="speech/separate/learned/group2", placement="separate", scope=2, initial_state="learned"),
        replace(few, name="speech/gru/separate", cell="gru", placement="separate"),
    ]
    return [replace(case, name=f"chaotic/{case.name}", seed=19500 + index) for index, case in enumerate(cases)]


def everything() -> list[BaseCase]:
    return [*combinations(), *speech_combinations(), *further(), *chaotic()]


def quick() -> list[BaseCase]:
    """One of each cell and placement by layer and by batch, language models and archives by turns, and some of the others."""
    chosen: dict[tuple, BaseCase] = {}
    for index, pair in enumerate(zip(combinations(), speech_combinations())):
        key = (pair[0].cell, pair[0].placement, pair[0].normalization_method)
        chosen.setdefault(key, pair[index % 2])
    parts = ("/tied", "learned/adam", "cosine", "accumulate2/separate", "classification/both", "shuffled-windows", "chaotic/state",
             "frames-per-step150")
    return [*chosen.values(), *(case for case in further() + chaotic() if case.name.endswith(parts))]
