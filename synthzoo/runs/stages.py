"""Several stages in one folder: what decides their results, and how long each took."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from synthzoo.errors import InputError
from synthzoo.runs.files import new_file
from synthzoo.runs.provenance import installed_versions


class StageRecord:
    """A file with what decides the results in its folder, and times.

    What nothing is there of yet may be changed; if there is nothing at all in the end,
    folder and file go, too.

    ``path``: of the file; its folder is made.
    ``manifest``: what decides the results, by name.
    ``kind``: what the names are, for messages.
    ``is_begun``: whether anything is there that one of these names has decided.
    ``seconds``: what each stage took; if it was interrupted, its last part.
    """

    def __init__(
        self,
        path: Path,
        manifest: Mapping[str, Any],
        *,
        kind: str,
        is_begun: Callable[[str], bool],
    ) -> None:
        self._path, self._kind, self._is_begun = path, kind, is_begun
        self._manifest = json.loads(json.dumps(manifest))
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> StageRecord:
        if self._path.is_file():
            record = json.loads(self._path.read_text())
            self._compare(record["recipe"])
            self.seconds = record["seconds"]
        self._path.parent.mkdir(exist_ok=True)
        self._write()
        return self

    def __exit__(self, *_: object) -> None:
        if not any(map(self._is_begun, self._manifest)):
            self._path.unlink()
            with suppress(OSError):
                self._path.parent.rmdir()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how long a block takes, if it comes to its end."""
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 1)
        self._write()

    def _compare(self, found: Mapping[str, Any]) -> None:
        changed = [
            name
            for name, value in self._manifest.items()
            if found.get(name) != value and self._is_begun(name)
        ]
        if changed:
            raise InputError(
                f"{self._path.parent} was begun with another {self._kind} "
                f"{', '.join(changed)}. "
                "Choose another folder, or remove this one to start again."
            )

    def _write(self) -> None:
        values = {
            "recipe": self._manifest,
            "seconds": self.seconds,
            "versions": installed_versions(),
        }
        with new_file(self._path) as partial:
            partial.write_text(json.dumps(values, indent=1))
