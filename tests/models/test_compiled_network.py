"""Networks of torch as machine code: equal to nequip's, kept, and checked."""

from __future__ import annotations

import copy
import logging
import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, graphene, molecule

from synthzoo.errors import InputError, MissingExtraError, SynthzooError
from synthzoo.models import calculator as calculators
from synthzoo.models import machine_code
from synthzoo.models.checkpoint import write_checkpoint
from synthzoo.models.nequip_network import NequIP
from synthzoo.models.network import build_model
from synthzoo.models.place import PACKAGES, Kernels, Place, check_kernels
from synthzoo.runs.caches import cache_folder, keep, read_kept
from synthzoo.zoo.load import load_calculator
from tests.conftest import tiny_config

if TYPE_CHECKING:
    from synthzoo.models.calculator import SynthzooCalculator

NOTHING_TO_COMPILE = "changes nothing on the CPU"


@pytest.fixture
def untold() -> Iterator[None]:
    """Let the line that is said once in a process be said here."""
    calculators._tell_that_engine_computes.cache_clear()
    yield
    calculators._tell_that_engine_computes.cache_clear()


def test_on_a_cpu_the_engine_computes_and_says_so_once(
    tiny_checkpoint: Path, untold: None, caplog: pytest.LogCaptureFixture
):
    for _ in range(2):
        found = load_calculator(tiny_checkpoint, device="cpu", compile=True)
    assert caplog.text.count(NOTHING_TO_COMPILE) == 1
    assert not found.place.compiled
    expected = load_calculator(tiny_checkpoint, device="cpu")
    for calculator in (found, expected):
        calculator.calculate(bulk("C"))
    np.testing.assert_array_equal(found.results["forces"], expected.results["forces"])


@pytest.mark.parametrize("kernels", PACKAGES)
def test_kernels_for_gpus_are_refused_on_a_cpu(tiny_checkpoint: Path, kernels: Kernels):
    """Nobody is left to believe that they are used."""
    with pytest.raises(InputError, match=f"{kernels} are for GPUs"):
        load_calculator(tiny_checkpoint, device="cpu", kernels=kernels)


def test_unknown_kernels_are_refused(tiny_checkpoint: Path):
    with pytest.raises(InputError, match="must be one of openequivariance, "):
        load_calculator(tiny_checkpoint, device="cpu", kernels="mine")  # type: ignore[arg-type]


def test_kernels_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(PACKAGES, "openequivariance", "no_such_package")
    with pytest.raises(MissingExtraError, match="need the package no_such_package"):
        check_kernels("openequivariance", "cuda")


# Compiling takes a minute. The network adds features to what comes into its layers,
# which the engine does not know.


@dataclass
class Compiled:
    """A checkpoint whose network was compiled, and the process before and after."""

    checkpoint: Path
    calculator: SynthzooCalculator
    before: list[Any]
    after: list[Any]
    said: str


def process_state() -> list[Any]:
    """Return settings and next random numbers, which are drawn from copies."""
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor

    return [
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # type: ignore[index]  # noqa: NPY002
        dynamo.capture_scalar_outputs,
        inductor.cpp.dynamic_threads,
        logging.root.level,
        sorted(Path.cwd().iterdir()),
    ]


