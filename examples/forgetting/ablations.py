"""ablations: the section on one factor at a time, and on selection rule or sparsity."""

from __future__ import annotations

import math
import re
from typing import Sequence

import frontier as fr
from amounts import joined, number_spread, percent_spread
from frontier import TASKS, Run, end_spread, percent
from page import esc, figure, missing, paragraph, side_by_side, table
from plots import bars_figure, svg_inline
from study import Study

RULE_WORDS = {
    "all": "every read row",
    "random": "random read rows",
    "tf": "tf",
    "kl": "kl",
    "tfidf": "tfidf",
}
LABEL_COLUMNS = (
    "model",
    "rule",
    "optimizer",
    "t",
    "rows",
    "lr",
    "max_steps",
    "loss_below",
    "weight_decay",
    "rank",
    "alpha",
)


def label_value(column: str, value, bare: bool) -> str:
    text = value if isinstance(value, str) else "–" if value is None else f"{value:g}"
    return text if bare or isinstance(value, str) else f"{column} {text}"


def ablation_labels(factor: str, groups: Sequence[list[Run]]) -> list[str]:
    """What tells the groups apart, in as few words as possible: the factor's own column first,
    the whole setting last."""
    columns = ([factor] if factor in fr.TEXT_COLUMNS + fr.NUMBER_COLUMNS else []) + [
        name for name in LABEL_COLUMNS if name != factor
    ]
    parts: list[list[str]] = [[] for _ in groups]
    for column in columns:
        values = [getattr(group[0], column) for group in groups]
        if len(set(values)) > 1:
            for part, value in zip(parts, values):
                part.append(label_value(column, value, column == factor))
        labels = [", ".join(part) for part in parts]
        if len(set(labels)) == len(labels) and all(labels):
            return labels
    settings = [
        ([group[0].model] if len({g[0].model for g in groups}) > 1 else [])
        + group[0].setting.split(", ")
        for group in groups
    ]
    common = set.intersection(*(set(words) for words in settings))
    return [
        ", ".join(word for word in words if word not in common) or "as it stands"
        for words in settings
    ]


def ablation_order(group: list[Run], factor: str) -> tuple:
    """Numbers upwards; rules in one order for each optimizer; anything else as it came."""
    run = group[0]
    if factor in fr.NUMBER_COLUMNS:
        return getattr(run, factor) is None, getattr(run, factor) or 0
    rules = list(RULE_WORDS)
    return (
        (run.optimizer == "adamw", rules.index(run.rule) if run.rule in rules else len(rules))
        if factor == "rule"
        else (0, 0)
    )


def ablation_block(task: str, factor: str, runs: Sequence[Run]) -> tuple[str, list[list[str]]]:
    """(figure, table rows) of one factor."""
    groups = sorted(
        fr.by(runs, "model", "setting").values(), key=lambda group: ablation_order(group, factor)
    )
    labels = ablation_labels(factor, groups)
    learning, loss = [end_spread(group, "learning") for group in groups], [
        end_spread(group, "forgetting_percent") for group in groups
    ]
    rows = [
        [factor, task, label, number_spread(x), percent_spread(y), str(y.n)]
        for label, x, y in zip(labels, learning, loss)
    ]
    words = joined(
        [
            f"{label}: {x.mean:.2f} and {percent(y.mean)}"
            for label, x, y in zip(labels, learning, loss)
        ]
    )
    name = re.sub(r"\W+", "-", f"ablation-{task}-{factor}")
    plot = svg_inline(
        bars_figure(labels, learning, loss),
        name,
        f"{factor} on {task}, learning and known F1 lost: {words}.",
    )
    return figure(plot, f"<strong>{esc(factor)}</strong>, {task}"), rows


def rule_groups(runs: Sequence[Run], task: str) -> dict[str, dict[str, list[Run]]]:
    """factor ("rule", "rule, undamped", ...) -> rule -> runs; of several settings of a rule, the
    one that learns most."""
    chosen = [
        run for run in fr.pick(runs, purpose="ablation", task=task) if run.factor.startswith("rule")
    ]
    found: dict[str, dict[str, list[Run]]] = {}
    for (factor, rule), group in fr.by(chosen, "factor", "rule").items():
        if rule:
            found.setdefault(factor, {})[rule] = max(
                fr.by(group, "setting").values(), key=lambda one: end_spread(one, "learning").mean
            )
    return found


