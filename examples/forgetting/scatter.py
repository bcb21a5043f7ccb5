"""scatter: what is learnt against what is lost, as an SVG that is made by hand: marks with bars of
their intervals, an axis of shares and one of percentages, a legend.  Colours are the page's."""
from __future__ import annotations

import math
from typing import Callable, NamedTuple, Optional, Sequence

from page import esc

WIDTH, LEFT, RIGHT, TOP, HEIGHT = 374, 46, 366, 10, 250
LOSS_TICKS = (0, 1, 2, 5, 10, 20, 50, 100)
LINEAR = 0.6  # the length from 0 to 1%, in decades
FONT = 'font-family="system-ui, sans-serif" font-size="11"'


class Mark(NamedTuple):
    """Shares; low and high are None where there is no interval."""

    x: float
    x_ends: tuple[Optional[float], Optional[float]]
    y: float
    y_ends: tuple[Optional[float], Optional[float]]
    series: str
    words: str  # shown where the mark is pointed at


class Look(NamedTuple):
    """Of a series: its name in the legend, a colour, a shape of SHAPES."""

    name: str
    color: str
    shape: str


SHAPES: dict[str, Callable[[float, float], str]] = {
    "circle": lambda x, y: f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.4"/>',
    "square": lambda x, y: f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>',
    "up": lambda x, y: polygon(x, y, ((0, -5), (5, 4), (-5, 4))),
    "down": lambda x, y: polygon(x, y, ((0, 5), (5, -4), (-5, -4))),
    "diamond": lambda x, y: polygon(x, y, ((0, -5.5), (5.5, 0), (0, 5.5), (-5.5, 0))),
    "cross": lambda x, y: polygon(x, y, ((-1.7, -5), (1.7, -5), (1.7, -1.7), (5, -1.7), (5, 1.7),
                                         (1.7, 1.7), (1.7, 5), (-1.7, 5), (-1.7, 1.7), (-5, 1.7),
                                         (-5, -1.7), (-1.7, -1.7))),
    "bar": lambda x, y: f'<rect x="{x - 5:.1f}" y="{y - 1.8:.1f}" width="10" height="3.6"/>',
}


def polygon(x: float, y: float, points: Sequence[tuple[float, float]]) -> str:
    return f'<path d="M{"L".join(f"{x + dx:.1f} {y + dy:.1f}" for dx, dy in points)}Z"/>'


class Axes(NamedTuple):
    """From shares to places; y is linear to 1%, then logarithmic, as in the first world."""

    x_low: float
    y_high: float  # percent

    def x(self, share: float) -> float:
        return LEFT + (RIGHT - LEFT) * (share - self.x_low) / (1.02 - self.x_low)

    def y(self, percent: float) -> float:
        """0 lies a little above the axis."""
        return TOP + (HEIGHT - 10) * (1 - stretched(percent) / stretched(self.y_high))


def stretched(percent: float) -> float:
    """
    >>> stretched(0), stretched(1), stretched(100)
    (0.0, 0.6, 2.6)
    """
    return LINEAR * percent if percent <= 1 else LINEAR + math.log10(percent)


def axes_of(marks: Sequence[Mark]) -> Axes:
    ends = [end for mark in marks for end in (mark.x, *mark.x_ends) if end is not None]
    highest = max(end for mark in marks for end in (mark.y, *mark.y_ends) if end is not None)
    return Axes(max(-0.02, math.floor(min(ends) * 10) / 10 - 0.02),
                min(115.0, max(2.2, 135 * highest)))


def line(x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{more}/>'


def text(x: float, y: float, words: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{esc(words)}</text>'


def grid(axes: Axes, x_label: str, y_label: str) -> str:
    bottom, out = TOP + HEIGHT, []
    shares = [i / 10 for i in range(11) if i / 10 >= axes.x_low]
    shares = shares if len(shares) < 8 else shares[::2]
    losses = [tick for tick in LOSS_TICKS if tick <= axes.y_high]
    for share in shares:
        out += [line(axes.x(share), TOP, axes.x(share), bottom),
                text(axes.x(share), bottom + 15, f"{share:.1f}", more=' stroke="none"')]
    for loss in losses:
        out += [line(LEFT, axes.y(loss), RIGHT, axes.y(loss)),
                text(LEFT - 6, axes.y(loss) + 4, f"{loss}%", "end", ' stroke="none"')]
    middle = TOP + HEIGHT / 2
    turned = f' transform="rotate(-90 11 {middle:.1f})"'
    lines = "".join(one for one in out if one.startswith("<line"))
    words = "".join(one for one in out if one.startswith("<text"))
    return (f'<g stroke="currentColor" stroke-opacity=".16">{lines}</g>'
            f'<g stroke="currentColor">{line(LEFT, bottom, RIGHT, bottom)}'
            f'{line(LEFT, TOP, LEFT, bottom)}</g><g fill="currentColor">{words}'
            f'{text((LEFT + RIGHT) / 2, bottom + 32, x_label)}'
            f'{text(11, middle, y_label, more=turned)}</g>')


def drawn(mark: Mark, axes: Axes, look: Look) -> str:
    x, y, bars = axes.x(mark.x), axes.y(100 * mark.y), ""
    if None not in mark.x_ends:
        bars += line(axes.x(mark.x_ends[0]), y, axes.x(mark.x_ends[1]), y)
    if None not in mark.y_ends:
        bars += line(x, axes.y(100 * mark.y_ends[0]), x, axes.y(100 * mark.y_ends[1]))
    return (f'<g fill="{look.color}"><title>{esc(mark.words)}</title>'
            f'<g stroke="{look.color}" stroke-opacity=".35">{bars}</g>'
            f'<g fill-opacity=".85">{SHAPES[look.shape](x, y)}</g></g>')


def legend(looks: Sequence[Look], top: float) -> str:
    """Two columns."""
    out = []
    for i, look in enumerate(looks):
        x, y = LEFT + 165 * (i % 2), top + 18 * (i // 2)
        out.append(f'<g fill="{look.color}">{SHAPES[look.shape](x, y - 4)}</g>'
                   f'<g fill="currentColor">{text(x + 11, y, look.name, "start")}</g>')
    return "".join(out)


def scatter(marks: Sequence[Mark], looks: dict[str, Look], x_label: str, y_label: str,
            label: str) -> str:
    """What the legend names is in the order of looks."""
    axes, shown = axes_of(marks), {mark.series for mark in marks}
    named = [look for series, look in looks.items() if series in shown]
    top = TOP + HEIGHT + 56
    height = top + 18 * ((len(named) + 1) // 2 - 1) + 8
    body = "".join(drawn(mark, axes, looks[mark.series]) for mark in marks)
    return (f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{esc(label)}" {FONT}>'
            f"{grid(axes, x_label, y_label)}{body}{legend(named, top)}</svg>")
