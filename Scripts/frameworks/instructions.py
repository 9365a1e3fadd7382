"""Limits all systems to an instruction set, and observes whether they keep to it.

Every library takes its limit from a variable of its own. YNNPACK, which multiplies for XLA, has none and asks the processor:
it is switched off, and XLA multiplies with Eigen and the kernels of oneDNN. That is no handicap: with AVX-512 hidden from the
processor's CPUID, YNNPACK's kernels for AVX2 trained the small model at 1,971 words a second of CPU time and Eigen at 1,981,
the medium one at 467 and 573 (one thread, Intel Xeon, Emerald Rapids).
"""

from __future__ import annotations

import glob
import os
import threading
import time

CHOICES = ("best", "avx2")
# What Lockstep calls the instruction set in the JSON object of `benchmark`.
LOCKSTEP_NAMES = {"avx2": "x86-64-v3"}
AVX512 = ("F", "VL", "BW", "CD", "DQ")


def limits(instructions: str) -> dict[str, str]:
    """Variables that limit the systems; none for `best`."""
    return {} if instructions == "best" else {
        # Lockstep; OpenBLAS has the same kernels for both names.
        "LOCKSTEP_KERNELS": LOCKSTEP_NAMES[instructions],
        "OPENBLAS_CORETYPE": "Zen" if cpuinfo("vendor_id") == "AuthenticAMD" else "Haswell",
        # PyTorch, and oneDNN in both frameworks. Without a -march torch.compile passes -march=native to the compiler.
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "TORCHINDUCTOR_CPP_MARCH": "x86-64-v3",
        # JAX
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2 --xla_cpu_experimental_ynn_fusion_type=",
        # The C library, of all: copies and comparisons of memory.
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join(f"-AVX512{part}" for part in AVX512),
    }


def cpuinfo(key: str) -> str:
    with open("/proc/cpuinfo") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith(key)), "")


def widest() -> str:
    """The widest vectors of the processor."""
    flags = cpuinfo("flags").split()
    return next((name for name in ("avx512f", "avx2", "avx") if name in flags), "baseline")


# Taken from the caller's environment, so that a limit is in the report or not there.
NAMES = tuple(limits("avx2"))


class Watch:
    """Reads while a measurement runs when the kernel last saw a thread of it with registers of AVX-512 in use.

    Linux notes the time when it switches from a thread (/proc/PID/arch_status). Where the processor lacks AVX-512 it notes nothing.
    """

    INTERVAL = 1  # seconds; each reads a small file for every thread
    MARGIN = 0.2  # seconds from the start, in which the caller's own use still counts as the child's

    def __init__(self, process: int):
        self.process, self.start, self.seen, self.stopped = process, time.monotonic(), False, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> Watch:
        self.thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopped.set()
        self.thread.join()

    def run(self) -> None:
        while not self.stopped.wait(self.INTERVAL) and not self.seen:
            self.seen = any(self.used(process) for process in descendants(self.process))

    def used(self, process: int) -> bool:
        for path in glob.glob(f"/proc/{process}/task/*/arch_status"):
            elapsed = read(path).partition("AVX512_elapsed_ms:")[2].split()
            if elapsed and 0 <= int(elapsed[0]) < 1e3 * (time.monotonic() - self.start - self.MARGIN):
                return True
        return False


def descendants(process: int) -> list[int]:
    """A process and all below it."""
    children = [int(each) for path in glob.glob(f"/proc/{process}/task/*/children") for each in read(path).split()]
    return [process] + [each for child in children for each in descendants(child)]


def read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:  # the process has ended
        return ""
