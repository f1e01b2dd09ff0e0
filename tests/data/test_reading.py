"""Which format a file has, what is read of it, and faults in words of ours."""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import ase
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db import connect
from ase.io import write
from ase.test.fio.test_abinit import sample_outfile as abinit_output
from ase.units import Bohr, Hartree, kcal, mol
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.data.frames import (
    count_raw_frames,
    find_files,
    iter_raw_frames,
    read_frames,
)
from synthzoo.data.reading import find_format
from synthzoo.data.structures import read_structures
from synthzoo.errors import FileWarning, InputError

OUTPUTS = Path(ase.__file__).parent / "test" / "testdata"


def carbon(energy_eV: float) -> Atoms:
    atoms = bulk("C", cubic=True)
    atoms.calc = SinglePointCalculator(atoms, energy=energy_eV, forces=np.zeros((8, 3)))
    return atoms


READERS: dict[str, Callable[[Path], list[Atoms]]] = {
    "structures": read_structures,
    "frames": lambda path: read_frames(path).structures,
    "pattern": lambda path: read_frames(path.with_name(path.name[:3] + "*")).structures,
    "raw": lambda path: [frame.parse() for frame in iter_raw_frames(path)],
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "name", ["run@300K.xyz", "run@2.traj", "run@0:.db", "run.xyz@2", "run@-1.json"]
)
def test_an_at_sign_is_a_part_of_the_name(reader: str, name: str, tmp_path: Path):
    """The file itself is read, not the one before the sign, nor some of its frames."""
    formats = {".xyz@2": "extxyz", ".db": "db", ".json": "json"}
    write(tmp_path / name, [carbon(-1.0), carbon(-2.0)], format=formats.get(name[3:]))
    if name == "run.xyz@2":
        write(tmp_path / "other.xyz", carbon(-9.0))
        (tmp_path / "other.xyz").rename(tmp_path / "run.xyz")
    found = READERS[reader](tmp_path / name)
    energies = [atoms.get_potential_energy() for atoms in found]
    assert energies[-2:] == [-1.0, -2.0]
    assert reader == "pattern" or len(energies) == 2


def _text(*arguments: str | Path) -> str:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    return result.output


def test_the_start_of_dynamics_may_have_an_at_sign(tmp_path: Path):
    """Only an index or a slice at the end chooses frames."""
    text = _text("md", "carbon", tmp_path / "run@300K.xyz", "-o", tmp_path / "out")
    assert f"There is no file {tmp_path / 'run@300K.xyz'}." in text
    write(tmp_path / "run@300K.xyz", carbon(-1.0))
    text = _text("md", "carbon", tmp_path / "run@300K.xyz@3", "-o", tmp_path / "out")
    assert f"'3' chooses none of the 1 frames of {tmp_path / 'run@300K.xyz'}" in text


