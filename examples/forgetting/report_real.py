"""report_real: the report's second part, on a real model: its sections, and the same tables for
results/real.md.  Owns their words; every number in them is computed in real_rows.py."""
from __future__ import annotations

from typing import Callable, Iterable, NamedTuple, Optional, Sequence

import amounts
import real_rows as rr
from page import Section, esc, figure, listed, missing, paragraph, side_by_side
from real_rows import Setting
from scatter import Look, Mark, scatter
from tables import Table

INTRO = """<p>A memory is grafted onto SmolLM2-135M-Instruct (<code>docs/graft.md</code>), facts
that it answers wrongly are taught one after another, and what it answered rightly before is asked
again, in its own chat template (<code>real/README.md</code>). An answer is right where an accepted
alias occurs in its first 20 greedy tokens. Settings are chosen on facts that are not the report’s.
“Known” are questions that the base answers rightly; half of them are in the counts of the graft,
and in what is replayed, the other half is “never counted”. In brackets: 95% intervals, over draws
(Student’s) where there are three that differ, else Wilson’s over what was asked; what has no number
of questions in its row has none.</p>
"""
NONE = "results/real.csv has no row yet"
ALONE = "no other method than slots has a row on the same facts"
ONE_FACTOR = {
    "rows": "rows a fact",
    "steps": "the length of a step, wordings a step, the loss to reach",
    "restraint": "what background reads is held back, and which rows are chosen",
    "blocks": "the blocks that carry memory",
    "background": "what is to be kept",
    "combined": "what was best in each",
    "graft": "how the memory is made",
}
PLANS = {
    **ONE_FACTOR,
    "combined": "what was best in each",
    "tune": "restraint again, on thirty other facts in sequence",
    "dense": "full finetuning, LoRA and the grafted blocks’ FFN, with and without replay",
    "peers": "the methods of the field",
    "report": "the report’s facts, from one question each",
    "many": "the report’s facts, from nineteen wordings each",
    "stream": "all of the report’s facts in sequence",
    "peers-report": "the field on the report’s facts, from one question each",
    "peers-many": "the field on the report’s facts, from nineteen wordings each",
}
WORDINGS = {"one": "one question", "many": "nineteen wordings"}
LOOKS = {
    "slots": Look("slots on the graft", "var(--sparse)", "circle"),
    "full": Look("full finetuning", "var(--full)", "square"),
    "full-replay": Look("full, replay", "var(--full-replay)", "square"),
    "lora": Look("LoRA", "var(--lora)", "up"),
    "lora-replay": Look("LoRA, replay", "var(--lora-replay)", "up"),
    "ffn": Look("FFN alone", "var(--values)", "diamond"),
    "ffn-replay": Look("FFN alone, replay", "var(--link)", "diamond"),
    "ewc": Look("EWC", "var(--lora)", "down"),
    "ewc-replay": Look("EWC, replay", "var(--lora-replay)", "down"),
    "memit": Look("MEMIT", "var(--full)", "cross"),
    "alphaedit": Look("AlphaEdit", "var(--full-replay)", "cross"),
    "grace": Look("GRACE", "var(--values)", "down"),
    "retrieval": Look("retrieval by TF-IDF", "var(--soft)", "bar"),
    "retrieval-states": Look("retrieval by states", "var(--link)", "bar"),
}
MEASURES = {"taught": "the taught question", "free": "free wordings",
            "never_lost": "never counted, lost", "counted_lost": "counted, lost",
            "known_same": "known texts", "near_same": "neighbours’ texts", "spill": "spill",
            "prose_more": "prose", "seconds": "seconds", "kilobytes": "kilobytes"}
METHODS = {"dense": ("full", "lora", "ffn"),
           "peers": ("ewc", "memit", "alphaedit", "grace", "retrieval", "retrieval-states")}


