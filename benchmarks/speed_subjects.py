"""What `engine_speed.py` compares: potentials, and networks that are trained.

Everything is imported where it is used: each subject is loaded in a process of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from torch.nn import Module

    from synthzoo.models.config import CheckpointConfig

SHARED = Path(
    os.environ.get("SYNTHZOO_SHARED", Path(__file__).parents[2] / "shared")
).absolute()
POTENTIALS_FOLDER = SHARED / "potentials"

MODEL = "carbon"
VARIANTS: dict[str, tuple[tuple[str, ...], bool]] = {
    "two-elements": (("C", "Si"), False),
    "three-elements": (("C", "Si", "Ge"), False),
    "order-2": (("C",), True),
}
"""Networks as wide as `MODEL`: their elements, and whether they have tensors."""


def describe(name: str) -> CheckpointConfig:
    """Return the description of a variant of `MODEL`, or of `MODEL` itself."""
    from synthzoo.models.checkpoint import read_config
    from synthzoo.zoo.find import find_folder

    config = read_config(find_folder(MODEL))
    if name == MODEL:
        return config
    elements, tensors = VARIANTS[name]
    arguments = config.arguments | {
        "per_type_energy_shifts": dict.fromkeys(elements, 0.0)
    }
    if tensors:
        *hidden, last = arguments["feature_irreps_hidden"]
        wider = [f"{irreps}+{_width(irreps)}x2e" for irreps in hidden]
        arguments |= {"irreps_edge_sh": 2, "feature_irreps_hidden": [*wider, last]}
    alone = dict.fromkeys(elements, 0.0)
    return replace(
        config, arguments=arguments, elements=elements, isolated_atom_energies_eV=alone
    )


def load(name: str, folder: Path) -> Calculator:
    """Return a calculator of `CALCULATORS`.

    ``folder``: where variants and compiled models are kept; what is not there yet is
    made, which takes minutes for AOTInductor.
    """
    return CALCULATORS[name](folder)


def load_network(name: str) -> Module:
    """Return a network of `NETWORKS` with random weights, ready to be trained."""
    from synthzoo.models.engine.module import undo
    from synthzoo.models.network import build_model

    variant, by_nequip = NETWORKS[name]
    network = build_model(describe(variant))
    if by_nequip:
        undo(network)
    return network.train()


def _checkpoint(name: str, folder: Path) -> Path:
    """Return the folder of a variant with random weights."""
    from ase.build import bulk

    from synthzoo.models.checkpoint import write_checkpoint
    from synthzoo.models.network import build_model

    path = folder / name
    if not path.exists():
        config = describe(name)
        write_checkpoint(
            path, model=build_model(config), config=config, golden=[bulk("C")]
        )
    return path


def _width(irreps: str) -> str:
    return irreps.partition("x")[0]


def _of_zoo(name: str, _: Path) -> Calculator:
    from synthzoo import load_calculator

    return load_calculator(name, device="cpu")


def _variant(name: str, folder: Path) -> Calculator:
    from synthzoo import load_calculator

    return load_calculator(_checkpoint(name, folder), device="cpu")


def _teacher(reference: str, _: Path) -> Calculator:
    from synthzoo.teachers import open_teacher

    return open_teacher(reference).calculator


def _by_nequip(name: str, folder: Path) -> Calculator:
    from synthzoo.models.checkpoint import load_model
    from synthzoo.models.engine.module import undo
    from synthzoo.zoo.find import find_folder

    found = find_folder(name) if name == MODEL else _checkpoint(name, folder)
    model, config = load_model(found)
    undo(model)
    return _nequip_calculator(model, config)


def _compiled(name: str, folder: Path) -> Calculator:
    import torch
    from nequip.nn.compile import DictInputOutputWrapper

    path = folder / f"{name}.nequip.pt2"
    if not path.exists():
        partial_path = folder / f"{name}.part.nequip.pt2"
        _compile(partial_path)
        partial_path.rename(path)
    model = DictInputOutputWrapper(
        torch._inductor.aoti_load_package(str(path)),
        *_fields(),
    )
    return _nequip_calculator(model.eval(), describe(MODEL))


def _nequip_calculator(model: Any, config: CheckpointConfig) -> Calculator:
    """Return nequip's own calculator, in the state of the process that it expects."""
    from nequip.integrations.ase import NequIPCalculator
    from nequip.integrations.utils import basic_transforms
    from nequip.utils.global_state import set_global_state

    set_global_state()
    types = list(config.elements)
    same = dict(zip(types, types, strict=True))
    transforms = basic_transforms({}, config.cutoff_A, types, same)
    calculator: Calculator = NequIPCalculator(
        model=model, device="cpu", transforms=transforms
    )
    return calculator


