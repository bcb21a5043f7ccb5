#!/usr/bin/env python3
"""report: from results/runs.csv to summary.csv, report.html and frontier.svg (the README's picture); prints the headline table.

Owns the pages, the tables and the plots; every number in them is computed in frontier.py.  Needs Debian's python3-matplotlib for the plots.
"""
from __future__ import annotations

import argparse
import csv
import html
import io
import math
import os
import re
import sys
import textwrap
from dataclasses import dataclass, field
from typing import Callable, Iterable, Optional, Sequence

import frontier as fr
from frontier import METHODS, TASKS, Row, Run, Spread, end_spread, percent

try:
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
except ImportError:
    matplotlib = None

NAMES = {"full": "full finetuning", "full-replay": "full finetuning with replay", "lora": "LoRA", "lora-replay": "LoRA with replay",
         "values": "the pool’s values alone", "sparse": "sparse memory finetuning"}
SHORT = {"full": "full", "full-replay": "full, replay", "lora": "LoRA", "lora-replay": "LoRA, replay", "values": "values", "sparse": "sparse"}
PAPER = {"full": 89, "lora": 71, "sparse": 11}  # NaturalQuestions F1 lost at equal learning, arXiv 2510.15103
KNOWS = {"": "nothing", "half": "half of the known facts, and prose", "prose": "prose alone", "all": "all known facts, and prose",
         "shipped": "all known facts, and prose (the counts beside the model)", "none": "nothing"}
COMMANDS = (("examples/forgetting/run.sh", "everything; goes on where it was stopped"),
            ("examples/forgetting/run.sh --quick", "one seed at the best settings, 40 facts and 8 documents"),
            ("examples/forgetting/report.py", "this page again, from results/runs.csv"))
esc = html.escape


def notice(text: str) -> None:
    print(f"report: {text}", file=sys.stderr)


# ---- what the page is made of -----------------------------------------------------------------------------------------------


@dataclass
class Study:
    """All runs, and what is computed from them once."""

    runs: list[Run]
    rows: dict[str, list[Row]] = field(default_factory=dict)  # task -> every reported setting
    best: dict[str, dict[str, Row]] = field(default_factory=dict)  # task -> method -> the setting chosen for it

    def __post_init__(self) -> None:
        for task in TASKS:
            reported = fr.pick(self.runs, purpose=("final", "other"), task=task, model="atlas", set="report")
            reported = [run for run in reported if run.method in METHODS]
            if reported:
                self.rows[task] = fr.rows_of(reported)
                finals = fr.rows_of(run for run in reported if run.purpose == "final")
                self.best[task] = {row.method: row for row in sorted(finals, key=lambda row: row.seeds)}

    def tried(self, task: str) -> list[Run]:
        """The settings tried on the facts for choosing."""
        return [run for run in fr.pick(self.runs, purpose="sweep", task=task, model="atlas") if run.method in METHODS]

    def plotted(self) -> list[str]:
        return [task for task in TASKS if self.rows.get(task) or self.tried(task)]

    def methods(self, task: str) -> list[str]:
        return [method for method in METHODS if method in self.best.get(task, {})]

    def stream(self, method: str) -> list[Run]:
        runs = fr.pick(self.runs, purpose="stream", task="facts", method=method, model="atlas")
        return fr.stream_setting(runs, self.best["facts"][method].setting if method in self.methods("facts") else "")

    def targets(self) -> list[fr.Target]:
        return fr.targets(self.best, self.stream("sparse"))


# ---- numbers as text --------------------------------------------------------------------------------------------------------


def percent_spread(value: Optional[Spread]) -> str:
    """Mean ± standard deviation, with as many digits for both; a small deviation may ask for one more."""
    if value is None or value.std is None:
        return "–" if value is None else percent(value.mean)
    digits = max(len(percent(value.mean).partition(".")[2]) - 1, 2 if value.std < 0.05 and abs(value.mean) < 9.95 else 0, 0)
    return f"{value.mean:.{digits}f} ± {value.std:.{digits}f}%".replace("-", "−")


def loses(value: float) -> str:
    return f"gains {percent(-value)}" if value < 0 else f"loses {percent(value)}"


def number_spread(value: Optional[Spread], digits: int = 2) -> str:
    if value is None:
        return "–"
    mean = f"{value.mean:.{digits}f}".replace("-", "−")
    return mean if value.std is None else f"{mean} ± {value.std:.{digits}f}"


def signed(value: Optional[Spread], digits: int) -> str:
    text = number_spread(value, digits)
    return f"+{text}" if value is not None and value.mean > 0 else text


def amount(value: float) -> str:
    """Three digits, whatever the size."""
    return f"{value:.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 9.95 else f"{value:.2f}"


def size(value: Optional[Spread]) -> str:
    if value is None:
        return "–"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value.mean >= scale:
            return f"{amount(value.mean / scale)} {unit}"
    return f"{value.mean:.0f} B"


def joined(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


# ---- HTML -------------------------------------------------------------------------------------------------------------------

LEFT = "text"  # the class of a column of words


def cell(value: str, tag: str, classes: str = "") -> str:
    """A value that starts with '<' is HTML already."""
    name = f' class="{classes}"' if classes else ""
    scope = {"th": ' scope="row"'}.get(tag, "")
    return f"<{tag}{scope}{name}>{value if value.startswith('<') else esc(value)}</{tag}>"


def column_class(values: Sequence[str], is_text: bool) -> str:
    """Text to the left (numbers to the right), and wider where there is much of it."""
    long = any(len(value) > 24 for value in values if not value.startswith("<"))
    return (f"{LEFT} wide" if long else LEFT) if is_text else ""


def scrolling(inner: str, caption: str) -> str:
    return (f'<figure class="table">{f"<figcaption>{caption}</figcaption>" if caption else ""}'
            f'<div class="scroll" role="region" tabindex="0" aria-label="{esc(re.sub("<[^>]*>", "", caption) or "table")}">'
            f"<table>{inner}</table></div></figure>\n")


def table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = (0,)) -> str:
    """The first column names the row; text: the columns that are words."""
    rows = list(rows)
    classes = [column_class([row[i] for row in rows], i in text) for i in range(len(header))]
    head = "".join(f'<th scope="col"{f" class={LEFT}" if name else ""}>{esc(title)}</th>' for title, name in zip(header, classes))
    body = ["<tr>" + "".join(cell(value, "th" if i == 0 else "td", classes[i]) for i, value in enumerate(row)) + "</tr>" for row in rows]
    return scrolling(f"<thead><tr>{head}</tr></thead>\n<tbody>" + "\n".join(body) + "</tbody>", caption)


