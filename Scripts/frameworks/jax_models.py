"""The paper's models in JAX, in float32: one `lax.scan` over time for each layer and direction, after one product and one
normalisation for the inputs of all time steps.

Parameters are a dictionary whose names are those of Lockstep's checkpoints. `loss` takes what one step hands to the next, and
returns it: the recurrent state of a language model, and running averages.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jax_layers import averaged, batch_norm, cross_entropy, dropout, lstm
from sizes import Size, SpeechSize

Parameters = dict[str, Array]


def layer_shapes(prefix: str, inputs: int, hidden: int, normalized: bool) -> dict[str, tuple[int, ...]]:
    """Tensors of one direction of a layer."""
    vectors = ("input_norm.gamma", "input_norm.beta") if normalized else ("bias",)
    shapes = {"input_weight": (4 * hidden, inputs), "recurrent_weight": (4 * hidden, hidden)}
    return {prefix + name: shape for name, shape in (shapes | {name: (4 * hidden,) for name in vectors}).items()}


def projection(x_TBI: Array, parameters: Parameters, prefix: str) -> Array:
    """W_x x of all time steps in one product."""
    return x_TBI @ parameters[prefix + "input_weight"].T


def normalized(a_TBG: Array, parameters: Parameters, prefix: str, axes: tuple[int, ...], live_TB1: Array | None):
    return batch_norm(a_TBG, parameters[prefix + "input_norm.gamma"], parameters[prefix + "input_norm.beta"], axes, live_TB1)


class Model:
    """What both models have in common: a size, and whether inputs are normalised."""

    def __init__(self, size: Size | SpeechSize, normalized: bool):
        self.size, self.normalized = size, normalized

    def parameters(self, seed: int = 1) -> Parameters:
        """Weights and biases uniform in the size's range, γ 1 and β 0."""
        random, reach = np.random.default_rng(seed), self.size.initial_range
        return {name: jnp.ones(shape) if name.endswith("gamma") else jnp.zeros(shape) if name.endswith("beta")
                else jnp.asarray(random.uniform(-reach, reach, shape), dtype=float) for name, shape in self.shapes().items()}


class LanguageModel(Model):
    """Layers in one direction whose state is carried from window to window; statistics of every time step."""

    def shapes(self) -> dict[str, tuple[int, ...]]:
        V, H = self.size.vocabulary, self.size.hidden
        shapes = {"embedding.weight": (V, H)}
        for layer in range(self.size.layers):
            shapes |= layer_shapes(f"lstm.{layer}.forward.", H, H, self.normalized)
        return shapes | {"output.weight": (V, H), "output.bias": (V,)}

    def carried(self, batch: int):
        """State and running averages before the first step."""
        T, H = self.size.steps, self.size.hidden
        layers = range(self.size.layers) if self.normalized else ()
        return {"state": [(jnp.zeros((batch, H)), jnp.zeros((batch, H))) for _ in range(self.size.layers)],
                "running": [(jnp.zeros((T, 1, 4 * H)), jnp.ones((T, 1, 4 * H))) for _ in layers]}

    def loss(self, parameters: Parameters, carried, window: tuple[Array, Array], key: Array):
        """Cross entropy summed over time and averaged over sequences, and what is carried on."""
        inputs_TB, targets_TB = window
        p, keys = self.size.dropout, jax.random.split(key, self.size.layers + 1)
        x, state, running = parameters["embedding.weight"][inputs_TB], [], []
        for layer, before in enumerate(carried["state"]):
            prefix = f"lstm.{layer}.forward."
            a = projection(dropout(x, p, keys[layer]), parameters, prefix)
            if self.normalized:
                a, batch = normalized(a, parameters, prefix, (1,), None)
                running.append(averaged(carried["running"][layer], batch))
            else:
                a = a + parameters[prefix + "bias"]
            x, after = lstm(a, before, parameters[prefix + "recurrent_weight"], None, False)
            state.append(after)
        logits = dropout(x, p, keys[-1]) @ parameters["output.weight"].T + parameters["output.bias"]
        loss = cross_entropy(logits, targets_TB).sum() / inputs_TB.shape[1]
        return loss, {"state": state, "running": running}


class SpeechModel(Model):
    """Layers in both directions over whole utterances; statistics over all frames.

    A minibatch is padded to its longest utterance: features, labels and, where lengths differ, 1 for frames and 0 for padding.
    """

    directions = ("forward", "backward")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        size, shapes, inputs = self.size, {}, self.size.features
        for layer in range(size.layers):
            for direction in self.directions:
                shapes |= layer_shapes(f"lstm.{layer}.{direction}.", inputs, size.hidden, self.normalized)
            inputs = 2 * size.hidden
        return shapes | {"output.weight": (size.classes, inputs), "output.bias": (size.classes,)}

    def carried(self, batch: int):
        """Running averages before the first step."""
        G, layers = 4 * self.size.hidden, range(self.size.layers) if self.normalized else ()
        return {"running": [[(jnp.zeros((1, 1, G)), jnp.ones((1, 1, G))) for _ in self.directions] for _ in layers]}

    def loss(self, parameters: Parameters, carried, minibatch: tuple[Array, Array, Array | None], key: Array):
        """Cross entropy summed over frames and averaged over sequences, and what is carried on."""
        x, labels_TB, live_TB1 = minibatch
        B, H, running = labels_TB.shape[1], self.size.hidden, []
        for layer in range(self.size.layers):
            outputs, averages = [], []
            for index, direction in enumerate(self.directions):
                prefix = f"lstm.{layer}.{direction}."
                a = projection(x, parameters, prefix)
                if self.normalized:
                    a, batch = normalized(a, parameters, prefix, (0, 1), live_TB1)
                    averages.append(averaged(carried["running"][layer][index], batch))
                else:
                    a = a + parameters[prefix + "bias"]
                zeros = jnp.zeros((B, H), a.dtype)
                y, _ = lstm(a, (zeros, zeros), parameters[prefix + "recurrent_weight"], live_TB1, direction == "backward")
                outputs.append(y)
            x = jnp.concatenate(outputs, axis=-1)
            running += [averages] if self.normalized else []
        losses = cross_entropy(x @ parameters["output.weight"].T + parameters["output.bias"], labels_TB)
        return (losses if live_TB1 is None else losses * live_TB1[..., 0]).sum() / B, {"running": running}
