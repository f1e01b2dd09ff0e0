"""Relabelling: real labels, order, filters, failures, and resumption."""

import dataclasses
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from synthzoo.errors import InputError, TeacherError
from synthzoo.recipes import RelabelRecipe
from synthzoo.relabel import relabel_file
from synthzoo.structures import read_structures, write_structures


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


def test_an_empty_result_is_an_error(recipe: RelabelRecipe, tmp_path: Path):
    """If nothing could be labelled, no file pretends that all is well."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, [bulk("Si")] * 3)
    with pytest.raises(InputError, match=r"3 failed \(reasons in .*out\.failed\.xyz"):
        relabel_file(source, output, recipe=recipe, workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "in.xyz",
        "out.failed.xyz",
    ]


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
            self.seen.add(job[-1].name)
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


def test_another_teacher_or_input_is_refused(recipe: RelabelRecipe, tmp_path: Path):
    """A wrong hash stops at once; an existing output is kept."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, numbered_crystals(1))
    with pytest.raises(TeacherError, match="the recipe asks for beef"):
        relabel_file(
            source, output, recipe=dataclasses.replace(recipe, teacher_sha256="beef")
        )
    output.write_text("mine")
    with pytest.raises(InputError, match="exists; remove it"):
        relabel_file(source, output, recipe=recipe)
    assert output.read_text() == "mine"
