"""A training step in JAX, compiled as a whole: forward, loss, backward, clipping and SGD."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_models import Model, Parameters


class Training(NamedTuple):
    """What one step hands to the next."""

    parameters: Parameters
    velocity: Parameters | None  # with momentum
    carried: Any  # of the model
    key: Array  # of dropout

    @staticmethod
    def start(model: Model, batch: int, parameters: Parameters | None = None) -> Training:
        parameters = model.parameters() if parameters is None else parameters
        velocity = {name: jnp.zeros_like(each) for name, each in parameters.items()} if model.size.momentum else None
        return Training(parameters, velocity, model.carried(batch), jax.random.PRNGKey(2))


def make_step(model: Model) -> Callable[[Training, Any], tuple[Training, Array]]:
    """From what the step before handed on, whose memory it takes over, and a minibatch to what is handed on and the loss."""
    size = model.size

    def step(training: Training, minibatch: Any) -> tuple[Training, Array]:
        key, dropout_key = jax.random.split(training.key)
        (loss, carried), gradients = jax.value_and_grad(model.loss, has_aux=True)(
            training.parameters, training.carried, minibatch, dropout_key)
        norm = jnp.sqrt(sum(jnp.vdot(each, each) for each in gradients.values()))
        factor = jnp.minimum(1, size.clip_norm / norm)
        change = {name: factor * each for name, each in gradients.items()}
        if training.velocity is not None:
            change = {name: size.momentum * training.velocity[name] + each for name, each in change.items()}
        parameters = {name: each - size.learning_rate * change[name] for name, each in training.parameters.items()}
        return Training(parameters, change if training.velocity is not None else None, carried, key), loss

    return jax.jit(step, donate_argnums=0)


def distribute(training: Training, minibatches: list, devices: list[jax.Device]) -> tuple[Training, list]:
    """Divides sequences among devices, one of each process, and puts all else on each. The compiler adds the all-reduces."""
    mesh = Mesh(np.array(devices), "devices")

    def place(tree: Any, *axes: str | None) -> Any:
        sharding = NamedSharding(mesh, PartitionSpec(*axes))
        return jax.tree.map(lambda each: jax.make_array_from_callback(each.shape, sharding, np.asarray(each).__getitem__), tree)

    # Of what is carried the state has a row for each sequence; minibatches are time-major.
    carried = {name: place(each, *(["devices"] if name == "state" else [])) for name, each in training.carried.items()}
    return place(training._replace(carried=None))._replace(carried=carried), place(minibatches, None, "devices")
