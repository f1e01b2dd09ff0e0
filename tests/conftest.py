"""What every test can use: no network, the shared files, a tiny real checkpoint."""

from __future__ import annotations

import itertools
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ase import Atoms

    from synthzoo.models.calculator import SynthzooCalculator
    from synthzoo.models.config import CheckpointConfig

if "PYTEST_XDIST_WORKER" in os.environ:  # set before torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

HERE = Path(__file__).parent
collect_ignore = ["legacy/make_states.py"]  # a script that needs the nequip of 2023
LOOPBACK = {None, "", "localhost", "127.0.0.1", "::1"}
HUB_SETTINGS = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN")


SLOW_WEIGHT = 8
"""About so many other tests take the time of one that is marked `slow`."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker ends with one alone."""
    work: Counter[Path] = Counter()
    for item in items:
        work[item.path] += SLOW_WEIGHT if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: -work[item.path])


@pytest.fixture(scope="session", autouse=True)
def _empty_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the user's own caches, tokens and hub settings out of the tests."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in HUB_SETTINGS:
            patch.delenv(name, raising=False)
        patch.setenv("HOME", home)
        patch.setenv("XDG_CACHE_HOME", f"{home}/.cache")
        yield


@pytest.fixture(autouse=True)
def _no_network(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fail at once if a test without the network mark looks up another machine."""
    if request.node.get_closest_marker("network"):
        return
    look_up = socket.getaddrinfo

    def refuse(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name in LOOPBACK:
            return look_up(host, *args, **kwargs)
        return pytest.fail(
            f"This test looked up {name}; mark it `network` or fake the hub."
        )

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Return the path of a shared data file, or skip the test (in CI: fail)."""
    folder = Path(os.environ.get("SYNTHZOO_SHARED", HERE.parent.parent / "shared"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            message = f"shared file {name} is not there (set SYNTHZOO_SHARED)"
            if os.environ.get("CI") == "true":
                pytest.fail(message)
            pytest.skip(message)
        return path

    return find


def tiny_config(
    elements: tuple[str, ...] = ("C",), *, kind: str = "potential", layers: int = 2
) -> CheckpointConfig:
    """Return the description of a real but very small NequIP model."""
    from synthzoo.models.config import FORMAT_VERSION, CheckpointConfig

    return CheckpointConfig(
        format_version=FORMAT_VERSION,
        builder="NequIPGNNModel",
        arguments={
            "num_layers": layers,
            "l_max": 1,
            "parity": False,
            "num_features": 4,
            "type_embed_num_features": 4,
            "radial_mlp_depth": 1,
            "radial_mlp_width": 8,
            "num_bessels": 4,
            "avg_num_neighbors": 16.0,
            "per_type_energy_scales": 1.0,
            "per_type_energy_shifts": dict.fromkeys(elements, -7.0),
        },
        elements=elements,
        cutoff_A=4.0,
        dtype="float32",
        isolated_atom_energies_eV=dict.fromkeys(elements, 0.0),
        labels={"teacher": "none", "reference": "isolated atoms"},
        kind=kind,  # type: ignore[arg-type]
        provenance={"recipe": "tests/conftest.py", "seed": 0},
    )


@pytest.fixture(scope="session")
def lj_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 40 argon-like clusters of carbon atoms with Lennard-Jones labels."""
    import numpy as np
    from ase import Atoms
    from ase.calculators.lj import LennardJones

    from synthzoo.data.structures import label, write_structures

    rng = np.random.default_rng(0)
    structures = []
    for number in range(40):
        grid = np.stack(np.meshgrid(*[np.arange(2)] * 3), axis=-1).reshape(-1, 3)
        atoms = Atoms("C8", positions=1.7 * grid + rng.normal(scale=0.1, size=(8, 3)))
        atoms.calc = LennardJones(sigma=1.5, epsilon=0.5, rc=4.0)
        atoms.info.update(group=f"g{number}", teacher="test:lj")
        structures.append(
            label(
                atoms,
                energy_eV=atoms.get_potential_energy(),
                forces_eV_A=atoms.get_forces(),
            )
        )
    path = tmp_path_factory.mktemp("lj") / "lj.xyz"
    write_structures(path, structures)
    return path


def mixed(atoms: Atoms, elements: Sequence[str]) -> Atoms:
    """Return a structure with these elements on its sites, one after the other."""
    atoms.symbols[:] = list(itertools.islice(itertools.cycle(elements), len(atoms)))
    return atoms


def write_tiny_checkpoint(
    folder: Path, elements: tuple[str, ...] = ("C",), *, layers: int = 2
) -> None:
    """Write a checkpoint of an untrained NequIP model."""
    from ase.build import bulk

    from synthzoo.models.checkpoint import write_checkpoint
    from synthzoo.models.network import build_model

    config = tiny_config(elements, layers=layers)
    golden = [mixed(bulk("C", cubic=cubic), elements) for cubic in (False, True)]
    for seed, atoms in enumerate(golden):
        atoms.rattle(0.05, seed=seed)
    model = build_model(config, seed=0)
    write_checkpoint(folder, model=model, config=config, golden=golden)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of an untrained two-layer NequIP model of carbon."""
    folder = tmp_path_factory.mktemp("checkpoints") / "tiny"
    write_tiny_checkpoint(folder)
    return folder


@pytest.fixture(scope="session")
def two_levels(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of the levels of theory ``rpa`` (the default) and ``pbe``."""
    from tests.two_levels import write_two_levels

    folder = tmp_path_factory.mktemp("levels") / "mine"
    write_two_levels(folder, tiny_checkpoint)
    return folder


@pytest.fixture(scope="session")
def rattled_diamond(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Return a file of ten crystals with total energies and forces, to fine-tune on."""
    from ase.build import bulk

    from synthzoo.data.structures import label, write_structures
    from synthzoo.zoo.load import load_calculator

    calculator = load_calculator(tiny_checkpoint, device="cpu")
    structures = []
    for seed in range(10):
        atoms = bulk("C", cubic=True)
        atoms.rattle(0.1, seed=seed)
        atoms.calc = calculator
        energy_eV = 1.5 * atoms.get_potential_energy() - 148.0 * len(atoms)
        forces_eV_A = 1.5 * atoms.get_forces()
        structures.append(label(atoms, energy_eV=energy_eV, forces_eV_A=forces_eV_A))
    path = tmp_path_factory.mktemp("labelled") / "diamond.xyz"
    write_structures(path, structures)
    return path


@pytest.fixture
def tiny_calculator(tiny_checkpoint: Path) -> SynthzooCalculator:
    """Return a fresh calculator of the tiny checkpoint on the CPU."""
    from synthzoo.zoo.load import load_calculator

    return load_calculator(tiny_checkpoint, device="cpu")
