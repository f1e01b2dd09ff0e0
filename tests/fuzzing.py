"""Mutated inputs, and what may come of them: an error of ours, or a right answer.

`targets` returns one entry for each kind of input. `tests/test_fuzz.py` tries some of
each in every run of the tests, `benchmarks/fuzzing.py` as many as are wanted.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import re
import resource
import shutil
import signal
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
import yaml
from ase import Atoms
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labels import labels_of
from synthzoo.data.sound import check_structure
from synthzoo.data.structures import read_structures, write_structures
from synthzoo.errors import SynthzooError
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.evaluation.predict_file import predict_file
from synthzoo.finetuning.data_check import check_data
from synthzoo.inspection.card import inspect_files
from synthzoo.inspection.summary import inspect_structures
from synthzoo.models.checkpoint import golden_structures, read_config, verify_checkpoint
from synthzoo.models.config import CONFIG_FILE, GOLDEN_FILE, WEIGHTS_FILE, parse_config
from synthzoo.models.network import build_model
from synthzoo.models.predict import predict_structures
from synthzoo.recipes.loading import (
    load_recipe,
    parse_recipe,
    recipe_hash,
    recipe_values,
    recipes_folder,
)
from synthzoo.teachers import reference_sha256
from synthzoo.teachers.catalogue import resolve_reference
from synthzoo.zoo.cards import model_table, read_card, render_card
from synthzoo.zoo.load import load_calculator
from synthzoo.zoo.references import place_of
from synthzoo.zoo.registry import cards_folder
from tests.recipe_classes import SECTIONS

if TYPE_CHECKING:
    from synthzoo.models.calculator import SynthzooCalculator

KINDS = (
    "structures",
    "commands",
    "recipe",
    "card",
    "config",
    "golden",
    "weights",
    "reference",
)
"""Names of `targets`."""

LIMIT_S = 10.0
LIMIT_BYTES = 2 * 2**30

STRUCTURES = (
    b"""3
Lattice="4.0 0.0 0.0 0.0 5.0 0.0 0.0 0.0 6.0" \
Properties=species:S:1:pos:R:3:forces:R:3 energy=-19.25 \
stress="0.01 0 0 0 0.02 0 0 0 0.03" pbc="T T F" config_type=slab
C 0.0 0.0 0.0 0.1 -0.2 0.3
C 1.4 0.1 0.0 -0.1 0.2 -0.3
C 0.1 1.5 0.2 0.0 0.0 0.0
1
Lattice="12.0 0 0 0 12.0 0 0 0 12.0" Properties=species:S:1:pos:R:3:forces:R:3 \
energy=-7.0 config_type=isolated_atom pbc="T T T" values="[[1, 2], [3, 4]]"
C 0 0 0 0 0 0
""",
    b"""2
Properties=species:S:1:pos:R:3:move_mask:L:1:REF_forces:R:3:tags:I:1 \
REF_energy=-12.5 virial="1 0 0 0 1 0 0 0 1" pbc="F F F" note="two words" group=a
C 0.0 0.0 0.0 T 0.5 0.0 0.0 1
C 1.3 0.0 0.0 F -0.5 0.0 0.0 2
2
Properties=species:S:1:pos:R:3:move_mask:L:1:REF_forces:R:3:tags:I:1 \
REF_energy=-12.25 virial="1 0 0 0 1 0 0 0 1" pbc="F F F" note="two words" group=b
C 0.0 0.0 0.0 T 0.25 0.0 0.0 1
C 1.4 0.0 0.0 F -0.25 0.0 0.0 2
""",
    b"""2
