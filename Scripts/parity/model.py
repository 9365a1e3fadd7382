"""Recurrent models (mathematics.md, sections 1, 2 and 6); derivatives by autograd.

T time steps, B sequences, I inputs and H cells of a layer, V words or classes.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from layer import CellState, Layer
from moments import Statistics
from normalization import BatchTerm, Mode
from shape import Shape

State = list[CellState]  # a layer and direction


class Model:
    """Parameters (leaves of autograd), layers and the forward pass."""

    def __init__(self, shape: Shape, tensors: dict[str, Tensor], dtype: torch.dtype = torch.float64):
        expected, constants = shape.tensors(), shape.constants()
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if name not in constants}
        if found != expected:
            raise ValueError(f"tensors differ: {set(found.items()) ^ set(expected.items())}")
        self.shape, self.dtype = shape, dtype
        self.parameters = {n: tensors[n].detach().to(dtype).clone().requires_grad_() for n in expected}
        self.layers = [
            Layer(shape, shape.prefix(layer, direction), shape.inputs(layer), self.parameters, dtype)
            for layer, direction in product(range(shape.layers), shape.directions)]
        for layer in self.layers if constants else []:
            layer.whitening.matrix = tensors.get(layer.prefix + "whitening.matrix", layer.whitening.matrix).to(dtype)
            layer.whitening.center = tensors.get(layer.prefix + "whitening.mean", layer.whitening.center).to(dtype)
        self.norms = {
            term.name: term for layer in self.layers for term in layer.terms.values() if isinstance(term, BatchTerm)}

    def initial_state(self, batch: int) -> State:
        return [layer.initial_state(batch) for layer in self.layers]

    def embed(self, ids: Tensor) -> Tensor:
        return self.parameters["embedding.weight"][ids]

    def forward(
        self, x_TBI: Tensor, mode: Mode, state: State, collected: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """Logits, [T, B, V], and the state after each sequence's last frame, cut from the graph."""
        y, after = self.hidden(x_TBI, mode, state, collected)
        return self.logits(y), after

    def hidden(
        self, x_TBI: Tensor, mode: Mode, state: State, collected: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """Outputs of the top layer, [T, B, H] or [T, B, 2H]; `collected` receives the inputs of each layer, [frames, I]."""
        x, after, lengths = x_TBI, [], mode.layout.lengths
        live, width = mode.layout.mask(0, x_TBI.shape[0]), len(self.shape.directions)
        for first in range(0, len(self.layers), width):
            outputs = []
            for layer, direction in zip(self.layers[first : first + width], self.shape.directions):
                if collected is not None:
                    collected[layer.prefix] = x[live]
                turned = x if direction == "forward" else reverse(x, lengths)
                y, final = layer.forward(turned, state[len(after)], mode)
                outputs.append(y if direction == "forward" else reverse(y, lengths))
                after.append((final[0].detach(), final[1].detach()))
            x = torch.cat(outputs, dim=-1)
        return x, after

    def logits(self, y: Tensor) -> Tensor:
        weight = self.parameters["embedding.weight" if self.shape.tied else "output.weight"]
        return y @ weight.T + self.parameters["output.bias"]

    @torch.no_grad()
    def whiten(self, inputs: dict[str, Tensor]) -> list[str]:
        """New whitening from the inputs of each layer, [frames, I]; returns the parameters whose meaning it changes."""
        for layer in self.layers:
            layer.whitening.estimate(inputs[layer.prefix], layer.p["input_weight"], layer.p["bias"])
        return [layer.prefix + name for layer in self.layers for name in ("input_weight", "bias")]

    # -- statistics ---------------------------------------------------------------------------------------------

    def update_running(self) -> None:
        for norm in self.norms.values():
            norm.update_running()

    def running_statistics(self) -> dict[str, Statistics]:
        return {name: norm.running for name, norm in self.norms.items()}

    def pooled_statistics(self) -> dict[str, dict[str, Statistics]]:
        """`population` and `averaged` over what was observed since the last call or update."""
        pooled = {name: norm.pooled() for name, norm in self.norms.items()}
        return {kind: {name: parts[kind] for name, parts in pooled.items()} for kind in ("population", "averaged")}

    def constants(self) -> dict[str, Tensor]:
        """U and c of `whitened-input`, by their names in a file."""
        return {f"{layer.prefix}whitening.{part}": tensor for layer in self.layers if layer.whitening is not None
                for part, tensor in (("matrix", layer.whitening.matrix), ("mean", layer.whitening.center))}


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """−ln softmax at the target, in nats: `[…, V]` and `[…]` to `[…]`."""
    return torch.logsumexp(logits, dim=-1) - logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1)


def reverse(x_TBF: Tensor, lengths: Tensor) -> Tensor:
    """Each sequence reversed within its own length; padding stays where it is."""
    T, B = x_TBF.shape[:2]
    steps = torch.arange(T)[:, None]
    index = torch.where(steps < lengths[None, :], lengths[None, :] - 1 - steps, steps)
    return x_TBF[index, torch.arange(B)[None, :]]
