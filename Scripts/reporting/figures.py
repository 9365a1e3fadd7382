"""The figures, as charts of Altair."""

import math

import altair
import pandas

import results

# Colours that can be told apart by all, on white and on dark grey (Okabe & Ito 2008, without its black and yellow).
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#7f7f7f", "#a6761d", "#66a61e", "#e7298a", "#1b9e77"]
HORIZONTAL = {"step": "step", "epoch": "epoch", "minutes": "wall time, minutes"}
# Points of a curve that are drawn: means over so many equal parts of the longest run.
DRAWN = 100
SIZE = {"width": "container", "height": 300}


def configuration(is_dark):
    """What makes a chart fit a light or dark page."""
    ink, line = ("#e6e6e6", "#4a4a4a") if is_dark else ("#222222", "#d9d9d9")
    axis = {"labelColor": ink, "titleColor": ink, "gridColor": line, "domainColor": line, "tickColor": line, "titleFontWeight": "normal"}
    legend = {"labelColor": ink, "titleColor": ink, "orient": "bottom", "columns": 3, "labelLimit": 260, "symbolType": "square", "symbolStrokeWidth": 3, "symbolOpacity": 1}
    return {"background": "transparent", "view": {"stroke": None}, "axis": axis, "legend": legend,
            "title": {"color": ink, "anchor": "start", "fontWeight": "normal"}, "font": "system-ui, sans-serif"}


def colour(study):
    points = study.points
    return altair.Color("point:N", title=None, sort=points, scale=altair.Scale(domain=points, range=[COLOURS[i % len(COLOURS)] for i in range(len(points))]))