class World:
    """All rows, and the settings that they are of."""

    def __init__(self, rows: Sequence[rr.Row]) -> None:
        self.rows = list(rows)
        self.settings = rr.settings_of(rows)

    def plans(self) -> list[str]:
        """Those that have rows, in the order of PLANS; what nobody knows comes last."""
        found = list(dict.fromkeys(one.plan for one in self.settings))
        return [*(plan for plan in PLANS if plan in found),
                *(plan for plan in found if plan not in PLANS)]

    def of(self, plan: str) -> list[Setting]:
        """With the setting that everything starts from where one factor at a time is changed."""
        own = [one for one in self.settings if one.plan == plan]
        start = [one for one in self.settings if plan in ONE_FACTOR and one.plan != plan
                 and (one.method, one.facts, one.setting) == ("slots", "choose", "start")]
        return start + own


def look(series: str) -> Look:
    return LOOKS.get(series) or Look(series, "currentColor", "square")


def facts_of(one: Setting) -> str:
    words = {"choose": f"{one.n} facts for choosing", "tune": f"{one.n} others for choosing",
             "stream": f"{one.n} facts in sequence",
             "report": f"{one.n} facts × {amounts.counted(len(one.rows), 'draw')}"}
    facts = words.get(one.facts, f"{one.n} facts, {one.facts}")
    return f"{facts}, {WORDINGS.get(one.wordings, one.wordings)}"


# ---- tables of settings -------------------------------------------------------------------------

class Column(NamedTuple):
    title: str
    name: str  # of a measure
    words: Callable[[Optional[rr.Interval]], str] = amounts.share

    def cells(self, settings: Sequence[Setting]) -> list[str]:
        """With the number that was asked in the title, where it is one for all."""
        asked = {one.asked(self.name) for one in settings if one.measure(self.name)} - {None}
        title = f"{self.title} ({asked.pop():.0f})" if len(asked) == 1 else self.title
        return [title, *(self.words(one.measure(self.name)) for one in settings)]


LEARNT = (Column("taught question", "taught"), Column("PopQA’s alone", "plain"),
          Column("free wordings", "free"), Column("natural questions", "natural"),
          Column("lost, never counted", "never_lost", amounts.lost),
          Column("lost, counted", "counted_lost", amounts.lost), Column("token F1", "taught_f1"),
          Column("done", "learnt"), Column("steps", "steps", amounts.measured),
          Column("seconds a fact", "seconds", amounts.measured),
          Column("of a core", "cpu", amounts.measured),
          Column("kilobytes a fact", "kilobytes", amounts.measured),
          Column("peak, MB", "peak_mb", amounts.measured))
KEPT = (Column("same text: never counted", "never_same"), Column("counted", "counted_same"),
        Column("same relation", "relation_same"), Column("same subject", "subject_same"),
        Column("spill", "spill", amounts.lost), Column("prose, nats", "prose_more", amounts.nats),
        Column("chats, nats", "chats_more", amounts.nats),
        Column("glosses, nats", "glosses_more", amounts.nats),
        Column("KL, nats", "kl", lambda found: amounts.nats(found).lstrip("+")))
WHAT = (("learnt and lost", LEARNT), ("what else changed", KEPT))


def setting_table(caption: str, settings: Sequence[Setting], columns: Sequence[Column],
                  facts: Sequence[str]) -> Table:
    """A setting a row; columns in which nothing was measured are left out, and what is taught
    stands in the caption where it is the same in all rows."""
    names = [["setting", *(one.setting for one in settings)]]
    if any(one.series != "slots" for one in settings):
        names.insert(0, ["method", *(look(one.series).name for one in settings)])
    if len(set(facts)) > 1:
        names.append(["facts", *facts])
    else:
        caption += f"; {facts[0]}"
    every = [one.cells(settings) for one in columns]
    header, *rows = zip(*names, *(cells for cells in every if set(cells[1:]) != {"–"}))
    return Table(caption, header, rows, range(len(names)))


def plan_caption(plan: str, what: str) -> str:
    return f"{plan}{f' ({PLANS[plan]})' if plan in PLANS else ''}: {what}"


def plan_tables(world: World, plan: str) -> list[Table]:
    settings = world.of(plan)
    return [setting_table(plan_caption(plan, what), settings, columns, [*map(facts_of, settings)])
            for what, columns in WHAT]


