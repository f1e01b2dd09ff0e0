"""Fine-tuning to several levels of theory: costly energies beside cheap forces."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.data.samples import load_sample
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.errors import InputError
from synthzoo.finetuning.data_check import check_data
from synthzoo.finetuning.fits import run_fits
from synthzoo.finetuning.jobs import ALONE, FIT, make_jobs
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.request import find_request, read_sets
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import as_checkpoint
from synthzoo.training.place import ON_CPU
from synthzoo.zoo.load import load_calculator, verify_model

if TYPE_CHECKING:
    from synthzoo.finetuning.request import Request
    from synthzoo.models.calculator import SynthzooCalculator

HIGH_EV, LOW_EV = -148.0, -3.0
"""Constants of an atom at the two levels."""
SHORT = FinetuneRecipe(visits=60, check_share=0.0, threads=1, replay_share=0.0)

SCRIPT = """
import sys
from synthzoo.finetuning.run import finetune
from synthzoo.finetuning.recipe import FinetuneRecipe
model, high, low, test, output = sys.argv[1:]
recipe = FinetuneRecipe(visits=400, threads=1, replay_share=0.0)
finetune(
    model, high, output, levels={"pbe": low}, test=test, recipe=recipe, workers=1
)
"""

Frames = list[Atoms]


class MidwayError(Exception):
    """A fit was stopped."""


@dataclass(frozen=True)
class Files:
    """Where structures of the levels are: energies alone, energies and forces."""

    high: Path
    low: Path
    test: Path
    folder: Path


def labelled(
    calculator: SynthzooCalculator,
    seeds: range,
    *,
    stiffness: float,
    free_eV: float,
    forces: bool = True,
) -> Frames:
    """Return rattled crystals, labelled by a stiffer network."""
    found = []
    for seed in seeds:
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = calculator
        bound = atoms.get_potential_energy() + 7.0 * len(atoms)
        energy = stiffness * bound + free_eV * len(atoms)
        made = label(
            atoms, energy_eV=energy, forces_eV_A=stiffness * atoms.get_forces()
        )
        if not forces:
            del made.calc.results["forces"]
        found.append(made)
    return found


@pytest.fixture(scope="module")
def files(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Write 12 energies of one level, and 24 energies and forces of another."""
    folder = tmp_path_factory.mktemp("levels")
    calculator = load_calculator(tiny_checkpoint, device="cpu")
    high: dict[str, Any] = {"stiffness": 1.5, "free_eV": HIGH_EV}
    sets = {
        "high": labelled(calculator, range(12), forces=False, **high),
        "low": labelled(calculator, range(6, 30), stiffness=1.3, free_eV=LOW_EV),
        "test": labelled(calculator, range(50, 56), **high),
    }
    for name, structures in sets.items():
        write_structures(folder / f"{name}.xyz", structures)
    high_path, low_path, test_path = (folder / f"{name}.xyz" for name in sets)
    return Files(high_path, low_path, test_path, folder)


@pytest.fixture(scope="module")
def both(tiny_checkpoint: Path, files: Files) -> Path:
    """Fine-tune to both levels."""
    output = files.folder / "both"
    finetune(
        tiny_checkpoint,
        files.high,
        output,
        levels={"pbe": files.low},
        level="rpa",
        test=files.test,
        recipe=SHORT,
        workers=1,
    )
    return output


def request(start: Path, files: Files, **changes: Any) -> Request:
    """Return what a fine-tuning is asked for, without making it."""
    options: dict[str, Any] = {
        "name": "mine",
        "recipe": SHORT,
        "isolated_energies_eV": None,
        "energy_key": None,
        "forces_key": None,
        "format": None,
        "test": files.test,
        "replay": None,
        "levels": {"pbe": files.low},
        "before": None,
        "level": "rpa",
        "energies_only": False,
        "drop_bad": False,
        "compare_direct": False,
        "place": ON_CPU,
        "workers": 1,
    }
    data = changes.pop("data", files.high)
    return find_request(start, data, **options | changes)


@pytest.mark.thorough
def test_the_model_has_both_levels_on_their_scales(both: Path, files: Files):
    """Energies are those of the labels, and forces of the cheap level were learnt."""
    assert as_checkpoint(both).levels == ("rpa", "pbe")
    assert verify_model(both).passed
    for level, path, tolerance in ((None, files.test, 0.02), ("pbe", files.low, 0.02)):
        calculator = load_calculator(both, level=level, device="cpu")
        for known in read_structures(path)[:3]:
            atoms = known.copy()
            atoms.calc = calculator
            error = atoms.get_potential_energy() - known.get_potential_energy()
            assert abs(error) / len(atoms) < tolerance


