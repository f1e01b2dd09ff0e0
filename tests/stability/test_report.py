"""The report of a stability check, from real runs of a sound and a broken potential."""

import dataclasses
import json
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.morse import MorsePotential
from PIL import Image

from synthzoo.errors import InputError
from synthzoo.stability.check import compare_md, run_md
from synthzoo.stability.crystals import check_crystals
from synthzoo.stability.observables import shown_of
from synthzoo.stability.protocol import Conservation, Dimers, Dynamics, MdRecipe
from synthzoo.stability.report import write_report
from synthzoo.stability.results import read_verdicts, write_verdicts
from synthzoo.stability.verdict import VERDICT_FILE, ReplicaResult, Verdict

RECIPE = MdRecipe(
    stages=(
        Dimers(points=12),
        Dynamics(name="hot", duration_fs=60, start_K=300, end_K=600),
        Conservation(name="steps", duration_fs=80, factors=(0.5, 1.0)),
    ),
    replicas=2,
    timestep_fs=4.0,
    check_steps=2,
    sample_fs=4.0,
    frame_fs=8.0,
)


def _copper() -> Atoms:
    atoms: Atoms = bulk("Cu", cubic=True).repeat((2, 2, 1))
    return atoms


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Verdict, ...]:
    """Run copper by EMT, and by a potential that pulls atoms into each other."""
    pulls = MorsePotential(epsilon=20.0, r0=1.2, rho0=3.0, rcut1=3.0, rcut2=4.0)
    output = tmp_path_factory.mktemp("stability") / "output"
    return compare_md(
        [EMT(), pulls], _copper(), output, protocol=RECIPE, seed=5, workers=1
    )


@pytest.fixture(scope="module")
def report(verdicts: tuple[Verdict, ...], tmp_path_factory: Any) -> Path:
    """Write the report with the crystals of the sound potential."""
    folder: Path = tmp_path_factory.mktemp("report")
    crystals = {verdicts[0].model: check_crystals(EMT(), ["Cu"])}
    return write_report(folder, verdicts, crystals)


def test_alloys_have_bonds_and_distances_by_pairs_of_elements(tmp_path: Path):
    """A table and a figure, which a single element does not have."""
    alloy = bulk("CuAu", "cesiumchloride", a=3.1, cubic=True).repeat(2)
    short = MdRecipe(stages=(Dynamics(name="warm", duration_fs=20, start_K=300),))
    run_md(EMT(), alloy, tmp_path / "md", protocol=short, workers=1)
    text = (tmp_path / "md" / "report.md").read_text(encoding="utf-8")
    assert "| EMT | Cu–Au | 8.00 | 2.6" in text
    assert (tmp_path / "md" / "partial.png").is_file()
    found = json.loads((tmp_path / "md" / "observables.json").read_text("utf-8"))
    assert set(found["EMT"]["observables"]["first_peaks_by_pair_A"]) == {
        "Au–Au",
        "Au–Cu",
        "Cu–Cu",
    }


def test_the_verdicts_come_first(report: Path):
    """One paragraph for each model right below the title, with kind and time."""
    title, first, second, *_ = report.read_text(encoding="utf-8").split("\n\n")
    assert title == "# custom: EMT, MorsePotential"
    assert first.startswith(
        "**EMT passed `custom`.** 2 of 2 replicas lived for 0.14 ps"
    )
    assert second.startswith(
        "**MorsePotential failed `custom`.** 0 of 2 replicas lived"
    )
    assert "First failure: " in second


def test_each_failure_is_told_with_its_replica(report: Path):
    """Name of the model, number of the replica, kind, stage, and what was seen."""
    section = _section(report, "What failed")
    lines = [line for line in section.splitlines() if line.startswith("- ")]
    assert len(lines) >= 2
    assert any("MorsePotential, replica 1: " in line for line in lines)
    assert all("MorsePotential" in line for line in lines)


def test_tables_hold_what_was_measured(report: Path, verdicts: tuple[Verdict, ...]):
    """Seeds, simulated times, survival, the lattice constant of copper."""
    text = report.read_text(encoding="utf-8")
    assert "| EMT | passed | 2 of 2 |" in text
    assert "| MorsePotential | FAILED | 0 of 2 |" in text
    for replica in verdicts[0].replicas:
        assert f"| EMT {replica.replica} | 0 | {replica.seed} | 0.14 of 0.14 |" in text
    assert "| EMT | fcc Cu | 3.590 | 134 | 0.0 / 7.0 |" in text
    assert "sp² / sp³ at the end" not in text


def test_the_protocol_and_what_made_it_are_told(
    report: Path, verdicts: tuple[Verdict, ...]
):
    """Stages in words, time step, versions, hash of the recipe, seed."""
    protocol = _section(report, "The protocol custom")
    assert "hot: 0.06 ps of dynamics, 300 → 600 K" in protocol
    assert "Time step 4 fs, langevin thermostat" in protocol
    provenance = _section(report, "Provenance")
    assert "seed: 5" in provenance
    assert str(verdicts[0].provenance["recipe_sha256"]) in provenance
    assert "synthzoo " in provenance


def test_all_figures_are_there_and_have_something_on_them(report: Path):
    """Every picture that is named exists, and is not one plain colour."""
    names = {
        line.partition("](")[2].rstrip(")")
        for line in report.read_text(encoding="utf-8").splitlines()
        if line.startswith("![")
    }
    assert names == {
        "survival.png",
        "dynamics.png",
        "bonds.png",
        "radial.png",
        "drift.png",
        "scans.png",
    }
    for name in names:
        with Image.open(report.parent / name) as picture:
            assert picture.width > 500
            colours = picture.convert("RGB").getcolors(maxcolors=10**6)
        assert colours is not None
        assert len(colours) > 50