def paragraph(text: str, classes: str = "") -> str:
    return f'<p class="{classes}">{text}</p>\n' if classes else f"<p>{text}</p>\n"


def missing(text: str) -> str:
    return paragraph(f"Left out: {esc(text)}.", "missing")


def figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>\n"


def side_by_side(figures: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(figures)}</div>\n' if figures else ""


def swatch(method: str) -> str:
    square, triangle = '<rect x="2" y="2" width="8" height="8"/>', '<path d="M6 1 11 11H1Z"/>'
    shape = {"full": square, "full-replay": square, "lora": triangle, "lora-replay": triangle,
             "values": '<path d="M6 .5 11.5 6 6 11.5 .5 6Z"/>', "sparse": '<circle cx="6" cy="6" r="4.6"/>'}[method]
    return f'<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true" style="fill: var(--{method})">{shape}</svg>'


def named(method: str) -> str:
    return f'<span class="name">{swatch(method)} {esc(NAMES[method])}</span>'


def listed(items: Iterable[str]) -> str:
    lines = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{lines}</ul>\n" if lines else ""


# ---- notes.md ---------------------------------------------------------------------------------------------------------------


def inline_markdown(text: str) -> str:
    """`code`, **bold**, *emphasis* and [links](https://...); everything else as it stands."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(f"<code>{esc(part[1:-1])}</code>" if part.startswith("`") and len(part) > 2 else inline_plain(part) for part in parts)


def inline_plain(text: str) -> str:
    text = esc(text)
    text = re.sub(r"\[([^\]]+)\]\((https?://[^)\s]+)\)", r'<a href="\2">\1</a>', text)
    text = re.sub(r"\*\*(\S(?:.*?\S)?)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<![*\w])\*(\S(?:[^*]*\S)?)\*(?![*\w])", r"<em>\1</em>", text)


def markdown_table(lines: Sequence[str]) -> str:
    rows = [[inline_markdown(part.strip()) for part in line.strip().strip("|").split("|")] for line in lines]
    rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", part) for part in row)]
    wrap = [[f"<span>{part}</span>" for part in row] for row in rows]
    head = "".join(f'<th scope="col" class="{LEFT}">{part}</th>' for part in rows[0])
    body = "".join("<tr>" + "".join(cell(part, "th" if i == 0 else "td", LEFT) for i, part in enumerate(row)) + "</tr>" for row in wrap[1:])
    return scrolling(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>", "")


def markdown_block(lines: list[str]) -> str:
    heading = re.match(r"(#+)\s+(.*)", lines[0])
    if heading:
        rest = markdown_block(lines[1:]) if len(lines) > 1 else ""
        return f"<h3>{inline_markdown(heading[2])}</h3>\n{rest}"
    if lines[0].startswith("|") and len(lines) > 1:
        return markdown_table(lines)
    items: list[str] = []
    for line in lines:  # a list, with lines that go on
        if re.match(r"[-*]\s", line):
            items.append(line[2:].strip())
        elif items:
            items[-1] += " " + line.strip()
        else:
            return paragraph(inline_markdown(" ".join(lines)))
    return listed(map(inline_markdown, items))


def markdown(text: str) -> str:
    """A tiny subset: headings, paragraphs, flat lists, tables, fenced code."""
    out = []
    for i, part in enumerate(re.split(r"^```.*\n?", text, flags=re.MULTILINE)):
        if i % 2:
            out.append(f'<pre tabindex="0">{esc(part.rstrip())}</pre>\n')
        else:
            out += [markdown_block(block.strip("\n").split("\n")) for block in re.split(r"\n\s*\n", part) if block.strip()]
    return "".join(out)


# ---- plots ------------------------------------------------------------------------------------------------------------------

INK, PAPERWHITE = "#101112", "#fefdfc"  # stand-ins that the SVG's last step replaces
COLORS = {"full": "#d55e00", "full-replay": "#e69f00", "lora": "#0072b2", "lora-replay": "#56b4e9", "values": "#cc79a7",
          "sparse": "#009e73"}  # Okabe-Ito
MARKERS = {"full": "s", "full-replay": "s", "lora": "^", "lora-replay": "^", "values": "D", "sparse": "o"}
DASHES = {"full": (0, (6, 2, 1, 2)), "full-replay": (0, (6, 2, 1, 2, 1, 2)), "lora": (0, (5, 2)), "lora-replay": (0, (2, 2)),
          "values": (0, (1, 1)), "sparse": "-"}
MIDDLE = "#7a7a7a"  # legible on white and on dark
FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif"
LOSS_TICKS = (0, 1, 2, 5, 10, 20, 50, 100)
LOSS_AND_GAIN_TICKS = (-100, -30, -10, -3, -1, 0, 1, 3, 10, 30, 100)  # fewer: both sides need room


def prepare_plots() -> None:
    matplotlib.rcParams.update({
        "svg.fonttype": "none", "svg.hashsalt": "smft", "font.size": 11, "axes.titlesize": 12, "axes.titleweight": "bold",
        "text.color": INK, "axes.edgecolor": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK, "grid.color": INK,
        "grid.alpha": 0.16, "axes.grid": True, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
        "legend.frameon": False, "legend.fontsize": 10.5, "axes.facecolor": "none", "figure.facecolor": "none",
        "savefig.facecolor": "none"})


def svg_of(fig: "Figure") -> str:
    """The plot without XML header, metadata, fixed size and fonts."""
    text = io.StringIO()
    fig.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg"):].rstrip()
    svg = re.sub(r"<metadata>.*?</metadata>|<style type=\"text/css\">.*?</style>", "", svg, flags=re.DOTALL)
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
    start = f'<svg xmlns:xlink="http://www.w3.org/1999/xlink" {view} role="img" aria-label="{esc(label)}">'
    return re.sub(r"<svg[^>]*>", lambda _: start, svg, count=1)


def svg_standalone(fig: "Figure", label: str) -> str:
    """For an <img>: middle tones, legible on white and on dark."""
    svg = svg_of(fig).replace(INK, MIDDLE).replace(f"stroke: {PAPERWHITE}", "stroke: none")
    start = f' role="img" aria-label="{esc(label)}">\n <title>{esc(label)}</title>'
    return re.sub(r"(<svg[^>]*)>", lambda found: found[1] + start, svg, count=1) + "\n"


def loss_axis(axes, values: Sequence[float]) -> None:
    """Percent lost: linear between -1 and 1, logarithmic beyond, so that 0 and gains have a place."""
    low, high = min(values, default=0), max(values, default=1)
    axes.set_yscale("symlog", linthresh=1, linscale=0.6)
    axes.set_ylim(min(-0.12, low * 1.25), max(2.2, min(130, high * 1.35)))
    bottom, top = axes.get_ylim()
    ticks = [tick for tick in (LOSS_TICKS if bottom > -1 else LOSS_AND_GAIN_TICKS) if bottom <= tick <= top]
    axes.set_yticks(ticks, [f"{tick}%".replace("-", "−") for tick in ticks])
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())


def method_handle(method: str) -> "Line2D":
    return Line2D([], [], color=COLORS[method], marker=MARKERS[method], linestyle=DASHES[method], markersize=7, label=NAMES[method])


def bottom_legend(fig: "Figure", handles: Sequence["Line2D"], columns: int = 2) -> None:
    """Below the axes; whoever calls it has left room."""
    fig.legend(handles=list(handles), loc="lower center", ncol=columns, bbox_to_anchor=(0.5, 0.0), handlelength=2.6, columnspacing=1.4)


def draw_points(axes, runs: Sequence[Run], method: str) -> None:
    points = [run.point for run in runs if run.method == method]
    axes.plot([x for x, _ in points], [y for _, y in points], MARKERS[method], color=COLORS[method], markersize=4, alpha=0.5,
              markeredgewidth=0)


def draw_rows(axes, rows: Sequence[Row]) -> None:
    """A mark a setting, with bars of a standard deviation each way."""
    for row in rows:
        x, y = row.learning, row.lost
        axes.errorbar([x.mean], [y.mean], xerr=[x.std or 0], yerr=[y.std or 0], fmt=MARKERS[row.method], color=COLORS[row.method],
                      markersize=8, elinewidth=1.2, markeredgecolor=PAPERWHITE, markeredgewidth=0.8)


def draw_task_frontier(axes, study: Study, task: str) -> None:
    sweeps, rows = study.tried(task), study.rows.get(task, [])
    for method in METHODS:
        draw_points(axes, sweeps, method)
    draw_rows(axes, rows)
    points = [run.point for run in sweeps] + [(row.learning.mean, row.lost.mean + (row.lost.std or 0)) for row in rows]
    loss_axis(axes, [y for _, y in points])
    axes.set_xlim(max(-0.02, math.floor(min(x for x, _ in points) * 10) / 10 - 0.02), 1.02)
    axes.set_xlabel("learning: F1 in unseen wording, end of stream")
    axes.set_ylabel("known facts' F1 lost")


def frontier_handles(study: Study, tasks: Sequence[str]) -> list["Line2D"]:
    drawn = {one.method for task in tasks for one in [*study.rows.get(task, []), *study.tried(task)]}
    handles = [method_handle(method) for method in METHODS if method in drawn]
    for handle in handles:
        handle.set_linestyle("")
    if any(study.tried(task) for task in tasks):
        handles.append(Line2D([], [], color=INK, alpha=0.45, marker="o", linestyle="", markersize=4, label="tried on other facts"))
    return handles


def frontier_figure(study: Study, tasks: Sequence[str], width: float) -> "Figure":
    fig = Figure(figsize=(width, 4.9))
    many = len(tasks) > 1
    panels = fig.subplots(1, len(tasks), squeeze=False)[0]
    fig.subplots_adjust(left=0.075 if many else 0.17, right=0.99, top=0.93, bottom=0.27 if many else 0.34, wspace=0.2)
    for axes, task in zip(panels, tasks):
        draw_task_frontier(axes, study, task)
        if many:
            axes.set_title(task, loc="left")
    bottom_legend(fig, frontier_handles(study, tasks), 3 if many else 2)
    return fig


def draw_along(axes, runs: Sequence[Run], column: str, method: str) -> list[float]:
    points = fr.along(runs, column)
    x, mean = [done for done, _ in points], [value.mean for _, value in points]
    low, high = [value.mean - (value.std or 0) for _, value in points], [value.mean + (value.std or 0) for _, value in points]
    axes.fill_between(x, low, high, color=COLORS[method], alpha=0.2, linewidth=0)
    axes.plot(x, mean, linestyle=DASHES[method], color=COLORS[method], marker=MARKERS[method], markersize=5, linewidth=1.8)
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


def draw_bars(axes, values: Sequence[Spread], title: str, show: Callable[[float], str], color: str, most: Optional[float],
              thickness: float) -> None:
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


def bars_figure(labels: Sequence[str], learning: Sequence[Spread], loss: Sequence[Spread]) -> "Figure":
    """One factor: a bar for what is learnt and one for what is lost."""
    wrapped = [textwrap.fill(label, 22, max_lines=3, placeholder="…") for label in labels]
    lines = sum(max(1, 0.75 * (1 + label.count("\n"))) for label in wrapped)
    height, left = 0.62 + 0.36 * lines, 0.06 + 0.0165 * max(len(part) for label in wrapped for part in label.split("\n"))
    fig = Figure(figsize=(5.2, height))
    one, two = fig.subplots(1, 2, sharey=True)
    fig.subplots_adjust(left=min(left, 0.42), right=0.99, top=1 - 0.4 / height, bottom=0.1 / height, wspace=0.08)
    thickness = 0.22 * len(labels) / (height - 0.5)  # the same on paper in every plot
    draw_bars(one, learning, "learning", lambda mean: f"{mean:.2f}", INK, 1.0, thickness)
    draw_bars(two, loss, "known F1 lost", percent, COLORS["sparse"], None, thickness)
    one.set_yticks(range(len(wrapped)), wrapped)
    one.set_ylim(len(wrapped) - 0.5, -0.5)
    for axes in (one, two):
        axes.tick_params(axis="y", length=0)
    return fig


# ---- 1: headline ------------------------------------------------------------------------------------------------------------


def headline_sentence(study: Study) -> str:
    parts = []
    for task in study.best:
        losses = [f"{NAMES[method]} {loses(row.lost.mean)} at learning {row.learning.mean:.2f}"
                  for method in reversed(study.methods(task)) for row in [study.best[task][method]]]
        parts.append(f"on {task}, {joined(losses)}")
    text = "; ".join(parts) + ", of known facts’ F1, each at its best setting. " + target_sentence(study.targets())
    return text[0].upper() + text[1:]


def target_sentence(found: Sequence[fr.Target]) -> str:
    if all(target.met for target in found):
        return f"All {len(found)} targets are met."
    missed = [f"{target.task}: {target.text}" for target in found if target.met is False]
    open_ones = sum(target.met is None for target in found)
    text = f"Of {len(found)} targets {sum(bool(target.met) for target in found)} are met"
    text += f", {len(missed)} missed ({'; '.join(missed)})" if missed else ""
    return text + (f", {open_ones} not measured." if open_ones else ".")


def row_cells(row: Row, mark: str) -> list[str]:
    return [f"{named(row.method)}", row.setting + mark, KNOWS.get(row.knows, row.knows), number_spread(row.learning),
            percent_spread(row.lost), percent_spread(row.half), percent_spread(row.rest), str(row.seeds)]


def headline_table(study: Study) -> str:
    """One setting a row; the half that "half" knows beside the half that nothing of it knows."""
    out = []
    for task, rows in study.rows.items():
        known = max(run.known or 0 for row in rows for run in row.runs)
        header = ["method", "setting", "knows, of what is to be kept", "learning", "known F1 lost", "of the half", "of the rest", "seeds"]
        chosen = {id(row.runs) for row in study.best.get(task, {}).values()}
        best = {(row.method, row.setting) for row in study.best.get(task, {}).values()}
        lines = [row_cells(row, "" if (row.method, row.setting) in best or id(row.runs) in chosen else " †") for row in rows]
        caption = (f"{task}: {known:,.0f} known facts asked at the end, mean ± standard deviation over seeds. “The half”: the known facts "
                   "whose sentences are counted (sparse) or replayed where a method knows half of them; “the rest” are the others. "
                   "† beside the best of the method’s settings, for what its row says.")
        out.append(table(caption, header, lines, text=(0, 1, 2)))
    return "".join(out)


def paper_sentence() -> str:
    words = [f"{NAMES[method]} {share}%" for method, share in PAPER.items()]
    return paragraph(f"The paper (NaturalQuestions F1 lost, a 1.3B model, no error bars, at equal learning): {joined(words)}.")


def target_table(study: Study) -> str:
    words = {True: '<span class="verdict">✓ met</span>', False: '<span class="verdict">✗ <strong>missed</strong></span>',
             None: '<span class="verdict">– not measured</span>'}
    rows = [[target.text, words[target.met], target.task, target.why] for target in study.targets()]
    return table("The targets, set before measuring", ["target", "", "task", "measured"], rows, text=(0, 1, 2, 3))


def caveats(study: Study) -> list[str]:
    words = []
    for task, best in study.best.items():
        low = [f"{NAMES[row.method]} ({row.learning.mean:.2f})" for row in best.values() if row.short]
        if low:
            words.append(f"{task}: {joined(low)} never learnt {fr.FLOOR} on the facts for choosing or do not here; the row is what was chosen.")
        few = [SHORT[method] for method, row in best.items() if row.seeds < fr.SEEDS_WANTED]
        if few:
            words.append(f"{task}: fewer than {fr.SEEDS_WANTED} seeds for {joined(few)}.")
    unfinished = sum(not run.finished for run in study.runs)
    broken = sum(run.finished and not run.point for run in study.runs)
    words += [f"{unfinished} runs are not finished and not counted."] if unfinished else []
    words += [f"{broken} runs ended without a finite learning or forgetting (diverged) and are not counted."] if broken else []
    return words


def section_headline(study: Study) -> str:
    if not study.best:
        return missing("no finished run with purpose final, model atlas, set report") + target_table(study) + listed(caveats(study))
    gone = [f"{task}: {NAMES[method]}" for task in TASKS for method in METHODS if method not in study.methods(task)]
    how = ("Learning is token F1 in wordings that were never trained, over everything taught, at the end of the stream. Of the settings "
           f"tried on other facts a method stands here with the one that lost least of those that learnt {fr.FLOOR}, where none did with "
           "the one that learnt most; every method was given as many. Each stops at the same rule: every wording’s own loss is below its "
           "threshold.")
    return (paragraph(esc(headline_sentence(study)), "lead") + headline_table(study) + target_table(study) + paragraph(how)
            + paper_sentence() + (missing(f"no finished final run for {joined(gone)}") if gone else "") + listed(caveats(study)))


# ---- 2 and 3: plots ---------------------------------------------------------------------------------------------------------


def frontier_label(study: Study, task: str) -> str:
    losses = [f"{NAMES[method]} {percent(row.lost.mean)} at {row.learning.mean:.2f}" for method, row in study.best.get(task, {}).items()]
    return f"{task}: learning against known F1 lost, for each method. {joined(losses) or 'Only what was tried on the facts for choosing'}."


def section_frontier(study: Study) -> str:
    if not study.plotted():
        return missing("no finished run")
    figures = [figure(svg_inline(frontier_figure(study, [task], 5.2), f"frontier-{task}", frontier_label(study, task)),
                      f"<strong>{task}.</strong> Right and down is better. Each large mark is a setting of the table above: mean and "
                      "standard deviation over seeds.")
               for task in study.plotted()]
    text = ("The vertical axis is logarithmic above 1% and linear below. Settings were chosen on one set of facts (small, faint marks) "
            "and are reported on another (large marks).")
    return side_by_side(figures) + paragraph(text)


def along_numbers(chosen: dict[str, list[Run]], unit: str) -> str:
    """The curve as a table, at the checkpoints nearest to round numbers."""
    curves = {method: (dict(fr.along(runs, "learning")), dict(fr.along(runs, "forgetting_percent"))) for method, runs in chosen.items()}
    steps = sorted({done for _, lost in curves.values() for done in lost if done > 0})
    steps = [done for i, done in enumerate(steps) if len(steps) <= 6 or i in (0, len(steps) - 1) or i % math.ceil(len(steps) / 5) == 1]
    header = [f"{unit} taught"] + [f"{SHORT[method]}: {what}" for method in chosen for what in ("learning", "F1 lost")]
    rows = []
    for done in steps:
        cells = [f"{done:.0f}"]
        for learning, lost in curves.values():
            cells += [number_spread(learning.get(done)), percent_spread(lost.get(done))]
        rows.append(cells)
    return table(f"Along the stream of {unit}", header, rows)


def along_block(chosen: dict[str, list[Run]], unit: str, name: str) -> tuple[str, str]:
    """(figure, table) of one stream."""
    items = max(run.items_total for runs in chosen.values() for run in runs)
    ends = [f"{NAMES[method]} {loses(end_spread(runs, 'forgetting_percent').mean)}" for method, runs in chosen.items()]
    label = f"learning and known F1 lost along a stream of {items:.0f} {unit}: at the end {joined(ends)}."
    settings = "; ".join(f"{SHORT[method]}: {esc(runs[0].setting)}" for method, runs in chosen.items())
    caption = f"<strong>{items:.0f} {unit}.</strong> Bands: standard deviation. {settings}."
    plot = figure(svg_inline(along_figure(chosen, unit), name, label), caption)
    return plot, along_numbers(chosen, f"{items:.0f} {unit}")


def section_along(study: Study) -> str:
    blocks, gone = [], []
    for task in TASKS:
        chosen = {method: study.best[task][method].runs for method in study.methods(task)}
        chosen = {method: runs for method, runs in chosen.items() if max(len(run.checkpoints) for run in runs) > 2}
        blocks += [along_block(chosen, task, f"along-{task}")] if chosen else []
        gone += [] if chosen else [f"no finished final run on {task}"]
    chosen = {method: runs for method in METHODS if (runs := study.stream(method))}
    blocks += [along_block(chosen, "facts", "along-stream")] if chosen else []
    gone += [] if chosen else ["no finished run with purpose stream (500 facts)"]
    numbers = "".join(numbers for _, numbers in blocks)
    text = paragraph("Each method at its best setting. Learning is over everything taught so far: what was learnt "
                     "early must survive what comes later.") if blocks else ""
    more = f"<details><summary>The same as numbers</summary>{numbers}</details>\n" if blocks else ""
    return text + side_by_side([plot for plot, _ in blocks]) + more + (missing("; ".join(gone)) if gone else "")


# ---- 4, 5 and 8: tables over methods ----------------------------------------------------------------------------------------

Column = tuple[str, Callable[[list[Run]], str]]


def change(after: str, before: str) -> Callable[[dict], Optional[float]]:
    return lambda row: None if row[after] is None or row[before] is None else row[after] - row[before]


def per_item(column: str) -> Callable[[dict], Optional[float]]:
    return lambda row: None if row[column] is None else row[column] / row["items_done"]


def method_tables(study: Study, caption: str, columns: Sequence[Column]) -> str:
    """Per task, one line a method, at its best setting."""
    if not study.best:
        return missing("no finished final run")
    out = []
    for task in study.best:
        rows = []
        for method in study.methods(task):
            runs = study.best[task][method].runs
            rows.append([named(method), number_spread(end_spread(runs, "learning"))] + [show(runs) for _, show in columns])
        out.append(table(f"{task}: {caption}", ["method", "learning", *(name for name, _ in columns)], rows))
    return "".join(out)


def before_after(runs: list[Run], before: str, after: str) -> str:
    first, last = end_spread(runs, before), end_spread(runs, after)
    return "–" if first is None or last is None else f"{first.mean:.3f} → {last.mean:.3f}"


def section_else(study: Study) -> str:
    text = paragraph("Multiple choice: accuracy on known facts against other answers of the same relation. Held-out text: the change "
                     "of the negative log-likelihood a token; more is worse.") if study.best else ""
    return method_tables(study, "before and after, mean ± standard deviation over seeds", (
        ("known F1 lost", lambda runs: percent_spread(end_spread(runs, "forgetting_percent"))),
        ("known F1", lambda runs: before_after(runs, "known_f1_before", "known_f1")),
        ("multiple choice", lambda runs: before_after(runs, "choices_before", "choices")),
        ("held-out text, nats", lambda runs: signed(end_spread(runs, change("nll", "nll_before")), 3)),
        ("KL to the base, nats", lambda runs: number_spread(end_spread(runs, "kl"), 3)))) + text


def section_memory(study: Study) -> str:
    text = paragraph("Known facts that the model no longer answers once the memory’s values are zeroed need the pool; the others live in "
                     "the dense blocks, and losing or keeping them says little about which rows are chosen.") if study.best else ""
    return text + method_tables(study, "F1 lost, of the known facts that need the pool and of those that do not", (
        ("F1 with the pool zeroed, untaught", lambda runs: number_spread(end_spread(runs, "known_f1_pool_zeroed"))),
        ("need the pool", lambda runs: percent_spread(end_spread(runs, "memory_forgetting_percent"))),
        ("do not", lambda runs: percent_spread(end_spread(runs, "other_forgetting_percent"))),
        ("all", lambda runs: percent_spread(end_spread(runs, "forgetting_percent")))))


def at_first(runs: list[Run], column: str) -> Optional[Spread]:
    """At the first checkpoint after something was taught."""
    return fr.spread(next((row[column] for row in run.checkpoints if row["items_done"] > 0), None) for run in runs)


def section_cost(study: Study) -> str:
    def mean(value, show: Callable[[float], str]) -> Callable[[list[Run]], str]:
        return lambda runs: "–" if (found := end_spread(runs, value)) is None else show(found.mean)
    text = paragraph("Bytes changed: after the first checkpoint, and after the whole stream; full finetuning and LoRA change everything "
                     "they may change with the first lesson. Peak memory is that of the process.") if study.best else ""
    return method_tables(study, "what one lesson costs (learning only, without the probes)", (
        ("seconds a lesson", mean(per_item("seconds"), amount)), ("steps a lesson", mean(per_item("steps"), amount)),
        ("bytes changed, early", lambda runs: f"{size(at_first(runs, 'bytes_changed'))} after {at_first(runs, 'items_done').mean:.0f}"),
        ("bytes changed, in all", lambda runs: f"{size(end_spread(runs, 'bytes_changed'))} after {runs[0].items_total:.0f}"),
        ("peak memory", mean("peak_mb", lambda value: f"{amount(value)} MB")))) + text


# ---- 6: ablations -----------------------------------------------------------------------------------------------------------

RULE_WORDS = {"all": "every read row", "random": "random read rows", "tf": "tf", "kl": "kl", "tfidf": "tfidf"}
LABEL_COLUMNS = ("model", "rule", "optimizer", "t", "rows", "lr", "max_steps", "loss_below", "weight_decay", "rank", "alpha")


def label_value(column: str, value, bare: bool) -> str:
    text = value if isinstance(value, str) else "–" if value is None else f"{value:g}"
    return text if bare or isinstance(value, str) else f"{column} {text}"


def ablation_labels(factor: str, groups: Sequence[list[Run]]) -> list[str]:
    """What tells the groups apart, in as few words as possible: the factor's own column first, the whole setting last."""
    columns = ([factor] if factor in fr.TEXT_COLUMNS + fr.NUMBER_COLUMNS else []) + [name for name in LABEL_COLUMNS if name != factor]
    parts: list[list[str]] = [[] for _ in groups]
    for column in columns:
        values = [getattr(group[0], column) for group in groups]
        if len(set(values)) > 1:
            for part, value in zip(parts, values):
                part.append(label_value(column, value, column == factor))
        labels = [", ".join(part) for part in parts]
        if len(set(labels)) == len(labels) and all(labels):
            return labels
    settings = [([group[0].model] if len({g[0].model for g in groups}) > 1 else []) + group[0].setting.split(", ") for group in groups]
    common = set.intersection(*(set(words) for words in settings))
    return [", ".join(word for word in words if word not in common) or "as it stands" for words in settings]


