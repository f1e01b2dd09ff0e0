"""Every command and option of the last version still works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.cli.options import threads_option
from synthzoo.models.calculator import _tell_that_engine_computes
from synthzoo.models.engine.threads import SETTING, default_threads

FROZEN = {
    "benchmark": (
        "0...! --training=...! --test=...! -o=! --output=! --sizes=! --draws= "
        "--least-atoms= --recipe= --direct-visits= --energy-key= --forces-key= "
        "--format= --published= --workers= --json"
    ),
    "build": (
        "0! -o=! --output=! --driver= --teacher= --trust --workers= --device= --json"
    ),
    "completion": "0bash|zsh|fish!",
    "demo": "-o= --output= --model= --duration-ps= --tune-on= --json",
    "estimate": "0! --driver= --steps= --trust --json",
    "evaluate": (
        "0! 1...! --with=... -o= --output= --shift --skip=... --energy-key= "
        "--forces-key= --format= --json"
    ),
    "fetch": "0 --all -o= --output=",
    "finetune": (
        "0! 1...! -o= --output= --check --recipe= --seed= --held-out-share= "
        "--test=... --replay=... --replay-share= --isolated-energy=... "
        "--energy-key= --forces-key= --format= --energies-only --select-by=loss|md "
        "--seeds= --committee= --drop-bad --compare-direct --device= --workers= "
        "--json"
    ),
    "generate": (
        "0 -o=! --output=! --driver= --trust --workers= --executor=processes|dask "
        "--scheduler= --json"
    ),
    "import-paper": (
        "0! -o=! --output=! --avg-num-neighbors= --calibrate= --energy-key= "
        "--forces-key= --format= --element=... --cutoff= --json"
    ),
    "inspect": (
        "0...! -o= --output= --card= --energy-key= --forces-key= --stress-key= "
        "--format= --json"
    ),
    "list": "--json",
    "md": (
        "0...! 1! -o= --output= --protocol= --replicas= --seed= --timestep-fs= "
        "--thermostat=langevin|bussi|nose-hoover --duration= --hottest-K= --relax "
        "--crystals --engine=ase|torch-sim --format= --device= --compile "
        "--kernels=openequivariance|cuequivariance --workers= --json"
    ),
    "predict": (
        "0! 1! -o=! --output=! --format= --device= --compile "
        "--kernels=openequivariance|cuequivariance --dtype=float32|float64 "
        "--batch-atoms= --json"
    ),
    "pretrain": (
        "0! --data=...! -o=! --output=! --start= --structures= --format= --device= "
        "--devices= --nodes= --compile --kernels=openequivariance|cuequivariance "
        "--tensorboard --json"
    ),
    "publish": "0! 1! --private --pull-request --dry-run --json",
    "reference": "0!",
    "relabel": (
        "0! 1! --teacher= --recipe= --format= --trust --workers= "
        "--executor=processes|dask --scheduler= --json"
    ),
    "show": "0! --bibtex --json",
    "teachers fetch": "0! --file=",
    "teachers list": "--json",
    "teachers show": "0! --json",
    "teachers test": "0! --file= --json",
    "thin": (
        "0! 1! --keep=! --cutoff= --environments= --one-of-each= --format= --json"
    ),
    "transmute": (
        "0! 1! --element=! --scale=! --energy-factor= --isolated-energy= "
        "--energy-key= --forces-key= --format= --json"
    ),
    "transmute-model": (
        "0! -o=! --output=! --element=! --scale=! --energy-factor= --json"
    ),
    "verify": "0! --device= --json",
}
"""Command: its arguments and options as they were.

A number is an argument, ``0...`` any number of them. ``--option`` takes no value,
``--option=`` takes one, ``--option=a|b`` one of these, and ``--option=...`` may be
repeated. What ends in ``!`` has to be given.
"""


def all_commands(
    command: click.Command = main, name: str = ""
) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that runs something, with its name."""
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from all_commands(below, f"{name} {word}".strip())
    else:
        yield name, command


