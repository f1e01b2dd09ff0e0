"""Try many mutated inputs of each kind, and say what came of them.

    python -m benchmarks.fuzzing 10000

divides that number among the kinds of `tests.fuzzing`, fewer to the slower ones. An
input that ends in anything but an error of ours or a right answer is written to
``failures/`` with its traceback.
"""

from __future__ import annotations

import math
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import click
from hypothesis import given

from tests.conftest import write_tiny_checkpoint
from tests.fuzzing import Target, outcome, steady, targets

SHOWN = 3
"""Examples of each failure that are written."""


@click.command()
@click.argument("count", type=click.IntRange(min=1), default=10_000)
@click.option("--only", multiple=True, help="Kind of input; may be repeated.")
@click.option("--failures", type=click.Path(path_type=Path), default=Path("failures"))
def main(count: int, only: tuple[str, ...], failures: Path) -> None:
    """Try COUNT mutated inputs."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_tiny_checkpoint(folder / "tiny")
        chosen = {
            name: target
            for name, target in targets(folder / "tiny").items()
            if not only or name in only
        }
        for name, target in chosen.items():
            share = target.examples / sum(each.examples for each in chosen.values())
            _try(name, target, math.ceil(count * share), folder, failures)


def _try(name: str, target: Target, count: int, folder: Path, failures: Path) -> None:
    """Run one kind and print a line about it."""
    found: Counter[str] = Counter()
    seconds: list[float] = []

    @steady(count)
    @given(target.inputs)
    def run(content: bytes) -> None:
        start = time.perf_counter()
        try:
            found[outcome(target, content, folder)] += 1
        except Exception as error:  # noqa: BLE001  that is what is looked for
            found["FAILED"] += 1
            last = traceback.extract_tb(error.__traceback__)[-1]
            kind = f"{type(error).__name__} in {last.name}"
            if found[kind] < SHOWN:
                failures.mkdir(exist_ok=True)
                stem = f"{name}-{found['FAILED']}"
                (failures / stem).write_bytes(content)
                text = "".join(traceback.format_exception(error))
                (failures / f"{stem}.txt").write_text(text)
            found[kind] += 1
        seconds.append(time.perf_counter() - start)

    Path("/proc/self/clear_refs").write_text("5")  # forget the largest memory so far
    run()
    click.echo(
        f"{name:12} {len(seconds):6d} tried, {dict(found)}, slowest "
        f"{max(seconds):.2f} s, all {sum(seconds):.0f} s, "
        f"largest memory {_largest_gib():.2f} GiB"
    )


def _largest_gib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**20


if __name__ == "__main__":
    main()
