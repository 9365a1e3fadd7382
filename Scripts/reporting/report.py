"""Makes one self-contained page about runs or a study, and its figures as SVG and its numbers as CSV."""

import argparse
import csv
import fnmatch
import json
import math
import os
import re
import sys

import altair
import jinja2
import vl_convert

import figures
import results
import runs

FOLDER = os.path.dirname(os.path.abspath(__file__))


def differing(study):
    """Keys of the configuration whose values differ between points: (key, {point: values})."""
    keys = sorted({key for run in study.runs for key in run.configuration})
    rows = []
    for key in keys:
        if key == "training.seed":
            continue
        values = {point: sorted({text(run.configuration.get(key)) for run in study.of_point(point) if run.configuration}) for point in study.points}
        if len({tuple(value) for value in values.values() if value}) > 1:
            rows.append((key, {point: ", ".join(value) for point, value in values.items()}))
    return rows


def text(value):
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {text(one)}" for key, one in value.items()) + "}"
    return str(value)


def machines(study):
    """Where runs were trained: facts of their start events, each with the values that occur."""
    facts = {}
    for run in study.runs:
        for key in ("version", "hosts", "ranks", "threads", "shards", "instruction_set", "products", "blas", "mpi", "parameters"):
            if key in run.start:
                value = run.start[key]
                value = ", ".join(sorted(set(map(text, value)))) if isinstance(value, list) else text(value)
                facts.setdefault(key, []).append(value)
    return [(key, "; ".join(sorted(set(values)))) for key, values in facts.items()]


def shown(value, digits=4):
    return "" if value is None else f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.0f}"


def with_interval(mean, half, digits=4, signed=False):
    if mean is None:
        return ""
    sign = "+" if signed and mean > 0 else ""
    return f"{sign}{shown(mean, digits)}" + (f" ± {shown(half, digits)}" if half is not None else "")


def charts(study, rows):
    """Name, heading and chart of each figure."""
    found = []
    for kind, words in (("training", "training loss"), ("validation", "validation loss")):
        if any(getattr(run, kind) for run in study.runs):
            for horizontal, label in (("step", "steps"), ("epoch", "epochs"), ("minutes", "wall time")):
                found.append((f"{kind}-by-{horizontal}", f"{words.capitalize()} by {label}", figures.curves(study, kind, words, horizontal)))
    if study.axes:
        for name, words, of_run in results.MEASURES[:2]:
            if any(row[name]["mean"] is not None for row in rows):
                found.append((f"{name.replace('_', '-')}-along-{study.axes[0]}", f"{words.capitalize()} along {study.axes[0]}",
                              figures.by_axes(study, name, words, of_run)))
    for data in dict.fromkeys(row["data"] for row in study.evaluations):
        found.append((f"evaluations-{data}", f"The same models on the {data} data, with each kind of statistics", figures.evaluations(study, data)))
    for layer in range(max((len(run.gradient_flow) for run in study.runs), default=0)):
        found.append((f"gradient-flow-layer-{layer}", f"How far the last step's loss reaches back, layer {layer}", figures.gradient_flow(study, layer)))
    for name, words, of_run in results.MEASURES:
        if any(row[name]["mean"] is not None for row in rows) and len(study.points) > 1:
            found.append((name.replace("_", "-"), words.capitalize(), figures.intervals(study, rows, name, words, of_run)))
    return found


