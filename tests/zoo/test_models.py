"""Every bundled checkpoint: whole, sound, near to its teacher, as its card says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces
from click.testing import CliRunner

from benchmarks import crystals
from synthzoo import import_paper, load_calculator
from synthzoo.cli import main
from synthzoo.evaluation.crystals import relax_crystals
from synthzoo.evaluation.physics_measures import carbon, layer_energies
from synthzoo.models.checkpoint import as_checkpoint, load_model, verify_checkpoint
from synthzoo.models.config import WEIGHTS_FILE
from synthzoo.models.isolation import nequip_session
from synthzoo.teachers import load_teacher
from synthzoo.zoo.cards import ModelCard, published_file
from synthzoo.zoo.find import find_folder
from synthzoo.zoo.registry import bundled_folder, find_card, model_cards

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthzoo.evaluation.crystal_properties import KnownCrystal
    from synthzoo.zoo.card_records import ComparedValue

BUNDLED = [card for card in model_cards() if bundled_folder(card) is not None]
SCALED = [card for card in BUNDLED if "transmute-model" in card.training.commands[-1]]
CARBON = find_card("carbon")


@pytest.fixture(scope="module")
def glass() -> Atoms:
    """Return a disordered cell: diamond with every atom well out of place."""
    atoms = bulk("C", a=3.7, cubic=True)
    atoms.rattle(0.25, seed=4)
    return atoms


@pytest.fixture(params=BUNDLED, ids=lambda card: card.name)
def card(request: pytest.FixtureRequest) -> ModelCard:
    found: ModelCard = request.param
    return found


def test_golden_predictions_are_repeated(card: ModelCard):
    """Each checkpoint still predicts what it did when it was made."""
    verification = verify_checkpoint(find_folder(card.name))
    assert verification.passed, verification.summary()


def test_card_and_checkpoint_agree(card: ModelCard):
    """Elements, cutoff, kind and size on the card are those of the files."""
    model, config = load_model(find_folder(card.name))
    assert config.elements == card.elements
    assert config.cutoff_A == card.cutoff_A
    assert config.kind == card.kind
    assert as_checkpoint(find_folder(card.name)).levels == card.levels
    assert sum(weight.numel() for weight in model.parameters()) == card.parameters
    fitted = config.provenance
    if card in SCALED:  # fitted before it was made into another element
        fitted = fitted["start"]
    assert fitted["teacher_sha256"] == card.teacher.sha256
    assert fitted["data_sha256"] == card.training.data_sha256


def test_every_result_has_its_command(card: ModelCard):
    """A number on a card can be measured again."""
    assert card.results
    for result in card.results:
        assert result.command is not None
        assert result.command.startswith("synthzoo ")


@pytest.mark.thorough
@pytest.mark.parametrize("name", [card.name for card in SCALED])
def test_scaled_carbon_is_made_by_the_command_of_its_card(name: str, tmp_path: Path):
    """No fit: the same weights, to the last bit."""
    (command,) = find_card(name).training.commands
    words = [tmp_path / name if word == name else word for word in command.split()[1:]]
    result = CliRunner().invoke(main, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    made, shipped = (tmp_path / name, find_folder(name))
    assert (made / WEIGHTS_FILE).read_bytes() == (shipped / WEIGHTS_FILE).read_bytes()


def test_forces_of_carbon_are_the_gradient_of_its_energy(glass: Atoms):
    """Central differences in double precision: 1e-4 eV/Å leaves no room for errors."""
    glass.calc = load_calculator("carbon", device="cpu", dtype="float64")
    forces = glass.get_forces()
    assert np.abs(forces).max() > 1.0
    numerical = calculate_numerical_forces(glass, eps=1e-4)
    np.testing.assert_allclose(forces, numerical, atol=1e-4)


def test_carbon_equals_the_eager_model_of_nequip(glass: Atoms):
    """The same weights in nequip's own calculator: same energies and forces."""
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms

    from synthzoo.models.engine.module import undo

    model, config = load_model(find_folder("carbon"), dtype="float64")
    undo(model)
    with nequip_session():  # nequip's calculator follows the default dtype
        transforms = basic_transforms(
            model.metadata, config.cutoff_A, ["C"], {"C": "C"}
        )
        theirs = NequIPCalculator(model, "cpu", transforms=transforms)
        theirs.calculate(glass)
    ours = load_calculator("carbon", device="cpu", dtype="float64")
    ours.calculate(glass)
    energies = [found.results["energy"] / len(glass) for found in (ours, theirs)]
    assert energies[0] == pytest.approx(float(energies[1]), abs=1e-6)
    np.testing.assert_allclose(
        ours.results["forces"], theirs.results["forces"], atol=1e-5
    )


