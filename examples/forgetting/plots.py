"""plots: the first world's figures, by matplotlib, as SVG for the page and for the README."""

from __future__ import annotations

import io
import math
import re
import textwrap
from typing import Callable, Optional, Sequence

from frontier import METHODS, Row, Run, Spread, along, percent
from page import esc
from study import NAMES, Study

try:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError:
    matplotlib = None


INK, PAPERWHITE = "#101112", "#fefdfc"  # stand-ins that the SVG's last step replaces
COLORS = {
    "full": "#d55e00",
    "full-replay": "#e69f00",
    "lora": "#0072b2",
    "lora-replay": "#56b4e9",
    "values": "#cc79a7",
    "sparse": "#009e73",
}  # Okabe-Ito
MARKERS = {
    "full": "s",
    "full-replay": "s",
    "lora": "^",
    "lora-replay": "^",
    "values": "D",
    "sparse": "o",
}
DASHES = {
    "full": (0, (6, 2, 1, 2)),
    "full-replay": (0, (6, 2, 1, 2, 1, 2)),
    "lora": (0, (5, 2)),
    "lora-replay": (0, (2, 2)),
    "values": (0, (1, 1)),
    "sparse": "-",
}
MIDDLE = "#7a7a7a"  # legible on white and on dark
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
LOSS_TICKS = (0, 1, 2, 5, 10, 20, 50, 100)
LOSS_AND_GAIN_TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)  # fewer: both sides need room


def prepare() -> None:
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "smft",
            "font.size": 11,
            "axes.titlesize": 12,
            "axes.titleweight": "bold",
            "text.color": INK,
            "axes.edgecolor": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "grid.color": INK,
            "grid.alpha": 0.16,
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "legend.fontsize": 10.5,
            "axes.facecolor": "none",
            "figure.facecolor": "none",
            "savefig.facecolor": "none",
        }
    )


def svg_of(fig: "Figure") -> str:
    """The plot without XML header, metadata, fixed size and fonts."""
    text = io.StringIO()
    fig.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].rstrip()
    svg = re.sub(
        r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL
    )
    svg = re.sub(r"(font: [^';\"]*?)'[^;\"]*", lambda found: found[1] + FONT, svg)
    svg = re.sub(r"<!--.*?-->\n?", "", svg, flags=re.DOTALL)
    return re.sub(r"\n\s*\n", "\n", svg)


def svg_inline(fig: "Figure", name: str, label: str) -> str:
    """For the page: ids that no other plot has, colours that follow the page."""
    svg = svg_of(fig)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\1{name}-", svg)
    for method, color in COLORS.items():
        svg = svg.replace(color, f"var(--{method})")
    svg = svg.replace(INK, "currentColor").replace(PAPERWHITE, "var(--paper)")
    view = re.search(r'viewBox="[^"]*"', svg)[0]
    start = (
        f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {view} role="img"'
        f' aria-label="{esc(label)}">'
    )
    return re.sub(r"<svg[^>]*>", lambda _: start, svg, count=1)


def svg_standalone(fig: "Figure", label: str) -> str:
    """For an <img>: middle tones, legible on white and on dark."""
    svg = svg_of(fig).replace(INK, MIDDLE).replace(f"stroke: {PAPERWHITE}", "stroke: none")
    start = f' role="img" aria-label="{esc(label)}">\n <title>{esc(label)}</title>'
    return re.sub(r"(<svg[^>]*)>", lambda found: found[1] + start, svg, count=1) + "\n"


