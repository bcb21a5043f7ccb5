"""report_atlas: the report's first part, on the model of our own: its sections, its summary and the
headline.  Owns their words; every number in them is computed in frontier.py."""

from __future__ import annotations

import csv
import io
import math
import os
from typing import Callable, Optional, Sequence

import frontier as fr
from amounts import amount, joined, loses, number_spread, percent_spread, signed, size
from ablations import section_ablations
from frontier import METHODS, TASKS, Row, Run, Spread, end_spread, percent
from notes import section_notes
from page import esc, figure, listed, missing, paragraph, side_by_side, table
from plots import along_figure, frontier_figure, svg_inline, svg_standalone
from study import NAMES, SHORT, Study

PAPER = {
    "full": 89,
    "lora": 71,
    "sparse": 11,
}  # NaturalQuestions F1 lost at equal learning, arXiv 2510.15103
KNOWS = {
    "": "nothing",
    "half": "half of the known facts, and prose",
    "prose": "prose alone",
    "all": "all known facts, and prose",
    "shipped": "all known facts, and prose (the counts beside the model)",
    "none": "nothing",
}
COMMANDS = (
    ("examples/forgetting/run.sh", "everything; goes on where it was stopped"),
    (
        "examples/forgetting/run.sh --quick",
        "one seed at the best settings, 40 facts and 8 documents",
    ),
    ("examples/forgetting/report.py", "this page again, from results/runs.csv"),
)


def swatch(method: str) -> str:
    square, triangle = '<rect x="2" y="2" width="8" height="8"/>', '<path d="M6 1 11 11H1Z"/>'
    shape = {
        "full": square,
        "full-replay": square,
        "lora": triangle,
        "lora-replay": triangle,
        "values": '<path d="M6 .5 11.5 6 6 11.5 .5 6Z"/>',
        "sparse": '<circle cx="6" cy="6" r="4.6"/>',
    }[method]
    return (
        '<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true" style="fill:'
        f' var(--{method})">{shape}</svg>'
    )


def named(method: str) -> str:
    return f'<span class="name">{swatch(method)} {esc(NAMES[method])}</span>'


# ---- 1: headline --------------------------------------------------------------------------------


def headline_sentence(study: Study) -> str:
    parts = []
    for task in study.best:
        losses = [
            f"{NAMES[method]} {loses(row.lost.mean)} at learning {row.learning.mean:.2f}"
            for method in reversed(study.methods(task))
            for row in [study.best[task][method]]
        ]
        parts.append(f"on {task}, {joined(losses)}")
    text = (
        "; ".join(parts)
        + ", of known facts’ F1, each at its best setting. "
        + target_sentence(study.targets())
    )
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
    return [
        f"{named(row.method)}",
        row.setting + mark,
        KNOWS.get(row.knows, row.knows),
        number_spread(row.learning),
        percent_spread(row.lost),
        percent_spread(row.half),
        percent_spread(row.rest),
        str(row.seeds),
    ]


def headline_table(study: Study) -> str:
    """One setting a row; the half that "half" knows beside the half that nothing of it knows."""
    out = []
    for task, rows in study.rows.items():
        known = max(run.known or 0 for row in rows for run in row.runs)
        header = [
            "method",
            "setting",
            "knows, of what is to be kept",
            "learning",
            "known F1 lost",
            "of the half",
            "of the rest",
            "seeds",
        ]
        chosen = {id(row.runs) for row in study.best.get(task, {}).values()}
        best = {(row.method, row.setting) for row in study.best.get(task, {}).values()}
        lines = [
            row_cells(
                row, "" if (row.method, row.setting) in best or id(row.runs) in chosen else " †"
            )
            for row in rows
        ]
        caption = (
            f"{task}: {known:,.0f} known facts asked at the end, mean ± standard deviation over"
            " seeds. “The half”: the known facts whose sentences are counted (sparse) or replayed"
            " where a method knows half of them; “the rest” are the others. † beside the best of"
            " the method’s settings, for what its row says."
        )
        out.append(table(caption, header, lines, text=(0, 1, 2)))
    return "".join(out)


def paper_sentence() -> str:
    words = [f"{NAMES[method]} {share}%" for method, share in PAPER.items()]
    return paragraph(
        "The paper (NaturalQuestions F1 lost, a 1.3B model, no error bars, at equal learning):"
        f" {joined(words)}."
    )