@pytest.mark.thorough
def test_the_report_compares_with_the_level_alone(both: Path, tiny_checkpoint: Path):
    """It says which model to use, and keeps the other one, too."""
    found = json.loads((both / "metrics.json").read_text())
    alone, judged = found["alone"], found["unseen"][0]
    assert alone["after"] == judged["after"]
    assert alone["before"] != judged["before"]
    (level,) = found["levels"]
    assert (level["name"], level["shared"], level["forces"]) == ("pbe", 6, True)
    report = (both / "report.md").read_text()
    assert "Beside a fit to rpa alone" in report
    assert "| test | rpa alone |" in report
    assert as_checkpoint(both / "alone").levels == ()
    atoms = bulk("C", cubic=True)
    atoms.calc = load_calculator(both / "alone", device="cpu")
    assert atoms.get_potential_energy() / 8 == pytest.approx(HIGH_EV, abs=2)
    card = (both / "README.md").read_text()
    assert "`rpa`, the default, and `pbe`" in card


def test_only_known_labels_are_fitted_at_each_level(
    tiny_checkpoint: Path, files: Files
):
    """One level has no forces; alone it would be held to those of the start."""
    asked = request(tiny_checkpoint, files)
    jobs = {job.name: job for job in make_jobs(asked, read_sets(asked))}
    assert set(jobs) == {FIT, ALONE}
    high = [labels for _, labels in jobs[FIT].training]
    (low,) = jobs[FIT].levels
    assert all(np.isnan(labels.forces_eV_A).all() for labels in high)
    assert all(np.isfinite(labels.forces_eV_A).all() for _, labels in low.training)
    assert not jobs[ALONE].levels
    assert all(
        np.isfinite(labels.forces_eV_A).all() for _, labels in jobs[ALONE].training
    )
    own = np.mean([labels.energy_eV / 8 for labels in high])
    other = np.mean([labels.energy_eV / 8 for _, labels in low.training])
    assert own == pytest.approx(other, abs=0.1)  # constants of each are taken off


def test_cheap_structures_take_the_place_of_replay(tiny_checkpoint: Path, files: Files):
    """The fit to one level alone is what it would be without other levels."""
    recipe = replace(SHORT, replay_share=0.1)
    asked = request(tiny_checkpoint, files, recipe=recipe)
    jobs = {job.name: job for job in make_jobs(asked, read_sets(asked))}
    assert len(jobs[FIT].replay) == 0
    plain = request(
        tiny_checkpoint, files, recipe=recipe, levels=None, level=None,
        energies_only=True,
    )  # fmt: skip
    (expected,) = make_jobs(plain, read_sets(plain))
    assert jobs[ALONE].recipe == expected.recipe
    assert len(jobs[ALONE].replay) == len(expected.replay) > 0
    asked = request(tiny_checkpoint, files, recipe=recipe, replay="zoo")
    assert len(make_jobs(asked, read_sets(asked))[0].replay) > 0


def test_weights_and_shares_of_levels_reach_the_fit(
    tiny_checkpoint: Path, files: Files
):
    recipe = replace(SHORT, level_share=0.6, level_weights={"pbe": 0.25})
    asked = request(tiny_checkpoint, files, recipe=recipe)
    (low,) = make_jobs(asked, read_sets(asked))[0].levels
    assert (low.name, low.share, low.weight) == ("pbe", 0.6, 0.25)


def test_shares_must_leave_something_to_the_default_level(
    tiny_checkpoint: Path, files: Files
):
    recipe = replace(SHORT, level_share=0.75, replay_share=0.25)
    asked = request(tiny_checkpoint, files, recipe=recipe, replay="zoo")
    with pytest.raises(InputError, match="leave no share of a batch"):
        make_jobs(asked, read_sets(asked))


def test_structures_say_their_level_themselves(
    tiny_checkpoint: Path, files: Files, tmp_path: Path
):
    """A column `level` in one file means what two files mean."""
    structures = []
    for level, path in (("rpa", files.high), ("pbe", files.low)):
        for atoms in read_structures(path):
            atoms.info["level"] = level
            structures.append(atoms)
    one = tmp_path / "one.xyz"
    write_structures(one, structures)
    asked = request(tiny_checkpoint, files, data=one, levels=None)
    plan = read_sets(asked).plan
    (other,) = plan.levels
    assert (plan.level, len(plan.training)) == ("rpa", 12)
    assert (other.name, len(other.training), other.shared) == ("pbe", 24, 6)
    with pytest.raises(InputError, match=r"pbe, rpa\. Say which one"):
        read_sets(request(tiny_checkpoint, files, data=one, levels=None, level=None))
    with pytest.raises(InputError, match="no level 'ccsd'; they hold pbe, rpa"):
        read_sets(request(tiny_checkpoint, files, data=one, level="ccsd"))


