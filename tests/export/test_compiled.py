"""Models as machine code for nequip's own programs."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase.build import bulk

from synthzoo.errors import InputError
from synthzoo.export.compiled import export_model
from synthzoo.models.portable import MACHINE, notes, notes_in, refuse_other_machine
from synthzoo.teachers import open_teacher
from synthzoo.zoo.load import load_calculator
from tests.conftest import write_tiny_checkpoint

if TYPE_CHECKING:
    from synthzoo.models.portable import Target


@pytest.mark.parametrize(
    ("model", "name", "options", "message"),
    [
        ("carbon-ace-2k", "c.pt2", {}, r"only if they end in \.nequip\.pt2"),
        (
            "carbon-ace-2k",
            "c.nequip.pt2",
            {"target": "gpaw"},
            "must be ase, batch, pai",
        ),
        ("LCBOP", "c.nequip.pt2", {}, "is a teacher, but export needs a checkpoint"),
        ("silicon", "c.nequip.pt2", {}, "is a starting point for fine-tuning"),
    ],
)
def test_what_cannot_be_compiled_is_refused_before_the_minutes(
    model: str, name: str, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Nothing is written."""
    with pytest.raises(InputError, match=message):
        export_model(model, tmp_path / name, **options)
    assert not any(tmp_path.iterdir())


def package(path: Path, written: dict[str, str]) -> Path:
    """Write a package without code, as far as its notes go."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data/aotinductor/model/y_metadata.json", json.dumps(written))
    return path


def test_code_of_another_machine_is_refused_before_it_runs(tmp_path: Path) -> None:
    """It might end the process."""
    path = package(tmp_path / "x.nequip.pt2", {MACHINE: "z80 +undocumented"})
    with pytest.raises(
        InputError, match=r"for another processor \(z80; this is .*again"
    ):
        open_teacher(f"nequip:{path}")


def test_code_of_this_machine_or_of_nobody_knows_where_is_not_refused(
    tmp_path: Path,
) -> None:
    """Files that nequip-compile has written do not say where."""
    refuse_other_machine(package(tmp_path / "a.nequip.pt2", notes()))
    refuse_other_machine(package(tmp_path / "b.nequip.pt2", {}))


@pytest.mark.parametrize(
    ("target", "layers"),
    [
        pytest.param("ase", 1, marks=pytest.mark.slow),  # half of the time of two
        pytest.param("batch", 2, marks=pytest.mark.long),
        pytest.param("pair_nequip", 2, marks=pytest.mark.long),
    ],
)
def test_a_compiled_model_computes_what_the_calculator_computes(
    target: Target, layers: int, tmp_path: Path
) -> None:
    """That of ASE is loaded as users do; all are compared before they are kept."""
    model, path = tmp_path / "tiny", tmp_path / "model.nequip.pt2"
    write_tiny_checkpoint(model, layers=layers)
    made = export_model(model, path, target=target)
    assert made.largest_difference < 1e-4
    assert notes_in(path)[MACHINE] == notes()[MACHINE]
    with pytest.raises(InputError, match="exists"):
        export_model(model, path, target=target)
    if target != "ase":
        return
    atoms = bulk("C", cubic=True)
    atoms.rattle(0.1, seed=1)
    expected, found = atoms.copy(), atoms.copy()
    expected.calc = load_calculator(model, device="cpu")
    found.calc = open_teacher(f"nequip:{path}").calculator
    assert found.get_potential_energy() == pytest.approx(
        expected.get_potential_energy(), abs=1e-4
    )
    np.testing.assert_allclose(found.get_forces(), expected.get_forces(), atol=1e-5)
    np.testing.assert_allclose(found.get_stress(), expected.get_stress(), atol=1e-6)
