"""Recipes: strict reading, the ones that are shipped, and their hashes."""

import dataclasses
from itertools import count
from pathlib import Path

import pytest
import yaml
from ase.data import chemical_symbols

from synthzoo.errors import InputError
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.generation.kinds.from_atoms import MeltQuench
from synthzoo.generation.recipe import GenerateRecipe, ThinRecipe
from synthzoo.labelling.recipe import RelabelRecipe
from synthzoo.models.recipe import ModelRecipe
from synthzoo.recipes.loading import (
    find_recipe,
    load_recipe,
    parse_recipe,
    recipe_hash,
    recipe_values,
    recipes_folder,
)
from synthzoo.stability.protocol import MdRecipe
from synthzoo.training.recipe import FitRecipe, PretrainRecipe
from tests.recipe_classes import SECTIONS

SHIPPED = sorted(recipes_folder().glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path: Path):
    """Each section of each recipe file can be read."""
    for section in yaml.safe_load(path.read_text()):
        load_recipe(SECTIONS[section], path.stem)


def test_a_recipe_survives_yaml(tmp_path: Path):
    """The resolved values, written out and read again, are the same recipe."""
    recipe = load_recipe(GenerateRecipe, "carbon-ace-3k")
    path = tmp_path / "again.yaml"
    path.write_text(yaml.safe_dump({"generate": recipe_values(recipe)}))
    assert load_recipe(GenerateRecipe, path) == recipe
    assert isinstance(recipe.parts[0], MeltQuench)


def test_a_section_may_be_that_of_another_recipe(tmp_path: Path):
    """A name instead of keys stands for the section of a shipped recipe or a file."""
    (tmp_path / "first.yaml").write_text("generate: carbon-short\n")
    borrowed = load_recipe(GenerateRecipe, tmp_path / "first.yaml")
    assert borrowed == load_recipe(GenerateRecipe, "carbon-short")
    (tmp_path / "mine.yaml").write_text("relabel: {teacher: 'lammps:lcbop'}\n")
    (tmp_path / "second.yaml").write_text("relabel: mine.yaml\n")
    assert (
        load_recipe(RelabelRecipe, tmp_path / "second.yaml").teacher == "lammps:lcbop"
    )


def test_the_hash_ignores_where_the_teacher_lies():
    """Two users with the same file in other folders have the same recipe."""
    here, there, other = (
        RelabelRecipe(teacher=f"ace:{path}")
        for path in ("c_ace.yace", "far/away/c_ace.yace", "si.yace")
    )
    assert recipe_hash(here) == recipe_hash(there)
    assert recipe_hash(here) != recipe_hash(other)


@pytest.mark.parametrize(
    ("section", "name", "expected"),
    [
        ("generate", "carbon-ace-3k", "6677b419383c"),
        ("generate", "carbon-ace-crystals", "16d94808f0a2"),
        ("generate", "carbon-ace-heldout", "1024f00156c5"),
        ("relabel", "carbon-ace-2k", "026e0fc7f24f"),
        ("pretrain", "carbon-ace-2k", "a49b1ca96ea4"),
        ("pretrain", "carbon-wide", "5d05f0b7b64e"),
        ("finetune", "without-replay", "6c65e416b0ab"),
        ("md", "md-quick", "547768079207"),
        ("md", "md-npt", "def4ef1467dd"),
    ],
)
def test_recipes_on_record_keep_their_hash(section: str, name: str, expected: str):
    """Checkpoints and files name these; options that came later must not change it."""
    assert recipe_hash(load_recipe(SECTIONS[section], name)).startswith(expected)


def test_an_option_that_came_later_counts_once_it_is_used():
    """Two recipes that make different structures have different hashes."""
    recipe = load_recipe(GenerateRecipe, "carbon-ace-3k")
    same = dataclasses.replace(recipe, thin=None)
    thinned = dataclasses.replace(recipe, thin=ThinRecipe(keep=10))
    assert recipe_hash(same) == recipe_hash(recipe)
    assert recipe_hash(thinned) != recipe_hash(recipe)
    first = recipe.parts[0]
    assert isinstance(first, MeltQuench)
    part = dataclasses.replace(first, thermostat="bussi")
    other = dataclasses.replace(recipe, parts=(part, *recipe.parts[1:]))
    assert recipe_hash(other) != recipe_hash(recipe)