def ablation_order(group: list[Run], factor: str) -> tuple:
    """Numbers upwards; rules in one order for each optimizer; anything else as it came."""
    run = group[0]
    if factor in fr.NUMBER_COLUMNS:
        return getattr(run, factor) is None, getattr(run, factor) or 0
    rules = list(RULE_WORDS)
    return (run.optimizer == "adamw", rules.index(run.rule) if run.rule in rules else len(rules)) if factor == "rule" else (0, 0)


def ablation_block(task: str, factor: str, runs: Sequence[Run]) -> tuple[str, list[list[str]]]:
    """(figure, table rows) of one factor."""
    groups = sorted(fr.by(runs, "model", "setting").values(), key=lambda group: ablation_order(group, factor))
    labels = ablation_labels(factor, groups)
    learning, loss = [end_spread(group, "learning") for group in groups], [end_spread(group, "forgetting_percent") for group in groups]
    rows = [[factor, task, label, number_spread(x), percent_spread(y), str(y.n)] for label, x, y in zip(labels, learning, loss)]
    words = joined([f"{label}: {x.mean:.2f} and {percent(y.mean)}" for label, x, y in zip(labels, learning, loss)])
    name = re.sub(r"\W+", "-", f"ablation-{task}-{factor}")
    plot = svg_inline(bars_figure(labels, learning, loss), name, f"{factor} on {task}, learning and known F1 lost: {words}.")
    return figure(plot, f"<strong>{esc(factor)}</strong>, {task}"), rows


