"""What the figures of all reports share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE = "#1f5fa8"
ORANGE = "#d9730d"
GREEN = "#2e8b57"
DARK_GREY = "#5b6470"
QUIET_COLOUR = "#8a8f98"
"""Of what helps to read a figure: zero lines, remarks."""


def tidy(axes: Axes) -> None:
    """Draw a light grid behind the data, and no frame above or to the right.

    Parameters
    ----------
    axes
        Panel of a figure.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="0.92")
    axes.set_axisbelow(True)