def _generate(**changes):
    packing = {
        "kind": "packing",
        "count": 1,
        "atoms": [2, 4],
        "density_g_cm3": [1, 2],
        "min_distance_A": 1.0,
    }
    return {
        "element": "C",
        "seed": 1,
        "driver": "ace:x.yace",
        "parts": [packing | changes.pop("part", {})],
    } | changes


@pytest.mark.parametrize(
    ("cls", "values", "message"),
    [
        (GenerateRecipe, _generate(sede=1), r"unknown keys \['sede'\]"),
        (
            GenerateRecipe,
            _generate(seed="one"),
            "seed: expected a whole number from 0 to 4294967295, found 'one'",
        ),
        (
            GenerateRecipe,
            _generate(part={"kind": "melting"}),
            r"parts\[0\]\.kind: expected one of .*melt-quench.*found 'melting'",
        ),
        (
            GenerateRecipe,
            _generate(compositions=[{"C": "0-1"}]),
            r"compositions\[0\]: expected .* ranges of shares \(Si: \[0, 1\], C: \[",
        ),
        (GenerateRecipe, _generate(part={"atom": 3}), r"unknown keys \['atom'\]"),
        (
            GenerateRecipe,
            _generate(part={"atoms": [1, 2, 3]}),
            "atoms: expected a list of 2",
        ),
        (GenerateRecipe, {"element": "C"}, r"missing keys \['seed'"),
        (GenerateRecipe, _generate(element="MoW"), "element: expected a chemical sym"),
        (GenerateRecipe, _generate(elements=["C"]), "my.yaml: give either element, "),
        (GenerateRecipe, _generate(element=None), "my.yaml: give either element, "),
        (
            GenerateRecipe,
            _generate(element=None, elements=chemical_symbols[1:31]),
            "elements: expected at most 16 elements",
        ),
        (
            GenerateRecipe,
            _generate(element=None, elements=["In", "P"], compositions=["GaP"]),
            "GaP, has Ga, which is not among the elements In, P",
        ),
        (
            GenerateRecipe,
            _generate(part={"min_distance_A": {"In-P": 2.0}}),
            "min_distance_A: 'In-P' is no pair of the elements",
        ),
        (
            GenerateRecipe,
            _generate(
                parts=[
                    {
                        "kind": "crystals",
                        "count": 1,
                        "prototypes": {"fcc": None},
                        "swap_share": 0.5,
                    }
                ]
            ),
            "swap_share need several elements; the recipe has only C",
        ),
        (
            GenerateRecipe,
            _generate(part={"density_g_cm3": None, "density_step_g_cm3": 0.1}),
            "density_step_g_cm3 needs a range of densities",
        ),
        (
            GenerateRecipe,
            _generate(parts=[{"kind": "surfaces", "count": 1}]),
            r"parts\[0\]: surfaces need prototypes, or a file of structures",
        ),
        (RelabelRecipe, None, "expected keys and values, found None"),
        (PretrainRecipe, {"fit": {"lr": 1}}, r"unknown keys \['lr'\]"),
        (PretrainRecipe, {"kind": "toy"}, "kind: expected one of"),
    ],
    ids=[
        "key",
        "type",
        "kind",
        "shares",
        "part-key",
        "length",
        "missing",
        "molecule",
        "both",
        "neither",
        "many",
        "composition",
        "pair",
        "swap",
        "step",
        "no-crystal",
        "none",
        "nested",
        "word",
    ],
)
def test_a_wrong_recipe_is_refused(cls, values, message: str):
    """The message says which key came and what was expected."""
    with pytest.raises(InputError, match=message):
        parse_recipe(cls, values, source="my.yaml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("generate: [", r"not valid YAML: .* \(line 1\)"),
        ("- 1\n", "should hold sections"),
        ("gnerate: {}\n", r"unknown sections \['gnerate'\]"),
        ("relabel: {teacher: 'ace:x'}\n", "has no section `generate`"),
        ("generate: no-such\n", "There is no recipe file no-such"),
        ("generate: my.yaml\n", "section generate"),
    ],
)
def test_a_wrong_recipe_file_is_refused(tmp_path: Path, content: str, message: str):
    """What is not a recipe file says so."""
    path = tmp_path / "my.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        load_recipe(GenerateRecipe, path)