def write_csv(study, rows, path):
    with runs.replaced(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [name for name, _, _ in results.MEASURES]
        parts = ["mean", "interval", "difference", "difference_interval"]
        targets = [f"target {measure}" for measure in study.targets]
        writer.writerow(["point", "runs", "done"] + [f"{name}_{part}" for name in names for part in parts]
                        + [f"{target.replace('target ', 'target_')}_{part}" for target in targets for part in ("target", "reached", "steps", "seconds")])
        for row in rows:
            writer.writerow([row["point"], row["runs"], row["done"]] + ["" if row[name][part] is None else row[name][part] for name in names for part in parts]
                            + ["" if row[target][part] is None else row[target][part] for target in targets for part in ("target", "reached", "steps", "seconds")])


def markdown(columns, rows):
    """A table in Markdown: names of columns, and lists of texts."""
    return "\n".join(["| " + " | ".join(row) + " |" for row in [columns, ["---"] * len(columns)] + rows]) + "\n"


def tables(study, rows):
    """The tables of a page in Markdown, by their names."""
    baseline = study.baseline
    columns = ["point", "runs"]
    for _, words, _ in results.MEASURES[:3]:
        columns += [words] + ([f"from {baseline}"] if baseline else [])
    columns += ["seconds a step"] + [f"steps to {measure.replace('_', ' ')} {target:g}" for measure, target in study.targets.items()]
    lines = []
    for row in rows:
        line = [row["point"], str(row["done"])]
        for name, _, _ in results.MEASURES[:3]:
            line.append(with_interval(row[name]["mean"], row[name]["interval"], 3))
            if baseline:
                line.append(with_interval(row[name]["difference"], row[name]["difference_interval"], 3, signed=True))
        line.append(shown(row["step_seconds"]["mean"]))
        for measure in study.targets:
            target = row[f"target {measure}"]
            line.append(shown(target["steps"], 0) + (f" ({target['reached']} of {row['done']})" if target["reached"] != row["done"] else ""))
        lines.append(line)
    found = {"results": markdown(columns, lines)}
    evaluated = results.evaluations(study)
    if evaluated:
        found["evaluations"] = markdown(
            ["point", "data", "statistics", "runs", "loss", f"from {results.KINDS[0]}", "exponential of the mean loss", "mean of minibatches' exponentials"],
            [[row["point"], row["data"], row["statistics"], str(row["runs"]), with_interval(row["loss"]["mean"], row["loss"]["interval"], 3),
              with_interval(row["difference"]["mean"], row["difference"]["interval"], 3, signed=True), shown(math.exp(row["loss"]["mean"]), 1),
              shown(row["minibatch_perplexity"]["mean"], 1)] for row in evaluated])
    found["machine"] = markdown(["", ""], [[key.replace("_", " "), value] for key, value in machines(study)])
    return found


def document(study, rows, found, path):
    """Writes anew what a page of documentation takes from a study: tables between `<!-- table NAME -->` and `<!-- end -->`, and the figures that it names
    as `FOLDER/NAME.svg` and `FOLDER/NAME-dark.svg`, where FOLDER has the study's name."""
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read()
    except OSError as error:
        raise runs.ReportError(f"{path}: {error.strerror}") from None
    there = tables(study, rows)

    def table(match):
        if match[1] not in there:
            raise runs.ReportError(f"{path}: there is no table {match[1]}; there are {', '.join(there)}")
        return f"<!-- table {match[1]} -->\n{there[match[1]]}<!-- end -->"

    content = re.sub(r"<!-- table (\S+) -->\n.*?<!-- end -->", table, content, flags=re.DOTALL)
    drawn = {name: chart for name, _, chart in found}
    for place in dict.fromkeys(re.findall(r"[\w./-]+\.svg", content)):
        folder, name = os.path.split(place)
        if os.path.basename(folder) != study.name:
            continue  # Another study's.
        is_dark = name.endswith("-dark.svg")
        name = name.removesuffix(".svg").removesuffix("-dark")
        if name not in drawn:
            raise runs.ReportError(f"{path}: there is no figure {name}; there are {', '.join(drawn)}")
        write_figure(drawn[name], os.path.join(os.path.dirname(path), place), is_dark)
    with runs.replaced(path) as file:
        file.write(content)


def themed(chart, is_dark):
    specification = chart.to_dict()
    specification["config"] = figures.configuration(is_dark)
    return specification


def fixed_width(specification, width=640):
    """The same at a width of its own: in an SVG there is no container."""
    return json.loads(json.dumps(specification).replace('"width": "container"', f'"width": {width}'))


def write_figure(chart, path, is_dark):
    svg = vl_convert.vegalite_to_svg(fixed_width(themed(chart, is_dark)))
    with runs.replaced(path) as file:
        file.write(svg + "\n")


def write_figures(found, directory):
    os.makedirs(directory, exist_ok=True)
    for name, _, chart in found:
        for is_dark in (False, True):
            write_figure(chart, os.path.join(directory, f"{name}{'-dark' if is_dark else ''}.svg"), is_dark)


def page(study, rows, found):
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(FOLDER), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals.update(shown=shown, with_interval=with_interval, kinds=results.KINDS)
    specifications = {name: {"light": themed(chart, False), "dark": themed(chart, True)} for name, _, chart in found}
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    # What ends a script element must not stand in one.
    embedded = json.dumps(specifications).replace("</", "<\\/")
    return environment.get_template("page.html").render(
        study=study, rows=rows, evaluations=results.evaluations(study), exponential=math.exp, measures=results.MEASURES, figures=[(name, heading) for name, heading, _ in found], differing=differing(study),
        machines=machines(study), damaged=[run for run in study.runs if run.damaged_lines], failed=[run for run in study.runs if run.state == "failed"],
        specifications=embedded, bundle=bundle.replace("</script", "<\\/script"))


def main():
    parser = argparse.ArgumentParser(prog="Scripts/report", description=__doc__)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a run directory, the directory of a study, or a kept study")
    parser.add_argument("--output", metavar="FILE.html", help="the page")
    parser.add_argument("--figures", metavar="DIR", help="write the figures here as SVG, for light and dark pages")
    parser.add_argument("--csv", metavar="FILE", help="write the table's numbers")
    parser.add_argument("--keep", metavar="DIR", help="write results and thinned curves of finished runs here, beside those that are there")
    parser.add_argument("--document", metavar="PAGE.md", help="write the tables anew that stand in this page between <!-- table NAME --> and <!-- end -->, "
                        "and the figures FOLDER/NAME.svg and FOLDER/NAME-dark.svg that it shows, where FOLDER has the study's name")
    parser.add_argument("--baseline", metavar="POINT", help="what differences are taken from (default: the study's)")
    parser.add_argument("--only", metavar="PATTERN", help="points of this form, as in `lockstep study --only`: 'local,*'")
    arguments = parser.parse_args()
    if not (arguments.output or arguments.figures or arguments.csv or arguments.keep or arguments.document):
        parser.error("nothing to write: give --output, --figures, --csv, --document or --keep")
    try:
        study = runs.read(arguments.paths)
        if arguments.keep:
            runs.keep(study, arguments.keep)
        if arguments.only:
            study.runs = [run for run in study.runs if fnmatch.fnmatchcase(run.point, arguments.only)]
            if not study.runs:
                raise runs.ReportError(f"--only {arguments.only}: no point is of that form")
        study.baseline = arguments.baseline or study.baseline
        if study.baseline and study.baseline not in study.points:
            if arguments.baseline:
                raise runs.ReportError(f"--baseline {arguments.baseline}: no such point; there are {', '.join(study.points)}")
            print(f"report: no run of the baseline {study.baseline} is there: no differences", file=sys.stderr)
            study.baseline = None
        rows = results.table(study)
        altair.data_transformers.disable_max_rows()
        found = charts(study, rows)
        if arguments.csv:
            write_csv(study, rows, arguments.csv)
        if arguments.figures:
            write_figures(found, arguments.figures)
        if arguments.document:
            document(study, rows, found, arguments.document)
        if arguments.output:
            content = page(study, rows, found)
            with runs.replaced(arguments.output) as file:
                file.write(content)
    except (runs.ReportError, OSError) as error:
        sys.exit(f"report: {error}")


if __name__ == "__main__":
    main()
