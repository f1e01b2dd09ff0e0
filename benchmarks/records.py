"""The record of a script that measures much: a line of JSON for each run that is done.

Scripts that use it can be stopped and started again: what is on record is not measured
again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def run_missing(
    record: Path, runs: Iterable[Line], measure: Callable[[Line], Line]
) -> list[Line]:
    """Measure the runs that are not on record yet; return all lines of the record.

    A line holds what names its run, and what `measure` returns for that.
    """
    lines = _read(record)
    for run in runs:
        if any(run.items() <= line.items() for line in lines):
            continue
        line = run | measure(run)
        with record.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)  # noqa: T201
        lines.append(line)
    return lines


def _read(record: Path) -> list[Line]:
    if not record.is_file():
        return []
    texts = record.read_text(encoding="utf-8").splitlines()
    return [json.loads(text) for text in texts]