def rule_groups(runs: Sequence[Run], task: str) -> dict[str, dict[str, list[Run]]]:
    """factor ("rule", "rule, undamped", ...) -> rule -> runs; of several settings of a rule, the one that learns most."""
    chosen = [run for run in fr.pick(runs, purpose="ablation", task=task) if run.factor.startswith("rule")]
    found: dict[str, dict[str, list[Run]]] = {}
    for (factor, rule), group in fr.by(chosen, "factor", "rule").items():
        if rule:
            found.setdefault(factor, {})[rule] = max(fr.by(group, "setting").values(), key=lambda one: end_spread(one, "learning").mean)
    return found


def difference(ours: list[Run], theirs: list[Run], column: str) -> tuple[float, float]:
    """(difference of the means, spread of the seeds in it)."""
    a, b = end_spread(ours, column), end_spread(theirs, column)
    return a.mean - b.mean, math.hypot(a.std or 0, b.std or 0)


def verdict(ours: list[Run], theirs: list[Run], name: str) -> str:
    """Takes the spread of the seeds seriously: what lies within it is no difference."""
    learning, loss = difference(ours, theirs, "learning"), difference(ours, theirs, "forgetting_percent")
    marks = [0 if abs(value) <= noise else math.copysign(1, value * better) for (value, noise), better in ((learning, 1), (loss, -1))]
    if not any(marks):
        return "no difference beyond the spread of the seeds"
    words = []
    if marks[0]:
        words.append(f"learns {abs(learning[0]):.2f} {'more' if learning[0] > 0 else 'less'}")
    if marks[1]:
        words.append(f"loses {abs(loss[0]):.2g} points {'less' if loss[0] < 0 else 'more'}")
    kind = "better" if min(marks) >= 0 else "worse" if max(marks) <= 0 else "a trade"
    return f"{kind}: {name} {' and '.join(words)}"


