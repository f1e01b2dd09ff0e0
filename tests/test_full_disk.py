"""Disks that are full or read-only: one clear error, nothing broken, nothing lost.

The disk is a real file system of the size that is wanted, mounted where only the
command sees it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthzoo.data.structures import write_structures
from tests.faulty_calculators import FAULTY, copper

HERE = Path(__file__).parents[1]
COMMAND = """
set -e
mount -t tmpfs -o size=4m tmpfs "$1"
cp in.xyz "$1"
{before}
set +e
"$2" -c "from synthzoo.cli import main; main()" \
  relabel "$1/in.xyz" "$1/out.xyz" --teacher "$3" --workers 1
echo "exit $?"
set -e
{after}
"""


def namespace() -> list[str]:
    """Return the command that gives another one its own mounts."""
    own = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-rm"]
    done = subprocess.run(
        [*own, "sh", "-c", "mount -t tmpfs tmpfs /mnt"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    return own


def run(folder: Path, *, before: str, after: str) -> tuple[str, str]:
    """Label structures on a small disk of its own; return what it printed."""
    (folder / "disk").mkdir()
    write_structures(folder / "in.xyz", [copper(number) for number in range(120)])
    script = COMMAND.format(before=before, after=after)
    done = subprocess.run(
        [*namespace(), "sh", "-c", script, "sh", "disk", sys.executable, FAULTY],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return done.stdout, done.stderr


@pytest.mark.thorough
def test_a_full_disk_keeps_what_is_finished(tmp_path: Path):
    """One line says that there is no room; with room the same command goes on."""
    output, errors = run(
        tmp_path,
        before="""
free=$(df --output=avail -k "$1" | tail -1)
head -c "$(((free - 48) * 1024))" /dev/zero >"$1/filler"
""",
        after="""
ls "$1"/out.xyz.parts
rm "$1/filler"
"$2" -c "from synthzoo.cli import main; main()" \
  relabel "$1/in.xyz" "$1/out.xyz" --teacher "$3" --workers 1
ls "$1"
""",
    )
    lines = output.split("\n")
    assert lines[0] == "exit 1"
    assert "0000000" in lines
    assert "labelled      120" in output
    assert ".parts" not in output.rpartition("labelled")[2]
    assert errors.startswith("Error: [Errno 28] No space left on device")
    assert "What is finished is kept; run the same command again" in errors
    assert errors.count("\n") == 1


def test_a_read_only_disk_is_one_clear_error(tmp_path: Path):
    """Nothing is labelled first."""
    output, errors = run(
        tmp_path, before='mount -o remount,ro "$1"', after='ls -A "$1"'
    )
    assert output.split() == ["exit", "1", "in.xyz"]
    assert errors.startswith("Error: [Errno 30] Read-only file system")
    assert errors.count("\n") == 1