@pytest.mark.parametrize(
    ("source", "name", "format"),
    [
        ("vasp/vasprun_pstress.xml", "vasprun.xml-001", "vasp-xml"),
        ("vasp/vasprun_pstress.xml", "001.xml", "vasp-xml"),
        ("vasp/OUTCAR_example_1", "run.out", "vasp-out"),
        ("castep/md.castep", "md.CASTEP", "castep-castep"),
        ("opls_structure_ext.xyz", "OUTCAR-set.xyz", "extxyz"),
        ("opls_structure_ext.xyz", "data.XYZ", "extxyz"),
        ("opls_structure_ext.xyz", "data.backup", "extxyz"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")  # of CASTEP itself
def test_formats_are_told_by_content_too(
    source: str, name: str, format: str, tmp_path: Path
):
    """Names of phonopy and of other habits do not hide what a file is."""
    shutil.copy(OUTPUTS / source, tmp_path / name)
    assert find_format(tmp_path / name) == format
    assert read_structures(tmp_path / name)


def test_a_format_can_be_named(tmp_path: Path):
    """It is taken as it is, by every command; one that ASE lacks is refused."""
    path = tmp_path / "frames.dat"  # a name of GAMESS
    write(path, [carbon(-1.0)], format="extxyz")
    with pytest.raises(InputError, match="if it is another one, name it with --format"):
        read_structures(path)
    for found in (
        read_structures(path, format="extxyz"),
        read_frames(path, format="extxyz").structures,
        [frame.parse() for frame in iter_raw_frames(path, format="extxyz")],
    ):
        assert found[0].get_potential_energy() == -1.0
    assert count_raw_frames(path, format="extxyz") == 1
    with pytest.raises(InputError, match="no format called 'vasp_xml'; is it vasp-xml"):
        read_structures(path, format="vasp_xml")


BENCHMARK = ("--training", "DATA", "--test", "DATA", "-o", "OUT", "--sizes", "1")


@pytest.mark.parametrize(
    "command",
    [
        ("inspect", "DATA"),
        ("evaluate", "carbon", "DATA"),
        ("predict", "carbon", "DATA", "-o", "OUT"),
        ("finetune", "carbon", "DATA", "--check"),
        ("finetune", "carbon", "DATA", "-o", "OUT"),
        ("relabel", "DATA", "OUT", "--teacher", "zoo:carbon"),
        ("thin", "DATA", "OUT", "--keep", "1"),
        ("transmute", "DATA", "OUT", "--element", "Si", "--scale", "1.5"),
        ("md", "carbon", "DATA", "-o", "OUT"),
        ("pretrain", "carbon-ace-2k", "--data", "DATA", "-o", "OUT"),
        ("benchmark", "carbon", *BENCHMARK),
    ],
    ids=" ".join,
)
def test_every_command_that_reads_takes_a_format(
    command: tuple[str, ...], tmp_path: Path
):
    """The same words, whoever reads: what was tried, and the way out."""
    path = tmp_path / "frames.pwo"
    path.write_text("no output of Quantum ESPRESSO\n")
    places = {"DATA": str(path), "OUT": str(tmp_path / "out")}
    words = [places.get(word, word) for word in command]
    text = _text(*words)
    assert "holds no structure, read as espresso-out. The format was guessed" in text
    text = _text(*words, "--format", "vasp-xml")
    assert f"{path} cannot be read as vasp-xml: ParseError" in text


ACELL = "            acell      2.0  1.0  1.0 Bohr\n            natom "
SHORT_ABINIT = abinit_output[:300].replace("            natom ", ACELL)


def test_the_raw_words_of_ase_are_not_all_there_is(tmp_path: Path):
    """An exception without a text still names file, format and the way out."""
    for name, content, message in (
        ("a.castep", "CASTEP version 23.1\n", "as castep-castep"),
        ("OUTCAR", " vasp.6.4.1\n nothing\n", "as vasp-out"),
        ("a.out", SHORT_ABINIT, "as abinit-out"),
        ("b.out", "* O   R   C   A *\nFINAL\n", "as orca-output"),
        ("c.json", '{"energy": 1}', "structure number 1 cannot be read as json"),
        ("d.traj", "- of UlmASE-Trajectory broken", "as traj"),
        ("e.xyz.gz", "1\n\nC 0 0 0\n", "BadGzipFile"),
    ):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(InputError) as raised:
            read_structures(path)
        assert str(path) in str(raised.value)
        assert message in str(raised.value)
        assert "\n" not in str(raised.value)


def test_a_compressed_file_that_is_cut_short_is_an_error_like_others(tmp_path: Path):
    """Also where the search for the cause meets the same end."""
    whole = gzip.compress((OUTPUTS / "vasp" / "OUTCAR_example_1").read_bytes() * 9)
    path = tmp_path / "OUTCAR.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"as vasp-out: EOFError.*its vasprun\.xml"):
        read_structures(path)


def test_an_output_of_abinit_is_no_input_and_has_its_own_cell(tmp_path: Path):
    """ASE takes it for an input, for its echo of the variables, and passes over acell.

    The cell vectors are those of rprim times the lengths in bohr.
    """
    path = tmp_path / "run.abo"
    path.write_text(abinit_output.replace("            natom ", ACELL))
    (atoms,) = read_structures(path)
    assert atoms.get_potential_energy() == pytest.approx(-42.5 * Hartree)
    assert atoms.get_forces()[0].tolist() == [-0.1, -0.3, 0.4]
    np.testing.assert_allclose(
        atoms.cell.array, np.array([[10, 0, 0.2], [0, 6, 0], [0, 0, 7]]) * Bohr
    )


@pytest.mark.parametrize("variables", ["", f"            optcell 2\n{ACELL}"])
def test_a_cell_that_abinit_does_not_tell_is_refused(variables: str, tmp_path: Path):
    """One cell for several datasets, or the first of a relaxation, would be wrong."""
    path = tmp_path / "run.abo"
    path.write_text(abinit_output.replace("            natom ", variables or "natom "))
    with pytest.raises(InputError, match=r"ASE reads the cell .* only from `rprim`"):
        read_structures(path)


DISPERSION = """\
 Dispersion corrected final energy*, Ecor          =  -1360.5     eV
 Dispersion corrected final free energy* (Ecor-TS) =  -1361.5     eV
 NB dispersion corrected est. 0K energy* (Ecor-0.5TS) =  -1361.0     eV
"""


@pytest.mark.filterwarnings("ignore::UserWarning")  # of CASTEP itself
def test_castep_s_dispersion_is_in_the_energy(tmp_path: Path):
    """Its forces hold it; ASE 3.29 looks for it under another name than it stores."""
    text = (OUTPUTS / "castep" / "md.castep").read_text()
    line = next(line for line in text.splitlines() if "NB est. 0K energy" in line)
    path = tmp_path / "md.castep"
    path.write_text(text.replace(line, f"{line}\n{DISPERSION}"))
    for atoms in read_structures(path)[1:]:
        results = atoms.calc.results
        if "energy_with_dispersion_correlation" in results:
            assert (results["energy"], results["free_energy"]) == (-1361.0, -1361.5)
    assert "energy_with_dispersion_correlation" in read_structures(path)[0].calc.results


DUMP = """\
ITEM: TIMESTEP
0
ITEM: NUMBER OF ATOMS
2
ITEM: BOX BOUNDS pp pp ff
0 4
0 5
0 6
ITEM: ATOMS id COLUMN x y z fx fy fz
2 SECOND 1 1 1 0 0 -1
1 FIRST 0 0 0 0 0 1
"""


def _dump(first: str, second: str, column: str, units: str = "") -> str:
    text = DUMP.replace("COLUMN", column).replace("FIRST", first)
    return units + text.replace("SECOND", second)


def test_a_dump_of_lammps_needs_elements(tmp_path: Path):
    """Types 1 and 2 are not hydrogen and helium."""
    path = tmp_path / "run.lammpstrj"
    path.write_text(_dump("1", "2", "type"))
    with pytest.raises(InputError, match=r"atom types, but no elements.*dump_modify"):
        read_structures(path)


def test_a_dump_of_lammps_has_forces_but_no_energy(tmp_path: Path):
    """ASE makes up an energy of zero, which would be fitted."""
    path = tmp_path / "run.lammpstrj"
    path.write_text(_dump("Si", "C", "element"))
    with pytest.warns(FileWarning, match="metal units .* were assumed"):
        (atoms,) = read_structures(path)
    assert str(atoms.symbols) == "SiC"
    assert atoms.pbc.tolist() == [True, True, False]
    assert atoms.calc.results.keys() == {"forces"}
    assert atoms.get_forces()[:, 2].tolist() == [1, -1]


def test_a_dump_of_lammps_may_declare_its_units(tmp_path: Path):
    """In real units forces are kcal/mol/Å; in metal ones nothing is to be said."""
    path = tmp_path / "run.lammpstrj"
    path.write_text(_dump("Si", "C", "element", "ITEM: UNITS\nreal\n"))
    with pytest.warns(FileWarning, match="from LAMMPS's units 'real'"):
        (atoms,) = read_structures(path)
    assert atoms.get_forces()[0, 2] == pytest.approx(kcal / mol, rel=1e-6)
    path.write_text(_dump("Si", "C", "element", "ITEM: UNITS\nmetal\n"))
    (atoms,) = read_structures(path)
    assert atoms.get_forces()[0, 2] == 1.0


LAMMPS_DATA = """made by hand

2 atoms
2 atom types
0 4 xlo xhi
0 4 ylo yhi
0 4 zlo zhi
MASSES
Atoms # atomic

1 1 0 0 0
2 2 1 1 1
"""


def test_a_data_file_of_lammps_needs_masses(tmp_path: Path):
    """Without them ASE numbers the elements by types."""
    path = tmp_path / "cell.lmp"
    path.write_text(LAMMPS_DATA.replace("MASSES", ""))
    with pytest.raises(InputError, match="neither masses nor labels"):
        read_structures(path, format="lammps-data")
    path.write_text(LAMMPS_DATA.replace("MASSES", "Masses\n\n1 28.0855\n2 12.011\n"))
    with pytest.warns(FileWarning, match="metal units"):
        (atoms,) = read_structures(path, format="lammps-data")
    assert str(atoms.symbols) == "SiC"


def test_vasp_s_force_field_is_named_as_the_cause(tmp_path: Path):
    """Its steps stop ASE's reader with words that say nothing."""
    text = (OUTPUTS / "vasp" / "OUTCAR_example_1").read_text()
    path = tmp_path / "OUTCAR"
    path.write_text(text.replace("  free  energy   TOTEN", "  free  energy ML TOTEN"))
    with pytest.raises(InputError, match=r"vasp-out: .*machine-learned force field"):
        read_structures(path)


def _deepmd(folder: Path) -> Path:
    (folder / "set.000").mkdir(parents=True)
    (folder / "type.raw").write_text("0\n1\n")
    np.save(folder / "set.000" / "coord.npy", np.zeros((3, 6)))
    return folder


def test_data_of_deepmd_are_converted_by_dpdata(tmp_path: Path):
    """The command is there to be copied, whatever of the folder was named."""
    folder = _deepmd(tmp_path / "water")
    wanted = f"dpdata {folder} -i deepmd/npy -o extxyz -O set.xyz"
    for named in (folder, folder / "set.000" / "coord.npy"):
        with pytest.raises(InputError) as raised:
            read_frames(named)
        assert wanted in str(raised.value)


def test_json_of_pymatgen_and_output_of_cp2k_name_their_converters(tmp_path: Path):
    """They are no fault of the user's, and no format of ASE's."""
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"@module": "pymatgen.core.structure"}]))
    with pytest.raises(InputError, match=r"by pymatgen\. .*AseAtomsAdaptor"):
        read_structures(path)
    path = tmp_path / "cp2k.out"
    path.write_text(" CP2K| version string:  CP2K version 2024.1\n")
    with pytest.raises(InputError, match=r"-i cp2k/output -o extxyz"):
        read_structures(path)