@pytest.mark.parametrize(
    ("section", "text", "message"),
    [
        (
            "relabel",
            "{teacher: 'ace:x', chunk_structures: 0}",
            "chunk_structures: exp.*1",
        ),
        ("relabel", "{teacher: 'ace:x', max_seconds: -1}", "max_seconds: .*above 0"),
        ("relabel", "{teacher: a, teacher: b}", r"keys given twice: \['teacher'\]"),
        ("relabel", "{1: a}", r"unknown keys \[1\]"),
        ("pretrain", "{kind: [a]}", r"kind: expected one of .* found \['a'\]"),
        ("pretrain", "{fit: {max_epochs: 0}}", r"fit\.max_epochs: .* from 1, found 0"),
        ("pretrain", "{fit: {learning_rate: -1}}", "learning_rate: .*above 0"),
        ("pretrain", "{fit: {learning_rate: 1e400}}", "learning_rate: .*found inf"),
        ("pretrain", "{model: {num_layers: 1000000000}}", "num_layers: .*from 1 to 16"),
        ("pretrain", "{model: {l_max: " + "9" * 400 + "}}", "l_max: .*from 0 to 6"),
        ("pretrain", "{fit: {ema_decay: " + "9" * 400 + "}}", "ema_decay: expected"),
        ("pretrain", "{fit: {seed: " + "9" * 9999 + "}}", "my.yaml is not valid YAML"),
        ("finetune", "{replay_share: 1.5}", "replay_share: .*from 0 to 1, found 1.5"),
        ("md", "{stages: [{kind: [a]}]}", r"stages\[0\]\.kind: expected one of"),
        ("md", "{stages: " + "[" * 5000 + "}", "nested too deep"),
        ("md", "{stages: &a [*a]}", "nested deeper than"),
        ("md", "{stages: !!int x}", "not valid YAML"),
        ("md", "{stages: !!python/object/apply:os.getcwd []}", "not valid YAML"),
        ("[1]", "{}", "not valid YAML"),
        ("2", "{}", r"unknown sections \[2\]"),
    ],
    ids=count(),
)
def test_an_absurd_value_is_refused_with_its_place(
    tmp_path: Path, section: str, text: str, message: str
):
    """One line that names the file and the key; no traceback, and no attempt."""
    path = tmp_path / "my.yaml"
    path.write_text(f"{section}: {text}\n")
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(SECTIONS.get(section, MdRecipe), path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("md: {}\nmd: {}\n", "is not valid YAML: keys given twice: ['md'] (line 1)."),
        (
            "finetune: {seed: 1, seed: 2}\n",
            "is not valid YAML: keys given twice: ['seed'] (line 1).",
        ),
        (
            "finetune: {learning_rate: 1e400}\n",
            "section finetune: learning_rate: expected a number above 0 and up to 10, "
            "found inf (float).",
        ),
        (
            "finetune: {committee: 10000000000}\n",
            "section finetune: committee: expected a whole number from 0, found "
            "10000000000 (int).",
        ),
        (
            "finetune: {replay_share: '0.1'}\n",
            "section finetune: replay_share: expected a number from 0 to 1, found "
            "'0.1' (str).",
        ),
        (
            "finetune: {seeds: true}\n",
            "section finetune: seeds: expected a whole number from 1, found True "
            "(bool).",
        ),
        (
            "finetune: {select_by: dynamics}\n",
            "section finetune: select_by: expected one of ['loss', 'md'], found "
            "'dynamics' (str).",
        ),
        (
            "finetune: {lerning_rate: 0.1}\n",
            "section finetune: unknown keys ['lerning_rate']. Did you mean "
            "learning_rate? Known keys: ['seed', 'batch_atoms', ",
        ),
        (
            "fine-tune: {}\n",
            "unknown sections ['fine-tune']. Known sections: ['generate', 'relabel', "
            "'pretrain', 'finetune', 'md'].",
        ),
        ("finetune: []\n", "section finetune: expected keys and values, found [] (l"),
    ],
    ids=count(),
)
def test_a_fault_is_one_line_that_names_the_place_and_what_is_known(
    tmp_path: Path, content: str, message: str
):
    """A key twice, an absurd number, an unknown section or key, a wrong type."""
    path = tmp_path / "my.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_recipe(FinetuneRecipe, path)
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_values_that_unfold_without_end_are_refused(tmp_path: Path):
    """A few lines of aliases can stand for more values than memory can hold."""
    lines = [
        "a0: &a0 [1, 1]",
        *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 25)),
    ]
    path = tmp_path / "my.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="more than 200000 values"):
        load_recipe(MdRecipe, path)