a comment
C 0.0 0.0 0.0
C 1.3 0.0 0.0
VEC1 3.0 0.0 0.0
VEC2 0.0 3.0 0.0
VEC3 0.0 0.0 3.0
""",
)

REFERENCES = (
    'ase:ase.calculators.emt.EMT{"isolated_atom_energies_eV": {"Cu": null}}',
    "ace:c_ace.yace",
    "gap:potentials/gap.xml",
    "lammps:tersoff:mine/C.tersoff",
    "nep:nep.txt",
    "zoo:carbon",
    "C-ACE:c_ace.yace",
    "hf:organisation/name@main",
    "carbon",
    "paper/ace-100k",
)

NUMBERS = (
    *("0", "-1", "1", "0.5", "2.5", "-3.75", "1e-8", "1e-300", "1e5", "1e7", "-1e30"),
    *("2147483648", "1e400", "nan", "inf", "1D0", "1,5", "T", "C", "Si", "0x10", "1_0"),
)
ENTRIES = (
    " energy=-1 ",
    " energy=abc ",
    " dft_energy=-19.5 ",
    " mace_energy=-19.5 ",
    " free_energy=nan ",
    ' forces="1 2 3" ',
    ' REF_stress="1 2 3 4 5 6" ',
    ' virials="[[1, 0, 0], [0, 1, 0], [0, 0, 1]]" ',
    " energy-unit=hartree ",
    " stress-unit=furlong ",
    " config_type=7 ",
    ' group="a b" ',
    " Time=0 ",
    ' note="\'" ',
    " pbc=F ",
    ' Lattice="3 0 0 0 3 0 0 0 3" ',
    " teacher= ",
    "  ",
    "\t",
)
WORDS = (
    "",
    "0",
    "-1",
    "1e9",
    "1e400",
    "-1e-400",
    "nan",
    "-inf",
    "9" * 30,
    "9" * 5000,
    "2147483648",
    "T",
    "[[[[",
    '"',
    "'",
    '""""',
    "{}",
    "\\",
    "=",
    ":",
    "None",
    "énergie",
    "\u2028",
    "\x00",
    "🧊",
    "Xx",
    "species:S:1:pos:R:3",
    "forces:R:1:x:R:2",
    "pos:R:3:pos:R:3",
    "species:S:99999999",
    "energy=abc",
    'Lattice="1 0 0 0 1 0 0 0"',
    'Lattice="1e200 0 0 0 1e200 0 0 0 1e200"',
    'Lattice="1e5 0 0 0 1e5 0 0 0 1e5"',
    'Lattice="0 0 0 0 0 0 0 0 0"',
    'pbc="T T"',
    "pbc=7",
    "virial=1",
    'stress="1 2 3 4 5 6"',
    "&a",
    "*a",
    "<<: *a",
    "!!python/object/apply:os.system",
    "- - - - -",
    "? [a, b]",
    "{{ config }}",
    "../../../etc/passwd",
    "hf:../..@..",
)
"""What people mistype, and what others write on purpose."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    -1e-300,
    1e300,
    10**9,
    10**40,
    float("nan"),
    float("inf"),
    "",
    "C",
    "no such thing",
    "x" * 5000,
    "\x00",
    "../..",
    [],
    [[]],
    [1],
    ["a", 1],
    {},
    {"a": 1},
    {"kind": ["a"]},
    {"_target_": "os.system"},
)

_BYTES = st.integers(0, 255)
_ANYWHERE = st.integers(0, 2**32 - 1).map(
    lambda number: zlib.crc32(number.to_bytes(4, "big"))  # or small ones prevail
)
_FEW = st.sampled_from((1, 1, 1, 2, 4))


@dataclass(frozen=True, kw_only=True)
class Target:
    """A kind of input.

    Attributes
    ----------
    inputs
        What is drawn.
    run
        Uses one, in a folder with the tiny checkpoint in it.
    examples
        How many take some ten seconds.
    """

    inputs: st.SearchStrategy[bytes]
    run: Callable[[bytes, Path], None]
    examples: int


def steady(examples: int) -> settings:
    """Return settings with which every run draws the same examples."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,  # `bounded` has one
        suppress_health_check=list(HealthCheck),
    )