def test_arrays_that_a_user_stored_in_a_database_are_found(tmp_path: Path):
    """Per-atom data become arrays, the rest information; labels are not replaced."""
    forces = np.ones((8, 3))
    with connect(tmp_path / "a.db") as rows:
        rows.write(carbon(-1.0), data={"dft_forces": forces, "cutoff": 500.0})
    (atoms,) = read_structures(tmp_path / "a.db")
    assert atoms.get_potential_energy() == -1.0
    np.testing.assert_array_equal(atoms.arrays["dft_forces"], forces)
    assert atoms.info["cutoff"] == 500.0


def test_reading_a_database_leaves_its_folder_alone(tmp_path: Path):
    """No lock, no index beside what a user shares with others."""
    write(tmp_path / "a.json", carbon(-1.0))
    read_structures(tmp_path / "a.json")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_warnings_of_commands_are_one_line(shared, tmp_path: Path):
    """What was converted is told without a place in the code."""
    source = shared("cases/energy-unit-hartree.xyz")
    with pytest.warns(FileWarning):  # how it is shown is looked at below
        read_structures(source)
    import subprocess
    import sys

    code = "from synthzoo.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "inspect", str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    (line,) = [line for line in done.stderr.splitlines() if "hartree" in line]
    assert line.startswith(f"Warning: {source}: converted, as it declares: energy from")


def test_names_with_signs_are_found(tmp_path: Path):
    """Patterns and names go through the same door."""
    write(tmp_path / "a@1.xyz", carbon(-1.0))
    assert find_files(tmp_path / "a@?.xyz") == [tmp_path / "a@1.xyz"]
