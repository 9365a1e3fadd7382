"""The models that the self-test trains: every placement and method, cell, task and setting."""

from __future__ import annotations

from dataclasses import dataclass, field

from samples import CLASSES, UTTERANCES


@dataclass(frozen=True)
class Case:
    """A model, by what its configuration sets apart from the defaults here."""

    name: str
    keys: dict = field(default_factory=dict)
    task: str = "frame-classification"
    # Whether nn.LSTM, nn.GRU or nn.RNN computes the same; otherwise what the refusal names.
    torch: bool = True
    refusal: str = ""
    # Whether nn.LSTM, nn.GRU or nn.RNN computes the first step with --fold-step 0.
    first_step: bool = False


FRAMES = {
    "data.classes": CLASSES, "data.maximum_frames": 18, "model.layers": 2, "model.hidden_size": 8,
    "training.batch_size": 6, "training.maximum_steps": 24, "training.average_over": "frames",
    "optimizer.learning_rate": 0.5, "evaluation.frames_per_step": 8}
LANGUAGE = {
    "data.vocabulary_size": 60, "model.embedding_size": 8, "model.layers": 2,
    "model.hidden_size": 8, "training.batch_size": 4, "training.unroll_steps": 7,
    "training.maximum_steps": 24, "training.average_over": "frames",
    "evaluation.frames_per_step": 8}

BOTH = {"model.bidirectional": True}
# Weights so large that what is done to them shows in results.
WIDE = {"initialization.range": 1}
LEARNED = {"model.initial_state": "learned"}
# Only the first step has so many frames behind it, so all steps take its statistics. Without noise
# its states are all the same, and a variance of 0 would blow up what rounding leaves of `W_h h`.
FIRST_STEP_ALONE = {
    "evaluation.frames_per_step": UTTERANCES - 7, "model.initial_state_noise": 0.5}


def keys(
    placement: str, statistics: str | None = None, cell: str = "lstm", method: str | None = None,
    **other: object
) -> dict:
    result = {"normalization.placement": placement, "model.cell": cell}
    if statistics is not None:
        result["normalization.statistics"] = statistics
    if method is not None:
        result["normalization.method"] = method
    return result | other


def frame_wise(placement: str, **arguments) -> dict:
    return keys(placement, "frame", **arguments)


def layer_wise(placement: str, **arguments) -> dict:
    return keys(placement, method="layer", **arguments)


FRAME = "normalization.statistics: frame"
LAYER = "normalization.method: layer"
SEPARATE = "normalization.placement: separate"
HIDDEN = "normalization.placement: hidden"

