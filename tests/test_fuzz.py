"""Whatever comes in: an error of ours or a right answer, soon and in little memory."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given

from tests.fuzzing import KINDS, bounded, outcome, steady, targets

QUICK_MIN = 0.1
THOROUGH_MIN = float(os.environ.get("SYNTHZOO_FUZZ", "1"))
"""How long the examples of all kinds together may take, in minutes of one core."""

RARELY_ACCEPTED = {"commands", "reference"}
"""Few examples, and names of what is not there."""


@pytest.mark.parametrize(
    "minutes",
    [QUICK_MIN, pytest.param(THOROUGH_MIN, marks=pytest.mark.thorough)],
    ids=["few", "many"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_no_input_ends_in_a_traceback(
    kind: str, minutes: float, tiny_checkpoint: Path, tmp_path: Path
):
    """Nor in a hang over 10 s, nor in more than 2 GB; and not all is refused."""
    target = targets(tiny_checkpoint)[kind]
    (tmp_path / "tiny").symlink_to(tiny_checkpoint)
    found = set()

    @steady(max(1, round(minutes * target.examples)))
    @given(target.inputs)
    def each(content: bytes) -> None:
        found.add(outcome(target, content, tmp_path))

    each()
    assert found
    if minutes == THOROUGH_MIN:  # a few examples need not be of both kinds
        assert "refused" in found
        assert "accepted" in found or kind in RARELY_ACCEPTED


def test_the_bounds_are_real():
    """What waits, or asks for more memory than there is for it, does not pass."""
    with pytest.raises(TimeoutError, match="no answer"), bounded(limit_s=0.1):
        time.sleep(5.0)
    with pytest.raises(MemoryError), bounded():
        bytearray(3 * 2**30)