def target_table(study: Study) -> str:
    words = {
        True: '<span class="verdict">✓ met</span>',
        False: '<span class="verdict">✗ <strong>missed</strong></span>',
        None: '<span class="verdict">– not measured</span>',
    }
    rows = [[target.text, words[target.met], target.task, target.why] for target in study.targets()]
    return table(
        "The targets, set before measuring",
        ["target", "", "task", "measured"],
        rows,
        text=(0, 1, 2, 3),
    )


def caveats(study: Study) -> list[str]:
    words = []
    for task, best in study.best.items():
        low = [
            f"{NAMES[row.method]} ({row.learning.mean:.2f})" for row in best.values() if row.short
        ]
        if low:
            words.append(
                f"{task}: {joined(low)} never learnt {fr.FLOOR} on the facts for choosing or do not"
                " here; the row is what was chosen."
            )
        few = [SHORT[method] for method, row in best.items() if row.seeds < fr.SEEDS_WANTED]
        if few:
            words.append(f"{task}: fewer than {fr.SEEDS_WANTED} seeds for {joined(few)}.")
    unfinished = sum(not run.finished for run in study.runs)
    broken = sum(run.finished and not run.point for run in study.runs)
    words += [f"{unfinished} runs are not finished and not counted."] if unfinished else []
    words += (
        [
            f"{broken} runs ended without a finite learning or forgetting (diverged) and are not"
            " counted."
        ]
        if broken
        else []
    )
    return words


def section_headline(study: Study) -> str:
    if not study.best:
        return (
            missing("no finished run with purpose final, model atlas, set report")
            + target_table(study)
            + listed(caveats(study))
        )
    gone = [
        f"{task}: {NAMES[method]}"
        for task in TASKS
        for method in METHODS
        if method not in study.methods(task)
    ]
    how = (
        "Learning is token F1 in wordings that were never trained, over everything taught, at the"
        " end of the stream. Of the settings tried on other facts a method stands here with the"
        f" one that lost least of those that learnt {fr.FLOOR}, where none did with the one that"
        " learnt most; every method was given as many. Each stops at the same rule: every"
        " wording’s own loss is below its threshold."
    )
    return (
        paragraph(esc(headline_sentence(study)), "lead")
        + headline_table(study)
        + target_table(study)
        + paragraph(how)
        + paper_sentence()
        + (missing(f"no finished final run for {joined(gone)}") if gone else "")
        + listed(caveats(study))
    )


# ---- 2 and 3: plots -----------------------------------------------------------------------------


def frontier_label(study: Study, task: str) -> str:
    losses = [
        f"{NAMES[method]} {percent(row.lost.mean)} at {row.learning.mean:.2f}"
        for method, row in study.best.get(task, {}).items()
    ]
    return (
        f"{task}: learning against known F1 lost, for each method."
        f" {joined(losses) or 'Only what was tried on the facts for choosing'}."
    )


def section_frontier(study: Study) -> str:
    if not study.plotted():
        return missing("no finished run")
    figures = [
        figure(
            svg_inline(
                frontier_figure(study, [task], 5.2), f"frontier-{task}", frontier_label(study, task)
            ),
            f"<strong>{task}.</strong> Right and down is better. Each large mark is a setting of"
            " the table above: mean and standard deviation over seeds.",
        )
        for task in study.plotted()
    ]
    text = (
        "The vertical axis is logarithmic above 1% and linear below. Settings were chosen on one"
        " set of facts (small, faint marks) and are reported on another (large marks)."
    )
    return side_by_side(figures) + paragraph(text)


def along_numbers(chosen: dict[str, list[Run]], unit: str) -> str:
    """The curve as a table, at the checkpoints nearest to round numbers."""
    curves = {
        method: (dict(fr.along(runs, "learning")), dict(fr.along(runs, "forgetting_percent")))
        for method, runs in chosen.items()
    }
    steps = sorted({done for _, lost in curves.values() for done in lost if done > 0})
    steps = [
        done
        for i, done in enumerate(steps)
        if len(steps) <= 6 or i in (0, len(steps) - 1) or i % math.ceil(len(steps) / 5) == 1
    ]
    header = [f"{unit} taught"] + [
        f"{SHORT[method]}: {what}" for method in chosen for what in ("learning", "F1 lost")
    ]
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
    ends = [
        f"{NAMES[method]} {loses(end_spread(runs, 'forgetting_percent').mean)}"
        for method, runs in chosen.items()
    ]
    label = (
        f"learning and known F1 lost along a stream of {items:.0f} {unit}: at the end"
        f" {joined(ends)}."
    )
    settings = "; ".join(
        f"{SHORT[method]}: {esc(runs[0].setting)}" for method, runs in chosen.items()
    )
    caption = f"<strong>{items:.0f} {unit}.</strong> Bands: standard deviation. {settings}."
    plot = figure(svg_inline(along_figure(chosen, unit), name, label), caption)
    return plot, along_numbers(chosen, f"{items:.0f} {unit}")