CLASSIFICATION = [
    Case("lstm none, two directions, deltas", keys("none") | BOTH | {"data.deltas": 2}),
    Case("lstm none, learned states", keys("none") | BOTH | LEARNED),
    Case("lstm none, bfloat16", keys("none") | WIDE | {
        "model.recurrent_weights": "bfloat16"}),
    Case("lstm none, features as they are", keys("none") | {
        "data.normalize": "none", "optimizer.learning_rate": 0.1}),
    Case("lstm none, normalised utterances", keys("none") | {
        "data.normalize": "utterance", "data.deltas": 1}),
    Case("lstm none, output peepholes", keys("none") | BOTH | WIDE | {
        "model.peepholes": "output"}, torch=False, refusal="model.peepholes: output"),
    Case("lstm none, all peepholes", keys("none") | WIDE | {
        "model.peepholes": "all"}, torch=False, refusal="model.peepholes: all"),
    Case("lstm input sequence, two directions", keys("input", "sequence") | BOTH),
    Case("lstm input sequence, running", keys("input", "sequence") | {
        "evaluation.statistics": "running"}),
    Case("lstm input frame", frame_wise("input"), torch=False, refusal=FRAME, first_step=True),
    Case("lstm input frame, two directions, deltas", frame_wise("input") | BOTH | {
        "data.deltas": 2}, torch=False, refusal=FRAME),
    Case("lstm input frame, running", frame_wise("input") | {"evaluation.statistics": "running"},
         torch=False, refusal=FRAME, first_step=True),
    Case("lstm input frame, the first step's alone", frame_wise("input") | BOTH | FIRST_STEP_ALONE),
    Case("lstm preactivation, learned states", frame_wise("preactivation") | LEARNED,
         torch=False, refusal=FRAME, first_step=True),
    Case("lstm preactivation, the first step's alone",
         frame_wise("preactivation") | BOTH | LEARNED | FIRST_STEP_ALONE),
    Case("lstm state, two directions, learned states", frame_wise("state") | BOTH | LEARNED,
         torch=False, refusal=FRAME),
    Case("lstm state, the first step's alone", frame_wise("state") | LEARNED | FIRST_STEP_ALONE),
    Case("lstm separate, two directions, peepholes", frame_wise("separate") | BOTH | LEARNED | {
        "model.peepholes": "all"}, torch=False, refusal="model.peepholes: all"),
    Case("lstm separate", frame_wise("separate"), torch=False, refusal=SEPARATE),
    Case("lstm hidden", frame_wise("hidden") | BOTH, torch=False, refusal=HIDDEN),
    Case("lstm whitened-input, two directions", keys("whitened-input") | BOTH | {
        "normalization.whitening_interval": 5}),
    Case("lstm layer input", layer_wise("input") | BOTH, torch=False, refusal=LAYER),
    Case("lstm layer preactivation", layer_wise("preactivation"), torch=False, refusal=LAYER),
    Case("lstm layer state", layer_wise("state"), torch=False, refusal=LAYER),
    Case("lstm layer separate", layer_wise("separate") | BOTH, torch=False, refusal=LAYER),
    Case("lstm layer hidden", layer_wise("hidden"), torch=False, refusal=LAYER),
    Case("gru none, two directions", keys("none", cell="gru") | BOTH),
    Case("gru input sequence, learned states", keys("input", "sequence", "gru") | LEARNED),
    Case("gru input frame, two directions", frame_wise("input", cell="gru") | BOTH,
         torch=False, refusal=FRAME),
    Case("gru separate", frame_wise("separate", cell="gru") | LEARNED,
         torch=False, refusal=FRAME, first_step=True),
    Case("gru separate, the first step's alone",
         frame_wise("separate", cell="gru") | BOTH | LEARNED | FIRST_STEP_ALONE),
    Case("gru hidden, two directions", frame_wise("hidden", cell="gru") | BOTH,
         torch=False, refusal=HIDDEN),
    Case("gru layer separate", layer_wise("separate", cell="gru"), torch=False, refusal=LAYER),
    Case("rnn none, two directions", keys("none", cell="rnn") | BOTH),
    Case("rnn preactivation", frame_wise("preactivation", cell="rnn") | BOTH,
         torch=False, refusal=FRAME),
    Case("rnn separate, the first step's alone",
         frame_wise("separate", cell="rnn") | LEARNED | FIRST_STEP_ALONE),
    Case("rnn hidden", frame_wise("hidden", cell="rnn"), torch=False, refusal=HIDDEN),
    Case("rnn whitened-input", keys("whitened-input", cell="rnn")),
    Case("rnn layer state", layer_wise("state", cell="rnn"), torch=False, refusal=LAYER),
]

SEQUENCES = [
    Case("lstm none, two directions", keys("none") | BOTH),
    Case("lstm none, one direction", keys("none")),
    Case("lstm input frame, two directions", frame_wise("input") | BOTH,
         torch=False, refusal=FRAME),
    Case("lstm separate, two directions", frame_wise("separate") | BOTH,
         torch=False, refusal=SEPARATE),
    Case("gru input sequence, two directions", keys("input", "sequence", "gru") | BOTH),
    Case("gru hidden", frame_wise("hidden", cell="gru"), torch=False, refusal=HIDDEN),
    Case("rnn layer hidden, two directions", layer_wise("hidden", cell="rnn") | BOTH,
         torch=False, refusal=LAYER),
]

TEXTS = [
    Case("lstm none, tied", keys("none") | {"model.tied_embedding": True}),
    Case("lstm none, learned states, shuffled windows", keys("none") | LEARNED | {
        "training.windows": "shuffled"}),
    Case("lstm none, characters, peepholes", keys("none") | {
        "data.unit": "character", "model.peepholes": "all"}, torch=False,
        refusal="model.peepholes: all"),
    Case("lstm input sequence", keys("input", "sequence")),
    Case("lstm input frame", frame_wise("input"), torch=False, refusal=FRAME),
    Case("lstm preactivation, windows of one step", frame_wise("preactivation") | {
        "training.unroll_steps": 1}),
    Case("lstm state, windows of one step", frame_wise("state") | {"training.unroll_steps": 1}),
    Case("lstm state, learned states", frame_wise("state") | LEARNED, torch=False, refusal=FRAME),
    Case("lstm separate", frame_wise("separate"), torch=False, refusal=SEPARATE),
    Case("lstm layer preactivation", layer_wise("preactivation"), torch=False, refusal=LAYER),
    Case("lstm whitened-input", keys("whitened-input")),
    Case("gru none", keys("none", cell="gru")),
    Case("gru hidden", frame_wise("hidden", cell="gru"), torch=False, refusal=HIDDEN),
    Case("rnn none, learned states", keys("none", cell="rnn") | LEARNED),
    Case("rnn input frame", frame_wise("input", cell="rnn"), torch=False, refusal=FRAME),
]

ALL = [
    *CLASSIFICATION,
    *(Case(c.name, c.keys, "sequence-classification", c.torch, c.refusal) for c in SEQUENCES),
    *(Case(c.name, c.keys, "language-model", c.torch, c.refusal) for c in TEXTS)]
