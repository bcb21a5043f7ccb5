"""page: what both worlds' parts of the report are made of: tables, figures, paragraphs, the style,
the whole document."""

from __future__ import annotations

import html
import re
from typing import Iterable, Sequence

esc = html.escape
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
    return (
        f'<figure class="table">{f"<figcaption>{caption}</figcaption>" if caption else ""}'
        '<div class="scroll" role="region" tabindex="0"'
        f' aria-label="{esc(re.sub("<[^>]*>", "", caption) or "table")}">'
        f"<table>{inner}</table></div></figure>\n"
    )


def table(
    caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], text: Sequence[int] = (0,)
) -> str:
    """The first column names the row; text: the columns that are words."""
    rows = list(rows)
    classes = [column_class([row[i] for row in rows], i in text) for i in range(len(header))]
    head = "".join(
        f'<th scope="col"{f" class={LEFT}" if name else ""}>{esc(title)}</th>'
        for title, name in zip(header, classes)
    )
    body = [
        "<tr>"
        + "".join(cell(value, "th" if i == 0 else "td", classes[i]) for i, value in enumerate(row))
        + "</tr>"
        for row in rows
    ]
    return scrolling(
        f"<thead><tr>{head}</tr></thead>\n<tbody>" + "\n".join(body) + "</tbody>", caption
    )


def paragraph(text: str, classes: str = "") -> str:
    return f'<p class="{classes}">{text}</p>\n' if classes else f"<p>{text}</p>\n"


def missing(text: str) -> str:
    return paragraph(f"Left out: {esc(text)}.", "missing")


def figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>\n"


def side_by_side(figures: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(figures)}</div>\n' if figures else ""


def listed(items: Iterable[str]) -> str:
    lines = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{lines}</ul>\n" if lines else ""


STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1c1e; --soft: #5b6167; --line: #d5d9dd;
  --shade: #f4f6f7;
  --full: #d55e00; --full-replay: #b07700; --lora: #0072b2; --lora-replay: #3d93c4; --values:
    #b3608f; --sparse: #009e73; --link: #0060a0; }
@media screen and (prefers-color-scheme: dark) {
  :root { --paper: #15181b; --ink: #e4e7ea; --soft: #a3abb3; --line: #3a4147; --shade: #1f2428;
    --full: #f07d2e; --full-replay: #e6b04d; --lora: #56a0e9; --lora-replay: #8fd0f5; --values:
      #dd9cc2; --sparse: #1bbf92; --link: #7cc4f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem clamp(.75rem, 3vw, 2rem) 3rem; max-width: 72rem; background:
  var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: clamp(1.5rem, 4.5vw, 2.1rem); line-height: 1.2; margin: 1rem 0 .5rem; text-wrap:
  balance; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 .6rem; padding-top: .8rem; border-top: 1px solid
  var(--line); }
h1.part { margin-top: 3.5rem; font-size: 1.6rem; }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 46rem; } p.lead { font-size: 1.12rem; } p.missing { color: var(--soft);
  font-style: italic; }
a { color: var(--link); } li { margin: .35rem 0; } ul { padding-left: 1.3rem; }
nav ol { columns: 15rem; padding-left: 1.9rem; margin: .5rem 0; } nav li { margin: .1rem 0; }
.scroll { overflow-x: auto; } .scroll:focus-visible, pre:focus-visible { outline: 2px solid
  var(--link); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .93rem; }
th, td { padding: .35rem .65rem; text-align: right; border-bottom: 1px solid var(--line);
  vertical-align: top; white-space: nowrap; }
th:first-child, td:first-child { padding-left: .2rem; } th { font-weight: 600; } tbody th {
  font-weight: 500; }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; white-space: normal; }
th.text, td.text { text-align: left; white-space: normal; } th.wide, td.wide { min-width: 11rem; }
.swatch { width: .8em; height: .8em; } .verdict, .name { white-space: nowrap; }
svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure { margin: 1rem 0; } figure > svg { display: block; width: 100%; max-width: 36rem; height:
  auto; overflow: visible; }
figcaption { font-size: .88rem; color: var(--soft); max-width: 36rem; margin-top: .3rem; }
figure.table { margin: 1rem 0 1.4rem; } .table figcaption { max-width: 46rem; margin: 0 0 .3rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr));
  gap: .5rem 2.5rem; align-items: start; }
details { margin: .6rem 0; } summary { cursor: pointer; padding: .2rem 0; }
pre { background: var(--shade); padding: .8rem 1rem; overflow-x: auto; font-size: .88rem;
  border-radius: .3rem; }
code { font-size: .92em; background: var(--shade); padding: .05em .3em; border-radius: .2rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .88rem; }
@media (max-width: 30rem) { table { font-size: .85rem; } th, td { padding: .3rem .45rem; } .more {
  display: none; } }
@page { size: A4; margin: 15mm; }
@media print { html { font-size: 9.5pt; } body { max-width: none; padding: 0; } nav { display:
  none; }
  h2, h3, summary { break-after: avoid; }
  figure, tr, pre { break-inside: avoid; } figure.table { break-inside: auto; } .table figcaption
    { break-after: avoid; }
  .scroll, pre { overflow: visible; } pre { white-space: pre-wrap; } table { font-size: 8pt; }
  h1 { font-size: 17pt; } h2 { font-size: 13pt; margin-top: 1.2rem; } p.lead { font-size: 10.5pt;
    } p, li { max-width: none; }
  th, td { padding: .2rem .4rem; } .pair { grid-template-columns: 1fr 1fr; gap: .5rem 1.2rem; }
  details::details-content { content-visibility: visible; display: block; } thead { display:
    table-header-group; } }

"""


Section = tuple[str, str, str]  # anchor, heading, body


def part(title: str, intro: str, sections: Sequence[Section], first: int) -> str:
    """One of the page's parts; its sections are numbered from `first`."""
    body = "".join(
        f'<section aria-labelledby="{anchor}"><h2 id="{anchor}">{i}. {heading}</h2>\n'
        f"{text}</section>\n"
        for i, (anchor, heading, text) in enumerate(sections, first)
    )
    return f'<h1 class="part">{title}</h1>\n{intro}{body}'


def contents(title: str, sections: Sequence[Section], first: int) -> str:
    links = "".join(
        f'<li><a href="#{anchor}">{heading}</a></li>' for anchor, heading, _ in sections
    )
    return f'<p>{title}</p><ol start="{first}">{links}</ol>'


def document(title: str, header: str, nav: str, main: str, footer: str) -> str:
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{STYLE}</style>
</head>
<body>
<header>{header}</header>
<nav aria-label="Contents">{nav}</nav>
<main>
{main}</main>
<footer>{footer}</footer>
</body>
</html>
"""
