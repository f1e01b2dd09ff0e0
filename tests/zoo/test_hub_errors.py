"""Errors of the client that no server can be made to provoke (see `test_hub.py`)."""

from __future__ import annotations

import errno

import pytest

from synthzoo.errors import HubError
from synthzoo.zoo.hub_errors import explain, may_pass, one_clear_error


class XetAuthenticationError(PermissionError):
    """What the client's other transport raises, without a number."""


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            XetAuthenticationError("404 for xet-write-token"),
            "404 for xet-write-token. If this hub has no Xet storage, set HF_HUB_DISAB",
        ),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory"),
            "zoo/tiny cannot be kept in the cache ",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            "No space left for zoo/tiny in the cache ",
        ),
        (ValueError("odd\nanswer"), ": odd answer."),
        (RuntimeError(), ": RuntimeError."),
        (ValueError("x" * 999), f"{'x' * 297}..."),
    ],
)
def test_an_unusual_error_is_still_one_sentence(error: Exception, message: str):
    """The library's own words are passed on where we have none."""
    text = explain(error, "zoo/tiny", "main")
    assert message in text
    assert "\n" not in text


def test_the_reason_inside_a_wrapper_is_what_counts():
    """The client wraps the error of an upload thread in another one."""
    reason = OSError(errno.ENOSPC, "No space left on device")
    wrapper = RuntimeError("Error while uploading")
    wrapper.__cause__ = reason
    assert explain(wrapper, "a/b", "main") == explain(reason, "a/b", "main")


def test_the_cause_is_kept():
    """A developer still finds the client's own error."""
    with pytest.raises(HubError) as caught, one_clear_error("a/b", "main"):
        raise ValueError("odd")
    assert isinstance(caught.value.__cause__, ValueError)


def test_our_own_errors_pass_through_unchanged():
    """An error that is clear already is not wrapped again."""
    with (
        pytest.raises(HubError, match=r"^already clear$"),
        one_clear_error("a/b", "main"),
    ):
        raise HubError("already clear")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("Consistency check failed"), True),
        (OSError(errno.ENOSPC, "No space left on device"), False),
        (PermissionError("no"), False),
        (FileNotFoundError("asked often enough"), False),
    ],
)
def test_only_what_may_pass_is_tried_again(error: Exception, expected: bool):  # noqa: FBT001
    """A full disk does not empty itself in seconds."""
    assert may_pass(error) is expected
