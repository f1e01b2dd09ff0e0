"""Fine-tuning: from a user's total energies to a checkpoint that gives them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.finetuning.recipe import FULL_ATOMS, FinetuneRecipe, resolve_recipe
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import as_checkpoint

OFFSET_EV = -148.314
STIFFER = 1.5
FREE_EV = -7.0
"""Energy of a free atom by the tiny checkpoint."""
SHORT = FinetuneRecipe(visits=40, check_share=0.0, replay_share=0.0, threads=1)

SCRIPT = """
import sys
from synthzoo.finetuning.run import finetune
from synthzoo.finetuning.recipe import FinetuneRecipe
model, data, output, check_share = sys.argv[1:]
recipe = FinetuneRecipe(visits=160, check_share=float(check_share), threads=1)
finetune(model, data, output, recipe=recipe, workers=1)
"""


@pytest.fixture(scope="module")
def dft(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 16 rattled crystals with total energies of a stiffer network, far away."""
    from synthzoo.zoo.load import load_calculator

    calculator = load_calculator(tiny_checkpoint)
    structures = []
    for seed in range(16):
        atoms = bulk("C", cubic=seed % 2 == 0)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = calculator
        bound = atoms.get_potential_energy() - FREE_EV * len(atoms)
        energy = STIFFER * bound + OFFSET_EV * len(atoms)
        forces = STIFFER * atoms.get_forces()
        structures.append(label(atoms, energy_eV=energy, forces_eV_A=forces))
    path = tmp_path_factory.mktemp("dft") / "dft.xyz"
    write_structures(path, structures)
    return path


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def test_the_tuned_model_gives_the_users_total_energies(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """No offset is left, the checkpoint verifies, and nothing else lies around."""
    from synthzoo.models.checkpoint import read_config, verify_checkpoint
    from synthzoo.zoo.load import load_calculator

    output = tmp_path / "mine"
    summary = finetune(tiny_checkpoint, dft, output, recipe=SHORT)
    assert list(tmp_path.iterdir()) == [output]
    assert verify_checkpoint(output).passed
    calculator = load_calculator(output)
    errors = []
    for atoms in read_structures(dft):
        wanted = atoms.get_potential_energy()
        atoms.calc = calculator
        errors.append((atoms.get_potential_energy() - wanted) / len(atoms))
    assert abs(np.mean(errors)) < 0.05
    config = read_config(output)
    assert config.labels["isolated_atoms"] == {"C": "fitted"}
    alone = Atoms("C", cell=[20.0] * 3, pbc=True, calculator=calculator)
    assert config.isolated_atom_energies_eV["C"] == pytest.approx(
        alone.get_potential_energy(), abs=1e-6
    )
    made = config.provenance
    assert made["start_weights_sha256"] == read_config(tiny_checkpoint).weights_sha256
    assert len(made["data_sha256"]) == 64
    assert summary.training_structures == 16
    assert "fitted to labels minus pre-trained model for C" in summary.reference


@pytest.mark.thorough
def test_an_isolated_atom_in_the_data_is_the_reference(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """It is found, told, left out of the fit, and right in the tuned model."""
    from synthzoo.models.checkpoint import read_config
    from synthzoo.zoo.load import load_calculator

    atom = Atoms("C", cell=[20.0] * 3, pbc=True)
    alone = label(atom, energy_eV=OFFSET_EV, forces_eV_A=np.zeros((1, 3)))
    write_structures(tmp_path / "atom.xyz", [alone])
    summary = finetune(
        tiny_checkpoint, [dft, tmp_path / "atom.xyz"], tmp_path / "mine", recipe=SHORT
    )
    assert summary.isolated_atoms == 1
    assert summary.training_structures == 16
    config = read_config(tmp_path / "mine")
    assert config.labels["isolated_atoms"] == {"C": "found"}
    assert config.isolated_atom_energies_eV == {"C": OFFSET_EV}
    atom.calc = load_calculator(tmp_path / "mine")
    assert atom.get_potential_energy() == pytest.approx(OFFSET_EV, abs=1e-6)


@pytest.mark.parametrize("shift_eV", [-148.3, -1e5])
def test_large_total_energies_keep_their_last_digits(
    tiny_checkpoint: Path, shift_eV: float
):
    """A million eV in a cell: the differences are those of the small energies."""
    from synthzoo.finetuning.energy_reference import EnergyReference, with_reference
    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.checkpoint import load_stored
    from synthzoo.models.place import Place

    stored = load_stored(tiny_checkpoint)
    reference = EnergyReference(
        shifts_eV={"C": shift_eV},
        binding_eV={"C": 0.0},
        isolated_atom_energies_eV={"C": shift_eV},
        sources={"C": "given"},
        mean_difference_eV_per_atom=0.0,
        spread_eV_per_atom=0.0,
        undetermined=(),
        together=(),
        guessed=(),
    )
    weights = stored.network().state_dict()
    moved = with_reference(weights, stored.config, reference)
    before, after = (
        SynthzooCalculator(network, place=Place(device="cpu"))
        for network in (stored, moved)
    )
    atoms = bulk("C", cubic=True).repeat(2)
    for seed in range(3):
        atoms.rattle(0.02, seed=seed)
        atoms.calc = before
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = after
        moved_by = atoms.get_potential_energy() - shift_eV * len(atoms)
        assert moved_by == pytest.approx(energy, abs=1e-6)
        np.testing.assert_array_equal(atoms.get_forces(), forces)


@pytest.mark.parametrize(
    ("fit", "check_share"),
    [
        pytest.param("fit", 0.0, marks=pytest.mark.thorough),
        pytest.param("check-2", 0.34, marks=pytest.mark.long),
    ],
)
def test_a_killed_run_ends_in_the_same_checkpoint(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path, fit: str, check_share: float
):
    """SIGKILL in mid-fit, then the same command: equal to the last bit."""
    recipe = FinetuneRecipe(visits=160, check_share=check_share, threads=1)
    finetune(tiny_checkpoint, dft, tmp_path / "whole", recipe=recipe, workers=1)
    output = tmp_path / "killed"
    arguments = map(str, (tiny_checkpoint, dft, output, check_share))
    command = [sys.executable, "-c", SCRIPT, *arguments]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL
    )
    state = tmp_path / "killed.parts" / fit / "last.ckpt"
    while process.poll() is None and not state.is_file():
        time.sleep(0.005)
    assert process.poll() is None, "the fit ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists()
    finetune(tiny_checkpoint, dft, output, recipe=recipe, workers=1)
    judged = [
        json.loads((folder / "metrics.json").read_text())["unseen"]
        for folder in (tmp_path / "whole", output)
    ]
    assert judged[0] == judged[1]
    whole, resumed = weights(tmp_path / "whole"), weights(output)
    assert whole.keys() == resumed.keys()
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name])