def draw_tables(world: World, plan: str) -> list[Table]:
    """A draw a row, where there is more than one."""
    alone = [one._replace(rows=[row]) for one in world.of(plan) if len(one.rows) > 1
             for row in one.rows]
    draws = [one.rows[0]["facts"] for one in alone]
    return [setting_table(plan_caption(plan, f"{what}, draw by draw"), alone, columns, draws)
            for what, columns in WHAT if alone]


def section_plans(world: World) -> str:
    out = []
    for plan in world.plans():
        draws = "".join(table.html() for table in draw_tables(world, plan))
        out.append("".join(table.html() for table in plan_tables(world, plan)))
        out.append(f"<details><summary>{esc(plan)}, draw by draw</summary>{draws}</details>\n"
                   if draws else "")
    return paragraph(
        "In a column’s title: how many were asked. “Done”: of the facts, what the learner itself "
        "says is learnt. “Same text”: the share of answers whose tokens are unchanged; spill: "
        "neighbours that now get a taught answer; nats: what a token costs more than before; "
        "KL: of the next token over prose, to the base.") + "".join(out)


# ---- targets ------------------------------------------------------------------------------------

SHOW = {"never_lost": amounts.lost, "counted_lost": amounts.lost, "prose_more": amounts.nats,
        "seconds": amounts.measured}


def limit_words(wanted: rr.Wanted, size: int) -> str:
    limit = wanted.limits[rr.SIZES.index(size)]
    number = {amounts.lost: f"{100 * limit:g}%", amounts.nats: f"+{limit:g}",
              amounts.measured: f"{limit:g}"}.get(SHOW.get(wanted.measure), f"{limit:.2f}")
    return f"{'≥' if wanted.at_least else '≤'} {number}"


def show(wanted: rr.Wanted, verdict: Optional[rr.Verdict]) -> str:
    return "–" if verdict is None else SHOW.get(wanted.measure, amounts.share)(verdict.found)


def verdict_words(verdict: Optional[rr.Verdict]) -> str:
    if verdict is None:
        return "not measured"
    if verdict.met is None:
        return "open: on one core"
    return ("✓ met" if verdict.met else "✗ missed") + (
        ", limit within the interval" if verdict.crosses else "")


def at_size(world: World, wanted: rr.Wanted, size: int, wordings: str) -> str:
    """The limit, and what is there of it."""
    found = [rr.judge(wanted, size, one) for one in rr.slots_at(world.settings, size, wordings)]
    words = [f"{show(wanted, one)} {verdict_words(one)}" for one in found if one]
    return f"{limit_words(wanted, size)}: {'; '.join(words) or 'not measured'}"


def in_sequence(world: World, wanted: rr.Wanted, wordings: str) -> str:
    """Sequences of other lengths, beside the limit of the next longer one."""
    words = []
    for one in rr.reported(world.settings):
        longer = [size for size in rr.SIZES if size > one.n]
        if (one.facts, one.method, one.wordings) == ("stream", "slots", wordings) and longer and (
                one.n not in rr.SIZES):
            verdict = rr.judge(wanted, longer[0], one)
            words.append(f"{one.n}: {show(wanted, verdict)}; that of {longer[0]}: "
                         f"{verdict_words(verdict)}")
    return "; ".join(words) or "–"


def judged(world: World) -> list[tuple[rr.Wanted, str, Optional[Setting], Optional[rr.Verdict]]]:
    """Each target at the report's size, for every setting that the report has rows of."""
    size = rr.SIZES[0]
    return [(wanted, wordings, one, one and rr.judge(wanted, size, one))
            for wanted in rr.WANTED for wordings in wanted.wordings
            for one in rr.slots_at(world.settings, size, wordings) or [None]]


