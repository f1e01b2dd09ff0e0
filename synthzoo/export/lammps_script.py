"""Input files of LAMMPS: what they ask for, and the same with a model's forces."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ase.data import atomic_numbers

from synthzoo.errors import InputError

RUNS = frozenset(
    (
        "run",
        "minimize",
        "rerun",
        "temper",
        "temper/grem",
        "temper/npt",
        "neb",
        "neb/spin",
        "prd",
        "tad",
        "hyper",
        "dynamical_matrix",
        "third_order",
        "fix",
    )
)
"""Commands that need the model, and `fix`: the model's has to be the first one."""

BOXES = frozenset(("create_box", "read_data", "read_restart"))
"""Commands that make the box, before which LAMMPS cannot have the model's fix."""

ARMING = frozenset((*BOXES, "clear", "label", "if"))
"""Commands after which the next of `RUNS` may be the first one to be carried out."""

LOCAL_STRESSES = frozenset(
    (
        "stress/atom",
        "centroid/stress/atom",
        "heat/flux",
        "stress/mop",
        "stress/mop/profile",
        "stress/cartesian",
        "stress/cylinder",
        "stress/spherical",
        "born/matrix",
    )
)
"""Computes that need more than energies, forces and the stress of the whole box."""

MODEL = "synthzoo"
"""What an input may call its pair style where it means the model."""

NEXT = "synthzoo_next"
"""Variable of LAMMPS: the label where the script goes on."""
START, PAUSE, DONE = "synthzoo_start", "synthzoo_pause", "synthzoo_done"

MOST_FILES = 100


@dataclass(frozen=True)
class Statement:
    """A command of an input file, with its continuation lines.

    ``text``: as it stands in the file; ``words``: without comments.
    """

    text: str
    words: tuple[str, ...]
    path: Path
    line: int

    @property
    def place(self) -> str:
        """Where it stands, for messages."""
        return f"{self.path}, line {self.line}"

    @property
    def command(self) -> str:
        """The first word."""
        return self.words[0] if self.words else ""

    def holds(self, commands: Iterable[str]) -> bool:
        """Return whether it is one of some commands, or may carry one out."""
        if self.command == "if":
            inside = re.findall(r"[\w/]+", " ".join(self.words))
            return not set(commands).isdisjoint(inside)
        return self.command in commands or "$" in self.command


@dataclass(frozen=True)
class Script:
    """An input file, read.

    ``elements``: that the last words of a ``pair_coeff * *`` name, or none.
    """

    path: Path
    statements: tuple[Statement, ...]

    @property
    def elements(self) -> tuple[str, ...]:
        """Elements that a ``pair_coeff * *`` names, in the order of the types."""
        for statement in self.statements:
            if statement.words[:3] == ("pair_coeff", "*", "*"):
                return _symbols_at_the_end(statement.words[3:])
        return ()

    def with_model(self, cutoff_A: float) -> str:
        """Return the input without its pair style, and with pauses for the model.

        At a pause LAMMPS comes to the end of the file; the variable `NEXT` has the
        label where it goes on when it reads the file again.
        """
        return "".join(_lines_with_model(self.statements, cutoff_A))


def read_script(path: Path) -> Script:
    """Return an input file; files that it includes are part of it.

    Refuse one that asks for what a model cannot do, or for nothing.
    """
    script = Script(path, tuple(_statements(path, [])))
    for statement in script.statements:
        _check(statement)
    _check_pair_style(script)
    runs = RUNS - {"fix"}
    if not any(statement.holds(runs) for statement in script.statements):
        raise InputError(
            f"{path} has no run and no minimize: LAMMPS would compute nothing."
        )
    return script


def _statements(path: Path, above: list[Path]) -> Iterator[Statement]:
    """Yield the commands of a file, and those of files that it includes."""
    if len(above) >= MOST_FILES:
        raise InputError(f"{path} is included by itself, again and again.")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no text, so no input of LAMMPS.") from error
    for statement in _split(text, path):
        if statement.command == "include":
            name = " ".join(statement.words[1:]).strip("\"'")
            if "$" in name:
                raise InputError(
                    f"{statement.place}: `include {name}` names its file by a "
                    "variable; write the name, since synthzoo has to read that file."
                )
            yield from _statements(Path(name), [*above, path])
        else:
            yield statement