def test_what_is_there_is_never_overwritten(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """An output that exists, and a run with other inputs, are refused."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(
        InputError, match="exists and is not empty; choose another name"
    ):
        finetune(tiny_checkpoint, dft, tmp_path / "mine", recipe=SHORT)
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


@pytest.mark.thorough
def test_the_command_prints_what_was_done(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path
):
    """One command, JSON on stdout, advice on stderr."""
    from synthzoo.cli import main

    recipe = tmp_path / "short.yaml"
    recipe.write_text(
        "finetune: {visits: 20, threads: 1, check_share: 0, replay_share: 0}\n"
    )
    output = tmp_path / "mine"
    arguments = [
        "finetune",
        str(tiny_checkpoint),
        str(dft),
        "-o",
        str(output),
        "--json",
    ]
    arguments += ["--recipe", str(recipe), "--isolated-energy", f"C={OFFSET_EV}"]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["training_structures"] == 16
    assert f"Use the model as {output}." in result.stderr


@pytest.mark.parametrize("text", ["C", "C=", "=3", "C=x"])
def test_an_isolated_energy_must_be_element_and_number(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path, text: str
):
    """The message shows the form that is expected."""
    from synthzoo.cli import main

    arguments = ["finetune", str(tiny_checkpoint), str(dft), "-o", str(tmp_path / "x")]
    result = CliRunner().invoke(main, [*arguments, "--isolated-energy", text])
    assert result.exit_code == 2
    assert "is not of the form C=-148.3 (eV)" in result.stderr


def test_small_cells_are_seen_more_often():
    """The fit is as long in atoms, hence in steps; large cells change nothing."""

    def visits(atoms: int) -> int:
        found = resolve_recipe(FinetuneRecipe(), 25 * [atoms]).visits
        assert found is not None
        return found

    full = round(FULL_ATOMS)
    assert {size * visits(size) for size in (1, 4, 8)} == {full * visits(full)}
    assert visits(64) == visits(216) == visits(full)
    assert resolve_recipe(FinetuneRecipe(visits=7), 25 * [8]).visits == 7


@pytest.mark.parametrize("size", [3, 10, 20, 25, 50, 100, 299, 400])
def test_a_mere_start_is_fitted_at_least_as_long_as_a_potential(size: int):
    """It has farther to go; a limit for few structures once cut many short."""
    near, far = (
        resolve_recipe(FinetuneRecipe(), size * [64], kind=kind).visits
        for kind in ("potential", "starting-point")
    )
    assert near is not None
    assert far is not None
    assert far >= near


@pytest.mark.thorough
def test_a_kill_while_a_run_tidies_up_loses_nothing(
    tiny_checkpoint: Path, dft: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The rerun tidies up and tells the same result."""
    from synthzoo.runs.resumable import Run

    def killed(run: Run) -> None:
        assert run.output.is_dir()
        raise KeyboardInterrupt

    output = tmp_path / "tuned"
    with monkeypatch.context() as patch:
        patch.setattr(Run, "close", killed)
        with pytest.raises(KeyboardInterrupt):
            finetune(tiny_checkpoint, dft, output, recipe=SHORT)
    made = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    summary = finetune(tiny_checkpoint, dft, output, recipe=SHORT)
    assert summary.training_structures + summary.held_out_structures == 16
    assert summary.verdict in summary.report.read_text()
    assert made == {
        path: path.read_bytes() for path in output.rglob("*") if path.is_file()
    }
    assert list(tmp_path.iterdir()) == [output]


def test_weights_that_cannot_be_written_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A full disk is an `OSError`, which safetensors' own is not."""
    import resource

    import torch

    from synthzoo.finetuning import fits

    start = as_checkpoint(tmp_path)
    job = fits.FitJob(name="fit", start=start, recipe=SHORT, training=[])
    fitted = {"weight": torch.zeros(1000)}
    monkeypatch.setattr(fits, "_fitted", lambda *_, **__: fitted)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"too large: '.*weights\.safetensors'"):
            fits._run(job, tmp_path, alone=True, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "fit").iterdir()) == []