def test_structures_of_other_levels_test_nothing(
    tiny_checkpoint: Path, files: Files, tmp_path: Path
):
    """Of a test set with a column `level`, those of the default level are judged."""
    mixed = tmp_path / "test.xyz"
    structures = read_structures(files.test)
    for number, atoms in enumerate(structures):
        atoms.info["level"] = "rpa" if number % 3 else "pbe"
    write_structures(mixed, structures)
    assert len(read_sets(request(tiny_checkpoint, files, test=mixed)).test) == 4
    with pytest.raises(InputError, match="pbe, rpa, which do not belong to"):
        read_sets(request(tiny_checkpoint, files, test=mixed, level="ccsd"))


def test_test_structures_may_have_energies_alone(tiny_checkpoint: Path, files: Files):
    """Their forces are then judged as little as those of the data."""
    sets = read_sets(request(tiny_checkpoint, files, test=files.high))
    assert not sets.test_forces
    assert len(sets.test) == 12
    assert read_sets(request(tiny_checkpoint, files)).test_forces
    with pytest.raises(InputError, match="forces labels"):
        read_sets(
            request(
                tiny_checkpoint, files, data=files.low, test=files.high,
                levels=None, level=None,
            )
        )  # fmt: skip


def test_the_check_of_data_counts_the_levels(tiny_checkpoint: Path, files: Files):
    found = check_data(
        tiny_checkpoint, files.high, levels=files.low, test=files.test, recipe=SHORT
    )
    assert found.errors == ()
    assert found.fits is not None
    assert "24 of level low, 6 of them also of level high" in found.fits
    assert "1 to one level of theory alone" in found.fits


def short(frames: Frames) -> Frames:
    return frames[:2]


def in_kcal(frames: Frames) -> Frames:
    """Return energies in another unit, as if they were in eV."""
    for number, atoms in enumerate(frames):
        atoms.calc.results["energy"] *= 23.06 * (1 + 0.01 * (number % 3))
    return frames


def of_silicon(frames: Frames) -> Frames:
    for atoms in frames:
        atoms.symbols[:] = "Si"
    return frames


BAD: list[tuple[Callable[[Frames], Frames], str]] = [
    (short, r"^Level pbe: 2 structure\(s\) are too few"),
    (in_kcal, "Level pbe: "),
    (of_silicon, "Level pbe holds Si, but level rpa also holds C"),
]


@pytest.mark.parametrize(("spoil", "message"), BAD)
def test_a_level_that_cannot_be_fitted_is_named(
    tiny_checkpoint: Path,
    files: Files,
    tmp_path: Path,
    spoil: Callable[[Frames], Frames],
    message: str,
):
    bad = tmp_path / "bad.xyz"
    write_structures(bad, spoil(read_structures(files.low)))
    with pytest.raises(InputError, match=message):
        read_sets(request(tiny_checkpoint, files, levels={"pbe": bad}))


def test_two_levels_with_the_same_energies_are_refused(
    tiny_checkpoint: Path, files: Files, tmp_path: Path
):
    """The same file twice, or one that is only shifted: there is nothing to tell."""
    same = tmp_path / "same.xyz"
    structures = read_structures(files.high)
    for atoms in structures:
        atoms.calc.results["energy"] += 2.5 * len(atoms)
    write_structures(same, structures)
    with pytest.raises(InputError, match="cannot be told apart"):
        read_sets(request(tiny_checkpoint, files, levels={"pbe": same}))


