"""What the figures of all reports share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
