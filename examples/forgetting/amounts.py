"""amounts: numbers as the pages show them.  Owns digits, signs and units."""

from __future__ import annotations

from typing import Optional, Sequence

from frontier import Spread, percent


def percent_spread(value: Optional[Spread]) -> str:
    """Mean ± standard deviation, as many digits for both; a small one may ask for one more."""
    if value is None or value.std is None:
        return "–" if value is None else percent(value.mean)
    digits = max(
        len(percent(value.mean).partition(".")[2]) - 1,
        2 if value.std < 0.05 and abs(value.mean) < 9.95 else 0,
        0,
    )
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
    return (
        words[0]
        if len(words) == 1
        else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""
    )


def between(low: Optional[float], high: Optional[float], digits: int, unit: str = "") -> str:
    """An interval in brackets, nothing where there is none.

    >>> between(0.5, 0.75, 2), between(-1.5, 2, 1, "%"), between(None, None, 2)
    (' (0.50–0.75)', ' (−1.5 to 2.0%)', '')
    """
    if low is None or high is None:
        return ""
    to = " to " if low < 0 else "–"
    return f" ({low:.{digits}f}{to}{high:.{digits}f}{unit})".replace("-", "−")


def share(found) -> str:
    """A real_rows.Interval of a share, or None; what lies between two digits goes up."""
    if found is None:
        return "–"
    return f"{found.mean + 1e-9:.2f}{between(found.low, found.high, 2)}"


def lost(found) -> str:
    """The same as a percentage."""
    if found is None:
        return "–"
    low, high = (None if end is None else 100 * end for end in (found.low, found.high))
    return percent(100 * found.mean) + between(low, high, 1, "%")


def nats(found) -> str:
    """A change of nats a token, or a divergence."""
    if found is None:
        return "–"
    sign = "+" if found.mean >= 0.00005 else ""
    return f"{sign}{found.mean:.4f}".replace("-0.0000", "0.0000").replace("-", "−") + between(
        found.low, found.high, 4)


def measured(found) -> str:
    """Seconds, steps, kilobytes."""
    return "–" if found is None else amount(found.mean) + between(found.low, found.high, 1)


def counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
