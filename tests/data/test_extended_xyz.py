"""Extended XYZ: what is written reads back the same, whatever it is."""

import io
import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLength, FixCartesian
from ase.spacegroup import crystal
from hypothesis import example, given, settings
from hypothesis import strategies as some
from hypothesis.extra import numpy as arrays

from synthzoo.data.extended_xyz import cut_frames, parse_frame
from synthzoo.data.structures import iter_structures, label, read_structures
from synthzoo.data.structures import write_structures as write
from synthzoo.data.xyz_writing import write_frame
from synthzoo.errors import FileWarning, InputError

KEYS = some.text(min_size=1, max_size=20)
NUMBERS = some.one_of(
    some.integers(-(2**70), 2**70), some.floats(), some.booleans(), some.none()
)
ARRAYS = arrays.arrays(
    some.sampled_from(["f8", "f4", "i8", "u1", "?"]),
    arrays.array_shapes(max_dims=3, max_side=3, min_side=0),
)
VALUES = some.recursive(
    some.one_of(some.text(), NUMBERS, ARRAYS, some.binary(max_size=3)),
    lambda inner: some.one_of(
        some.lists(inner, max_size=4),
        some.tuples(inner, inner),
        some.dictionaries(some.text(max_size=3), inner, max_size=3),
    ),
    max_leaves=6,
)


def slab() -> Atoms:
    """Return a structure whose periodicity is not what files assume."""
    atoms: Atoms = fcc111("Cu", (1, 1, 2), vacuum=5.0)
    return atoms


def same(found: object, wanted: object) -> bool:
    """Return whether two values are equal; lists, tuples and arrays are alike."""
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and found.keys() == wanted.keys()
            and all(same(found[key], wanted[key]) for key in wanted)
        )
    if isinstance(wanted, (np.ndarray, list, tuple)):
        one, other = (
            x if isinstance(x, (list, tuple)) else [x]  # one number is no array
            for x in (_plain(found), _plain(wanted))
        )
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(wanted, (bool, np.bool_)) or isinstance(found, (bool, np.bool_)):
        return isinstance(found, (bool, np.bool_)) and found == wanted
    if isinstance(wanted, (float, np.floating)) and np.isnan(wanted):
        return bool(np.isnan(found))  # type: ignore[call-overload]
    if isinstance(wanted, np.float32):
        return bool(np.float32(found) == wanted)  # type: ignore[arg-type]
    return isinstance(found, str) == isinstance(wanted, str) and found == wanted


def _plain(value: object) -> object:
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        items = np.array([None] * value.size, object)
        items[:] = [*map(np.float32, value.flat)]
        return items.reshape(value.shape).tolist()
    return value.tolist() if isinstance(value, np.ndarray) else value


def back(atoms: Atoms) -> tuple[Atoms, Atoms, set[str]]:
    """Return what synthzoo and ASE read of a written structure, and what is not in."""
    stream = io.StringIO()
    left_out = write_frame(stream, atoms)
    (by_ase,) = ase.io.read(io.StringIO(stream.getvalue()), ":", format="extxyz")
    return _read(stream.getvalue()), by_ase, left_out


def _read(text: str) -> Atoms:
    (content,) = cut_frames(io.BytesIO(text.encode()))
    return parse_frame(content).atoms


@settings(max_examples=150, deadline=None, derandomize=True)
@given(info=some.dictionaries(KEYS, VALUES, max_size=4))
@example(info={"note": ""})
@example(info={"note": "two\nlines"})
@example(info={"note": "T"})
@example(info={"note": "12"})
@example(info={"note": "_JSON x"})
@example(info={"note": 'a "b\\" c\\'})
@example(info={"note": "it's ] } lattice=3 Å"})
@example(info={"note": "x" * 20_000})
@example(info={"note": None})
@example(info={"uid": 12})
@example(info={"a b": np.float32(0.1), "c=d": np.int64(3), "é": np.ones((), bool)})
@example(info={"PBC": [False, True, True], "lattice": 3})
@example(info={5: "five", ("a", "b"): 1})
@example(info={"energy": 5e-324, "x": -1e300, "uid": 0.5, "pbc": 1.5, "a b": 1e16})
def test_information_reads_back_the_same(info: dict[object, object]):
    """Each value is there as it was, by synthzoo and by ASE, or it is named."""
    atoms = slab()
    atoms.info = info
    *both, left_out = back(atoms)
    for found in both:
        assert found.pbc.tolist() == [True, True, False]
        np.testing.assert_allclose(found.positions, atoms.positions, atol=1e-8)
        wanted = {k: v for k, v in info.items() if f"info[{k!r}]" not in left_out}
        results = found.calc.results if found.calc else {}
        assert (found.info | results).keys() == wanted.keys()
        for key, value in wanted.items():
            assert same((found.info | results)[key], value), key


