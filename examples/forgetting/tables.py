"""tables: a table as values, as HTML for the page and as Markdown between the markers of a text
that is written by hand:

    <!-- made of real.csv: NAME -->
    ...
    <!-- end -->
"""
from __future__ import annotations

import re
from typing import NamedTuple, Sequence

import page

MARKED = re.compile(r"(<!-- made of real\.csv: ([\w-]+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


class BadMarkers(Exception):
    """A text whose markers name what nobody makes, or that do not close."""


class Table(NamedTuple):
    """Cells are plain text; the first column names the row; text: the columns that are words."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text: Sequence[int] = (0,)

    def html(self) -> str:
        rows = [[f"<span>{page.esc(cell)}</span>" if cell.startswith("<") else cell for cell in row]
                for row in self.rows]
        return page.table(page.esc(self.caption), self.header, rows, self.text)

    def markdown(self) -> str:
        """
        >>> print(Table("Two", ["a", "b"], [["x|y", "1"]]).markdown())
        Two
        <BLANKLINE>
        | a | b |
        |---|--:|
        | x\\|y | 1 |
        <BLANKLINE>
        """
        rule = "|" + "|".join("---" if i in self.text else "--:" for i in range(len(self.header)))
        return "\n".join([self.caption, "", markdown_line(self.header), rule + "|",
                          *map(markdown_line, self.rows), ""])


def markdown_line(cells: Sequence[str]) -> str:
    """One line of one: what would end a cell, or start a tag, is escaped."""
    safe = (cell.replace("|", r"\|").replace("<", "&lt;").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(safe)} |"


def fill(text: str, blocks: dict[str, str], where: str) -> str:
    """The text with each marked part replaced; its other words stay as they are.

    >>> fill("a\\n<!-- made of real.csv: x -->\\nold\\n<!-- end -->\\nb", {"x": "new\\n"}, "")
    'a\\n<!-- made of real.csv: x -->\\nnew\\n<!-- end -->\\nb'
    """
    marked = MARKED.findall(text)
    if len(marked) != text.count("<!-- made of real.csv:") or len(marked) != text.count(
            "<!-- end -->"):
        raise BadMarkers(f"{where}: expected each <!-- made of real.csv: NAME --> to have its own "
                         "<!-- end -->")
    for _, name, _, _ in marked:
        if name not in blocks:
            raise BadMarkers(f"{where}: expected one of {', '.join(blocks)}, got {name!r}")
    return MARKED.sub(lambda found: f"{found[1]}{blocks[found[2]]}{found[4]}", text)
