"""Compares what TensorBoard reads of a run with the run's metrics.jsonl: board.py RUN..."""

import json
import math
import sys

from tensorboard.backend.event_processing import event_accumulator

FAILURES = []


def check(condition, what):
    if not condition:
        FAILURES.append(what)
        print(f"FAILED: {what}")


def compare(run):
    board = event_accumulator.EventAccumulator(run, size_guidance={event_accumulator.SCALARS: 0, event_accumulator.HISTOGRAMS: 0})
    board.Reload()
    events, counted = [json.loads(line) for line in open(f"{run}/metrics.jsonl", encoding="utf-8")], {}
    expected = {}
    for event in events:
        kind, step = event["event"], event.get("step")
        if kind in ("resume", "restart"):
            # Later steps come again.
            last = step if kind == "resume" else 0
            expected = {key: value for key, value in expected.items() if key[1] <= last}
            counted = {tag: {at for at in steps if at <= last} for tag, steps in counted.items()}
        names = {"step": {"loss": "training/loss", "gradient_norm": "training/gradient_norm", "learning_rate": "training/learning_rate"},
                 "validation": {"loss": "validation/loss", "perplexity": "validation/perplexity", "frame_error_rate": "validation/frame_error_rate"},
                 "test": {"loss": "test/loss", "perplexity": "test/perplexity"}}.get(kind, {})
        for name, tag in names.items():
            if name in event:
                expected[tag, step] = event[name]
        if kind == "step" and "training/perplexity" in board.Tags()["scalars"]:
            expected["training/perplexity", step] = math.exp(event["loss"])
        if kind == "normalization":
            for term in event["terms"]:
                counted.setdefault(term["name"].replace(".", "/") + "/gamma", set()).add(step)
    tags = {tag for tag, _ in expected}
    for tag in tags:
        shown = [(event.step, event.value) for event in board.Scalars(tag)]
        wanted = sorted((step, value) for (name, step), value in expected.items() if name == tag)
        check([step for step, _ in shown] == [step for step, _ in wanted], f"{run}: {tag}: steps {[s for s, _ in shown]} are not {[s for s, _ in wanted]}")
        check(all(abs(a - b) <= 1e-6 * max(1, abs(b)) for (_, a), (_, b) in zip(shown, wanted)), f"{run}: {tag}: other values")
    check(any(tag.endswith("_per_second") for tag in board.Tags()["scalars"]), f"{run}: no throughput")
    for tag, steps in counted.items():
        histograms = board.Histograms(tag)
        check({event.step for event in histograms} == steps, f"{run}: {tag}: histograms at other steps")
        check(all(sum(event.histogram_value.bucket) == event.histogram_value.num > 0 for event in histograms), f"{run}: {tag}: counts")
        check(all(event.histogram_value.min <= event.histogram_value.bucket_limit[-1] for event in histograms), f"{run}: {tag}: limits")
    print(f"{run}: {len(tags)} curves, {len(counted)} of γ as in metrics.jsonl" if not FAILURES else f"{run}: differs")


for path in sys.argv[1:]:
    compare(path)
sys.exit(bool(FAILURES) or len(sys.argv) < 2)
