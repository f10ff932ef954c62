"""Numbers as people read them: two significant digits, units, and never a probability alone."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from stress.stages import Seconds

NBSP = "\N{NO-BREAK SPACE}"
DASH = "–"

_NAME = re.compile(r"(?:(.+)\.)?([^.\[]+)(?:\[([0-9]+)\])?")
_SCALES = ((1e12, "tn"), (1e9, "bn"), (1e6, "M"), (1e3, "k"))
_MONEY = {"insurance_fund", "vault_equity", "pool_equity", "above"}
_AXIS_WORDS = {
    "maintenance_to_initial_ratio": "maintenance ÷ initial margin",
    "leverage_cap": "leverage cap",
    "oracle_delay": "oracle delay",
    "margin_mode": "margin mode",
    "permanent": "permanent share of impact",
}


def significant(value: float, digits: int = 2) -> str:
    """Return a number to `digits` significant digits, without exponent, with thousands separators."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))  # 0.0996 rounds up to 0.10
    return f"{rounded:,.{max(decimals, 0)}f}"


def stated(fraction: float) -> str:
    """Return a fraction that someone chose as a percentage, with the digits it was given: 0.01 → 1 %."""
    return f"{100 * fraction:.10g}{NBSP}%"


def span(seconds: float) -> str:
    """Return a duration as people say it: 60 s, 24 h, 90 min."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds % length == 0 and seconds >= 1000:
            return f"{seconds / length:g}{NBSP}{unit}"
    return f"{seconds:g}{NBSP}s"


def how_often(share: float) -> str:
    """Return a share of days without a percentage, which would read like another risk: about 1 day in 220."""
    if share >= 0.1:
        return f"about {round(100 * share)} days in 100"
    return f"about 1 day in {round(float(f'{1 / share:.2g}')):,}"


def percent(fraction: float, *, unit: bool = True, more: int = 0) -> str:
    """Return a fraction as a percentage: 0.00236 → 0.24 %, 0.123 → 12.3 %, 0.9988 → 99.88 %; `more` digits on request."""
    value = 100 * fraction
    text = "100" if value == 100 else significant(value, _digits(value) + more)
    return f"{text}{NBSP}%" if unit else text


def _digits(value: float) -> int:
    return 4 if value > 99.5 else 3 if abs(value) >= 10 else 2


def probability(
    events: int, paths: int, estimate: float, low: float, high: float, exact: tuple[float, float], more: int = 0
) -> str:
    """Return an estimate with its interval, or the exact bound where nothing (or everything) happened.

    `low` and `high` are the Wilson interval, `exact` the Clopper–Pearson one; with no event, or with
    nothing but events, the estimate itself says nothing and only the bound is printed.
    """
    if events == 0:
        return f"<{NBSP}{percent(exact[1])} (0 of {paths:,} paths)"
    if events == paths:
        return f">{NBSP}{percent(exact[0])} ({events:,} of {paths:,} paths)"
    return f"{percent(estimate, more=more)} ({percent(low, unit=False)}{DASH}{percent(high)})"


def points(low: float, value: float, high: float, more: int = 0) -> str:
    """Return a difference of probabilities in percentage points with its interval."""
    return "{} points ({} to {})".format(*point_parts(low, value, high, more))


def point_parts(low: float, value: float, high: float, more: int = 0) -> tuple[str, ...]:
    """Return value, low and high in percentage points, with the digits that the interval supports, the value with `more`."""
    decimals = _point_decimals(low, high)
    shown = ((value, decimals + more), (low, decimals), (high, decimals))
    return tuple(f"{100 * x:+.{digits}f}".replace("-", "−") for x, digits in shown)


def _point_decimals(low: float, high: float) -> int:
    return max(0, 1 - math.floor(math.log10(max(50 * (high - low), 1e-9))))


def digits_that_add_up(before: float, after: float, low: float, value: float, high: float) -> int:
    """Return how many digits more it takes until `after` less `before`, as printed, is the change as printed.

    1.17 % and 19.92 % are 18.75 points apart; rounded by themselves they would read 1.2 %, 19.9 % and 18.8.
    """
    decimals = _point_decimals(low, high)
    for more in range(5):
        first, last = (float(percent(part, unit=False, more=more)) for part in (before, after))
        if round(last - first, decimals + more) == round(100 * value, decimals + more):
            return more
    return 0


def usd(value: float) -> str:
    """Return money: 1234567 → 1.23 M USD."""
    return f"{_scaled(value)}{NBSP}USD" if math.isfinite(value) else "unlimited" if value > 0 else "not available"


def rounded_usd(value: float) -> str:
    """Return money for the tick of an axis: no trailing zeros."""
    return re.sub(r"(\.\d*?)0+(?=\D|$)", r"\1", usd(value)).replace(f".{NBSP}", NBSP)


def _scaled(value: float) -> str:
    size = abs(value)
    if 0 < size < 0.01:
        return "<0.01"  # the rounding dust of a ledger is no amount
    for scale, suffix in _SCALES:
        if size >= 0.9995 * scale:
            text = f"{significant(size / scale, 3)}{NBSP}{suffix}"
            break
    else:
        text = significant(size, 3) if size >= 1 else significant(size)
    return f"{'−' if value < 0 else ''}{text}"


def usd_interval(mean: float, standard_error: float) -> str:
    """Return a mean with its normal 95 % interval, or the mean alone where there is no spread to show."""
    if not standard_error > 0 or abs(mean) < 0.01:
        return usd(mean)
    half = 1.959963984540054 * standard_error
    low = max(mean - half, 0.0) if mean >= 0 else mean - half
    return f"{usd(mean)} ({_scaled(low)}{DASH}{_scaled(mean + half)})"


def signed_usd(value: float) -> str:
    """Return a change of money, its sign always shown."""
    return f"{'+' if value > 0 else ''}{usd(value)}"


def signed_usd_bounds(value: float, low: float, high: float) -> str:
    """Return a change of money with its bounds, or alone where there are none."""
    if not math.isfinite(low):
        return signed_usd(value) if math.isfinite(value) else "failed"
    return f"{signed_usd(value)} ({'+' if low > 0 else ''}{_scaled(low)} to {'+' if high > 0 else ''}{_scaled(high)})"


def usd_bounds(value: float, low: float, high: float) -> str:
    """Return an amount with its bounds."""
    return f"{usd(value)} ({_scaled(low)}{DASH}{_scaled(high)})" if math.isfinite(value) else "not available"


def per_million(value: float) -> str:
    """Return a loss per USD of open interest as USD per million USD of open interest."""
    return f"{usd(1e6 * value)} per M{NBSP}USD"


def axis_field(name: str) -> str:
    """Return the parameter that an axis sets: `BTC.leverage_cap[1]` sets leverage_cap."""
    return _NAME.fullmatch(name)[2]  # type: ignore[index]


def axis_label(name: str) -> str:
    """Return the words for an axis; `BTC.leverage_cap` becomes `BTC leverage cap`."""
    place, field, tier = _NAME.fullmatch(name).groups()  # type: ignore[union-attr]
    words = _AXIS_WORDS.get(field, field.replace("_", " "))
    return f"{place + ' ' if place else ''}{words}{f' (tier {tier})' if tier else ''}"


def axis_value(name: str, value: object) -> str:
    """Return one value of an axis with its unit: 40x, 60s, 0.5, a name."""
    field = axis_field(name)
    if isinstance(value, Seconds):
        return span(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}x" if field == "leverage_cap" else usd(value) if field in _MONEY else f"{value:g}"
    return str(value)


def utc(moment: datetime) -> str:
    """Return a moment as 2025-10-10 21:13 UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