def _fields() -> tuple[list[str], list[str]]:
    """Return what a network reads and gives when nequip compiles it for ASE."""
    from nequip.scripts._compile_utils import ASE_TARGET

    return ASE_TARGET["input"], ASE_TARGET["output"]


def _compile(path: Path) -> None:
    """Compile `MODEL` as nequip's command does with ``--target ase``."""
    import torch
    from ase.build import bulk
    from nequip.scripts.compile import _parse_bounds_to_Dim
    from nequip.utils.aot import aot_export_model

    calculator: Any = _by_nequip(MODEL, path.parent)
    inputs, outputs = _fields()
    aot_export_model(
        model=calculator.model,
        device=torch.device("cpu"),
        input_fields=inputs,
        output_fields=outputs,
        data=calculator.atoms_to_data(bulk("C", cubic=True).repeat(2)),
        batch_map={
            "graph": torch.export.Dim.STATIC,
            "node": _parse_bounds_to_Dim("num_nodes", "2,inf"),
            "edge": _parse_bounds_to_Dim("num_edges", "2,inf"),
        },
        output_path=str(path),
    )


def _sevennet(_: str, __: Path) -> Calculator:
    from sevenn.calculator import SevenNetCalculator

    calculator: Calculator = SevenNetCalculator("7net-0", device="cpu")
    return calculator


def _chgnet(_: str, __: Path) -> Calculator:
    from chgnet.model.dynamics import CHGNetCalculator

    calculator: Calculator = CHGNetCalculator(use_device="cpu")
    return calculator


SMALL_MODEL = "carbon-ace-2k"
BY_NEQUIP, BY_AOT = "carbon, nequip", "carbon, AOTInductor"
TWO, THREE = "two elements", "three elements"
ORDER_2, ORDER_2_BY_NEQUIP = "order 2", "order 2, nequip"
TERSOFF, NEP, ACE = "Tersoff", "NEP", "C-ACE"
SEVENNET, CHGNET = "SevenNet-0", "CHGNet"

CALCULATORS: dict[str, Callable[[Path], Calculator]] = {
    name: partial(function, what)
    for name, function, what in (
        (MODEL, _of_zoo, MODEL),
        (SMALL_MODEL, _of_zoo, SMALL_MODEL),
        (TWO, _variant, "two-elements"),
        (THREE, _variant, "three-elements"),
        (ORDER_2, _variant, "order-2"),
        (BY_NEQUIP, _by_nequip, MODEL),
        (ORDER_2_BY_NEQUIP, _by_nequip, "order-2"),
        (BY_AOT, _compiled, MODEL),
        (TERSOFF, _teacher, "lammps:tersoff"),
        (NEP, _teacher, f"nep:{POTENTIALS_FOLDER / 'C_2024_NEP4.txt'}"),
        (ACE, _teacher, f"ace:{POTENTIALS_FOLDER / 'c_ace.yace'}"),
        (SEVENNET, _sevennet, ""),
        (CHGNET, _chgnet, ""),
    )
}
"""Calculators by name; each function takes the folder that `load` is given."""

NETWORKS = {
    MODEL: (MODEL, False),
    BY_NEQUIP: (MODEL, True),
    TWO: ("two-elements", False),
    THREE: ("three-elements", False),
    ORDER_2: ("order-2", False),
    ORDER_2_BY_NEQUIP: ("order-2", True),
}
"""Networks to train: which one, and whether nequip evaluates it."""

ELEMENTS = {
    name: VARIANTS[variant][0]
    for name, (variant, _) in NETWORKS.items()
    if variant in VARIANTS
}
"""Elements of the structures that variants are given; all others see carbon."""