def target_row(world: World, wanted: rr.Wanted, wordings: str, one: Optional[Setting],
               verdict: Optional[rr.Verdict]) -> list[str]:
    size = rr.SIZES[0]
    few = "" if one is None or len(one.rows) >= rr.DRAWS else (
        f", {len(one.rows)} of {rr.DRAWS} draws")
    return [wanted.text, WORDINGS[wordings] + (f": {one.setting}" if one else ""),
            limit_words(wanted, size), show(wanted, verdict) + few, verdict_words(verdict),
            in_sequence(world, wanted, wordings),
            *(at_size(world, wanted, more, wordings) for more in rr.SIZES[1:])]


def target_table(world: World) -> Table:
    first, *others = rr.SIZES
    header = ["target", "taught from", f"at {first} facts", "measured", "", "in sequence",
              *(f"at {size:,} facts" for size in others)]
    return Table("The targets, set before measuring, beside the report’s rows: means over draws",
                 header, [target_row(world, *one) for one in judged(world)], range(len(header)))


# ---- sentences ----------------------------------------------------------------------------------


def verdict_counts(world: World) -> str:
    verdicts = [verdict for *_, verdict in judged(world)]
    met = sum(one is not None and one.met is True for one in verdicts)
    gone = [f"{wanted.text} ({WORDINGS[wordings]})" for wanted, wordings, _, one in judged(world)
            if one is not None and one.met is False]
    open_ones = sum(one is None or one.met is None for one in verdicts)
    text = f"Of {len(verdicts)} rows of the targets at {rr.SIZES[0]} facts {met} are met"
    text += f", {len(gone)} missed: {'; '.join(gone)}" if gone else ", none is missed"
    return f"{text}; {open_ones} not measured."


def result_words(one: Setting) -> str:
    return (f"{facts_of(one)} ({look(one.series).name}; {one.setting}): free wordings "
            f"{amounts.share(one.measure('free'))}, the taught question "
            f"{amounts.share(one.measure('taught'))}, lost of what was never counted "
            f"{amounts.lost(one.measure('never_lost'))}.")


def headline(world: World) -> str:
    """One paragraph of plain text."""
    if not world.rows:
        return f"{NONE}."
    told = rr.reported(world.settings)
    words = [f"{amounts.counted(len(world.rows), 'row')}, "
             f"{amounts.counted(len(world.settings), 'setting')}."]
    words += map(result_words, told)
    words += [verdict_counts(world)] if told else ["The report’s facts are not taught yet."]
    return " ".join(words)


def lacking(world: World) -> list[str]:
    """What there is no row of."""
    there = {one.plan for one in world.settings}
    words = [f"{plan}: {PLANS[plan]}" for plan in PLANS if plan not in there]
    for one in world.settings:
        if one.facts == "report" and len(one.rows) < rr.DRAWS:
            words.append(f"{one.plan}, {look(one.series).name}, {one.setting}: "
                         f"{len(one.rows)} of {rr.DRAWS} draws")
    series = {one.series.removesuffix("-replay") for one in world.settings}
    words += [f"{plan}: no row of {look(name).name}" for plan, names in METHODS.items()
              if plan in there for name in names if name not in series]
    words += [f"{size:,} facts" for size in rr.SIZES[1:]
              if not any(rr.slots_at(world.settings, size, one) for one in rr.BOTH)]
    words += ["seconds on two cores: every row had one"] if all(
        rr.cores(one) < rr.TWO_CORES for one in world.settings) else []
    return words


# ---- methods side by side -----------------------------------------------------------------------


def better_words(one: Setting, other: Setting) -> str:
    found = [MEASURES[name] + ("*" if apart else "") for name, apart in rr.better(one, other)]
    return "; ".join(found) or "nothing"


def contest_table(contest: rr.Contest) -> Table:
    columns = [(title, name, SHOW.get(name, amounts.share)) for name, title in MEASURES.items()]
    formats = {"spill": amounts.lost, "kilobytes": amounts.measured}
    ours, rows = contest.best[0], []
    for one in contest.best:
        against = ["–", "–"]
        if one is not ours:
            against = [better_words(one, ours), better_words(ours, one)]
        rows.append([look(one.series).name, one.setting, str(contest.tried[one.series]),
                     *(formats.get(name, form)(one.measure(name)) for _, name, form in columns),
                     *against])
    header = ["method", "setting", "tried", *(title for title, _, _ in columns),
              "better than slots in", "slots are better in"]
    return Table(f"Methods side by side: {facts_of(ours)}", header, rows,
                 (0, 1, len(header) - 2, len(header) - 1))


