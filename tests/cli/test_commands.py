"""The command line: results on stdout, one line on stderr when the user can mend it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import ase.io
import click
import numpy as np
import pytest
import yaml
from ase import Atoms
from ase.build import bulk
from click.testing import CliRunner

import synthzoo
from synthzoo.cli import main
from synthzoo.cli.listing import SECTIONS
from synthzoo.data.structures import iter_structures, write_structures
from synthzoo.errors import InterruptedRunError
from synthzoo.recipes.loading import recipe_values
from synthzoo.runs.files import DISK_FAULTS
from synthzoo.zoo import registry
from synthzoo.zoo.registry import model_cards
from tests.example_card import example_head, files_of, write_card
from tests.toy import generate_recipe, pretrain_recipe

if TYPE_CHECKING:
    from click.testing import Result


def run(*arguments: object) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def fails(*arguments: object) -> str:
    """Run a command that must fail as users should see it; return the message."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture
def zoo(
    tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Make a zoo of one bundled model, `tiny-carbon` alias `tiny`."""
    package = tmp_path / "package"
    cards = package / "model_cards"
    cards.mkdir(parents=True)
    shutil.copytree(tiny_checkpoint, package / "weights" / "tiny-carbon")
    write_card(cards, example_head(files=files_of(tiny_checkpoint)))
    monkeypatch.setattr(registry, "__file__", str(package / "registry.py"))
    registry._installed_cards.cache_clear()
    yield package
    registry._installed_cards.cache_clear()


@pytest.fixture
def crystals(tmp_path: Path) -> Path:
    """Write three carbon crystals."""
    path = tmp_path / "crystals.xyz"
    write_structures(path, [bulk("C", a=a) for a in (3.5, 3.6, 3.7)])
    return path


def test_version_is_the_packages() -> None:
    """`--version` prints the version that Python sees."""
    assert run("--version").stdout == f"synthzoo, version {synthzoo.__version__}\n"


def test_misspelt_command_is_offered_the_right_one() -> None:
    """A command that does not exist exits with 2 and names the nearest."""
    result = run("lisst")
    assert result.exit_code == 2
    assert "list" in result.stderr


def test_list_shows_each_model_on_a_line(zoo: Path) -> None:
    """Name, alias, elements, place and summary stand in one row under the header."""
    header, row = run("list").stdout.splitlines()
    names = ["NAME", "ALIASES", "ELEMENTS", "FROM", "KNOWN FAILURES", "SUMMARY"]
    assert header.split() == " ".join(names).split()
    assert " ".join(row.split()) == "tiny-carbon tiny C bundled – Carbon for tests"


def test_list_and_show_name_the_levels_of_theory(zoo: Path) -> None:
    """The default one first; other models say nothing of levels."""
    head = example_head(levels=["rpa", "pbe"])
    files = head["synthzoo"]["files"]
    files["levels.safetensors"] = files["config.json"]
    write_card(zoo / "model_cards", head)
    assert "Carbon for tests; levels rpa (the default), pbe" in run("list").stdout
    assert "levels           rpa (the default), pbe\n" in run("show", "tiny").stdout


def test_list_as_json_holds_the_cards(zoo: Path) -> None:
    """`list --json` gives programs the facts of the card, without its text."""
    (found,) = json.loads(run("list", "--json").stdout)
    (card,) = model_cards()
    assert found["name"] == card.name
    assert found["location"] == "bundled"
    assert found["files"]["config.json"]["sha256"] == card.files["config.json"].sha256
    assert "body" not in found


def test_show_prints_facts_errors_and_citation(zoo: Path) -> None:
    """`show` prints the licence, the measured errors, the page and what to cite."""
    text = run("show", "tiny").stdout
    (card,) = model_cards()
    assert card.licence in text
    assert str(card.results[0].command) in text
    assert "Made for tests." in text
    assert card.citation.strip() in text
    assert "<!-- table" not in text


def test_show_bibtex_prints_only_bibtex(zoo: Path) -> None:
    """`show --bibtex` can be appended to a .bib file."""
    text = run("show", "tiny", "--bibtex").stdout
    assert text.startswith("@")
    assert text.endswith("}\n")


def test_unknown_model_is_offered_the_nearest(zoo: Path) -> None:
    """A misspelt name is answered with the right one."""
    assert "Did you mean 'tiny'" in fails("show", "tinyy")


def test_fetch_prints_the_folder(zoo: Path, tmp_path: Path) -> None:
    """`fetch` prints where the checkpoint is, and copies it where asked."""
    copy = tmp_path / "copy"
    assert run("fetch", "tiny", "-o", copy).stdout == f"{copy}\n"
    assert (copy / "model.safetensors").is_file()
    assert run("fetch", "--all").stdout == f"{zoo / 'weights' / 'tiny-carbon'}\n"


@pytest.mark.parametrize("arguments", [[], ["tiny", "--all"], ["--all", "-o", "x"]])
def test_fetch_wants_one_model_or_all(arguments: list[str]) -> None:
    """`fetch` without a clear wish explains its usage and exits with 2."""
    result = run("fetch", *arguments)
    assert result.exit_code == 2
    assert "Give one MODEL, or --all" in result.stderr


def test_verify_passes_for_a_sound_checkpoint(tiny_checkpoint: Path) -> None:
    """`verify --json` reports how far the golden predictions were met."""
    result = run("verify", tiny_checkpoint, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["passed"] is True
    assert "golden structures reproduced" in run("verify", tiny_checkpoint).stdout


def test_verify_refuses_damaged_weights(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """One flipped bit in the weights is one clear error."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "damaged")
    weights = folder / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert "SHA-256" in fails("verify", folder)


def test_predict_writes_what_ase_reads(
    zoo: Path, crystals: Path, tmp_path: Path
) -> None:
    """`predict` keeps the order and adds energy, forces and stress to each frame."""
    output = tmp_path / "out.xyz"
    result = run("predict", "tiny", crystals, "-o", output, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["structures"] == 3
    frames = list(iter_structures(output))
    lengths = [atoms.cell.lengths()[0] * np.sqrt(2) for atoms in frames]
    assert lengths == pytest.approx([3.5, 3.6, 3.7], abs=1e-6)
    for atoms in frames:
        assert np.isfinite(atoms.get_potential_energy())
        assert atoms.get_forces().shape == (2, 3)
        assert atoms.get_stress().shape == (6,)


def test_float64_predictions_differ_only_by_rounding(
    zoo: Path, crystals: Path, tmp_path: Path
) -> None:
    """`--dtype float64 --batch-atoms 2` changes the energy by float32 rounding only."""
    energies = []
    for options in ([], ["--dtype", "float64", "--batch-atoms", "2"]):
        output = tmp_path / f"{len(options)}.xyz"
        assert run("predict", "tiny", crystals, "-o", output, *options).exit_code == 0
        frames = iter_structures(output)
        energies.append([atoms.get_potential_energy() for atoms in frames])
    assert energies[0] == pytest.approx(energies[1], abs=1e-4)
    assert energies[0] != energies[1]


def _too_close() -> Atoms:
    return Atoms("C2", positions=[[0, 0, 0], [0, 0, 0.01]])


def _not_a_number() -> Atoms:
    return Atoms("C2", positions=[[0, 0, 0], [0, 0, np.nan]])


def _flat_cell() -> Atoms:
    return Atoms("C", cell=[[1, 0, 0], [2, 0, 0], [0, 0, 1]], pbc=True)


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("CO", positions=[[0, 0, 0], [0, 0, 1.1]]), "O"),
        (_too_close(), "at the same position"),
        (_not_a_number(), "not a finite number"),
        (_flat_cell(), "no volume"),
    ],
    ids=["unknown element", "overlap", "NaN", "flat cell"],
)
def test_predict_refuses_structures_without_an_energy(
    tiny_checkpoint: Path, tmp_path: Path, atoms: Atoms, message: str
) -> None:
    """A bad structure is one clear error, and no output is left behind."""
    source, output = tmp_path / "bad.traj", tmp_path / "out.xyz"
    ase.io.write(source, [bulk("C"), atoms])
    assert message in fails("predict", tiny_checkpoint, source, "-o", output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.traj"]


def test_predict_names_a_missing_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """A file that does not exist is named."""
    missing = tmp_path / "missing.xyz"
    message = fails("predict", tiny_checkpoint, missing, "-o", tmp_path / "out.xyz")
    assert str(missing) in message


def test_predict_refuses_an_empty_file(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """An empty file is called empty."""
    empty = tmp_path / "empty.xyz"
    empty.touch()
    message = fails("predict", tiny_checkpoint, empty, "-o", tmp_path / "out.xyz")
    assert "empty" in message


def test_publish_dry_run_lists_the_files(tiny_checkpoint: Path, tmp_path: Path) -> None:
    """`publish --dry-run` shows what would be sent and opens no connection."""
    folder = shutil.copytree(tiny_checkpoint, tmp_path / "mine")
    (folder / "README.md").write_text("# My model\n")
    result = run("publish", folder, "me/mine", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "model.safetensors" in result.stdout
    assert "Nothing was sent" in result.stderr
    described = json.loads(
        run("publish", folder, "me/mine", "--dry-run", "--json").stdout
    )
    assert described["commit"] is None


def test_relabel_needs_a_teacher(crystals: Path, tmp_path: Path) -> None:
    """Without a teacher `relabel` says how to name one."""
    result = run("relabel", crystals, tmp_path / "out.xyz")
    assert result.exit_code == 2
    assert "--teacher" in result.stderr


def test_relabel_refuses_an_unknown_teacher(crystals: Path, tmp_path: Path) -> None:
    """A teacher of unknown kind is answered with the known kinds."""
    message = fails("relabel", crystals, tmp_path / "o.xyz", "--teacher", "dft:pbe")
    assert "ace" in message


def test_relabel_labels_with_c_ace(shared, crystals: Path, tmp_path: Path) -> None:
    """`relabel` writes the teacher's labels; a second run refuses the output."""
    pytest.importorskip("pyace")
    teacher = f"ace:{shared('potentials/c_ace.yace')}"
    output = tmp_path / "labelled.xyz"
    command = ("relabel", crystals, output, "--teacher", teacher, "--workers", 1)
    result = run(*command, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["labelled"] == 3
    assert "exists" in fails(*command)


def test_unknown_recipe_is_answered_with_the_known(tmp_path: Path) -> None:
    """A recipe that does not exist is answered with those that come with synthzoo."""
    for command in (["generate", "nope"], ["pretrain", "nope", "--data", "x"]):
        assert "carbon" in fails(*command, "-o", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_evaluate_prints_a_row_for_each_group(zoo: Path, tmp_path: Path) -> None:
    """A model compared with its own predictions has no error, in each group."""
    source, labelled = tmp_path / "in.xyz", tmp_path / "labelled.xyz"
    frames = [bulk("C", a=a) for a in (3.5, 3.6, 3.7)]
    for kind, atoms in zip(("cold", "cold", "hot"), frames, strict=True):
        atoms.info["config_type"] = kind
    write_structures(source, frames)
    assert run("predict", "tiny", source, "-o", labelled).exit_code == 0
    table = run("evaluate", "tiny", labelled, "--shift")
    assert table.exit_code == 0, table.output
    names = [line.split()[0] for line in table.stdout.splitlines()]
    assert names == ["GROUP", "all", "cold", "hot"]
    assert "STRESS RMSE (GPa)" in table.stdout
    assert "Subtracted from the labels" in table.stderr
    found = json.loads(run("evaluate", "tiny", labelled, "--json").stdout)
    assert found["groups"][0]["structures"] == 3
    assert found["groups"][0]["force_rmse_eV_A"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    """Each shell gets a script that calls back into synthzoo."""
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_SYNTHZOO_COMPLETE" in result.stdout


def test_completion_offers_models(zoo: Path) -> None:
    """The word after `show` is completed to names and aliases of the zoo."""
    environment = {
        "_SYNTHZOO_COMPLETE": "zsh_complete",
        "COMP_WORDS": "synthzoo show ti",
        "COMP_CWORD": "2",
    }
    result = CliRunner(env=environment).invoke(main, prog_name="synthzoo")
    assert {"tiny", "tiny-carbon"} <= set(result.stdout.splitlines())


def test_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults of the file system are shown without a traceback; other bugs keep it."""
    for code in DISK_FAULTS:
        monkeypatch.setattr(synthzoo, "model_cards", _raiser(OSError(code, "no", "x")))
        assert "x" in fails("list")
    monkeypatch.setattr(synthzoo, "model_cards", _raiser(OSError(0, "bug")))
    assert isinstance(run("list").exception, OSError)


def _raiser(error: BaseException):
    def fail() -> None:
        raise error

    return fail


def test_closed_pipe_is_no_traceback(tmp_path: Path) -> None:
    """`synthzoo --help | head -0` ends quietly."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", "from synthzoo.cli import main; main(['--help'])"],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
        text=True,
    )
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [[], ["teachers"]])
def test_help_gives_each_command_one_full_line(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In 80 columns no line about a command is cut, and none runs over."""
    monkeypatch.setenv("COLUMNS", "80")
    group = main.commands[arguments[0]] if arguments else main
    assert isinstance(group, click.Group)
    lines = [
        line.split(maxsplit=1) for line in run(*arguments, "-h").stdout.split("\n")
    ]
    shown = {words[0]: words[1] for words in lines if len(words) == 2}
    for name, command in group.commands.items():
        assert command.help is not None
        sentence = command.help.splitlines()[0]
        assert shown[name] == sentence
        assert sentence.endswith(".")


def test_help_lists_each_command_under_one_heading() -> None:
    """A new command has to be given a heading."""
    listed = [name for names in SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(main.commands)
    text = run("-h").stdout
    headings = [text.index(f"\n{heading}:\n") for heading in SECTIONS]
    assert headings == sorted(headings)


def test_interrupt_is_one_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends a command with `Aborted!` and no traceback."""
    monkeypatch.setattr(synthzoo, "model_cards", _raiser(KeyboardInterrupt()))
    result = run("list")
    assert result.exit_code == 1
    assert result.stderr.strip() == "Aborted!"


def test_interrupt_of_a_run_says_how_to_go_on(
    crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in a run with results tells that the same command continues it."""
    error = InterruptedRunError("What is finished is kept; run the same command again.")
    monkeypatch.setattr("synthzoo.relabel_file", lambda *_, **__: _raise(error))
    arguments = ["relabel", str(crystals), str(tmp_path / "out.xyz"), "--teacher", "x"]
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.strip() == f"Aborted! {error}"


def _raise(error: BaseException) -> None:
    raise error


@pytest.mark.thorough
def test_chain_of_commands_makes_a_model(shared, tmp_path: Path) -> None:
    """generate, relabel, pretrain and predict pass plain files from one to the next."""
    pytest.importorskip("pyace")
    teacher = f"ace:{shared('potentials/c_ace.yace')}"
    recipe = tmp_path / "toy.yaml"
    sections = {
        "generate": recipe_values(generate_recipe(teacher)),
        "relabel": {"teacher": "ace:elsewhere.yace"},
        "pretrain": recipe_values(pretrain_recipe(max_epochs=1)),
    }
    sections["generate"]["parts"] = sections["generate"]["parts"][1:4]
    recipe.write_text(yaml.safe_dump(sections))
    made, labelled, model, predicted = (
        tmp_path / name for name in ("made.xyz", "labelled.xyz", "model", "out.xyz")
    )
    one = ("--workers", 1)
    for command in (
        ["generate", recipe, "-o", made, *one],
        ["relabel", made, labelled, "--recipe", recipe, "--teacher", teacher, *one],
        ["pretrain", recipe, "--data", labelled, "-o", model],
        ["predict", model, labelled, "-o", predicted],
    ):
        result = run(*command)
        assert result.exit_code == 0, result.output
        assert "output" in result.stdout
    assert len(list(iter_structures(predicted))) == len(list(iter_structures(labelled)))
    assert "exists" in fails("generate", recipe, "-o", made)


@pytest.mark.parametrize(
    "command",
    [
        "generate",
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in ("relabel", "estimate", "build")
        ),
    ],
)
def test_a_recipe_of_others_runs_no_program(
    command: str, crystals: Path, tmp_path: Path
) -> None:
    """Without the user's word no class is imported, with it no other is called."""
    called, recipe = tmp_path / "called", tmp_path / "foreign.yaml"
    values = {"command": f"touch {called}", "isolated_atom_energies_eV": {"C": 0.0}}
    program = f"ase:os.system{json.dumps(values)}"
    sections = {
        "generate": recipe_values(generate_recipe(program)),
        "relabel": {"teacher": program},
        "pretrain": recipe_values(pretrain_recipe(max_epochs=1)),
    }
    recipe.write_text(yaml.safe_dump(sections))
    output = tmp_path / "out"
    arguments = {
        "relabel": ["relabel", crystals, output, "--recipe", recipe],
        "generate": ["generate", recipe, "-o", output],
        "estimate": ["estimate", recipe],
        "build": ["build", recipe, "-o", output],
    }[command]
    assert "os.system, which would be loaded and called" in fails(*arguments)
    assert "os.system is not an ASE calculator" in fails(*arguments, "--trust")
    assert not called.exists()


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 1)])
def test_demo_prints_its_report(
    *,
    passed: bool,
    code: int,
    zoo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`demo` passes its options on, and says by its exit code whether all went well."""
    asked: dict[str, object] = {}
    report = tmp_path / "report.md"
    report.write_text("# Done\n")

    def pretend(output: Path, **options: object) -> SimpleNamespace:
        asked.update(options, output=output)
        check = SimpleNamespace(passed=passed)
        return SimpleNamespace(report=report, figure=output / "demo.png", check=check)

    monkeypatch.setattr(synthzoo, "run_demo", pretend)
    result = run("demo", "-o", tmp_path / "new", "--model", "tiny")
    assert result.exit_code == code
    assert asked == {"output": tmp_path / "new", "model": "tiny"}
    assert result.stdout.strip() == "# Done"
    assert "demo.png" in result.stderr


def test_demo_refuses_a_folder_that_is_in_use(zoo: Path, tmp_path: Path) -> None:
    """An existing folder with files in it is not touched."""
    (tmp_path / "mine.txt").write_text("precious")
    assert "not empty" in fails("demo", "-o", tmp_path, "--model", "tiny")