def test_a_level_without_an_element_of_the_other_is_refused(
    tmp_path: Path, files: Files
):
    """Of elements that it does not hold, a level says nothing."""
    from tests.conftest import write_tiny_checkpoint

    start = tmp_path / "start"
    write_tiny_checkpoint(start, ("C", "Si"))
    mixed = tmp_path / "mixed.xyz"
    calculator = load_calculator(start, device="cpu")
    structures = []
    for seed in range(6):
        atoms = bulk("SiC", "zincblende", a=4.3, cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = calculator
        energy = atoms.get_potential_energy()
        forces = atoms.get_forces()
        structures.append(label(atoms, energy_eV=energy, forces_eV_A=forces))
    write_structures(mixed, structures)
    with pytest.raises(InputError, match="but level rpa also holds Si"):
        read_sets(request(start, files, data=mixed))


@pytest.mark.parametrize("name", ["a/b", "", "x" * 41])
def test_names_of_levels_are_plain(tiny_checkpoint: Path, files: Files, name: str):
    with pytest.raises(InputError, match="cannot be called"):
        read_sets(request(tiny_checkpoint, files, levels={name: files.low}))


def test_a_name_for_the_only_level_is_refused(tiny_checkpoint: Path, files: Files):
    with pytest.raises(InputError, match="All data are of one level"):
        read_sets(request(tiny_checkpoint, files, levels=None, energies_only=True))


def test_the_command_takes_levels(tiny_checkpoint: Path, files: Files):
    words = ["finetune", str(tiny_checkpoint), str(files.high), "--check"]
    words += ["--with", f"pbe:{files.low}", "--level", "rpa"]
    done = CliRunner().invoke(main, [*words, "--test", str(files.test)])
    assert done.exit_code == 0, done.output
    assert "24 of level pbe, 6 of them also of level rpa" in done.output
    done = CliRunner().invoke(main, [*words, "--with", ":low.xyz"])
    assert done.exit_code == 2
    assert "NAME:FILE" in done.output


@pytest.mark.thorough
def test_a_fit_to_two_levels_goes_on_where_it_was(
    tiny_checkpoint: Path,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Stopped in the middle and taken up again, it ends with the same weights."""
    from synthzoo.finetuning.snapshots import Snapshots

    asked = request(tiny_checkpoint, files)
    job = make_jobs(asked, read_sets(asked))[0]
    folders = tmp_path / "whole", tmp_path / "stopped"
    for folder in folders:
        folder.mkdir()
    (whole,) = run_fits([job], folders[0]).values()

    def stop(_: Snapshots, trainer: Any, __: Any) -> None:
        if trainer.current_epoch == 2:
            raise MidwayError

    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "on_train_epoch_end", stop)
        with pytest.raises(MidwayError):
            run_fits([job], folders[1])
    (resumed,) = run_fits([job], folders[1]).values()
    assert whole.keys() == resumed.keys()
    assert any(name.endswith("@pbe") for name in whole)
    for name in whole:
        np.testing.assert_array_equal(whole[name], resumed[name])


PAGE = (Path(__file__).parents[2] / "docs" / "levels.md").read_text(encoding="utf-8")
OF_SMALL_MODEL = {
    "finetune carbon rpa.xyz --with pbe.xyz": "fetch {model}",
    "--level low": "--level pbe",
    'level="low"': 'level="pbe"',
}
"""How the page reads where a small model that exists is copied instead of fitted."""


@pytest.mark.parametrize(
    "small",
    [
        pytest.param(True, marks=pytest.mark.thorough, id="a small model"),
        pytest.param(False, marks=pytest.mark.long, id="as written"),
    ],
)
def test_the_page_runs(
    *,
    small: bool,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Its files are made, the fit is, and both levels predict."""
    monkeypatch.chdir(tmp_path)
    text = PAGE
    for old, new in OF_SMALL_MODEL.items() if small else ():
        assert old in text
        model = request.getfixturevalue("both")
        text = text.replace(old, new.format(model=model))
    pattern = re.compile(r"^```(python|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    fit, files, *use = pattern.findall(text)
    for language, block in (files, fit, *use):
        if language == "python":
            exec(block, {})  # noqa: S102
            continue
        for line in block.splitlines():
            name, *words = shlex.split(line, comments=True)
            assert name == "synthzoo"
            done = CliRunner().invoke(main, words)
            assert done.exit_code == 0, done.output
        if not Path("in.xyz").exists():
            write_structures("in.xyz", load_sample("carbon-pbe")[:2])
    high, low = (read_structures(f"{name}.xyz")[0] for name in ("high", "low"))
    apart = high.get_potential_energy() - low.get_potential_energy()
    assert abs(apart) / len(high) > 1  # total energies, and those of binding


@pytest.mark.long
def test_a_killed_fit_to_two_levels_ends_in_the_same_checkpoint(
    tiny_checkpoint: Path, files: Files, tmp_path: Path
):
    """SIGKILL in mid-fit, then the same command: equal to the last bit."""
    outputs = tmp_path / "whole", tmp_path / "killed"
    inputs = (tiny_checkpoint, files.high, files.low, files.test)
    whole, killed = (
        [sys.executable, "-c", SCRIPT, *map(str, (*inputs, output))]
        for output in outputs
    )
    root = Path(__file__).parents[2]
    subprocess.run(whole, cwd=root, check=True, capture_output=True)
    process = subprocess.Popen(killed, cwd=root, stderr=subprocess.DEVNULL)
    state = tmp_path / "killed.parts" / FIT / "last.ckpt"
    while process.poll() is None and not state.is_file():
        time.sleep(0.005)
    assert process.poll() is None, "the fit ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(killed, cwd=root, check=True, capture_output=True)
    for name in ("model.safetensors", "levels.safetensors"):
        one, other = ((output / name).read_bytes() for output in outputs)
        assert one == other