@contextmanager
def bounded(*, limit_s: float = LIMIT_S) -> Iterator[None]:
    """Interrupt what takes more than 10 s, refuse it more than 2 GB."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"no answer in {limit_s} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + LIMIT_BYTES
    before = signal.signal(signal.SIGALRM, stop)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (most, limits[1]))
        signal.setitimer(signal.ITIMER_REAL, limit_s, 1.0)  # some are swallowed
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def outcome(target: Target, content: bytes, folder: Path) -> str:
    """Return what came of an input: ``refused`` or ``accepted``.

    Raises
    ------
    Exception
        Anything that is no `SynthzooError` of one line, a hang, or too much memory.
    """
    with bounded():
        try:
            target.run(content, folder)
        except SynthzooError as error:
            _check_words(error)
            return "refused"
    return "accepted"


def _check_words(error: SynthzooError) -> None:
    assert len(str(error).splitlines()) == 1, str(error)


def _edit(draw: st.DrawFn, content: bytes) -> bytes:
    """Return a text with one thing changed: say a number, a byte or a line."""
    kinds = ("number", "number", "entry", "byte", "word", "line", "repeat", "swap")
    kind = draw(st.sampled_from((*kinds, "cut")))
    place = draw(_ANYWHERE)
    if kind in {"number", "entry"}:
        return _with_another_value(draw, content, place, kind)
    if kind == "byte" and content:
        at = place % len(content)
        return content[:at] + bytes([draw(_BYTES)]) + content[at + 1 :]
    if kind == "cut":
        return content[: place % (len(content) + 1)]
    if kind == "word":
        return _with_another_word(draw, content, place)
    lines = content.splitlines(keepends=True) or [b""]
    at = place % len(lines)
    if kind == "line":
        del lines[at]
    elif kind == "repeat":
        lines[at:at] = [lines[at]] * draw(st.sampled_from((1, 2, 50)))
    else:
        other = draw(_ANYWHERE) % len(lines)
        lines[at], lines[other] = lines[other], lines[at]
    return b"".join(lines)


def _with_another_value(
    draw: st.DrawFn, content: bytes, place: int, kind: str
) -> bytes:
    """Return a text of the same form, with another number or one more entry."""
    pattern = rb"(?<![\w.])-?\d+(\.\d*)?" if kind == "number" else rb"(?<=[\"\w]) "
    found = list(re.finditer(pattern, content))
    if not found:
        return content
    match = found[place % len(found)]
    values = NUMBERS if kind == "number" else ENTRIES
    value = draw(st.sampled_from(values)).encode()
    return content[: match.start()] + value + content[match.end() :]


def _with_another_word(draw: st.DrawFn, content: bytes, place: int) -> bytes:
    words = content.split(b" ")
    at = place % len(words)
    word = draw(st.sampled_from(WORDS) | st.text(max_size=6)).encode(errors="replace")
    key, equals, _ = words[at].partition(b"=")
    if equals and draw(st.booleans()):
        word = key + equals + word
    words[at : at + draw(st.integers(0, 1))] = [word]
    return b" ".join(words)


@st.composite
def edited(draw: st.DrawFn, bases: st.SearchStrategy[bytes]) -> bytes:
    """Draw a text with one to four changes."""
    content = draw(bases)
    for _ in range(draw(_FEW)):
        content = _edit(draw, content)
    return content


def _places(values: Any) -> list[tuple[Any, Any]]:
    """Return each container with each of its keys or indices, at every depth."""
    if isinstance(values, dict):
        pairs = list(values.items())
    elif isinstance(values, list):
        pairs = list(enumerate(values))
    else:
        return []
    inner = [place for _, value in pairs for place in _places(value)]
    return [(values, key) for key, _ in pairs] + inner


def _change(draw: st.DrawFn, values: Any) -> None:
    places = _places(values)
    if not places:
        return
    container, key = places[draw(_ANYWHERE) % len(places)]
    kind = draw(st.sampled_from(("value", "value", "drop", "add", "deep", "scale")))
    if kind == "drop":
        del container[key]
    elif kind == "add" and isinstance(container, dict):
        container[draw(st.sampled_from(WORDS[:30]))] = container[key]
    elif kind == "deep":
        for _ in range(draw(st.sampled_from((1, 3, 40)))):
            container[key] = [container[key]]
    elif kind == "scale" and type(container[key]) in {int, float}:
        factor = draw(st.sampled_from((-1, 0, 2, 1000, 1e-9, 10**12)))
        container[key] = container[key] * factor
    else:
        container[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))


@st.composite
def changed(
    draw: st.DrawFn,
    bases: st.SearchStrategy[bytes],
    load: Callable[[bytes], Any],
    dump: Callable[[Any], str],
) -> bytes:
    """Draw a text whose values were changed in one to four places."""
    values = load(draw(bases))
    for _ in range(draw(_FEW)):
        _change(draw, values)
    return dump(values).encode(errors="replace")


@st.composite
def with_other_tensors(draw: st.DrawFn, bases: st.SearchStrategy[bytes]) -> bytes:
    """Draw a safetensors file in which one to four tensors were changed."""
    tensors = safetensors.numpy.load(draw(bases))
    for _ in range(draw(_FEW)):
        name = draw(st.sampled_from(sorted(tensors) or ["0.numbers"]))
        tensor = tensors.pop(name, np.zeros(3))
        kind = draw(st.sampled_from(("value", "type", "shape", "name", "drop")))
        if kind == "name":
            name = draw(
                st.sampled_from(("7.energy", "0.masses", "0", "-1.pbc", "٣.pbc"))
            )
        if kind != "drop":
            tensors[name] = np.ascontiguousarray(_other_tensor(draw, tensor, kind))
    return safetensors.numpy.save(tensors)


def _other_tensor(draw: st.DrawFn, tensor: Any, kind: str) -> Any:
    with np.errstate(all="ignore"):
        if kind == "value" and tensor.size:
            tensor = np.array(tensor)
            value = draw(st.sampled_from((0, -1, 500, 2**31, np.nan, np.inf, 1e30)))
            place = draw(_ANYWHERE) % tensor.size
            tensor.flat[place] = np.asarray(value).astype(tensor.dtype)
        if kind == "type":
            return tensor.astype(draw(st.sampled_from(("f8", "f2", "i8", "?"))))
    if kind == "shape":
        none = tensor[:0] if tensor.ndim else tensor
        return draw(st.sampled_from((tensor.ravel(), tensor[None], none)))
    return tensor


def _run_recipe(content: bytes, folder: Path) -> None:
    path = folder / "my.yaml"
    path.write_bytes(content)
    first: SynthzooError | None = None
    for cls in SECTIONS.values():
        try:
            recipe = load_recipe(cls, path)
        except SynthzooError as error:
            _check_words(error)
            first = first or error
            continue
        recipe_hash(recipe)
        text = yaml.safe_dump(recipe_values(recipe))
        again = parse_recipe(cls, yaml.safe_load(text), source="again")
        assert again == recipe
        return
    if first is not None:
        raise first


def _run_card(content: bytes, folder: Path) -> None:
    path = folder / "tiny-carbon.md"
    path.write_bytes(content)
    card = read_card(path)
    page = render_card(card)
    assert page.startswith("---\n")
    assert model_table([card])


def _run_config(content: bytes, folder: Path) -> None:
    build_model(parse_config(content, where="config.json"))


def _run_tensors(name: str) -> Callable[[bytes, Path], None]:
    def run(content: bytes, folder: Path) -> None:
        checkpoint = folder / f"with-mutated-{name}"
        if not checkpoint.exists():
            shutil.copytree(folder / "tiny", checkpoint)
        (checkpoint / name).write_bytes(content)
        _seal(checkpoint, name)
        golden_structures(checkpoint)
        found = verify_checkpoint(checkpoint)
        assert found.structures > 0
        assert found.summary()

    return run


def _seal(checkpoint: Path, name: str) -> None:
    """Make a checkpoint vouch for a changed file, as one who means harm would."""
    raw = json.loads((checkpoint / CONFIG_FILE).read_text())
    key = {GOLDEN_FILE: "golden_sha256", WEIGHTS_FILE: "weights_sha256"}[name]
    raw[key] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
    (checkpoint / CONFIG_FILE).write_text(json.dumps(raw))


def _run_structures(content: bytes, folder: Path) -> None:
    path, output = folder / "mutated.xyz", folder / "labelled.xyz"
    path.write_bytes(content)
    structures = read_structures(path)
    refusals = [
        _refusal(lambda: _labels(structures)),
        _refusal(lambda: inspect_structures(structures)),
        _refusal(lambda: _predict(structures, output, folder)),
    ]
    _raise_first(refusals)


def _labels(structures: list[Atoms]) -> None:
    for atoms in structures:
        check_structure(atoms)
    keys = find_label_keys(structures)
    for atoms in structures:
        found = labels_of(atoms, keys)
        assert np.isfinite(found.energy_eV)
        assert np.isfinite(found.forces_eV_A).all()


def _predict(structures: list[Atoms], output: Path, folder: Path) -> None:
    calculator = _calculator(folder)
    write_structures(output, predict_structures(structures, calculator))
    written = read_structures(output)
    assert len(written) == len(structures)
    for found, atoms in zip(written, structures, strict=True):
        _check_prediction(found, atoms, calculator)


def _check_prediction(
    found: Atoms, atoms: Atoms, calculator: SynthzooCalculator
) -> None:
    """Compare what was written with the calculator on the structure that was read."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    assert (found.pbc == atoms.pbc).all()
    bare.calc = calculator
    energy, forces = bare.get_potential_energy(), bare.get_forces()
    assert abs(found.calc.results["energy"] - energy) <= 1e-4 * max(1, abs(energy))
    most = np.abs(forces).max()
    assert np.abs(found.calc.results["forces"] - forces).max() <= 1e-3 * max(1, most)