def rows_of(study, kind):
    """A table of a kind of curve: each run's, in comparable pieces."""
    rows = []
    for run in study.runs:
        curve = getattr(run, kind)
        longest = max((len(getattr(other, kind)) for other in study.runs), default=0)
        every = max(1, -(-longest // DRAWN)) if kind == "training" else 1
        updates = {}
        for step, epoch, _, _ in run.training:
            updates.setdefault(epoch, [step, step])[1] = step
        for start in range(0, len(curve), every):
            piece = [row for row in curve[start:start + every] if row[3] == row[3]]
            if not piece:
                continue
            step, epoch, seconds, _ = piece[-1]
            first, last = updates.get(epoch, (step, step))
            # Within an epoch by its share, so that curves of steps are curves there too.
            share = (step - first + 1) / (last - first + 1)
            rows.append({"point": run.point, "seed": run.seed, "part": start // every, "step": step, "epoch": epoch - 1 + share,
                         "minutes": seconds / 60, "loss": sum(row[3] for row in piece) / len(piece)})
    return pandas.DataFrame(rows, columns=["point", "seed", "part", "step", "epoch", "minutes", "loss"])


def bands(rows):
    """Over seeds: mean, least and greatest loss at each piece of the curve, at the mean place."""
    if rows.empty:
        return rows.assign(least=[], greatest=[], seeds=[])
    groups = rows.groupby(["point", "part"], sort=False)
    return groups.agg(step=("step", "mean"), epoch=("epoch", "mean"), minutes=("minutes", "mean"), least=("loss", "min"), greatest=("loss", "max"),
                      seeds=("seed", "nunique"), loss=("loss", "mean")).reset_index()


def curves(study, kind, title, horizontal):
    """Loss against steps, epochs or minutes: a line a point, and a band from the least to the greatest loss of its seeds."""
    rows = bands(rows_of(study, kind))
    base = altair.Chart(rows).encode(
        x=altair.X(f"{horizontal}:Q", title=HORIZONTAL[horizontal], scale=altair.Scale(zero=False, nice=False)), color=colour(study))
    scale = altair.Scale(zero=False, domain=limits(rows), clamp=True)
    line = base.mark_line(strokeWidth=2, point=kind != "training").encode(
        y=altair.Y("loss:Q", title=title, scale=scale),
        tooltip=["point", altair.Tooltip("step:Q", format=".0f"), altair.Tooltip("epoch:Q", format=".2f"), altair.Tooltip("minutes:Q", format=".2f"),
                 altair.Tooltip("loss:Q", format=".4f"), "seeds"])
    band = base.mark_area(opacity=0.2, line=False).encode(y=altair.Y("least:Q", title=title, scale=scale), y2="greatest:Q")
    layers = [band, line] if (rows.get("seeds", pandas.Series(dtype=int)) > 1).any() else [line]
    return altair.layer(*layers).properties(**SIZE)


def gradient_flow(study, layer):
    """Norms of the gradient of the last step's loss in a layer's outputs, by the time steps before it: a line a point, the geometric mean over seeds."""
    rows = []
    for point in study.points:
        flows = [run.gradient_flow[layer] for run in study.of_point(point) if layer < len(run.gradient_flow)]
        # A line ends where the gradient of one seed has vanished, and with the shortest of its lists.
        for back, norms in enumerate(zip(*flows)):
            if not all(norms):
                break
            rows += [{"point": point, "back": back, "log": math.log(norm)} for norm in norms]
    rows = pandas.DataFrame(rows, columns=["point", "back", "log"])
    means = rows.groupby(["point", "back"], sort=False)["log"].mean().reset_index()
    means["norm"] = means["log"].map(math.exp)
    return altair.Chart(means).mark_line(strokeWidth=2).encode(
        x=altair.X("back:Q", title="time steps before the last"), color=colour(study),
        y=altair.Y("norm:Q", title="norm of the gradient", scale=altair.Scale(type="log", nice=False), axis=altair.Axis(format=".0e")),
        tooltip=["point", "back", altair.Tooltip("norm:Q", format=".3e")]).properties(**SIZE)


def limits(rows):
    """All losses but those far above: the first steps of a run, and runs that diverge, would press all others together."""
    if rows.empty:
        return [0, 1]
    low, high = rows["least"].min(), rows["loss"].quantile(0.97)
    room = 0.04 * (high - low) or 0.1
    return [float(low - room), float(max(high, rows.groupby("point")["loss"].last().quantile(0.75)) + room)]


def intervals(study, rows, measure, title, of_run):
    """Means of a measure with their 95 % intervals, and each run's value, a line a point."""
    means = [{"point": row["point"], "mean": row[measure]["mean"], "low": row[measure]["mean"] - row[measure]["interval"],
              "high": row[measure]["mean"] + row[measure]["interval"]} if row[measure]["interval"] is not None
             else {"point": row["point"], "mean": row[measure]["mean"], "low": row[measure]["mean"], "high": row[measure]["mean"]}
             for row in rows if row[measure]["mean"] is not None]
    values = [{"point": run.point, "seed": run.seed, "value": of_run(run)} for run in study.runs if run.state == "done" and of_run(run) is not None]
    means = pandas.DataFrame(means, columns=["point", "mean", "low", "high"])
    values = pandas.DataFrame(values, columns=["point", "seed", "value"])
    place = altair.Y("point:N", title=None, sort=study.points, axis=altair.Axis(labelLimit=220))
    scale = altair.Scale(zero=False)
    # With few runs an interval can be far wider than they lie apart: what is outside of their surroundings is cut off.
    if not values.empty:
        low, high = values["value"].min(), values["value"].max()
        room = 0.5 * (high - low) or 0.05 * abs(high) or 0.1
        scale = altair.Scale(zero=False, domain=[float(low - room), float(high + room)], clamp=True)
    base = altair.Chart(means).encode(y=place, color=colour(study).legend(None))
    bars = base.mark_rule(strokeWidth=2).encode(x=altair.X("low:Q", title=title, scale=scale), x2="high:Q")
    centres = base.mark_point(filled=True, size=70, opacity=1).encode(x=altair.X("mean:Q", title=title, scale=scale), tooltip=["point", "mean", "low", "high"])
    single = altair.Chart(values).mark_tick(thickness=1, height=10, opacity=0.6).encode(
        y=place, x=altair.X("value:Q", title=title, scale=scale), color=colour(study).legend(None), tooltip=["point", "seed", "value"])
    return altair.layer(bars, single, centres).properties(width="container", height=altair.Step(24))


def by_axes(study, measure, title, of_run):
    """A measure along the first axis of a study of two axes, a line for each value of the second: means with 95 % intervals, and each run's value."""
    first, second = study.axes
    rows, values = [], []
    for point in study.points:
        along, line = point.split(",")
        found = [of_run(run) for run in study.of_point(point) if run.state == "done"]
        mean, half = results.mean_with_interval(found)
        if mean is not None:
            rows.append({"along": along, "line": line, "mean": mean, "low": mean - (half or 0), "high": mean + (half or 0)})
        values += [{"along": along, "line": line, "value": value} for value in found if value is not None]
    rows = pandas.DataFrame(rows, columns=["along", "line", "mean", "low", "high"])
    order = list(dict.fromkeys(point.split(",")[0] for point in study.points))
    lines = list(dict.fromkeys(point.split(",")[1] for point in study.points))
    place = altair.X("along:N", title=first, sort=order, axis=altair.Axis(labelAngle=0))
    paint = altair.Color("line:N", title=second, sort=lines, scale=altair.Scale(domain=lines, range=COLOURS[:len(lines)]))
    low, high = min((row["value"] for row in values), default=0), max((row["value"] for row in values), default=1)
    room = 0.04 * (high - low) or 0.1
    height = altair.Scale(zero=False, nice=False, clamp=True, domain=[float(low - room), float(high + room)])
    base = altair.Chart(rows).encode(x=place, color=paint)
    line = base.mark_line(strokeWidth=2, point=altair.OverlayMarkDef(size=60)).encode(
        y=altair.Y("mean:Q", title=title, scale=height), tooltip=["along", "line", "mean", "low", "high"])
    bars = base.mark_rule(strokeWidth=2).encode(y=altair.Y("low:Q", title=title, scale=height), y2="high:Q")
    single = altair.Chart(pandas.DataFrame(values, columns=["along", "line", "value"])).mark_tick(thickness=1, width=12, opacity=0.6).encode(
        x=place, y=altair.Y("value:Q", title=title, scale=height), color=paint)
    return altair.layer(bars, single, line).properties(**SIZE)


def evaluations(study, data):
    """Mean losses of the same models with each kind of evaluation statistics."""
    rows = pandas.DataFrame(
        [{"point": row["point"], "statistics": row["statistics"], "loss": row["loss"]["mean"]} for row in results.evaluations(study) if row["data"] == data],
        columns=["point", "statistics", "loss"])
    kinds = list(dict.fromkeys(rows["statistics"]))
    paint = altair.Color("statistics:N", title=None, sort=kinds, scale=altair.Scale(domain=kinds, range=COLOURS[:len(kinds)]))
    return altair.Chart(rows).mark_point(filled=True, size=70, opacity=0.8).encode(
        y=altair.Y("point:N", title=None, sort=study.points, axis=altair.Axis(labelLimit=220)), x=altair.X("loss:Q", title=f"{data} loss", scale=altair.Scale(zero=False)),
        color=paint, shape=altair.Shape("statistics:N", title=None, sort=kinds, scale=altair.Scale(domain=kinds)), tooltip=["point", "statistics", "loss"]).properties(width="container", height=altair.Step(24))
