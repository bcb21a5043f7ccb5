"""amounts: numbers as the pages show them.  Owns digits, signs and units."""

from __future__ import annotations

from typing import Optional, Sequence

from frontier import Spread, percent


def percent_spread(value: Optional[Spread]) -> str:
    """Mean ± standard deviation, as many digits for both; a small deviation may ask for one more."""
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