def rule_answer(study: Study, task: str, factor: str, rules: dict[str, list[Run]]) -> str:
    """One factor's rules, each with what tfidf gains over it, and what that says."""
    ours, rows = rules.get("tfidf"), []
    for rule, name in RULE_WORDS.items():
        if rule in rules:
            learning, loss = end_spread(rules[rule], "learning"), end_spread(rules[rule], "forgetting_percent")
            gain = verdict(ours, rules[rule], "tfidf") if ours and rule != "tfidf" else "–"
            rows.append([name, number_spread(learning), percent_spread(loss), str(loss.n), gain])
    caption = f"{task}, {esc(factor)}: which of the read rows are trained"
    header = ["rows trained", "learning", "F1 lost", "seeds", "tfidf against it"]
    return table(caption, header, rows, text=(0, 4)) + sparsity_share(study, task, rules)


def sparsity_share(study: Study, task: str, rules: dict[str, list[Run]]) -> str:
    """How much of the way from full finetuning to tfidf is there already with every read row trained."""
    if not {"all", "tfidf"} <= set(rules) or "full" not in study.methods(task):
        return ""
    full = study.best[task]["full"]
    if {run.items_total for run in rules["all"] + rules["tfidf"]} != {run.items_total for run in full.runs}:
        return paragraph("These streams are not as long as the headline’s, so full finetuning’s loss is not set beside them.")
    every, best = end_spread(rules["all"], "forgetting_percent").mean, end_spread(rules["tfidf"], "forgetting_percent").mean
    whole = full.lost.mean - best
    start = f"Full finetuning loses {percent(full.lost.mean)} at learning {full.learning.mean:.2f}"
    if whole <= 0:
        return paragraph(f"{start}, no more than tfidf here: there is nothing to share out.")
    share = 100 * (full.lost.mean - every) / whole
    return paragraph(f"{start}: of the {whole:.1f} points between it and tfidf, <strong>{percent(share)} are there already when every "
                     f"read row of the memory is trained</strong> (sparsity), {percent(100 - share)} come from choosing among them "
                     "(the rule).")