def test_lattice_constants_of_carbon_are_those_of_its_teacher():
    """Diamond and graphene within 1 % of C-ACE's, as stored in the card."""
    calculator = load_calculator("carbon", device="cpu")
    relaxed = relax_crystals(calculator, np.random.default_rng(2))
    assert CARBON.reference_values is not None
    for name, known in CARBON.reference_values.crystals.items():
        found, _ = relaxed[name]
        assert found.converged
        assert found.a_A == pytest.approx(known.a_A, rel=0.01)


def test_show_and_page_state_the_failures_of_carbon_before_its_errors():
    """Each summary is among the facts, each number in a table above the errors."""
    failures = CARBON.known_failures
    shown = CliRunner().invoke(main, ["show", "carbon"]).stdout
    facts, _, page = shown.partition("\n# carbon")
    assert all(f"known failure    {failure.summary}" in facts for failure in failures)
    first, _, rest = page.partition("## Known failures")[2].partition("## Errors")
    assert rest
    for value in [value for failure in failures for value in failure.values]:
        assert f"| {value.model:.6g} | {value.teacher:.6g} |" in first, value.quantity


@pytest.mark.thorough
@pytest.mark.parametrize(
    "card",
    [card for card in BUNDLED if card.known_failures],
    ids=lambda card: card.name,
)
def test_a_card_states_the_failures_that_its_model_has(card: ModelCard):
    """Each number is measured anew; one that has changed by a percent is outdated."""
    check_failures(card, find_folder(card.name))


@pytest.mark.slow
def test_the_card_of_the_papers_start_states_the_failures_that_it_has(
    shared, tmp_path: Path
):
    """The same for the file that its authors have published."""
    card = find_card("paper/ace-100k")
    file, checkpoint = shared("paper-weights/ace-100_000.pth"), tmp_path / "ace-100k"
    neighbours = published_file(card).avg_num_neighbors
    import_paper(file, checkpoint, avg_num_neighbors=neighbours)
    check_failures(card, checkpoint)


@pytest.mark.slow
def test_cards_set_their_failures_beside_what_their_teacher_gives(shared):
    """C-ACE's numbers, which stand on several cards, are measured once."""
    pytest.importorskip("pyace", reason="python-ace is not installed")
    teacher = load_teacher(f"ace:{shared('potentials/c_ace.yace')}")
    found = dict(carbon(teacher.calculator))
    cards = [card for card in model_cards() if card.teacher.name == "C-ACE"]
    failures = [failure for card in cards for failure in card.known_failures]
    assert failures
    for value in [value for failure in failures for value in failure.values]:
        stated = pytest.approx(value.teacher, rel=0.01, abs=0.05)
        assert found[value.quantity] == stated, value.quantity


def check_failures(card: ModelCard, checkpoint: Path) -> None:
    """Measure what a card says that its model gets wrong."""
    assert card.known_failures
    calculator = load_calculator(checkpoint, device="cpu")
    values = [value for failure in card.known_failures for value in failure.values]
    if card.elements == ("C",):
        found = dict(carbon(calculator))
    else:
        found = crystals.measure(calculator, list(crystals_of(card, values)))
    for value in values:
        stated = pytest.approx(value.model, rel=0.01, abs=0.01)
        assert found[value.quantity] == stated, value.quantity


def crystals_of(
    card: ModelCard, values: Sequence[ComparedValue]
) -> Iterator[KnownCrystal]:
    """Yield crystals of elements, and compounds of which a lattice constant is given.

    ``values``: of the known failures, as ``zincblende InP: C11 (GPa)``.
    """
    yield from crystals.crystals_of(card.elements)
    for value in values:
        name, _, quantity = value.quantity.partition(": ")
        shape, _, formula = name.partition(" ")
        if formula not in card.elements and quantity == "lattice constant a (Å)":
            yield crystals.compound(f"{formula}:{shape}:{value.teacher}")


def test_the_layers_of_carbon_are_as_its_card_says():
    """The quick part of the slow test above: graphite at some layer distances."""
    stated = {v.quantity: v.model for f in CARBON.known_failures for v in f.values}
    found = layer_energies(2.468, load_calculator("carbon", device="cpu"))
    assert stated.keys() & found.keys()
    for name in stated.keys() & found.keys():
        assert found[name] == pytest.approx(stated[name], rel=0.01, abs=0.1), name


def test_a_lone_atom_of_carbon_has_no_energy():
    """Energies are relative to isolated atoms."""
    atom = Atoms("C", cell=[20.0] * 3, pbc=True, calculator=load_calculator("carbon"))
    assert atom.get_potential_energy() == pytest.approx(0.0, abs=1e-6)