CLASS = 'ase:ase.calculators.emt.EMT{"isolated_atom_energies_eV": {"Cu": null}}'


def test_a_class_in_a_recipe_of_others_needs_the_users_word(tmp_path: Path):
    """It could run any program; what comes with synthzoo, and other kinds, may be."""
    path = tmp_path / "my.yaml"
    path.write_text(
        yaml.safe_dump(
            {"generate": _generate(driver=CLASS), "relabel": {"teacher": CLASS}}
        )
    )
    with pytest.raises(InputError, match=r"my.yaml: teacher is .*EMT, .*--trust"):
        load_recipe(RelabelRecipe, path)
    with pytest.raises(InputError, match=r"my.yaml: driver is .*EMT, .*--trust"):
        load_recipe(GenerateRecipe, path)
    assert load_recipe(RelabelRecipe, path, trust=True).teacher == CLASS
    assert load_recipe(RelabelRecipe, path, teacher="lammps:sw").teacher == "lammps:sw"
    assert load_recipe(RelabelRecipe, "carbon-dft").teacher.startswith("ase:gpaw.GPAW{")


@pytest.mark.parametrize("teacher", ["mace:my.model", "nequip:my.nequip.pt2"])
def test_networks_that_hold_code_need_the_users_word(teacher: str, tmp_path: Path):
    """Pickles and compiled libraries run whatever their author wrote."""
    path = tmp_path / "my.yaml"
    path.write_text(yaml.safe_dump({"relabel": {"teacher": teacher}}))
    with pytest.raises(InputError, match=r"teacher is a .* network, my\..* --trust"):
        load_recipe(RelabelRecipe, path)
    assert load_recipe(RelabelRecipe, path, trust=True).teacher == teacher


def test_a_recipe_that_borrows_from_another_is_trusted_like_that(tmp_path: Path):
    """What counts is the file in which the class stands."""
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text("relabel: carbon-dft\n")
    assert load_recipe(RelabelRecipe, first).teacher.startswith("ase:")
    second.write_text("relabel: third.yaml\n")
    third = tmp_path / "third.yaml"
    third.write_text(yaml.safe_dump({"relabel": {"teacher": CLASS}}))
    with pytest.raises(InputError, match=r"third.yaml: teacher is .*--trust"):
        load_recipe(RelabelRecipe, second)


def test_a_number_may_be_written_as_in_yaml_1_2(tmp_path: Path):
    """PyYAML alone takes 1e-3, which has no point, for a text."""
    path = tmp_path / "my.yaml"
    path.write_text("finetune: {learning_rate: 1e-3}\n")
    assert load_recipe(FinetuneRecipe, path).learning_rate == 1e-3


def test_the_limits_hold_for_recipes_that_a_program_makes():
    """The same rules, wherever a recipe comes from."""
    with pytest.raises(
        InputError, match=r"^FitRecipe: learning_rate: expected a number"
    ):
        FitRecipe(learning_rate=0.0)
    with pytest.raises(InputError, match=r"^ModelRecipe: num_features\[1\]: expected"):
        ModelRecipe(num_features=(8, 0))
    with pytest.raises(InputError, match=r"^FitRecipe: learning_rate: .*found 'a'"):
        dataclasses.replace(FitRecipe(), learning_rate="a")  # type: ignore[arg-type]


def test_an_unknown_name_lists_the_known_ones():
    """A recipe that is neither file nor shipped names the shipped ones."""
    with pytest.raises(InputError, match=r"It has: .*carbon-ace-3k"):
        find_recipe("no-such-recipe")