def rule_paragraphs(study: Study) -> str:
    answers = [rule_answer(study, task, factor, rules) for task in TASKS for factor, rules in rule_groups(study.runs, task).items()]
    if not answers:
        return missing("no finished ablation run with factor rule, so selection rule or sparsity stays open")
    return "<h3>Selection rule or sparsity?</h3>\n" + "".join(answers)


def section_ablations(study: Study) -> str:
    runs = fr.pick(study.runs, purpose="ablation")
    if not runs:
        return missing("no finished run with purpose ablation")
    blocks = [ablation_block(task, factor, group) for task in TASKS
              for factor, group in fr.by([run for run in runs if run.task == task], "factor").items() if len(fr.by(group, "model", "setting")) > 1]
    rows = [row for _, lines in blocks for row in lines]
    header = ["factor", "task", "value", "learning", "F1 lost", "seeds"]
    return (paragraph("One factor at a time, everything else as for the long streams: damping 7e-5, until loss 0.1, TF-IDF, 350 rows a fact, SGD.") + side_by_side([plot for plot, _ in blocks])
            + rule_paragraphs(study) + table("Ablations: mean ± standard deviation over seeds", header, rows, text=(0, 1, 2)))


# ---- 9 and 10: settings, commands, notes ------------------------------------------------------------------------------------


