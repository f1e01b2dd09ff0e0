"""The whole run, or a part of it, is killed: no label is lost, doubled or changed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from synthzoo.data.structures import write_structures
from tests.faulty_calculators import FAULTY, copper

HERE = Path(__file__).parents[1]
SEED = 5
AT_RANDOM = 5
STRUCTURES = 300
FEW_STRUCTURES = 48
CHILDREN = 3
RUN = """
import sys
from pathlib import Path
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.labelling.relabel import relabel_file
recipe = RelabelRecipe(teacher=sys.argv[1], chunk_structures=1)
relabel_file(Path(sys.argv[2]), Path(sys.argv[3]), recipe=recipe, workers=2)
"""

Condition = Callable[[], object]


def write_source(path: Path, count: int) -> None:
    """Write structures, one of which crashes the teacher."""
    frames = [copper(number) for number in range(count)]
    frames[count // 3] = copper(count // 3, 1)
    write_structures(path, frames)


def places(folder: Path) -> tuple[Path, Path, Path]:
    """Return where input, undisturbed output and, all alone, another output go."""
    (folder / "alone").mkdir()
    return folder / "in.xyz", folder / "undisturbed.xyz", folder / "alone" / "out.xyz"


def begin(source: Path, output: Path) -> subprocess.Popen[bytes]:
    """Start a run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, FAULTY, str(source), str(output)],
        cwd=HERE,
        stderr=subprocess.DEVNULL,
    )


def kill_when(process: subprocess.Popen[bytes], condition: Condition) -> bool:
    """Kill a run as soon as something holds; return whether it was still running."""
    while process.poll() is None and not condition():
        time.sleep(0.001)
    process.kill()
    return process.wait() == -signal.SIGKILL


def after(seconds: float) -> Condition:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def is_joining(output: Path) -> Condition:
    return lambda: list(parts(output).glob("*labelled.xyz*"))


def has_joined(output: Path) -> Condition:
    return output.exists


def is_cleaning(output: Path) -> Condition:
    """Return whether the output is there and some of its parts are not any more."""
    return lambda: output.exists() and len(job_folders(output)) < STRUCTURES


LAST_STEPS = (is_joining, has_joined, is_cleaning) * 2


def job_folders(output: Path) -> list[Path]:
    return list(parts(output).glob("???????"))


def parts(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def check_and_remove(output: Path, expected: Path) -> None:
    """Compare all structure files of two runs, byte by byte; nothing else is left."""
    for suffix in (".xyz", ".failed.xyz"):
        made, wanted = output.with_suffix(suffix), expected.with_suffix(suffix)
        assert made.read_bytes() == wanted.read_bytes()
    made_beside = {path.name.partition(".")[2] for path in output.parent.iterdir()}
    expected_beside = {
        path.name.partition(".")[2]
        for path in expected.parent.glob(f"{expected.stem}.*")
    }
    assert made_beside == expected_beside
    for path in output.parent.iterdir():
        path.unlink()


@pytest.mark.long
def test_kills_of_the_whole_run_change_nothing(tmp_path: Path):
    """Killed at random moments, and while it joins its parts and cleans up.

    After each kill the same command goes on; when it is through before all kills are
    used, its files are compared, and it begins anew.
    """
    source, expected, output = places(tmp_path)
    write_source(source, STRUCTURES)
    start = time.monotonic()
    assert begin(source, expected).wait() == 0
    duration_s = time.monotonic() - start
    draw = random.Random(SEED)  # noqa: S311
    kills = 0
    while kills < AT_RANDOM + len(LAST_STEPS):
        process = begin(source, output)
        if kills < AT_RANDOM:
            condition = after(draw.uniform(0, 1.05) * duration_s)
        else:
            condition = LAST_STEPS[kills - AT_RANDOM](output)
        kills += kill_when(process, condition)
        if output.exists() and not parts(output).exists():
            check_and_remove(output, expected)
    if parts(output).exists():
        assert begin(source, output).wait() == 0
        check_and_remove(output, expected)


def children_of(parent: int) -> list[int]:
    """Return the processes that a process has started, the oldest first."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # gone meanwhile
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append((int(fields[19]), int(path.parent.name)))
    return [number for _, number in sorted(found)]


@pytest.mark.slow
def test_killed_children_are_replaced(tmp_path: Path):
    """The out-of-memory killer may hit a child that has done nothing wrong."""
    source, expected, output = places(tmp_path)
    write_source(source, FEW_STRUCTURES)
    assert begin(source, expected).wait() == 0
    process = begin(source, output)
    killed: set[int] = set()
    while process.poll() is None and len(killed) < CHILDREN:
        time.sleep(0.01)
        if len(job_folders(output)) < (len(killed) + 1) * FEW_STRUCTURES // 6:
            continue
        for child in children_of(process.pid)[:1]:  # one that has loaded its teacher
            os.kill(child, signal.SIGKILL)
            killed.add(child)
    assert process.wait() == 0
    assert len(killed) == CHILDREN
    check_and_remove(output, expected)


@pytest.mark.long
def test_no_moment_of_a_kill_is_a_bad_one():
    """A short round of all commands; the script's own defaults take half an hour."""
    script = [sys.executable, "benchmarks/kills.py", "--kills", "4", "--levels", "2"]
    done = subprocess.run(
        script, cwd=HERE, env={**os.environ, "PYTHONPATH": str(HERE)}, check=False
    )
    assert done.returncode == 0