def words_of(command: click.Command) -> Iterator[str]:
    """Yield what a command takes, as in `FROZEN`."""
    for number, parameter in enumerate(command.params):
        form = "..." if parameter.multiple or parameter.nargs == -1 else ""
        form += "|".join(getattr(parameter.type, "choices", ()))
        form += "!" if parameter.required else ""
        if isinstance(parameter, click.Option):
            equals = "" if parameter.is_flag else "="
            yield from (f"{option}{equals}{form}" for option in parameter.opts)
        else:
            yield f"{number}{form}"


def is_taken(old: str, words: set[str]) -> bool:
    """Return whether what was given for an old word can be given today."""
    name, equals, form = old.rstrip("!").partition("=")
    choices = set(form.split("|")) if "|" in form else set()
    for word in words:
        name_now, equals_now, form_now = word.rstrip("!").partition("=")
        if (name, equals) == (name_now, equals_now):
            return (
                form == form_now
                or (form == "" and form_now == "...")  # once is enough
                or (bool(choices) and choices < set(form_now.split("|")))
            )
    return False


@pytest.mark.parametrize("name", FROZEN)
def test_a_command_line_of_the_last_version_still_parses(name: str) -> None:
    """No argument, option or choice has gone, and nothing more has to be given.

    A renamed option stays under its old name, too, and warns, for one version.
    """
    old, words = FROZEN[name].split(), set(words_of(dict(all_commands())[name]))
    assert [word for word in old if not is_taken(word, words)] == []
    assert {word for word in words if word.endswith("!")} <= set(old)


def test_threads_are_set_for_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the environment, for child processes, too; afterwards it is as before."""

    @click.command()
    @threads_option
    def show() -> None:
        click.echo(default_threads())

    monkeypatch.setenv(SETTING, "5")
    assert CliRunner().invoke(show, ["--threads", "3"]).output == "3\n"
    assert default_threads() == 5
    assert CliRunner().invoke(show).output == "5\n"
    assert "range 1<=x<=1024" in CliRunner().invoke(show, ["--threads", "0"]).output


@pytest.mark.parametrize("name", ["predict", "md"])
def test_commands_that_compute_take_threads(name: str) -> None:
    assert "--threads=" in words_of(dict(all_commands())[name])


def computing_line(command: str, model: Path, folder: Path) -> list[str]:
    """Return a command line that computes one structure on the CPU."""
    start = folder / "start.xyz"
    bulk("C").write(start)
    line = [command, str(model), str(start), "-o", str(folder / "out")]
    return [*line, "--device", "cpu"]


@pytest.mark.parametrize("command", ["finetune", "md", "predict"])
def test_kernels_reach_the_model(
    command: str, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Which refuses them on a CPU."""
    line = computing_line(command, tiny_checkpoint, tmp_path)
    done = CliRunner().invoke(main, [*line, "--kernels", "cuequivariance"])
    assert done.exit_code == 1
    assert "kernels of cuequivariance are for GPUs" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "`compile` changes nothing on the CPU"),
        ("md", "--protocol", "compress", "is compiled now, which takes minutes"),
    ],
    ids=["predict", "md"],
)
def test_compilation_reaches_the_model(
    words: tuple[str, ...],
    tiny_checkpoint: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Which is told before, or does nothing and says so."""
    _tell_that_engine_computes.cache_clear()
    command, *others, said = words
    line = computing_line(command, tiny_checkpoint, tmp_path)
    CliRunner().invoke(main, [*line, *others, "--compile"])
    assert said in caplog.text


@pytest.mark.parametrize("words", [(), ("--check",)], ids=["fit", "check"])
def test_compilation_reaches_the_fits(
    words: tuple[str, ...], tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """Which refuse it on a CPU, in one line."""
    line = computing_line("finetune", tiny_checkpoint, tmp_path)
    done = CliRunner().invoke(main, [*line, *words, "--compile"])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: Compiling is for GPUs")
    assert done.stderr.count("\n") == 1