@pytest.mark.thorough
def test_a_start_is_read_once_and_three_networks_are_built(
    tiny_checkpoint: Path,
    dft: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """The start's network, the one that is kept, and the one that is written down.

    The engine judges the other fits by their weights alone.
    """
    from synthzoo.models import network
    from synthzoo.models.config import parse_config

    read: list[str] = []
    built: list[str] = []
    build = network.build_model

    def counted_parse(content: bytes, *, where: str) -> Any:
        read.append(where)
        return parse_config(content, where=where)

    def counted_build(config: Any, **options: Any) -> Any:
        built.append(config.builder)
        return build(config, **options)

    monkeypatch.setattr("synthzoo.models.checkpoint.parse_config", counted_parse)
    for module in list(sys.modules.values()):  # it is imported by its name
        if vars(module).get("build_model") is build:
            monkeypatch.setattr(module, "build_model", counted_build)
    recipe = replace(SHORT, seeds=2)
    finetune(tiny_checkpoint, dft, tmp_path / "mine", recipe=recipe, workers=1)
    assert read.count(str(tiny_checkpoint / "config.json")) == 1
    assert len(built) <= 3


def test_a_check_computes_each_structure_once(
    tiny_checkpoint: Path, dft: Path, monkeypatch: pytest.MonkeyPatch
):
    """The atom alone too, and none of the replayed structures, which are sound."""
    from synthzoo.finetuning.data_check import check_data
    from synthzoo.models.calculator import SynthzooCalculator

    seen: list[bytes] = []
    compute = SynthzooCalculator.compute

    def counted(
        calculator: SynthzooCalculator, structures: Sequence[Atoms]
    ) -> list[dict[str, Any]]:
        seen.extend(atoms.positions.tobytes() for atoms in structures)
        return compute(calculator, structures)

    monkeypatch.setattr(SynthzooCalculator, "compute", counted)
    found = check_data(tiny_checkpoint, dft)
    assert found.fits is not None
    expected = [atoms.positions.tobytes() for atoms in read_structures(dft)]
    assert sorted(seen) == sorted([*expected, Atoms("C").positions.tobytes()])


def test_forces_of_a_mere_start_are_no_labels(dft: Path):
    """Where the data have energies only, the check of the data says so."""
    from synthzoo.finetuning.data_check import check_data

    found = check_data("silicon", _as_silicon(dft), energies_only=True)
    assert "and no potential: its forces" in " ".join(found.findings)
    other = check_data("carbon-ace-2k", dft, energies_only=True)
    assert "and no potential: its forces" not in " ".join(other.findings)


def _as_silicon(data: Path) -> Path:
    structures = read_structures(data)
    for atoms in structures:
        atoms.symbols[:] = "Si"
        atoms.set_cell(1.5 * atoms.cell, scale_atoms=True)
    path = data.parent / "silicon.xyz"
    write_structures(path, structures)
    return path
