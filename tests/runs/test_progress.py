"""Progress: a bar on a terminal, a line now and then in a log."""

import io
import re

import pytest

from synthzoo.runs import progress
from synthzoo.runs.progress import progress_bar


class Terminal(io.StringIO):
    """What says of itself that it is a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def go_through(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> str:
    """Show the progress of three steps on a stream; return what is there then."""
    monkeypatch.setattr("sys.stderr", stream)
    for _ in progress_bar(range(3), desc="train", unit="step", total=3):
        pass
    return stream.getvalue()


def test_a_log_gets_whole_lines(monkeypatch: pytest.MonkeyPatch):
    """Each tells how far it is, for readers of a file: no carriage returns."""
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    written = go_through(monkeypatch, io.StringIO())
    lines = written.splitlines()
    assert lines[-1].startswith("train: 3 of 3 steps (100 %), ")
    assert all(
        re.fullmatch(
            r"train: \d of 3 steps \(\d+ %\), \d\d:\d\d so far, [\d:?]+ to go", line
        )
        for line in lines
    )
    assert "\r" not in written


def test_a_log_tells_the_errors_of_an_epoch_when_its_line_is_due(
    monkeypatch: pytest.MonkeyPatch,
):
    """What is shown beside a bar stands at the end of the line."""
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    with progress_bar(desc="generate", unit="job") as bar:
        bar.set_postfix_str("epoch 3", refresh=False)
        bar.update(2)
    assert "generate: 2 jobs, 00:00 so far, epoch 3" in stream.getvalue()


def test_a_symbol_of_a_unit_has_no_plural(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(progress, "LOG_EVERY_S", 0.0)
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    with progress_bar(desc="md", unit="fs", total=20.0) as bar:
        bar.update(10)
    assert "md: 10 of 20.0 fs (50 %)" in stream.getvalue()


def test_what_ends_soon_leaves_no_line(monkeypatch: pytest.MonkeyPatch):
    """Logs of many short commands stay short."""
    assert go_through(monkeypatch, io.StringIO()) == ""


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch):
    """It moves in its place."""
    assert "\rtrain: 100%|" in go_through(monkeypatch, Terminal())
