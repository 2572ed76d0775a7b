"""Axes and legends that all pictures share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from augcompress.evidence import decimal_text
from augcompress.report.pictures import INK


def epoch_axis(axis: Any) -> None:
    """Whole numbers."""
    axis.set_major_locator(MaxNLocator(integer=True, nbins=6))


def percent_axis(axis: Any) -> None:
    """Fractions as percent."""
    axis.set_major_locator(MaxNLocator(nbins=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: decimal_text(100 * value)))


def log_axis(axis: Any, tick: Callable[[float], str]) -> None:
    """Ticks at 1, 2 and 5, or at powers of ten where many fit; call it once all is drawn."""
    low, high = axis.get_view_interval()
    wide = low > 0 and high / low > 60
    axis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_formatter(NullFormatter())


def legend(axes: Axes, place: Any, *, reverse: bool = False) -> None:
    """Without a frame; `reverse`: what was drawn last stands first."""
    axes.legend(
        loc=place,
        reverse=reverse,
        frameon=False,
        handlelength=2.4,
        labelcolor=INK,
        borderaxespad=0.2,
    )