def section_along(study: Study) -> str:
    blocks, gone = [], []
    for task in TASKS:
        chosen = {method: study.best[task][method].runs for method in study.methods(task)}
        chosen = {
            method: runs
            for method, runs in chosen.items()
            if max(len(run.checkpoints) for run in runs) > 2
        }
        blocks += [along_block(chosen, task, f"along-{task}")] if chosen else []
        gone += [] if chosen else [f"no finished final run on {task}"]
    chosen = {method: runs for method in METHODS if (runs := study.stream(method))}
    blocks += [along_block(chosen, "facts", "along-stream")] if chosen else []
    gone += [] if chosen else ["no finished run with purpose stream (500 facts)"]
    numbers = "".join(numbers for _, numbers in blocks)
    text = (
        paragraph(
            "Each method at its best setting. Learning is over everything taught so far: what was"
            " learnt early must survive what comes later."
        )
        if blocks
        else ""
    )
    more = f"<details><summary>The same as numbers</summary>{numbers}</details>\n" if blocks else ""
    return (
        text
        + side_by_side([plot for plot, _ in blocks])
        + more
        + (missing("; ".join(gone)) if gone else "")
    )


# ---- 4, 5 and 8: tables over methods ------------------------------------------------------------

Column = tuple[str, Callable[[list[Run]], str]]


def change(after: str, before: str) -> Callable[[dict], Optional[float]]:
    return lambda row: (
        None if row[after] is None or row[before] is None else row[after] - row[before]
    )


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
            rows.append(
                [named(method), number_spread(end_spread(runs, "learning"))]
                + [show(runs) for _, show in columns]
            )
        out.append(
            table(
                f"{task}: {caption}", ["method", "learning", *(name for name, _ in columns)], rows
            )
        )
    return "".join(out)


def before_after(runs: list[Run], before: str, after: str) -> str:
    first, last = end_spread(runs, before), end_spread(runs, after)
    return "–" if first is None or last is None else f"{first.mean:.3f} → {last.mean:.3f}"


def section_else(study: Study) -> str:
    text = (
        paragraph(
            "Multiple choice: accuracy on known facts against other answers of the same relation."
            " Held-out text: the change of the negative log-likelihood a token; more is worse."
        )
        if study.best
        else ""
    )
    return (
        method_tables(
            study,
            "before and after, mean ± standard deviation over seeds",
            (
                (
                    "known F1 lost",
                    lambda runs: percent_spread(end_spread(runs, "forgetting_percent")),
                ),
                ("known F1", lambda runs: before_after(runs, "known_f1_before", "known_f1")),
                ("multiple choice", lambda runs: before_after(runs, "choices_before", "choices")),
                (
                    "held-out text, nats",
                    lambda runs: signed(end_spread(runs, change("nll", "nll_before")), 3),
                ),
                ("KL to the base, nats", lambda runs: number_spread(end_spread(runs, "kl"), 3)),
            ),
        )
        + text
    )


def section_memory(study: Study) -> str:
    text = (
        paragraph(
            "Known facts that the model no longer answers once the memory’s values are zeroed need"
            " the pool; the others live in the dense blocks, and losing or keeping them says little"
            " about which rows are chosen."
        )
        if study.best
        else ""
    )
    return text + method_tables(
        study,
        "F1 lost, of the known facts that need the pool and of those that do not",
        (
            (
                "F1 with the pool zeroed, untaught",
                lambda runs: number_spread(end_spread(runs, "known_f1_pool_zeroed")),
            ),
            (
                "need the pool",
                lambda runs: percent_spread(end_spread(runs, "memory_forgetting_percent")),
            ),
            ("do not", lambda runs: percent_spread(end_spread(runs, "other_forgetting_percent"))),
            ("all", lambda runs: percent_spread(end_spread(runs, "forgetting_percent"))),
        ),
    )


def at_first(runs: list[Run], column: str) -> Optional[Spread]:
    """At the first checkpoint after something was taught."""
    return fr.spread(
        next((row[column] for row in run.checkpoints if row["items_done"] > 0), None)
        for run in runs
    )