def difference(ours: list[Run], theirs: list[Run], column: str) -> tuple[float, float]:
    """(difference of the means, spread of the seeds in it)."""
    a, b = end_spread(ours, column), end_spread(theirs, column)
    return a.mean - b.mean, math.hypot(a.std or 0, b.std or 0)


def verdict(ours: list[Run], theirs: list[Run], name: str) -> str:
    """Takes the spread of the seeds seriously: what lies within it is no difference."""
    learning, loss = difference(ours, theirs, "learning"), difference(
        ours, theirs, "forgetting_percent"
    )
    marks = [
        0 if abs(value) <= noise else math.copysign(1, value * better)
        for (value, noise), better in ((learning, 1), (loss, -1))
    ]
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
            learning, loss = end_spread(rules[rule], "learning"), end_spread(
                rules[rule], "forgetting_percent"
            )
            gain = verdict(ours, rules[rule], "tfidf") if ours and rule != "tfidf" else "–"
            rows.append([name, number_spread(learning), percent_spread(loss), str(loss.n), gain])
    caption = f"{task}, {esc(factor)}: which of the read rows are trained"
    header = ["rows trained", "learning", "F1 lost", "seeds", "tfidf against it"]
    return table(caption, header, rows, text=(0, 4)) + sparsity_share(study, task, rules)


def sparsity_share(study: Study, task: str, rules: dict[str, list[Run]]) -> str:
    """How much of the way from full finetuning to tfidf is there already with every read row
    trained."""
    if not {"all", "tfidf"} <= set(rules) or "full" not in study.methods(task):
        return ""
    full = study.best[task]["full"]
    if {run.items_total for run in rules["all"] + rules["tfidf"]} != {
        run.items_total for run in full.runs
    }:
        return paragraph(
            "These streams are not as long as the headline’s, so full finetuning’s loss is not set"
            " beside them."
        )
    every, best = (
        end_spread(rules["all"], "forgetting_percent").mean,
        end_spread(rules["tfidf"], "forgetting_percent").mean,
    )
    whole = full.lost.mean - best
    start = f"Full finetuning loses {percent(full.lost.mean)} at learning {full.learning.mean:.2f}"
    if whole <= 0:
        return paragraph(f"{start}, no more than tfidf here: there is nothing to share out.")
    share = 100 * (full.lost.mean - every) / whole
    return paragraph(
        f"{start}: of the {whole:.1f} points between it and tfidf, <strong>{percent(share)} are"
        " there already when every read row of the memory is trained</strong> (sparsity),"
        f" {percent(100 - share)} come from choosing among them (the rule)."
    )


def rule_paragraphs(study: Study) -> str:
    answers = [
        rule_answer(study, task, factor, rules)
        for task in TASKS
        for factor, rules in rule_groups(study.runs, task).items()
    ]
    if not answers:
        return missing(
            "no finished ablation run with factor rule, so selection rule or sparsity stays open"
        )
    return "<h3>Selection rule or sparsity?</h3>\n" + "".join(answers)


def section_ablations(study: Study) -> str:
    runs = fr.pick(study.runs, purpose="ablation")
    if not runs:
        return missing("no finished run with purpose ablation")
    blocks = [
        ablation_block(task, factor, group)
        for task in TASKS
        for factor, group in fr.by([run for run in runs if run.task == task], "factor").items()
        if len(fr.by(group, "model", "setting")) > 1
    ]
    rows = [row for _, lines in blocks for row in lines]
    header = ["factor", "task", "value", "learning", "F1 lost", "seeds"]
    return (
        paragraph(
            "One factor at a time, everything else as for the long streams: damping 7e-5, until"
            " loss 0.1, TF-IDF, 350 rows a fact, SGD."
        )
        + side_by_side([plot for plot, _ in blocks])
        + rule_paragraphs(study)
        + table("Ablations: mean ± standard deviation over seeds", header, rows, text=(0, 1, 2))
    )