def _split(text: str, path: Path) -> Iterator[Statement]:
    """Yield the commands of a text; `&` and triple quotes go on in the next line."""
    kept, first = "", 1
    for number, line in enumerate(text.splitlines(), start=1):
        if not kept:
            first = number
        kept += f"{line}\n"
        if line.rstrip().endswith("&") or kept.count('"""') % 2:
            continue
        yield Statement(kept, _words(kept), path, first)
        kept = ""
    if kept:
        yield Statement(kept, _words(kept), path, first)


def _words(text: str) -> tuple[str, ...]:
    joined = re.sub(r"&[ \t]*\n", " ", text)
    found = re.match(r"""(?:[^#"']|"[^"]*"|'[^']*')*""", joined)
    return tuple((found[0] if found else joined).split())


def _check(statement: Statement) -> None:
    """Refuse a command whose result would not be the model's."""
    words = statement.words
    if words[:1] == ("units",) and words[1:] != ("metal",):
        raise InputError(
            f"{statement.place}: `{' '.join(words)}`, but models are in eV and Å: "
            "write `units metal`, and all numbers of the file in these units."
        )
    if words[:1] == ("kspace_style",) and words[1:] != ("none",):
        raise InputError(
            f"{statement.place}: a kspace_style would add charges' forces to the "
            "model's, which are complete without it; remove it."
        )
    if words[:2] == ("run_style", "respa"):
        raise InputError(
            f"{statement.place}: `run_style respa` leaves out a model's forces; use "
            "`run_style verlet`, which is the default."
        )
    if words[:1] == ("compute",) and not LOCAL_STRESSES.isdisjoint(words[3:4]):
        raise InputError(
            f"{statement.place}: compute {words[3]} needs the stress of single atoms "
            "or pairs, but a model gives that of the whole box only."
        )
    if words[:1] == ("jump",) and words[1:2] != ("SELF",):
        own = Path(" ".join(words[1:2])) == statement.path
        raise InputError(
            f"{statement.place}: `jump` to a file; "
            + ("write `jump SELF`." if own else "`include` it instead.")
        )


def _check_pair_style(script: Script) -> None:
    styles = [each for each in script.statements if each.holds({"pair_style"})]
    if hidden := [each for each in styles if each.command == "if"]:
        raise InputError(
            f"{hidden[0].place}: a pair_style within an `if`; the model replaces the "
            "pair style, so remove it."
        )
    before: Statement | None = None
    for each in script.statements:
        if each.command == "clear":
            before = None
        if each.command != "pair_style":
            continue
        if before is not None:
            raise InputError(
                f"{script.path} has two pair styles (lines {before.line} and "
                f"{each.line}). The model takes the place of one; remove the other."
            )
        before = each
        if each.words[1:2] and each.words[1].startswith("hybrid"):
            raise InputError(
                f"{each.place}: `{' '.join(each.words[:2])}` adds potentials up, but a "
                "model is a whole potential. Write `pair_style synthzoo` to use it."
            )


def _symbols_at_the_end(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the chemical symbols that end a command."""
    count = 0
    while count < len(words) and words[-1 - count] in atomic_numbers:
        count += 1
    return words[len(words) - count :]


def _lines_with_model(
    statements: Iterable[Statement], cutoff_A: float
) -> Iterator[str]:
    yield f"jump SELF ${{{NEXT}}}\nlabel {START}\n"
    armed, pauses = True, 0
    for statement in statements:
        if armed and statement.holds(RUNS):
            pauses += 1
            yield from _pause(pauses)
            armed = False
        yield _replaced(statement, cutoff_A)
        armed = armed or statement.command in ARMING
    yield f"variable {NEXT} string {DONE}\nlabel {PAUSE}\n"


def _pause(number: int) -> Iterator[str]:
    label = f"synthzoo_{number}"
    yield f"variable {NEXT} string {label}\njump SELF {PAUSE}\nlabel {label}\n"


def _replaced(statement: Statement, cutoff_A: float) -> str:
    """Return a command as LAMMPS gets it."""
    if statement.command == "pair_style":
        return f"pair_style {zero_style(cutoff_A)}  # {' '.join(statement.words)}\n"
    if statement.command == "pair_coeff":
        return f"# {' '.join(statement.words)}\n"
    if statement.command == "write_data" and "nocoeff" not in statement.words:
        # LAMMPS would write coefficients of the pair style, and ask for one later.
        return f"{' '.join(statement.words)} nocoeff\n"
    return statement.text


def zero_style(cutoff_A: float) -> str:
    """Return the pair style that computes nothing, but has pairs of neighbours."""
    return f"zero {cutoff_A:g} nocoeff"
