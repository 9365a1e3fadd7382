"""Says the version of a framework and the instruction set that it says it uses: python identify.py pytorch|jax.

Prints a JSON object; the environment decides the answer, as it decides what is measured.
"""

from __future__ import annotations

import json
import re
import sys


def pytorch() -> dict:
    import torch

    libraries = [line.strip(" -") for line in torch.__config__.show().splitlines() if "Math Kernel" in line or "MKL-DNN" in line]
    return {"version": torch.__version__, "instruction_set": torch.backends.cpu.get_cpu_capability(), "libraries": libraries}


def jax() -> dict:
    import jax
    import jax.numpy as jnp

    # XLA tells for which processor it compiles only in what it compiled: a list of features, "+avx2,-avx512f,…".
    program = jax.jit(lambda x: 2 * x).lower(jnp.ones(1000)).compile().runtime_executable().serialize()
    features = set(re.findall(rb"\+(avx[0-9a-z]*)", program))
    names = {"AVX512": b"avx512f", "AVX2": b"avx2", "AVX": b"avx"}
    name = next((name for name, feature in names.items() if feature in features), "not said")
    return {"version": jax.__version__, "instruction_set": name, "libraries": []}


if __name__ == "__main__":
    print(json.dumps({"pytorch": pytorch, "jax": jax}[sys.argv[1]]()))
