"""Checks of import-weights: from an exported model back, and from a model of PyTorch's own."""

from __future__ import annotations

import os

import numpy as np
import torch
from safetensors.numpy import load_file

import exported
import import_weights
import samples
from cases import BOTH, LEARNED, Case, keys
from trained import Material, Run

ROUND_TRIPS = [
    Case("lstm, two directions", keys("none") | BOTH),
    Case("gru, learned states", keys("none", cell="gru") | LEARNED),
    Case("rnn of sequences", keys("none", cell="rnn") | BOTH, "sequence-classification"),
    Case("lstm of a text, learned states", keys("none") | LEARNED, "language-model"),
    Case("lstm of a text, tied", keys("none") | {"model.tied_embedding": True}, "language-model"),
]
FOREIGN = [
    Case("nn.LSTM", keys("none") | BOTH),
    Case("nn.GRU", keys("none", cell="gru") | BOTH),
    Case("nn.RNN", keys("none", cell="rnn")),
    Case("nn.LSTM, whitened input and peepholes", keys("whitened-input") | {
        "model.peepholes": "all"}),
]


def convert(*arguments: str) -> tuple[int, str]:
    """Exit code and what import-weights prints."""
    code, out, err = exported.called("import-weights", import_weights.main, arguments)
    return code, (out + err).strip()


def check(board, material: Material) -> None:
    for number, case in enumerate(ROUND_TRIPS):
        name = f"import-weights, {case.name}, exported and back"
        board.guard(name, lambda: round_trip(board, name, material, case, number))
    for number, case in enumerate(FOREIGN):
        name = f"import-weights, a state dict of {case.name}"
        board.guard(name, lambda: foreign(board, name, material, case, number))
    board.guard("import-weights, refusals", lambda: refusals(board, material))


def round_trip(board, name: str, material: Material, case: Case, number: int) -> None:
    """The tensors of a run are those that come back, and the program takes them."""
    run = Run.train(material, case, f"back-{number}")
    path, _ = exported.export(run, "pytorch")
    output = run.directory + ".imported.safetensors"
    code, words = convert(path, run.config, "--output", output)
    if code != 0:
        return board.line(name, False, words)
    expected = load_file(os.path.join(run.directory, "checkpoints/best/model.safetensors"))
    found = load_file(output)
    same = found.keys() == expected.keys() and all(
        np.array_equal(found[n], expected[n]) and found[n].dtype == expected[n].dtype
        for n in found)
    material.run("train", run.config, "--run-directory", run.directory + "-new",
                 "--initialize-from", output, "--dry-run")
    board.line(name, same, f"{len(found)} tensors, " + ("equal" if same else "not all equal"))


class Foreign(torch.nn.Module):
    """A model as others write it."""

    def __init__(self, kind: str, bidirectional: bool):
        super().__init__()
        module = getattr(torch.nn, kind)
        self.rnn = module(samples.FEATURES, 8, num_layers=2, bidirectional=bidirectional)
        self.decoder = torch.nn.Linear(16 if bidirectional else 8, samples.CLASSES)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.log_softmax(self.decoder(self.rnn(features[:, None])[0][:, 0]), dim=-1)


def foreign(board, name: str, material: Material, case: Case, number: int) -> None:
    """The program computes what the module computes."""
    torch.manual_seed(number)
    bidirectional = case.keys.get("model.bidirectional", False)
    model = Foreign(case.keys["model.cell"].upper(), bidirectional).requires_grad_(False)
    state, output = (os.path.join(material.directory, f"foreign-{number}{end}")
                     for end in (".pt", ".imported.safetensors"))
    torch.save(model.state_dict(), state)
    # A step so small that no weight changes.
    still = {"training.maximum_steps": 1, "optimizer.learning_rate": 1e-30,
             "data.normalize": "none"}
    case = Case(case.name, case.keys | still)
    run = Run(material, case, os.path.join(material.directory, f"foreign-{number}"))
    with open(run.config, "w") as file:
        import_weights.yaml.safe_dump(material.configuration(case), file)
    code, words = convert(
        state, run.config, "--output", output, "--prefix", "rnn.", "--output-layer", "decoder.")
    if code != 0:
        return board.line(name, False, words)
    run = Run.train(material, case, f"foreign-{number}", "--initialize-from", output)
    expected = [model(torch.from_numpy(u.features)).numpy() for u in material.utterances]
    # Whitening is of other numbers than single precision can hold to the last digit.
    tolerance = 1e-4 if case.keys["normalization.placement"] == "whitened-input" else 1e-5
    board.tell(name, exported.distance(run.log_posteriors(), expected), tolerance)


def refusals(board, material: Material) -> None:
    """What cannot be imported is one line with an exit code."""
    directory = material.directory
    config = os.path.join(directory, "refused.yaml")
    other = os.path.join(directory, "normalised.yaml")
    for path, case in ((config, ROUND_TRIPS[0]), (other, Case("", keys("input", "sequence")))):
        with open(path, "w") as file:
            import_weights.yaml.safe_dump(material.configuration(case), file)
    model = Foreign("LSTM", True)
    whole = os.path.join(directory, "whole.pt")
    torch.save(model, whole)
    state = os.path.join(directory, "state.pt")
    torch.save(model.state_dict(), state)
    cut = os.path.join(directory, "cut.pt")
    with open(state, "rb") as source, open(cut, "wb") as file:
        file.write(source.read()[:500])
    output = ("--output", os.path.join(directory, "refused.safetensors"))
    names = ("--prefix", "rnn.", "--output-layer", "decoder.")
    for name, arguments, expected in (
        ("no such file", (state + "x", config, *output), 65),
        ("no state dict", (whole, config, *output, *names), 65),
        ("a truncated file", (cut, config, *output, *names), 65),
        ("other names", (state, config, *output), 64),
        ("a normalised network", (state, other, *output, *names), 64),
        ("no configuration", (state, state, *output, *names), 64),
        ("no --output", (state, config), 64),
    ):
        code, words = convert(*arguments)
        good = (code == expected and "\n" not in words
                and words.startswith("import-weights: error: "))
        board.line(f"import-weights, {name}", good, f"exit {code}, {words}")
    assert not os.path.exists(output[1]), "a refused import leaves no file"