def write(folder: Path, seed: int) -> Path:
    """Write a checkpoint of a network that the engine does not know."""
    config = tiny_config(("C", "Si"))
    config = replace(config, arguments=config.arguments | {"convnet_resnet": True})
    network = build_model(config, seed=seed)
    write_checkpoint(folder, model=network, config=config, golden=[bulk("Si")])
    return folder


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """Compile a network."""
    checkpoint = write(tmp_path_factory.mktemp("compiled") / "one", seed=0)
    load_calculator(checkpoint, device="cpu")  # what imports change is not meant
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger(machine_code.__name__).addHandler(handler)
    before = process_state()
    calculator = load_calculator(checkpoint, device="cpu", compile=True)
    after = process_state()
    logging.getLogger(machine_code.__name__).removeHandler(handler)
    return Compiled(checkpoint, calculator, before, after, "\n".join(records))


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let compiling fail."""

    def fail(*_: Any) -> None:
        raise RuntimeError("no compiler")

    monkeypatch.setattr(NequIP, "compile_network", fail)


def kinds() -> dict[str, Atoms]:
    """Return structures of all kinds, with few and with many edges."""
    sheet = graphene("C2", a=2.46)
    sheet.numbers[0] = 14
    crystal = bulk("Si", cubic=True).repeat((3, 1, 1))
    crystal.numbers[::3] = 6
    crystal.rattle(0.1, seed=1)
    chain = Atoms("CSi", [[0, 0, 0], [0.1, 0.2, 1.7]], cell=[0, 0, 3.4])
    chain.pbc = (False, False, True)
    return {
        "atom": Atoms("Si"),
        "apart": Atoms("C2", [[0, 0, 0], [0, 0, 50.0]]),
        "dimer": Atoms("CSi", [[0, 0, 0], [0.1, 0.2, 1.7]]),
        "molecule": Atoms("C6", molecule("C6H6").positions[:6]),
        "chain": chain,
        "sheet": sheet,
        "one of a crystal": bulk("C", "fcc", a=3.0),
        "crystal": crystal,
    }


def assert_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Energies in eV, forces in eV/Å, stress in eV/Å³."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, rtol=1e-6)


@pytest.mark.long
def test_compiled_networks_compute_what_nequip_does(compiled: Compiled):
    """One by one, and all at once: any number of atoms, edges and structures."""
    plain = load_calculator(compiled.checkpoint, device="cpu")
    for atoms in kinds().values():
        plain.calculate(atoms)
        compiled.calculator.calculate(atoms)
        assert_equal(compiled.calculator.results, plain.results)
    every = list(kinds().values())
    for found, expected in zip(
        compiled.calculator.compute(every), plain.compute(every), strict=True
    ):
        assert_equal(found, expected)
    assert np.abs(plain.compute(every)[-1]["forces"]).max() > 0.01


@pytest.mark.long
def test_compiling_is_announced_and_changes_nothing_else(compiled: Compiled):
    assert compiled.said.startswith("Compiling the network for cpu, which takes min")
    assert "Compiled in" in compiled.said
    assert compiled.before == compiled.after


def pickled(calculator: SynthzooCalculator) -> SynthzooCalculator:
    """Return what another process would get."""
    copy: SynthzooCalculator = pickle.loads(pickle.dumps(calculator))  # noqa: S301
    return copy


@pytest.mark.long
@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_it_is_compiled_once(
    compiled: Compiled, no_compiler: None, copied: Callable[[Any], Any]
):
    """Loading it again and copies, also in other processes, use the same code."""
    atoms = kinds()["crystal"]
    compiled.calculator.calculate(atoms)
    again = load_calculator(compiled.checkpoint, device="cpu", compile=True)
    for other in (again, copied(compiled.calculator)):
        assert other.place.compiled
        other.reset()
        other.calculate(atoms)
        np.testing.assert_array_equal(
            other.results["forces"], compiled.calculator.results["forces"]
        )


@pytest.mark.long
def test_damaged_code_is_not_loaded_but_compiled_again(
    compiled: Compiled, no_compiler: None
):
    """And where that fails, the message says so."""
    path = kept(compiled.calculator)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(SynthzooError, match=r"cannot compile .*RuntimeError: no comp"):
        load_calculator(compiled.checkpoint, device="cpu", compile=True)
    path.write_bytes(content)


@pytest.mark.long
def test_code_that_computes_otherwise_is_refused(
    compiled: Compiled, no_compiler: None, tmp_path: Path
):
    """Such as that of a network with other weights, where this one's should lie."""
    other = write(tmp_path / "other", seed=1)
    code = read_kept(kept(compiled.calculator))
    assert code is not None
    path = kept(load_calculator(other, device="cpu"))
    assert path != kept(compiled.calculator)
    keep(path, code)
    with pytest.raises(SynthzooError, match="computes otherwise when it is compiled"):
        load_calculator(other, device="cpu", compile=True)


def kept(calculator: SynthzooCalculator) -> Path:
    """Return the file with the code of a calculator's network."""
    place = Place(device="cpu", compiled=True)
    key = machine_code._key(calculator.stored, place)
    return cache_folder("compiled") / f"{key}.pt2"


@pytest.mark.gpu
@pytest.mark.parametrize("kernels", [None, *PACKAGES])
def test_a_gpu_computes_what_the_engine_does(
    tiny_checkpoint: Path, kernels: Kernels | None
):
    if kernels is not None:
        pytest.importorskip(PACKAGES[kernels])
    there = load_calculator(
        tiny_checkpoint, device="cuda", compile=True, kernels=kernels
    )
    here = load_calculator(tiny_checkpoint, device="cpu")
    for atoms in (Atoms("C"), bulk("C"), bulk("C", cubic=True).repeat(3)):
        atoms.rattle(0.05, seed=0)
        for calculator in (there, here):
            calculator.calculate(atoms)
        assert_equal(there.results, here.results)