@functools.cache
def _calculator(folder: Path) -> SynthzooCalculator:
    return load_calculator(folder / "tiny", device="cpu")


def _run_commands(content: bytes, folder: Path) -> None:
    path, output = folder / "mutated.xyz", folder / "predicted.xyz"
    path.write_bytes(content)
    output.unlink(missing_ok=True)
    model = str(folder / "tiny")
    refusals = [
        _refusal(lambda: inspect_files([path])),
        _refusal(lambda: evaluate_models([model], path)),
        _refusal(lambda: check_data(model, path)),
        _refusal(lambda: predict_file(model, path, output, device="cpu")),
    ]
    assert output.exists() == (refusals[-1] is None)
    _raise_first(refusals)


def _raise_first(refusals: list[SynthzooError | None]) -> None:
    if error := next(filter(None, refusals), None):
        raise error


def _refusal(act: Callable[[], object]) -> SynthzooError | None:
    try:
        act()
    except SynthzooError as error:
        _check_words(error)
        return error
    return None


def _run_reference(content: bytes, folder: Path) -> None:
    reference = " ".join(content.decode(errors="replace").splitlines())
    refusals = [
        _refusal(lambda: place_of(reference)),
        _refusal(lambda: resolve_reference(reference)),
    ]
    if not reference.startswith("kim:"):  # its library writes a log
        refusals.append(_refusal(lambda: reference_sha256(reference)))
    _raise_first(refusals)