def contest_words() -> str:
    return (f"Each method with the setting that was reported on other facts; where none was, of "
            f"those whose free wordings reach {rr.FLOOR:.2f} the one that loses least of what was "
            "never counted, where none does the one that learns most. * the 95% intervals lie "
            "apart.")


def section_methods(world: World) -> str:
    found = rr.contests(world.settings)
    if not found:
        return missing(ALONE)
    return paragraph(contest_words()) + "".join(contest_table(one).html() for one in found)


# ---- plots --------------------------------------------------------------------------------------


def mark(one: Setting, name: str) -> Optional[Mark]:
    learnt, lost = one.measure(name), one.measure("never_lost")
    if learnt is None or lost is None:
        return None
    words = (f"{look(one.series).name}, {one.setting}, {facts_of(one)}: {amounts.share(learnt)} "
             f"learnt, {amounts.lost(lost)} lost")
    return Mark(learnt.mean, (learnt.low, learnt.high), lost.mean, (lost.low, lost.high),
                one.series, words)


def plot(settings: Iterable[Setting], name: str, x_label: str, title: str) -> str:
    marks = [one for one in (mark(setting, name) for setting in settings) if one]
    if not marks:
        return ""
    series = [*LOOKS, *(one.series for one in marks)]
    words = " ".join(f"{one.words}." for one in marks)
    label = f"{title}: {x_label} against known answers lost. {words}"
    svg = scatter(marks, {name: look(name) for name in series}, x_label,
                  "known answers lost, never counted", label)
    return figure(svg, f"<strong>{esc(title)}.</strong> {esc(x_label)}. Right and down is better.")


def section_plots(world: World) -> str:
    groups = (("facts for choosing", [one for one in world.settings if one.facts in rr.CHOOSING]),
              ("facts of the report", [one for one in world.settings if one.facts not in rr.CHOOSING]))
    axes = (("free", "learning: free wordings that were never taught"),
            ("taught", "learning: the fact’s own question"))
    out = side_by_side([one for title, settings in groups for name, words in axes
                        if (one := plot(settings, name, words, title))])
    if not out:
        return missing("no row with both what is learnt and what is lost")
    return out + paragraph("A mark is a setting, with its 95% intervals; pointed at, it says "
                           "which. The vertical axis is logarithmic above 1%, linear below.")


# ---- the part, and real.md ----------------------------------------------------------------------


def sections(world: World) -> list[Section]:
    if not world.rows:
        return [("real-rows", "What is learnt and what is lost", missing(NONE))]
    return [
        ("real-rows", "What is learnt and what is lost",
         paragraph(esc(headline(world)), "lead") + target_table(world).html()),
        ("real-frontier", "Learning against loss", section_plots(world)),
        ("real-methods", "Methods side by side", section_methods(world)),
        ("real-plans", "Setting by setting", section_plans(world)),
        ("real-missing", "What is not measured",
         listed(map(esc, lacking(world))) or paragraph("Nothing that was planned.")),
    ]


def blocks(world: World) -> dict[str, str]:
    """What real.md takes between its markers."""
    if not world.rows:
        return {**dict.fromkeys(("targets", "methods", "plans", "missing"), ""),
                "summary": f"{NONE}.\n"}
    found = rr.contests(world.settings)
    methods = "\n".join([contest_words() + "\n", *(contest_table(one).markdown() for one in found)])
    return {
        "summary": headline(world) + "\n",
        "targets": target_table(world).markdown(),
        "methods": methods if found else f"{ALONE[0].upper()}{ALONE[1:]}.\n",
        "plans": "\n".join(table.markdown() for plan in world.plans()
                           for table in plan_tables(world, plan)),
        "missing": "".join(f"- {one}\n" for one in lacking(world)) or "Nothing that was planned.\n",
    }
