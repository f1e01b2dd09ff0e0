"""Nothing needs what only Linux has: its modules, and the fork of a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.finetuning.committee import MEMBERS_FOLDER
from tests.faulty_calculators import FAULTY, copper
from tests.unsound_potentials import copper as copper_cell

HERE = Path(__file__).parents[1]

ELSEWHERE = """
import multiprocessing, os, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "setsid", "killpg"):
    delattr(os, name)
multiprocessing.set_start_method("spawn")
"""
"""Makes a process one of a system that is not Linux, as far as Python can tell."""

EVERY_MODULE = """
import importlib, pkgutil, synthzoo
found = pkgutil.walk_packages(synthzoo.__path__, "synthzoo.")
for name in (module.name for module in found if not module.name.endswith("__main__")):
    importlib.import_module(name)
"""

COMMAND = """
import warnings
warnings.filterwarnings("ignore", message="only soft file lock is available")
from synthzoo.cli import main
main(sys.argv[1:])
"""


def run_elsewhere(code: str, *arguments: object) -> str:
    """Run code where only what every system has is there; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_every_module_imports_without_what_only_unix_has():
    """No module of synthzoo needs fcntl, resource and their like."""
    run_elsewhere(EVERY_MODULE)


@pytest.mark.slow
def test_labels_are_made_in_several_processes_anywhere(tmp_path: Path):
    """A crash costs its structure there, too."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, [copper(number, number == 3) for number in range(6)])
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"relabel: {{teacher: '{FAULTY}', chunk_structures: 2}}\n")
    run_elsewhere(
        COMMAND,
        *("relabel", source, output, "--recipe", recipe, "--trust", "--workers", 2),
    )
    assert len(read_structures(output)) == 5
    (failed,) = read_structures(output.with_suffix(".failed.xyz"))
    assert failed.info["failure"] == "the teacher crashed (SIGSEGV)"


@pytest.mark.slow
def test_replicas_run_in_several_processes_anywhere(tmp_path: Path):
    """Dynamics need nothing else."""
    start, protocol = tmp_path / "start.xyz", tmp_path / "short.yaml"
    copper_cell().write(start)
    protocol.write_text(
        "md:\n  timestep_fs: 4\n"
        "  stages: [{kind: dynamics, name: warm, duration_fs: 80, start_K: 300}]\n"
    )
    sound = 'ase:tests.unsound_potentials.Sound{"isolated_atom_energies_eV": {"Cu": 0}}'
    told = run_elsewhere(
        COMMAND,
        *("md", sound, start, "-o", tmp_path / "md", "--protocol", protocol),
        *("--replicas", 2, "--workers", 2),
    )
    assert told.startswith("PASSED")


@pytest.mark.long
def test_a_committee_is_fitted_in_several_processes_anywhere(
    tiny_checkpoint: Path, rattled_diamond: Path, tmp_path: Path
):
    """So are the fits of a fine-tuning, and the draws of a benchmark."""
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("finetune: {visits: 8, check_share: 0, threads: 1}\n")
    given = ("--recipe", recipe, "--workers", 2, "-o")
    run_elsewhere(
        COMMAND,
        *("finetune", tiny_checkpoint, rattled_diamond, "--committee", 2),
        *(*given, tmp_path / "tuned"),
    )
    assert (tmp_path / "tuned" / MEMBERS_FOLDER).is_dir()
    data = ("--training", rattled_diamond, "--test", rattled_diamond, "--sizes", "4")
    run_elsewhere(
        COMMAND,
        *("benchmark", tiny_checkpoint, *data, "--draws", 2),
        *(*given, tmp_path / "curves"),
    )
    assert len(list((tmp_path / "curves" / "runs").iterdir())) == 2