def _recipe_texts() -> st.SearchStrategy[bytes]:
    paths = sorted(recipes_folder().glob("*.yaml"))
    return st.sampled_from(paths).map(Path.read_bytes)


def _card_texts() -> st.SearchStrategy[bytes]:
    paths = sorted(cards_folder().glob("*.md"))

    def renamed(path: Path) -> bytes:
        text = path.read_text(encoding="utf-8")
        names = (f"name: {path.stem}", f"name: {path.stem.replace('-', '/', 1)}")
        for name in names:
            text = text.replace(f"{name}\n", "name: tiny-carbon\n", 1)
        return text.encode()

    return st.sampled_from(paths).map(renamed)


def _dump_card(parts: dict[str, Any]) -> str:
    head = yaml.safe_dump(parts.get("head"), allow_unicode=True)
    return f"---\n{head}---\n{parts.get('body')}"


def _load_card(content: bytes) -> dict[str, Any]:
    _, head, body = content.decode().split("---\n", 2)
    return {"head": yaml.safe_load(head), "body": body}


def targets(checkpoint: Path) -> dict[str, Target]:
    """Return all kinds of inputs.

    Parameters
    ----------
    checkpoint
        Whose files are mutated.
    """
    read_config(checkpoint)
    config, weights, golden = (
        st.just((checkpoint / name).read_bytes())
        for name in (CONFIG_FILE, WEIGHTS_FILE, GOLDEN_FILE)
    )
    structures = edited(st.sampled_from(STRUCTURES))
    recipes, cards = _recipe_texts(), _card_texts()
    references = st.sampled_from([text.encode() for text in REFERENCES])
    return {
        "structures": Target(inputs=structures, run=_run_structures, examples=800),
        "commands": Target(inputs=structures, run=_run_commands, examples=10),
        "recipe": Target(
            inputs=edited(recipes) | changed(recipes, yaml.safe_load, yaml.safe_dump),
            run=_run_recipe,
            examples=400,
        ),
        "card": Target(
            inputs=edited(cards) | changed(cards, _load_card, _dump_card),
            run=_run_card,
            examples=400,
        ),
        "config": Target(
            inputs=edited(config) | changed(config, json.loads, json.dumps),
            run=_run_config,
            examples=200,
        ),
        "golden": Target(
            inputs=edited(golden) | with_other_tensors(golden),
            run=_run_tensors(GOLDEN_FILE),
            examples=80,
        ),
        "weights": Target(
            inputs=edited(weights) | with_other_tensors(weights),
            run=_run_tensors(WEIGHTS_FILE),
            examples=30,
        ),
        "reference": Target(
            inputs=edited(references), run=_run_reference, examples=400
        ),
    }
