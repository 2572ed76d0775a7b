"""Matplotlib figures as SVG that follows the page's theme, the same bytes for the same data."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

INK, FAINT, GRID, PAPER = "#010101", "#020202", "#030303", "#040404"
"""Placeholders: each becomes a variable of the style sheet."""
SHIPPED, TEACHER, FLOAT = "#050505", "#060606", "#070707"
COLOURS = {"shipped": SHIPPED, "teacher": TEACHER, "float": FLOAT}
"""One colour a role, the same everywhere on the page."""
MARKERS = {"shipped": "o", "teacher": "s", "float": "^"}
"""And one shape, for those who see no colours."""

_VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--line",
    PAPER: "--card",
    SHIPPED: "--shipped",
    TEACHER: "--teacher",
    FLOAT: "--float",
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9.5,
    "axes.edgecolor": GRID,
    "axes.facecolor": "none",
    "axes.labelcolor": FAINT,
    "axes.labelsize": 9.5,
    "axes.linewidth": 1.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "lines.linewidth": 1.8,
}
_NO_DATE = {"Date": None, "Creator": None, "Format": None, "Type": None}
_INCH = 72.0
WIDTH, HEIGHT = 340, 256
"""Of a picture, in CSS pixels on a phone; on a wide page it is scaled up."""


@dataclass(frozen=True)
class Picture:
    """A picture and what it says in words."""

    svg: Markup
    alt: str


def draw_picture(name: str, alt: str, plot: Callable[[Axes], None]) -> Picture:
    """A figure; `plot` draws on its only axes.

    `name` is unique on the page: the elements' ids start with it.
    """
    with _style(name):
        figure = Figure(figsize=(WIDTH / _INCH, HEIGHT / _INCH), layout="constrained")
        FigureCanvasSVG(figure)
        plot(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=_NO_DATE)
    return Picture(Markup(_themed(file.getvalue(), name, alt)), alt)


@contextmanager
def _style(name: str) -> Iterator[None]:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # not what the user's matplotlibrc says
        matplotlib.rcParams.update(_STYLE | {"svg.hashsalt": name})
        yield


def _themed(text: str, name: str, alt: str) -> str:
    """The drawing alone, its colours as variables, its ids its own."""
    body = text[text.index("<svg") :]
    box = re.search(r'viewBox="[^"]*"', body)
    inside = body[body.index(">") + 1 :]
    inside = re.sub(r"<metadata>.*?</metadata>", "", inside, flags=re.DOTALL)
    inside = re.sub(r'\bid="', f'id="{name}-', inside)
    inside = inside.replace("url(#", f"url(#{name}-").replace('xlink:href="#', f'href="#{name}-')
    inside = re.sub(r"<style.*?</style>", "", inside, flags=re.DOTALL)  # it would style the page
    inside = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", inside)
    inside = re.sub(r"(font: [^;\"]*?[\d.]+px) [^;\"]*", r"\1 var(--sans)", inside)
    for colour, variable in _VARIABLES.items():
        inside = inside.replace(colour, f"var({variable})")
    inside = re.sub(r"\n\s*", "\n", inside)
    head = f'<svg {box[0] if box else ""} role="img" aria-label="{escape(alt)}" class="picture">'
    return head + inside.strip()
