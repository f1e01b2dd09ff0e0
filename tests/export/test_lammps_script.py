"""Input files of LAMMPS: what is read from them, refused, and put into them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from synthzoo.errors import InputError
from synthzoo.export.atom_types import MassWarning, element_of_mass, elements_of_types
from synthzoo.export.lammps_script import read_script

BOX = "units metal\nread_data a.data\npair_style tersoff\npair_coeff * * f.tersoff Si C"


def script(tmp_path: Path, text: str) -> Path:
    """Write an input file."""
    path = tmp_path / "in.lammps"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{BOX}\nfix 1 all nve\n", r"has no run and no minimize"),
        (f"{BOX}\n# run 100\n", r"has no run and no minimize"),
        (f'{BOX}\nprint """\nrun 100\n"""\n', r"has no run and no minimize"),
        (f"{BOX}\npair_style lj/cut 3\nrun 1\n", r"two pair styles \(lines 3 and 5\)"),
        (
            f'{BOX}\nif "$a" then "pair_style zero 1"\nrun 1\n',
            r"line 5: a pair_style w",
        ),
        (
            "pair_style hybrid/overlay zbl 1 2 tersoff\nrun 1\n",
            r"line 1: `pair_style hy",
        ),
        ("units real\nrun 1\n", r"in\.lammps, line 1: `units real`, but models are"),
        (f"{BOX}\nkspace_style pppm 1e-4\nrun 1\n", r"line 5: a kspace_style"),
        (f"{BOX}\nrun_style respa 2 2\nrun 1\n", r"line 5: `run_style respa` leaves"),
        (
            f"{BOX}\ncompute s all stress/atom NULL\nrun 1\n",
            r"line 5: compute stress/a",
        ),
        (f"{BOX}\njump in.other\nrun 1\n", r"line 5: `jump` to a file"),
        (f"{BOX}\ninclude ${{name}}.in\nrun 1\n", r"names its file by a variable"),
        (f"{BOX}\ninclude no-such-file\nrun 1\n", r"no-such-file cannot be read"),
    ],
)
def test_what_a_model_cannot_do_is_refused_with_its_line(
    text: str, message: str, tmp_path: Path
) -> None:
    """Nothing is started, and the message says where the fault is."""
    with pytest.raises(InputError, match=message):
        read_script(script(tmp_path, text))


def test_a_file_that_includes_itself_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LAMMPS would go on for ever."""
    monkeypatch.chdir(tmp_path)
    script(tmp_path, "include in.lammps\nrun 1\n")
    with pytest.raises(InputError, match="included by itself"):
        read_script(Path("in.lammps"))


def test_only_the_pair_style_changes(tmp_path: Path) -> None:
    """All other lines stay as they are, with comments and continuation lines."""
    text = (
        "# mine\nunits metal\nread_data a.data\npair_style tersoff # old\n"
        "pair_coeff * * f.tersoff &\n  Si C\nthermo_style custom step &\n  temp pe\n"
        "velocity all create 300 1 # 'loop\nrun 10\nrun 20\n"
    )
    made = read_script(script(tmp_path, text)).with_model(4.0)
    assert "pair_style zero 4 nocoeff  # pair_style tersoff\n" in made
    assert "\n# pair_coeff * * f.tersoff Si C\n" in made
    own = re.sub(r"(jump|label|variable) .*\n", "", made).splitlines()
    kept = [line for line in text.splitlines() if line in own]
    assert len(kept) == len(text.splitlines()) - 3
    assert made.count("jump SELF synthzoo_pause\n") == 1
    assert made.index("jump SELF synthzoo_pause") < made.index("run 10")


def test_the_model_comes_before_the_first_fix(tmp_path: Path) -> None:
    """Fixes that set forces to zero have to come later."""
    text = f"fix p all property/atom mol\n{BOX}\nfix 1 all setforce 0 0 0\nrun 1\n"
    made = read_script(script(tmp_path, text)).with_model(4.0)
    pauses = [found.start() for found in re.finditer("jump SELF synthzoo_pause", made)]
    first, second = pauses
    assert first < made.index("fix p")
    assert made.index("read_data") < second < made.index("fix 1 all setforce")


@pytest.mark.parametrize(
    "later", ["label loop", "clear\nread_data b.data", 'if "$a" then "jump SELF x"']
)
def test_there_is_a_pause_wherever_lammps_may_come_from_elsewhere(
    later: str, tmp_path: Path
) -> None:
    """After a label, `clear` or `if`, the model may be missing again."""
    text = f"{BOX}\nrun 1\n{later}\nrun 2\nrun 3\n"
    made = read_script(script(tmp_path, text)).with_model(4.0)
    assert made.count("jump SELF synthzoo_pause\n") == 2
    assert "synthzoo_2\nrun 2\nrun 3\n" in made


def test_included_files_are_part_of_the_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names are those that LAMMPS sees: from the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in.box").write_text(BOX)
    read = read_script(script(tmp_path, "include 'in.box'\nrun 1\n"))
    assert read.elements == ("Si", "C")
    assert [each.command for each in read.statements][-1] == "run"


@pytest.mark.parametrize(
    ("mass", "element"),
    [
        (12.0, "C"), (28.06, "Si"), (1.0, "H"), (58.933, "Co"), (58.8, None),
        (2.014, None), (100.0, None), (39.948, "Ar"), (40.0, None),
    ],
)  # fmt: skip
def test_a_mass_names_an_element_if_it_is_that_of_one_only(
    mass: float, element: str | None
) -> None:
    """A mass between two elements names none."""
    assert element_of_mass(mass) == element


def test_names_count_more_than_masses_and_contradictions_are_told() -> None:
    """Elements in the wrong order would be a silent fault."""
    assert elements_of_types([12.011, 3.0], [None, "H"]) == ("C", "H")
    with pytest.warns(MassWarning, match=r"type 1 is Si, but its mass of 12\.011 is"):
        elements_of_types([12.011, 28.085], ["Si", None])
