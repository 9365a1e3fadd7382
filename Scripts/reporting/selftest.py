"""Checks the report: its numbers against scipy.stats, curves of runs that were killed or damaged, and the page in headless Chromium."""

import argparse
import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

import numpy
from scipy import stats

import results
import runs

FAILURES = []


def check(condition, what):
    if not condition:
        FAILURES.append(what)
        print(f"FAILED: {what}")


def write_run(path, seed, offset=0.0, epochs=4, steps=25, damaged=False, killed=False, ends=True, placement="none"):
    """A run directory with losses that fall, as the program writes one."""
    draw = random.Random(f"{path}{seed}")
    os.makedirs(path, exist_ok=True)
    lines = [{"event": "start", "version": "0", "ranks": 2, "hosts": ["a", "a"], "parameters": 10, "updates": epochs * steps}]
    losses = {}
    for step in range(1, epochs * steps + 1):
        loss = 5 - step / 50 + offset + draw.gauss(0, 0.05)
        losses[step] = loss
        lines.append({"event": "step", "step": step, "epoch": 1 + (step - 1) // steps, "loss": loss, "seconds": 0.5})
        if step % steps == 0:
            lines.append({"event": "validation", "step": step, "epoch": step // steps, "loss": loss + 0.1, "seconds": 2.0})
            lines.append({"event": "gradient_flow", "step": step, "epoch": step // steps, "layers": [[0.9 ** back for back in range(20)] + [0, None]]})
        if killed and step == steps + 10:
            # Steps past the checkpoint come again, with other losses than were lost.
            for lost in range(step + 1, step + 4):
                lines.append({"event": "step", "step": lost, "epoch": 2, "loss": 99.0, "seconds": 0.5})
            lines += [{"event": "start", "version": "0", "ranks": 2, "hosts": ["a", "a"]}, {"event": "resume", "step": step}]
    if ends:
        lines += [{"event": "test", "step": 1, "loss": loss + 0.2, "seconds": 1.0}, {"event": "end", "reason": "done"}]
    with open(f"{path}/metrics.jsonl", "w", encoding="utf-8") as file:
        for number, line in enumerate(lines):
            if damaged and number == 7:
                file.write('{"event":"step","step":7,"epo\x00\x00\n')
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
        if not ends:
            file.write('{"event":"step","st')
    with open(f"{path}/config.yaml", "w", encoding="utf-8") as file:
        file.write(f"task: language-model\nnormalization:\n  placement: {placement}\ntraining:\n  seed: {seed}\n")
    return losses


def numbers():
    draw = random.Random(1)
    for count in (2, 3, 5, 30):
        a = [draw.gauss(3, 1) for _ in range(count)]
        b = [value + draw.gauss(0.2, 0.5) for value in a]
        mean, half = results.mean_with_interval(a)
        low, high = stats.t.interval(0.95, count - 1, loc=numpy.mean(a), scale=stats.sem(a))
        check(abs(mean - half - low) < 1e-12 and abs(mean + half - high) < 1e-12, f"interval of {count} values")
        mean, half = results.paired_difference(dict(enumerate(b)), dict(enumerate(a)) | {99: 1.0})
        interval = stats.ttest_rel(b, a).confidence_interval(0.95)
        check(abs(mean - half - interval.low) < 1e-12 and abs(mean + half - interval.high) < 1e-12, f"paired interval of {count} values")
    check(results.mean_with_interval([2.0]) == (2.0, None), "one value has no interval")
    check(results.mean_with_interval([]) == (None, None) and results.paired_difference({1: 2.0}, {2: 2.0}) == (None, None), "no value, no mean")


def make_study(root):
    losses = {}
    for point, offset in (("none", 0.0), ("input,frame", -0.3)):
        for seed in (1, 2, 3):
            losses[point, seed] = write_run(f"{root}/{point}/seed-{seed}", seed, offset, killed=seed == 2, placement=point.split(",")[0])
    with open(f"{root}/study.yaml", "w", encoding="utf-8") as file:
        file.write("name: trial\nbase: x.yaml\nbaseline: none\ntargets: {training_loss: 4.0, validation_loss: 3.6}\n")
    return losses


def curves(folder):
    root = f"{folder}/trial"
    losses = make_study(root)
    study = runs.read([root])
    check(len(study.runs) == 6 and study.baseline == "none", "all runs of a study")
    for run in study.runs:
        own = losses[run.point, run.seed]
        check([row[3] for row in run.training] == [own[step] for step in range(1, 101)], f"{run.point} {run.seed}: steps that were done twice count once")
        check(abs(run.seconds - (100 * 0.5 + 4 * 2.0 + 1.0)) < 1e-9, f"{run.point} {run.seed}: seconds {run.seconds}")
        check(abs(run.last_training_loss - sum(own[step] for step in range(76, 101)) / 25) < 1e-12, f"{run.point} {run.seed}: last training loss")
        check(run.best[0] == 100 and run.state == "done", f"{run.point} {run.seed}: best")
    rows = {row["point"]: row for row in results.table(study)}
    target = rows["none"]["target training_loss"]
    check(target["steps"] == 75 and target["reached"] == 3, f"steps to a target: {target}")
    pairs = [study.of_point("input,frame")[i].best[3] - study.of_point("none")[i].best[3] for i in range(3)]
    check(abs(rows["input,frame"]["best_validation_loss"]["difference"] - sum(pairs) / 3) < 1e-12, "difference from the baseline")

    # Kept twice, with other seeds in between, it has all runs and the same numbers.
    kept = f"{folder}/kept/trial"
    runs.keep(study, kept)
    shutil.rmtree(f"{root}/none/seed-1")
    write_run(f"{root}/none/seed-4", 4)
    write_run(f"{root}/none/seed-5", 5, ends=False)
    runs.keep(runs.read([root]), kept)
    again = runs.read([kept])
    check([(run.point, run.seed) for run in again.runs if run.point == "none"] == [("none", seed) for seed in (1, 2, 3, 4)], "finished runs are kept")
    before = {(run.point, run.seed): run for run in study.runs}
    for run in again.runs:
        old = before.get((run.point, run.seed))
        if old:
            check(run.best[3] == old.best[3] and run.last_training_loss == old.last_training_loss and run.test_loss == old.test_loss, f"{run.point} {run.seed}: kept numbers")
    check(again.baseline == "none" and again.targets["training_loss"] == 4.0, "the definition is kept")

    # A damaged line, and one that is being written.
    write_run(f"{folder}/single", 1, damaged=True, ends=False)
    run = runs.read([f"{folder}/single"]).runs[0]
    check(run.damaged_lines == 1 and len(run.training) == 100 and run.state == "running", "a damaged line costs nothing else")
    for path in (folder + "/nothing", folder):
        try:
            runs.read([path])
            check(False, f"{path} is no run")
        except runs.ReportError as error:
            check(path in str(error), str(error))
    return root, kept


def evaluations(folder, kept):
    """Evaluations of a kept study, and what a page of documentation takes from it."""
    root = f"{folder}/evaluated"
    shutil.copytree(kept, root)
    study = runs.read([root])
    points = study.points
    rows = [{"point": point, "seed": seed, "data": "validation", "statistics": kind, "loss": 3.0 + 0.1 * seed + offset + points.index(point),
             "minibatch_perplexity": 30.0 + seed} for point in points for seed in (2, 3) for kind, offset in (("batch", 0.25), ("population", 0.0))]
    runs.write_evaluations(root, rows, study)
    study = runs.read([root])
    check(len(study.evaluations) == 8 and all(row in study.evaluations for row in rows), "evaluations are read as they were written")
    found = {(row["point"], row["statistics"]): row for row in results.evaluations(study)}
    batch = found[points[1], "batch"]
    check(abs(batch["loss"]["mean"] - 4.5) < 1e-12 and abs(batch["difference"]["mean"] - 0.25) < 1e-12 and batch["difference"]["interval"] < 1e-9
          and batch["minibatch_perplexity"]["mean"] == 32.5, f"evaluations: {batch}")
    page = f"{folder}/evaluated.md"
    with open(page, "w", encoding="utf-8") as file:
        file.write("# A\n<!-- table evaluations -->\nold\n<!-- end -->\nB\n<!-- table results -->\n<!-- end -->\n![](evaluated/evaluations-validation-dark.svg) ![](other/x.svg)\n")
    command = [sys.executable, f"{os.path.dirname(os.path.abspath(__file__))}/report.py", root, "--document", page]
    for _ in range(2):
        subprocess.run(command, check=True)
        with open(page, encoding="utf-8") as file:
            content = file.read()
        check(content.startswith("# A\n<!-- table evaluations -->\n| point |") and "old" not in content and content.count("<!-- end -->\nB\n") == 1
              and f"| {points[1]} | validation | batch | 2 | 4.500 ± " in content, f"a page's tables: {content}")
    with open(f"{root}/evaluations-validation-dark.svg", encoding="utf-8") as file:
        check(file.read().startswith("<svg"), "a page's figure")
    with open(page, "w", encoding="utf-8") as file:
        file.write("<!-- table nothing -->\n<!-- end -->\n")
    failed = subprocess.run(command, capture_output=True, text=True)
    check(failed.returncode == 1 and "there is no table nothing" in failed.stderr, failed.stderr)


def documentation():
    """The pages of the repository say what the tables beside them say."""
    here = os.path.dirname(os.path.abspath(__file__))
    pages = os.path.join(os.path.dirname(os.path.dirname(here)), "Documentation", "studies")
    with tempfile.TemporaryDirectory() as folder:
        for name in sorted(os.listdir(pages)):
            if not os.path.isdir(f"{pages}/{name}"):
                continue
            shutil.copy(f"{pages}/{name}.md", folder)
            os.mkdir(f"{folder}/{name}")
            subprocess.run([sys.executable, f"{here}/report.py", f"{pages}/{name}", "--document", f"{folder}/{name}.md"], check=True)
            for path in [f"{name}.md"] + [f"{name}/{figure}" for figure in os.listdir(f"{folder}/{name}")]:
                with open(f"{pages}/{path}", encoding="utf-8") as old, open(f"{folder}/{path}", encoding="utf-8") as new:
                    check(old.read() == new.read(), f"Documentation/studies/{path} is not what Scripts/report --document makes")


def page(folder, root, kept, chromium, picture):
    here = os.path.dirname(os.path.abspath(__file__))
    command = [sys.executable, f"{here}/report.py"]
    subprocess.run(command + [root, "--output", f"{folder}/page.html", "--csv", f"{folder}/table.csv", "--figures", f"{folder}/figures"], check=True)
    subprocess.run(command + [kept, "--output", f"{folder}/kept.html"], check=True)
    subprocess.run(command + [f"{folder}/single", "--output", f"{folder}/single.html"], check=True)
    with open(f"{folder}/table.csv", newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    check([row["point"] for row in table] == runs.read([root]).points and float(table[0]["best_validation_loss_mean"]) > 0, "the table as CSV")
    names = sorted(os.listdir(f"{folder}/figures"))
    check("training-by-step.svg" in names and "training-by-step-dark.svg" in names and len(names) == 24, f"figures {names}")
    for name in names:
        with open(f"{folder}/figures/{name}", encoding="utf-8") as file:
            content = file.read()
        check(content.startswith("<svg") and content.count("<path") > 4, f"{name} has marks")
    for name in ("page", "kept", "single"):
        with open(f"{folder}/{name}.html", encoding="utf-8") as file:
            content = file.read()
        check(not re.search(r'(src|href)="?https?:', content) and "<script src" not in content, f"{name}.html asks no network")
    if not chromium:
        print("Chromium is missing: the pages were not opened")
        return
    for name, figures in (("page", 8), ("kept", 8), ("single", 3)):
        for scheme in ("light", "dark"):
            options = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--window-size=412,4000",
                       f"--user-data-dir={folder}/profile"] + (["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else [])
            document = subprocess.run(options + ["--dump-dom", f"file://{folder}/{name}.html"], capture_output=True, text=True, timeout=120, check=True).stdout
            drawn = re.search(r'data-drawn="(\d+)"', document)
            check(drawn and int(drawn.group(1)) == figures, f"{name}.html, {scheme}: {drawn and drawn.group(1)} figures are drawn, not {figures}")
            bodies = re.split(r'<div class="figure', document)[1:]
            for body in bodies:
                marks = len(re.findall(r'<(?:path|line|rect)[^>]*aria-roledescription="[^"]*mark', body)) + len(re.findall(r"mark-(?:line|rule|symbol|area|rect)", body))
                check(marks > 0, f"{name}.html, {scheme}: a figure has no marks: {body[:80]}")
            if picture:
                subprocess.run(options + [f"--screenshot={picture}-{name}-{scheme}.png", f"file://{folder}/{name}.html"], capture_output=True, timeout=120, check=True)


def board(folder, program):
    """What TensorBoard reads of runs of the program, one of them stopped and resumed before its last checkpoint."""
    repository = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    command = [program, "train", "Configs/debug.yaml", "--resume", "--set", "checkpoint.every_steps=10", "--run-directory"]
    for run, steps in (("whole", [40]), ("resumed", [25, 40])):
        for count in steps:
            subprocess.run(command + [f"{folder}/board/{run}", "--set", f"training.maximum_steps={count}"], cwd=repository, capture_output=True, check=True)
            # As a kill leaves it: the last checkpoint is older than the last step.
            if count == 25:
                shutil.rmtree(f"{folder}/board/{run}/checkpoints/step-00000025")
    here = os.path.dirname(os.path.abspath(__file__))
    compared = subprocess.run([sys.executable, f"{here}/board.py", f"{folder}/board/whole", f"{folder}/board/resumed"], capture_output=True, text=True)
    check(compared.returncode == 0, f"TensorBoard: {compared.stdout}{compared.stderr[-500:]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", help="pictures of the pages go to files whose names begin so")
    parser.add_argument("--lockstep", metavar="PATH", help="the program, whose event files are read too")
    parser.add_argument("--need-chromium", action="store_true", help="fail where Chromium is missing")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if arguments.need_chromium:
        check(chromium, "Chromium is there")
    with tempfile.TemporaryDirectory() as folder:
        numbers()
        root, kept = curves(folder)
        evaluations(folder, kept)
        documentation()
        page(folder, root, kept, chromium, arguments.picture)
        if arguments.lockstep:
            board(folder, os.path.abspath(arguments.lockstep))
    print("report: all checks passed" if not FAILURES else f"report: {len(FAILURES)} checks failed")
    sys.exit(bool(FAILURES))


if __name__ == "__main__":
    main()