def loss_axis(axes, values: Sequence[float]) -> None:
    """Percent lost: linear between -1 and 1, logarithmic beyond: 0 and gains have a place."""
    low, high = min(values, default=0), max(values, default=1)
    axes.set_yscale("symlog", linthresh=1, linscale=0.6)
    axes.set_ylim(min(-0.12, low * 1.25), max(2.2, min(130, high * 1.35)))
    bottom, top = axes.get_ylim()
    ticks = [
        tick
        for tick in (LOSS_TICKS if bottom > -1 else LOSS_AND_GAIN_TICKS)
        if bottom <= tick <= top
    ]
    axes.set_yticks(ticks, [f"{tick}%".replace("-", "−") for tick in ticks])
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def method_handle(method: str) -> "Line2D":
    return Line2D(
        [],
        [],
        color=COLORS[method],
        marker=MARKERS[method],
        linestyle=DASHES[method],
        markersize=7,
        label=NAMES[method],
    )


def bottom_legend(fig: "Figure", handles: Sequence["Line2D"], columns: int = 2) -> None:
    """Below the axes; whoever calls it has left room."""
    fig.legend(
        handles=list(handles),
        loc="lower center",
        ncol=columns,
        bbox_to_anchor=(0.5, 0.0),
        handlelength=2.6,
        columnspacing=1.4,
    )


def draw_points(axes, runs: Sequence[Run], method: str) -> None:
    points = [run.point for run in runs if run.method == method]
    axes.plot(
        [x for x, _ in points],
        [y for _, y in points],
        MARKERS[method],
        color=COLORS[method],
        markersize=4,
        alpha=0.5,
        markeredgewidth=0,
    )


def draw_rows(axes, rows: Sequence[Row]) -> None:
    """A mark a setting, with bars of a standard deviation each way."""
    for row in rows:
        x, y = row.learning, row.lost
        axes.errorbar(
            [x.mean],
            [y.mean],
            xerr=[x.std or 0],
            yerr=[y.std or 0],
            fmt=MARKERS[row.method],
            color=COLORS[row.method],
            markersize=8,
            elinewidth=1.2,
            markeredgecolor=PAPERWHITE,
            markeredgewidth=0.8,
        )


def draw_task_frontier(axes, study: Study, task: str) -> None:
    sweeps, rows = study.tried(task), study.rows.get(task, [])
    for method in METHODS:
        draw_points(axes, sweeps, method)
    draw_rows(axes, rows)
    points = [run.point for run in sweeps] + [
        (row.learning.mean, row.lost.mean + (row.lost.std or 0)) for row in rows
    ]
    loss_axis(axes, [y for _, y in points])
    axes.set_xlim(max(-0.02, math.floor(min(x for x, _ in points) * 10) / 10 - 0.02), 1.02)
    axes.set_xlabel("learning: F1 in unseen wording, end of stream")
    axes.set_ylabel("known facts' F1 lost")


def frontier_handles(study: Study, tasks: Sequence[str]) -> list["Line2D"]:
    drawn = {
        one.method for task in tasks for one in [*study.rows.get(task, []), *study.tried(task)]
    }
    handles = [method_handle(method) for method in METHODS if method in drawn]
    for handle in handles:
        handle.set_linestyle("")
    if any(study.tried(task) for task in tasks):
        handles.append(
            Line2D(
                [],
                [],
                color=INK,
                alpha=0.45,
                marker="o",
                linestyle="",
                markersize=4,
                label="tried on other facts",
            )
        )
    return handles


def frontier_figure(study: Study, tasks: Sequence[str], width: float) -> "Figure":
    fig = Figure(figsize=(width, 4.9))
    many = len(tasks) > 1
    panels = fig.subplots(1, len(tasks), squeeze=False)[0]
    fig.subplots_adjust(
        left=0.075 if many else 0.17,
        right=0.99,
        top=0.93,
        bottom=0.27 if many else 0.34,
        wspace=0.2,
    )
    for axes, task in zip(panels, tasks):
        draw_task_frontier(axes, study, task)
        if many:
            axes.set_title(task, loc="left")
    bottom_legend(fig, frontier_handles(study, tasks), 3 if many else 2)
    return fig