def test_what_extended_xyz_can_hold_is_not_left_out():
    """Quoting is for text, lists and dictionaries; plain numbers stay as they were."""
    info = {
        "note": "",
        "lines": "two\nlines\r\n",
        "number": "12",
        "flag": "F",
        "path": "C:\\data\\",
        "nested": [[1, 2], [3, 4]],
        "words": ["a b", "c"],
        "settings": {"kspacing": 0.2, "ismear": [0, 1]},
        "energy_eV": -3.5,
    }
    atoms = slab()
    atoms.info = info
    assert back(atoms)[2] == set()


def test_what_it_cannot_hold_is_left_out_and_named(tmp_path: Path):
    """One warning names all of it, and the file is sound."""
    atoms = slab()
    atoms.info = {"ragged": [[1, 2], [3]], "raw": b"\x00", "kept": 1}
    atoms.set_array("big", np.array([2**40, 1]))
    atoms.set_array("name", np.array(["two words", "x"], object))
    atoms.set_array("tensors", np.zeros((2, 3, 3)))
    atoms.set_constraint([FixBondLength(0, 1), FixAtoms([0])])
    with pytest.warns(FileWarning, match="is without") as told:
        write(tmp_path / "a.xyz", [atoms, atoms])
    assert len(told) == 1
    for name in ("ragged", "raw", "big", "name", "tensors", "FixBondLength"):
        assert name in str(told[0].message)
    first, _ = read_structures(tmp_path / "a.xyz")
    assert first.info == {"kept": 1}
    assert first.pbc.tolist() == [True, True, False]
    assert [type(each) for each in first.constraints] == [FixAtoms]


def test_arrays_read_back_the_same():
    """Numbers, flags, words and whole columns of vectors; constraints too."""
    atoms = slab()
    wanted = {
        "force": np.array([[1e-3, -2.0, 3.0], [0.0, 1e7, np.nan]]),
        "flags": np.array([True, False]),
        "count": np.array([3, 4], dtype=np.uint16),
        "site": np.array(["top", "fcc"]),
        "é": np.array([0.5, 1.5], dtype=np.float32),
    }
    for name, values in wanted.items():
        atoms.arrays[name] = values
    atoms.set_constraint(FixCartesian(1, mask=(True, False, True)))
    *both, left_out = back(atoms)
    assert left_out == set()
    for found in both:
        for name, values in wanted.items():
            np.testing.assert_array_equal(found.arrays[name], values)
        assert found.constraints[1].mask.tolist() == [True, False, True]


def test_labels_beside_information_of_the_same_name_are_the_calculator_s():
    """An energy in ``info`` does not hinder the one of the calculator."""
    atoms = label(slab(), energy_eV=-7.5, forces_eV_A=np.zeros((2, 3)))
    atoms.info["energy"] = -1.0
    found, by_ase, _ = back(atoms)
    assert found.get_potential_energy() == by_ase.get_potential_energy() == -7.5


def test_a_label_that_is_no_number_does_not_spoil_the_file():
    """ASE would fail on reading: the energy of a structure is a number or nothing."""
    atoms = slab()
    atoms.info = {"energy": "unknown", "stress": "none", "virial": [1, 2]}
    found, _, left_out = back(atoms)
    assert left_out == {"info['energy']", "info['stress']", "info['virial']"}
    assert found.calc is None