class _Pictures(HTMLParser):
    """Collects where pictures come from."""

    sources: tuple[str, ...] = ()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.sources += (dict(attrs)["src"] or "",)


def test_the_page_stands_alone(report: Path):
    """The HTML file carries its pictures with it."""
    parser = _Pictures()
    parser.feed((report.parent / "report.html").read_text(encoding="utf-8"))
    assert len(parser.sources) == 6
    assert all(src.startswith("data:image/png;base64,") for src in parser.sources)


def test_numbers_for_programs(report: Path, verdicts: tuple[Verdict, ...]):
    """Valid JSON, without NaN, with what the text says."""
    text = (report.parent / "observables.json").read_text(encoding="utf-8")

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is not JSON")

    found = json.loads(text, parse_constant=refuse)
    assert found["EMT"]["passed"] is True
    assert found["MorsePotential"]["survival"]["failures"] == 2
    assert sum(found["EMT"]["observables"]["bond_shares_at_the_end"]) == pytest.approx(
        1
    )
    assert found["EMT"]["crystals"][0]["bulk_modulus_GPa"] == pytest.approx(134, abs=3)
    assert found["MorsePotential"]["crystals"] == []


def test_replicas_are_seen_as_they_ran(verdicts: tuple[Verdict, ...]):
    """Times of the frames, solid copper, and no motion to speak of."""
    shown = shown_of(verdicts[0], "EMT")
    assert shown.planned_ps == pytest.approx(0.14)
    assert len(shown.series) == len(shown.observables) == 2
    for found in shown.observables:
        assert found.times_ps[0] == 0
        assert found.times_ps[-1] == pytest.approx(0.14)
        assert found.bond_shares[0, 12] == 1
        assert found.squared_displacements_A2[-1] < 0.5
    assert not shown.is_carbon


def test_verdicts_can_be_read_again(verdicts: tuple[Verdict, ...]):
    """What the file says is what was returned; with it, a report can be made anew."""
    again = read_verdicts(verdicts[0].replicas[0].folder.parents[1])
    for first, second in zip(verdicts, again, strict=True):
        assert second.replicas == first.replicas
        assert second.failures == first.failures
        assert [scan.x for scan in second.scans] == [scan.x for scan in first.scans]
        assert second.provenance["seed"] == first.provenance["seed"]


def test_nan_survives_a_file_in_which_only_null_can_stand_for_it(
    tmp_path: Path, verdicts: tuple[Verdict, ...]
):
    """JSON has null for it; where nothing was measured, null stays nothing."""
    sound = verdicts[0]
    first, scan = sound.replicas[0], sound.scans[0]
    drift = dataclasses.replace(first.drifts[0], drift_meV_per_atom_ps=math.nan)
    replica = dataclasses.replace(
        first, drifts=(drift,), order=None, folder=tmp_path / "replica"
    )
    energies = (math.nan, *scan.energies_eV[1:])
    scan = dataclasses.replace(scan, energies_eV=energies)
    changed = dataclasses.replace(sound, replicas=(replica,), scans=(scan,))
    write_verdicts(tmp_path, [changed])
    (again,) = read_verdicts(tmp_path)
    assert math.isnan(again.scans[0].energies_eV[0])
    assert again.scans[0].energies_eV[1:] == energies[1:]
    assert math.isnan(again.replicas[0].drifts[0].drift_meV_per_atom_ps)
    assert again.replicas[0].drifts[0].timestep_fs == drift.timestep_fs
    assert (again.replicas[0].order, again.replicas[0].failure) == (None, None)
    assert again.replicas[0].folder == replica.folder


@pytest.mark.parametrize("text", ["", "[{}]", '[{"model": 1}]', "{}", "[" * 5000])
def test_a_damaged_verdict_is_one_error_that_names_the_file(tmp_path: Path, text: str):
    """Whoever changed the file by hand sees what is wrong with it."""
    (tmp_path / VERDICT_FILE).write_text(text)
    with pytest.raises(InputError, match=r"verdict\.json is damaged: ") as caught:
        read_verdicts(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_without_verdicts_is_refused(tmp_path: Path):
    """Nothing was run there, or it has not ended."""
    with pytest.raises(InputError, match="no stability check ended"):
        read_verdicts(tmp_path)


def test_a_model_that_died_at_once_still_gets_a_report(
    tmp_path: Path, verdicts: tuple[Verdict, ...]
):
    """Neither series nor trajectory: the verdict is told, figures are left out."""
    sound = verdicts[0]
    dead: tuple[ReplicaResult, ...] = tuple(
        dataclasses.replace(
            replica, survived=False, simulated_fs=0.0, folder=tmp_path / "nowhere"
        )
        for replica in sound.replicas
    )
    verdict = dataclasses.replace(sound, passed=False, replicas=dead, scans=())
    text = write_report(tmp_path, [verdict]).read_text(encoding="utf-8")
    assert "**EMT failed `custom`.** 0 of 2 replicas lived" in text
    assert "survival.png" in text
    assert "dynamics.png" not in text


def test_no_verdict_makes_no_report(tmp_path: Path):
    """There is nothing to tell."""
    with pytest.raises(InputError, match="no verdict"):
        write_report(tmp_path, [])


def _section(report: Path, heading: str) -> str:
    text = report.read_text(encoding="utf-8")
    return text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
