"""study: the first world's runs as its pages need them: all rows of runs.csv, and what is computed
from them once; the methods' names."""

from __future__ import annotations

from dataclasses import dataclass, field

import frontier as fr
from frontier import METHODS, TASKS, Row, Run

NAMES = {
    "full": "full finetuning",
    "full-replay": "full finetuning with replay",
    "lora": "LoRA",
    "lora-replay": "LoRA with replay",
    "values": "the pool’s values alone",
    "sparse": "sparse memory finetuning",
}
SHORT = {
    "full": "full",
    "full-replay": "full, replay",
    "lora": "LoRA",
    "lora-replay": "LoRA, replay",
    "values": "values",
    "sparse": "sparse",
}


@dataclass
class Study:
    """All runs, and what is computed from them once."""

    runs: list[Run]
    rows: dict[str, list[Row]] = field(default_factory=dict)  # task -> every reported setting
    best: dict[str, dict[str, Row]] = field(
        default_factory=dict
    )  # task -> method -> the setting chosen for it

    def __post_init__(self) -> None:
        for task in TASKS:
            reported = fr.pick(
                self.runs, purpose=("final", "other"), task=task, model="atlas", set="report"
            )
            reported = [run for run in reported if run.method in METHODS]
            if reported:
                self.rows[task] = fr.rows_of(reported)
                finals = fr.rows_of(run for run in reported if run.purpose == "final")
                self.best[task] = {
                    row.method: row for row in sorted(finals, key=lambda row: row.seeds)
                }

    def tried(self, task: str) -> list[Run]:
        """The settings tried on the facts for choosing."""
        return [
            run
            for run in fr.pick(self.runs, purpose="sweep", task=task, model="atlas")
            if run.method in METHODS
        ]

    def plotted(self) -> list[str]:
        return [task for task in TASKS if self.rows.get(task) or self.tried(task)]

    def methods(self, task: str) -> list[str]:
        return [method for method in METHODS if method in self.best.get(task, {})]

    def stream(self, method: str) -> list[Run]:
        runs = fr.pick(self.runs, purpose="stream", task="facts", method=method, model="atlas")
        return fr.stream_setting(
            runs, self.best["facts"][method].setting if method in self.methods("facts") else ""
        )

    def targets(self) -> list[fr.Target]:
        return fr.targets(self.best, self.stream("sparse"))