def test_ordinary_files_are_written_as_ase_writes_them():
    """Files of earlier runs have the same bytes: only what ASE loses is quoted."""
    for atoms in (bulk("C", cubic=True), molecule("CH3CH2OH"), slab()):
        atoms.info = {"group": "a-1", "n": 3, "x": -1.25, "v": np.eye(3), "t": "a b"}
        atoms.calc = SinglePointCalculator(
            atoms, energy=-1.0, forces=atoms.positions, stress=np.arange(6.0)
        )
        ours, theirs = io.StringIO(), io.StringIO()
        write_frame(ours, atoms)
        ase.io.write(theirs, atoms, format="extxyz")
        assert ours.getvalue() == theirs.getvalue()


def test_a_space_group_is_written_by_its_symbol():
    """Crystals of ASE carry an object that no file format holds."""
    atoms = crystal("Na", [(0, 0, 0)], spacegroup=229, cellpar=[4.0] * 3 + [90.0] * 3)
    found, _, left_out = back(atoms)
    assert left_out == set()
    assert found.info["spacegroup"] == "I m -3 m"


HEADER = 'Properties=species:S:1:pos:R:3 energy=-1.5 pbc="T T F"'


def _file(folder: Path, comment: str, rows: str = "C 0 0 0\nC 0 0 1.4\n") -> Path:
    path = folder / "a.xyz"
    path.write_text(f"2\n{comment}\n{rows}", encoding="utf-8")
    return path


@pytest.mark.parametrize("case", [str.lower, str.upper, str.title])
def test_keys_of_the_format_are_known_in_any_case(case, tmp_path: Path):
    """Cell, columns and periodicity come from the file, however it spells them."""
    words = {key: case(key) for key in ("lattice", "properties", "pbc")}
    path = _file(
        tmp_path,
        f'{words["lattice"]}="4 0 0 0 5 0 0 0 6" {words["pbc"]}="T F T" '
        f"{words['properties']}=species:S:1:pos:R:3:force:R:3",
        "C 0 0 0 1 2 3\nC 0 0 1.4 4 5 6\n",
    )
    (atoms,) = read_structures(path)
    assert atoms.cell.lengths().tolist() == [4, 5, 6]
    assert atoms.pbc.tolist() == [True, False, True]
    assert atoms.arrays["force"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert atoms.info == {}


def test_a_word_inside_of_quotes_is_no_key(tmp_path: Path):
    """Only keys are spelt anew, not what stands in the text of a value."""
    path = _file(tmp_path, HEADER + " note=\"my lattice=3 PBC=F\" other='x stress=1'")
    (atoms,) = read_structures(path)
    assert atoms.info == {"note": "my lattice=3 PBC=F", "other": "x stress=1"}


def test_the_real_files_with_other_spellings(shared):
    """A cell in lower case is a crystal; PBC in upper case is a slab."""
    (crystal_,) = read_structures(shared("cases/lower-lattice.xyz"))
    assert crystal_.pbc.all()
    assert crystal_.cell.lengths() == pytest.approx([3.61594544] * 3)
    (sheet,) = read_structures(shared("cases/upper-PBC.xyz"))
    assert sheet.pbc.tolist() == [True, True, False]


@pytest.mark.parametrize("key", ["stress", "virial"])
def test_a_tensor_of_six_numbers_is_in_ase_s_order(key: str, tmp_path: Path):
    """That is xx yy zz yz xz xy."""
    path = _file(tmp_path, f'{HEADER} {key}="1 2 3 4 5 6"')
    (atoms,) = read_structures(path)
    if key == "stress":
        assert atoms.calc.results["stress"].tolist() == [1, 2, 3, 4, 5, 6]
    else:
        assert atoms.info["virial"].tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]


def test_the_real_file_with_six_numbers(shared):
    """Stress in Voigt order is no reason to refuse a file."""
    (atoms,) = read_structures(shared("cases/voigt.xyz"))
    assert atoms.get_stress().tolist() == [0.01, 0.01, 0.01, 0, 0, 0]


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        ('stress="1 2 3"', r"number 1 cannot be read: stress should be nine numbers"),
        ("energy=-2.5", "gives energy twice, with two values"),
        ('PBC="T T T"', "gives pbc twice, with two values"),
        (
            "# CELL(abcABC): 9 9 9 90 90 90 positions{angstrom} cell{angstrom}",
            "this is i-PI's own format",
        ),
    ],
)
def test_what_has_two_meanings_is_refused(tmp_path: Path, comment: str, message: str):
    """Nothing is chosen in silence."""
    with pytest.raises(InputError, match=message):
        read_structures(_file(tmp_path, f"{HEADER} {comment}"))


