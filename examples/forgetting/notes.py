"""notes: from the Markdown of results/notes.md to HTML."""

from __future__ import annotations

import re
from typing import Sequence

from page import LEFT, cell, esc, listed, missing, paragraph, scrolling


def inline_markdown(text: str) -> str:
    """`code`, **bold**, *emphasis* and [links](https://...); everything else as it stands."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(
        (
            f"<code>{esc(part[1:-1])}</code>"
            if part.startswith("`") and len(part) > 2
            else inline_plain(part)
        )
        for part in parts
    )


def inline_plain(text: str) -> str:
    text = esc(text)
    text = re.sub(r"\[([^\]]+)\]\((https?://[^)\s]+)\)", r'<a href="\2">\1</a>', text)
    text = re.sub(r"\*\*(\S(?:.*?\S)?)\*\*", r"<strong>\1</strong>", text)
    return re.sub(r"(?<![*\w])\*(\S(?:[^*]*\S)?)\*(?![*\w])", r"<em>\1</em>", text)


def markdown_table(lines: Sequence[str]) -> str:
    rows = [
        [inline_markdown(part.strip()) for part in line.strip().strip("|").split("|")]
        for line in lines
    ]
    rows = [row for row in rows if not all(re.fullmatch(r":?-+:?", part) for part in row)]
    wrap = [[f"<span>{part}</span>" for part in row] for row in rows]
    head = "".join(f'<th scope="col" class="{LEFT}">{part}</th>' for part in rows[0])
    body = "".join(
        "<tr>"
        + "".join(cell(part, "th" if i == 0 else "td", LEFT) for i, part in enumerate(row))
        + "</tr>"
        for row in wrap[1:]
    )
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
            out += [
                markdown_block(block.strip("\n").split("\n"))
                for block in re.split(r"\n\s*\n", part)
                if block.strip()
            ]
    return "".join(out)


def section_notes(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError):
        text = ""
    text = re.sub(
        r"\A\s*#+ [^\n]*did not work[^\n]*\n", "", text, flags=re.IGNORECASE
    )  # the section has that heading already
    return markdown(text) if text.strip() else missing("no results/notes.md")