def draw_along(axes, runs: Sequence[Run], column: str, method: str) -> list[float]:
    points = along(runs, column)
    x, mean = [done for done, _ in points], [value.mean for _, value in points]
    low, high = [value.mean - (value.std or 0) for _, value in points], [
        value.mean + (value.std or 0) for _, value in points
    ]
    axes.fill_between(x, low, high, color=COLORS[method], alpha=0.2, linewidth=0)
    axes.plot(
        x,
        mean,
        linestyle=DASHES[method],
        color=COLORS[method],
        marker=MARKERS[method],
        markersize=5,
        linewidth=1.8,
    )
    return low + high


def along_figure(chosen: dict[str, list[Run]], unit: str) -> "Figure":
    """Learning above, forgetting below, over the items taught so far."""
    fig = Figure(figsize=(5.2, 5.6))
    top, bottom = fig.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": (1, 1.35)})
    fig.subplots_adjust(left=0.14, right=0.98, top=0.97, bottom=0.2, hspace=0.12)
    losses: list[float] = []
    for method, runs in chosen.items():
        taught = [Run([row for row in run.checkpoints if row["items_done"] > 0]) for run in runs]
        draw_along(top, taught, "learning", method)
        losses += draw_along(bottom, runs, "forgetting_percent", method)
    top.set_ylim(0, 1.04)
    top.set_ylabel("learning")
    loss_axis(bottom, losses)
    bottom.set_ylabel("known facts' F1 lost")
    bottom.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(6, integer=True))
    bottom.set_xlabel(f"{unit} taught so far")
    bottom_legend(fig, [method_handle(method) for method in chosen])
    return fig


def draw_bars(
    axes,
    values: Sequence[Spread],
    title: str,
    show: Callable[[float], str],
    color: str,
    most: Optional[float],
    thickness: float,
) -> None:
    means, stds = [value.mean for value in values], [value.std or 0 for value in values]
    ends = [mean + std for mean, std in zip(means, stds)]
    places = range(len(values))
    axes.barh(places, means, color=color, height=thickness, alpha=0.75)
    axes.errorbar(means, places, xerr=stds, fmt="none", ecolor=INK, elinewidth=1.1, capsize=2)
    high = most or max([*ends, 0.1])
    for place, end, mean in zip(places, ends, means):
        axes.text(max(end, 0) + 0.03 * high, place, show(mean), va="center", fontsize=10)
    axes.set_xlim(min([0, *means]) * 1.1, high * 1.42)
    axes.set_title(title, loc="left", fontsize=11, fontweight="normal")
    axes.set_xticks([])
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(False)


def bars_figure(
    labels: Sequence[str], learning: Sequence[Spread], loss: Sequence[Spread]
) -> "Figure":
    """One factor: a bar for what is learnt and one for what is lost."""
    wrapped = [textwrap.fill(label, 22, max_lines=3, placeholder="…") for label in labels]
    lines = sum(max(1, 0.75 * (1 + label.count("\n"))) for label in wrapped)
    height, left = 0.62 + 0.36 * lines, 0.06 + 0.0165 * max(
        len(part) for label in wrapped for part in label.split("\n")
    )
    fig = Figure(figsize=(5.2, height))
    one, two = fig.subplots(1, 2, sharey=True)
    fig.subplots_adjust(
        left=min(left, 0.42), right=0.99, top=1 - 0.4 / height, bottom=0.1 / height, wspace=0.08
    )
    thickness = 0.22 * len(labels) / (height - 0.5)  # the same on paper in every plot
    draw_bars(one, learning, "learning", lambda mean: f"{mean:.2f}", INK, 1.0, thickness)
    draw_bars(two, loss, "known F1 lost", percent, COLORS["sparse"], None, thickness)
    one.set_yticks(range(len(wrapped)), wrapped)
    one.set_ylim(len(wrapped) - 0.5, -0.5)
    for axes in (one, two):
        axes.tick_params(axis="y", length=0)
    return fig