def test_a_value_that_stands_twice_is_one(tmp_path: Path):
    """Repetition without contradiction is no fault; of remarks the last is taken."""
    (atoms,) = read_structures(_file(tmp_path, f'{HEADER} energy=-1.5 pbc="T T F"'))
    assert atoms.get_potential_energy() == -1.5
    with pytest.warns(FileWarning, match="step stands in its comment line twice"):
        (atoms,) = read_structures(_file(tmp_path, f"{HEADER} step=1 step=2"))
    assert atoms.info["step"] == 2


def test_the_faulty_frame_is_named(tmp_path: Path):
    """Not the first one, because it was looked at first."""
    path = tmp_path / "a.xyz"
    good = f"1\n{HEADER}\nC 0 0 0\n"
    for bad in ("x\n\nC 0 0 0\n", "1\n" + HEADER + "\nC 0 zero 0\n", "2\n\nC 0 0 0\n"):
        path.write_text(good + good + bad + good)
        with pytest.raises(InputError, match=r"a\.xyz: structure number 3 cannot be"):
            read_structures(path)
    path.write_text(good + "\n" + good)  # ASE would stop here without a word
    with pytest.raises(
        InputError, match="number 2 cannot be read: an empty line follows"
    ):
        read_structures(path)


def test_columns_without_a_name_are_told(tmp_path: Path):
    """Forces behind the positions of a plain XYZ file would get lost in silence."""
    path = _file(tmp_path, "plain", "C 0 0 0 1 2 3\nC 0 0 1.4 1 2 3\n")
    with pytest.warns(FileWarning, match=r"rows have 7 columns, of which .* 4"):
        read_structures(path)


@pytest.mark.parametrize("count", [3, 10**9])
def test_columns_that_are_not_there_are_refused(count: int, tmp_path: Path):
    """Before ASE sets out to make as many."""
    path = _file(tmp_path, f"Properties=species:S:1:pos:R:3:force:R:{count}")
    with pytest.raises(InputError, match=rf"declares {count + 4} columns .* have 4"):
        read_structures(path)


def test_a_trajectory_of_cp2k_is_in_hartree(shared):
    """-6.7536380483 hartree are -183.776 eV; it has no cell, which is said."""
    path = shared("cases/cp2k-pos-1.xyz")
    with pytest.warns(FileWarning, match="from hartree to eV.*neither cell nor forces"):
        first = next(iter_structures(path))
    assert first.info["E"] == pytest.approx(-6.7536380483 * 27.211386, abs=1e-5)


def test_forces_of_cp2k_are_not_taken_for_positions(tmp_path: Path):
    """Its files of forces look like those of positions, but for their name."""
    path = _file(tmp_path, " i = 0, time = 0.000, E = -6.75")
    forces = path.rename(tmp_path / "run-frc-1.xyz")
    with pytest.raises(InputError, match="forces or velocities"):
        read_structures(forces)


def test_windows_lines_and_marks_are_read(tmp_path: Path):
    """Carriage returns and a byte-order mark change nothing."""
    path = tmp_path / "a.xyz"
    path.write_bytes(b"\xef\xbb\xbf1\r\n" + HEADER.encode() + b"\r\nC 0 0 1\r\n")
    (atoms,) = read_structures(path)
    assert atoms.get_potential_energy() == -1.5


def test_reading_ordinary_files_warns_of_nothing(shared):
    """Real sets are read as ASE reads them, label for label."""
    for name in ("sic-dft-train", "cu-dft-test"):
        path = shared(f"data/{name}.extxyz")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = read_structures(path)
        for atoms, wanted in zip(found, ase.io.read(path, ":"), strict=True):
            assert atoms == wanted
            np.testing.assert_equal(atoms.info, wanted.info)
            np.testing.assert_equal(atoms.arrays, wanted.arrays)
