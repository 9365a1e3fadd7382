"""Evaluates the best checkpoints of a study's finished runs with each kind of statistics (evaluation.statistics) that normalisation can take."""

import argparse
import concurrent.futures
import csv
import os
import re
import subprocess
import sys
import threading

import yaml

import runs
from results import KINDS

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOSS = re.compile(r": loss (\S+) nats, ")
MEAN = re.compile(r"^mean perplexity of \d+ minibatches: (\S+)$", re.MULTILINE)


def statistics_of(run, wanted):
    """The kinds in which a model's evaluations can differ: one where nothing is normalised over a batch."""
    takes_batch = run.configuration.get("normalization.placement", "input") != "none" and run.configuration.get("normalization.method", "batch") == "batch"
    return wanted if takes_batch else wanted[:1]


def evaluate(options, run, statistics, data):
    """One evaluation, as a row of evaluations.csv."""
    command = [options.lockstep, "evaluate", os.path.join(run.path, "checkpoints", "best"), "--set", f"evaluation.statistics={statistics}",
               "--threads", str(options.threads)]
    for setting in options.set:
        command += ["--set", setting]
    if data != "validation":
        # In place of the validation data: a path, a list or a mapping, in YAML on one line.
        source = yaml.safe_dump(run.configuration[f"data.{data}"], default_flow_style=True, width=float("inf"), allow_unicode=True).split("\n...")[0].strip()
        command += ["--set", f"data.validation={run.configuration[f'data.{data}'] if isinstance(run.configuration[f'data.{data}'], str) else source}"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    loss = LOSS.search(done.stdout)
    if done.returncode != 0 or not loss:
        raise runs.ReportError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr.strip()}")
    mean = MEAN.search(done.stdout)
    return {"point": run.point, "seed": run.seed, "data": data, "statistics": statistics, "loss": loss[1], "minibatch_perplexity": mean[1] if mean else ""}


def main():
    parser = argparse.ArgumentParser(prog="Scripts/evaluate-study", description=__doc__)
    parser.add_argument("study", metavar="DIR", help="the directory of a study (Runs/<name>)")
    parser.add_argument("--keep", metavar="DIR", required=True, help="where evaluations.csv goes: beside the results that Scripts/report --keep writes")
    parser.add_argument("--statistics", default=",".join(KINDS), help="kinds, separated by commas (default: all four)")
    parser.add_argument("--data", default="validation,test", help="validation, test or train, separated by commas (default: validation,test)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a key of the configuration, for all evaluations: data.allow_commands=true where data comes from commands")
    parser.add_argument("--jobs", type=int, default=1, help="evaluations at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each evaluation")
    parser.add_argument("--lockstep", default=os.path.join(REPOSITORY, ".build/release/lockstep"), help="the program")
    options = parser.parse_args()
    options.lockstep = os.path.abspath(options.lockstep)
    wanted, sources = options.statistics.split(","), options.data.split(",")
    for name, values, allowed in (("--statistics", wanted, KINDS), ("--data", sources, ["validation", "test", "train"])):
        for value in values:
            if value not in allowed:
                parser.error(f"{name}: {value} is none of {', '.join(allowed)}")
    if options.jobs < 1:
        parser.error("--jobs must be 1 or more")
    try:
        study = runs.read([os.path.abspath(options.study)])
        rows = runs.read_evaluations(options.keep)
        known = {runs.evaluation_key(row) for row in rows}
        due = [(run, statistics, data) for run in study.runs if run.state == "done" for data in sources if run.configuration.get(f"data.{data}") for statistics in statistics_of(run, wanted)
               if (run.point, run.seed, data, statistics) not in known]
        print(f"{len(known)} evaluations are there, {len(due)} are due", flush=True)
        os.makedirs(options.keep, exist_ok=True)
        lock = threading.Lock()

        def work(one):
            row = evaluate(options, *one)
            with lock:
                rows.append(row)
                runs.write_evaluations(options.keep, rows, study)
                print(", ".join(f"{key} {value}" for key, value in row.items() if value != ""), flush=True)

        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for future in concurrent.futures.as_completed([pool.submit(work, one) for one in due]):
                try:
                    future.result()
                except runs.ReportError:
                    pool.shutdown(cancel_futures=True)
                    raise
    except (runs.ReportError, OSError) as error:
        sys.exit(f"evaluate-study: {error}")


if __name__ == "__main__":
    main()