def setting_rows(runs: Sequence[Run]) -> list[list[str]]:
    rows = []
    for method in METHODS:
        groups = fr.by([run for run in runs if run.method == method], "setting")
        means = {setting: (end_spread(group, "learning"), end_spread(group, "forgetting_percent")) for setting, group in groups.items()}
        best = fr.pareto((x.mean, y.mean) for x, y in means.values())
        rows += [[SHORT[method], setting, "frontier" if (x.mean, y.mean) in best else "", number_spread(x), percent_spread(y), str(y.n)]
                 for setting, (x, y) in means.items()]
    return rows


def settings_details(study: Study, task: str, purpose: str, title: str) -> str:
    runs = fr.pick(study.runs, purpose=purpose, task=task, model="atlas")
    if not runs:
        return ""
    count = len({(run.method, run.setting) for run in runs})
    body = table(title, ["method", "setting", "", "learning", "F1 lost", "seeds"], setting_rows(runs), text=(0, 1, 2))
    return f"<details><summary>{title}: {count} settings, {len(runs)} runs</summary>{body}</details>\n"


def section_settings(study: Study) -> str:
    out = [settings_details(study, task, purpose, f"{task}, {words}") for task in TASKS
           for purpose, words in (("sweep", "tried on the facts for choosing"), ("final", "reported on other facts"))]
    chosen = [[task, SHORT[method], study.best[task][method].setting] for task in study.best for method in study.methods(task)]
    nearest = table("The settings chosen", ["task", "method", "setting"], chosen, text=(0, 1, 2)) if chosen else ""
    commands = "\n".join(f"{command:<37} # {words}" for command, words in COMMANDS)
    return nearest + ("".join(out) or missing("no finished run of a sweep")) + f'<pre tabindex="0">{esc(commands)}</pre>\n'