def section_cost(study: Study) -> str:
    def mean(value, show: Callable[[float], str]) -> Callable[[list[Run]], str]:
        return lambda runs: "–" if (found := end_spread(runs, value)) is None else show(found.mean)

    text = (
        paragraph(
            "Bytes changed: after the first checkpoint, and after the whole stream; full finetuning"
            " and LoRA change everything they may change with the first lesson. Peak memory is that"
            " of the process."
        )
        if study.best
        else ""
    )
    return (
        method_tables(
            study,
            "what one lesson costs (learning only, without the probes)",
            (
                ("seconds a lesson", mean(per_item("seconds"), amount)),
                ("steps a lesson", mean(per_item("steps"), amount)),
                (
                    "bytes changed, early",
                    lambda runs: (
                        f"{size(at_first(runs, 'bytes_changed'))} after"
                        f" {at_first(runs, 'items_done').mean:.0f}"
                    ),
                ),
                (
                    "bytes changed, in all",
                    lambda runs: (
                        f"{size(end_spread(runs, 'bytes_changed'))} after {runs[0].items_total:.0f}"
                    ),
                ),
                ("peak memory", mean("peak_mb", lambda value: f"{amount(value)} MB")),
            ),
        )
        + text
    )


# ---- 9 and 10: settings, commands, notes --------------------------------------------------------


def setting_rows(runs: Sequence[Run]) -> list[list[str]]:
    rows = []
    for method in METHODS:
        groups = fr.by([run for run in runs if run.method == method], "setting")
        means = {
            setting: (end_spread(group, "learning"), end_spread(group, "forgetting_percent"))
            for setting, group in groups.items()
        }
        best = fr.pareto((x.mean, y.mean) for x, y in means.values())
        rows += [
            [
                SHORT[method],
                setting,
                "frontier" if (x.mean, y.mean) in best else "",
                number_spread(x),
                percent_spread(y),
                str(y.n),
            ]
            for setting, (x, y) in means.items()
        ]
    return rows


def settings_details(study: Study, task: str, purpose: str, title: str) -> str:
    runs = fr.pick(study.runs, purpose=purpose, task=task, model="atlas")
    if not runs:
        return ""
    count = len({(run.method, run.setting) for run in runs})
    body = table(
        title,
        ["method", "setting", "", "learning", "F1 lost", "seeds"],
        setting_rows(runs),
        text=(0, 1, 2),
    )
    return (
        f"<details><summary>{title}: {count} settings, {len(runs)} runs</summary>{body}</details>\n"
    )


def section_settings(study: Study) -> str:
    out = [
        settings_details(study, task, purpose, f"{task}, {words}")
        for task in TASKS
        for purpose, words in (
            ("sweep", "tried on the facts for choosing"),
            ("final", "reported on other facts"),
        )
    ]
    chosen = [
        [task, SHORT[method], study.best[task][method].setting]
        for task in study.best
        for method in study.methods(task)
    ]
    nearest = (
        table("The settings chosen", ["task", "method", "setting"], chosen, text=(0, 1, 2))
        if chosen
        else ""
    )
    commands = "\n".join(f"{command:<37} # {words}" for command, words in COMMANDS)
    return (
        nearest
        + ("".join(out) or missing("no finished run of a sweep"))
        + f'<pre tabindex="0">{esc(commands)}</pre>\n'
    )


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


def print_headline(study: Study) -> None:
    if not study.best:
        print("no finished run with purpose final, model atlas, set report: nothing to compare yet")
        return
    print(
        f"{'task':<10} {'method':<28} {'knows':<8} {'learning':>13} {'known F1 lost':>14}"
        f" {'the half':>14} {'the rest':>14} {'seeds':>5}"
    )
    for task, rows in study.rows.items():
        for row in rows:
            print(
                f"{task:<10} {NAMES[row.method]:<28} {row.knows or '-':<8}"
                f" {number_spread(row.learning):>13} {percent_spread(row.lost):>14}"
                f" {percent_spread(row.half):>14} {percent_spread(row.rest):>14} {row.seeds:>5} "
                f" {row.setting}"
            )
    for target in study.targets():
        print(
            f"{ {True: 'met', False: 'MISSED', None: 'open'}[target.met]:<7} {target.task}:"
            f" {target.text} ({target.why})"
        )


def summary(study: Study) -> str:
    """summary.csv"""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fr.SUMMARY_COLUMNS)
    writer.writerows(fr.summary_rows(study.rows))
    return text.getvalue()


def picture(study: Study) -> str:
    """The README's."""
    tasks = study.plotted()
    fig = frontier_figure(study, tasks, 9.6 if len(tasks) > 1 else 5.2)
    return svg_standalone(fig, " ".join(frontier_label(study, task) for task in tasks))