def section_notes(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        text = ""
    text = re.sub(r"\A\s*#+ [^\n]*did not work[^\n]*\n", "", text, flags=re.IGNORECASE)  # the section has that heading already
    return markdown(text) if text.strip() else missing("no results/notes.md")


# ---- the page ---------------------------------------------------------------------------------------------------------------

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1c1e; --soft: #5b6167; --line: #d5d9dd; --shade: #f4f6f7;
  --full: #d55e00; --full-replay: #b07700; --lora: #0072b2; --lora-replay: #3d93c4; --values: #b3608f; --sparse: #009e73; --link: #0060a0; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #15181b; --ink: #e4e7ea; --soft: #a3abb3; --line: #3a4147; --shade: #1f2428;
    --full: #f07d2e; --full-replay: #e6b04d; --lora: #56a0e9; --lora-replay: #8fd0f5; --values: #dd9cc2; --sparse: #1bbf92; --link: #7cc4f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(.75rem, 3vw, 2rem) 3rem; max-width: 72rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: clamp(1.5rem, 4.5vw, 2.1rem); line-height: 1.2; margin: 1rem 0 .5rem; text-wrap: balance; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 46rem; } p.lead { font-size: 1.12rem; } p.missing { color: var(--soft); font-style: italic; }
a { color: var(--link); } li { margin: .35rem 0; } ul { padding-left: 1.3rem; }
nav ol { columns: 15rem; padding-left: 1.9rem; margin: .5rem 0; } nav li { margin: .1rem 0; }
.scroll { overflow-x: auto; } .scroll:focus-visible, pre:focus-visible { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .35rem .65rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { padding-left: .2rem; } th { font-weight: 600; } tbody th { font-weight: 500; }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; white-space: normal; }
th.text, td.text { text-align: left; white-space: normal; } th.wide, td.wide { min-width: 11rem; }
.swatch { width: .8em; height: .8em; } .verdict, .name { white-space: nowrap; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure { margin: 1rem 0; } figure > svg { display: block; width: 100%; max-width: 36rem; height: auto; overflow: visible; }
figcaption { font-size: .88rem; color: var(--soft); max-width: 36rem; margin-top: .3rem; }
figure.table { margin: 1rem 0 1.4rem; } .table figcaption { max-width: 46rem; margin: 0 0 .3rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: .5rem 2.5rem; align-items: start; }
details { margin: .6rem 0; } summary { cursor: pointer; padding: .2rem 0; }
pre { background: var(--shade); padding: .8rem 1rem; overflow-x: auto; font-size: .88rem; border-radius: .3rem; }
code { font-size: .92em; background: var(--shade); padding: .05em .3em; border-radius: .2rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem; }
@media (max-width: 30rem) { table { font-size: .85rem; } th, td { padding: .3rem .45rem; } .more { display: none; } }
@page { size: A4; margin: 15mm; }
@media print { html { font-size: 9.5pt; } body { max-width: none; padding: 0; } nav { display: none; }
  h2, h3, summary { break-after: avoid; }
  figure, tr, pre { break-inside: avoid; } figure.table { break-inside: auto; } .table figcaption { break-after: avoid; }
  .scroll, pre { overflow: visible; } pre { white-space: pre-wrap; } table { font-size: 8pt; }
  h1 { font-size: 17pt; } h2 { font-size: 13pt; margin-top: 1.2rem; } p.lead { font-size: 10.5pt; } p, li { max-width: none; }
  th, td { padding: .2rem .4rem; } .pair { grid-template-columns: 1fr 1fr; gap: .5rem 1.2rem; }
  details::details-content { content-visibility: visible; display: block; } thead { display: table-header-group; } }
"""


def sections(study: Study, results: str) -> list[tuple[str, str, str]]:
    """(anchor, heading, body)."""
    return [
        ("rows", "What is learnt and what is lost", section_headline(study)),
        ("frontier", "Learning against forgetting", section_frontier(study)),
        ("stream", "Along the stream", section_along(study)),
        ("else", "What else is forgotten", section_else(study)),
        ("memory", "What the memory carries", section_memory(study)),
        ("ablations", "Ablations", section_ablations(study)),
        ("cost", "What it costs", section_cost(study)),
        ("settings", "Settings and commands", section_settings(study)),
        ("notes", "What did not work", section_notes(os.path.join(results, "notes.md"))),
    ]


def page(study: Study, results: str) -> str:
    parts = sections(study, results)
    links = "".join(f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, heading, _ in parts)
    body = "".join(f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{i}. {heading}</h2>\n{text}</section>\n'
                   for i, (anchor, heading, text) in enumerate(parts, 1))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>What finetuning forgets: full, LoRA and sparse memory finetuning</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>What finetuning forgets: full, LoRA and sparse memory finetuning, with and without replay</h1>
<p>Made with libsmft’s <code>examples/forgetting</code> from {len(study.runs)} runs on a model that anyone can rebuild
(<code>examples/atlas</code>).
The claim under test: <a href="https://arxiv.org/abs/2510.15103">Continual Learning via Sparse Memory Finetuning</a>.</p></header>
<nav aria-label="Contents"><ol>{links}</ol></nav>
<main>
{body}</main>
<footer>Raw rows: <code>runs.csv</code>; the first table: <code>summary.csv</code>. This file needs no network and no script.</footer>
</body>
</html>
"""


# ---- the command ------------------------------------------------------------------------------------------------------------


def print_headline(study: Study) -> None:
    if not study.best:
        print("no finished run with purpose final, model atlas, set report: nothing to compare yet")
        return
    print(f"{'task':<10} {'method':<28} {'knows':<8} {'learning':>13} {'known F1 lost':>14} {'the half':>14} {'the rest':>14} {'seeds':>5}")
    for task, rows in study.rows.items():
        for row in rows:
            print(f"{task:<10} {NAMES[row.method]:<28} {row.knows or '-':<8} {number_spread(row.learning):>13} {percent_spread(row.lost):>14} "
                  f"{percent_spread(row.half):>14} {percent_spread(row.rest):>14} {row.seeds:>5}  {row.setting}")
    for target in study.targets():
        print(f"{ {True: 'met', False: 'MISSED', None: 'open'}[target.met]:<7} {target.task}: {target.text} ({target.why})")


def write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def write_summary(study: Study, path: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fr.SUMMARY_COLUMNS)
    writer.writerows(fr.summary_rows(study.rows))
    write_text(path, text.getvalue())


def write_pages(study: Study, results: str) -> None:
    prepare_plots()
    write_text(os.path.join(results, "report.html"), page(study, results))
    if study.plotted():
        tasks = study.plotted()
        fig = frontier_figure(study, tasks, 9.6 if len(tasks) > 1 else 5.2)
        write_text(os.path.join(results, "frontier.svg"), svg_standalone(fig, " ".join(frontier_label(study, task) for task in tasks)))


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description="From runs.csv to summary.csv, report.html and frontier.svg in the same directory.")
    parser.add_argument("--results", metavar="DIR", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "results"),
                        help="where runs.csv (and, if you like, notes.md) lies; default: results beside this script")
    results = parser.parse_args(arguments).results
    try:
        study = Study(fr.collect_runs(fr.read_rows(os.path.join(results, "runs.csv"))))
        write_summary(study, os.path.join(results, "summary.csv"))
        print_headline(study)
        if matplotlib is None:
            notice("report.html and frontier.svg need matplotlib: apt-get install python3-matplotlib")
            return 1
        write_pages(study, results)
    except fr.BadRows as error:
        notice(str(error))
        return 1
    except OSError as error:
        notice(f"{error.filename}: {error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
