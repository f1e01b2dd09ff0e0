"""Machine-learned interatomic potentials, pre-trained on synthetic data.

The names below are loaded on first use, so that ``import synthzoo`` loads neither
torch nor nequip nor ase.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthzoo.benchmarking.learning_curves import run_benchmark as run_benchmark
    from synthzoo.building import build_checkpoint as build_checkpoint
    from synthzoo.calculator import load_calculator as load_calculator
    from synthzoo.checkpoint import verify_checkpoint as verify_checkpoint
    from synthzoo.cost import estimate_cost as estimate_cost
    from synthzoo.demo import run_demo as run_demo
    from synthzoo.errors import SynthzooError as SynthzooError
    from synthzoo.evaluate import evaluate_models as evaluate_models
    from synthzoo.generate import generate_structures as generate_structures
    from synthzoo.hub.finding import fetch as fetch
    from synthzoo.hub.publication import publish as publish
    from synthzoo.inspection.all_checks import check_set as check_set
    from synthzoo.inspection.summary import inspect_files as inspect_files
    from synthzoo.inspection.summary import inspect_structures as inspect_structures
    from synthzoo.paper import import_paper as import_paper
    from synthzoo.predict import predict_structures as predict_structures
    from synthzoo.registry import find_card as find_card
    from synthzoo.registry import model_cards as model_cards
    from synthzoo.relabel import relabel_file as relabel_file
    from synthzoo.samples import load_sample as load_sample
    from synthzoo.samples import sample_names as sample_names
    from synthzoo.samples import sample_path as sample_path
    from synthzoo.scaled_model import transmute_model as transmute_model
    from synthzoo.stability.check import check_stability as check_stability
    from synthzoo.stability.check import compare_stability as compare_stability
    from synthzoo.stability.crystal_checks import check_crystals as check_crystals
    from synthzoo.stability.observables import observe_frames as observe_frames
    from synthzoo.stability.rereading import read_verdicts as read_verdicts
    from synthzoo.thinning import thin_file as thin_file
    from synthzoo.transmute import transmute_file as transmute_file
    from synthzoo.tuning.committee import load_committee as load_committee
    from synthzoo.tuning.data_check import check_data as check_data
    from synthzoo.tuning.finetuning import finetune as finetune

__version__ = "0.1.0"

_HOME = {
    "SynthzooError": "errors",
    "build_checkpoint": "building",
    "check_crystals": "stability.crystal_checks",
    "check_data": "tuning.data_check",
    "check_set": "inspection.all_checks",
    "check_stability": "stability.check",
    "compare_stability": "stability.check",
    "estimate_cost": "cost",
    "evaluate_models": "evaluate",
    "fetch": "hub.finding",
    "find_card": "registry",
    "finetune": "tuning.finetuning",
    "generate_structures": "generate",
    "import_paper": "paper",
    "inspect_files": "inspection.summary",
    "inspect_structures": "inspection.summary",
    "load_calculator": "calculator",
    "load_committee": "tuning.committee",
    "load_sample": "samples",
    "model_cards": "registry",
    "observe_frames": "stability.observables",
    "predict_structures": "predict",
    "publish": "hub.publication",
    "read_verdicts": "stability.rereading",
    "relabel_file": "relabel",
    "run_benchmark": "benchmarking.learning_curves",
    "run_demo": "demo",
    "sample_names": "samples",
    "sample_path": "samples",
    "thin_file": "thinning",
    "transmute_file": "transmute",
    "transmute_model": "scaled_model",
    "verify_checkpoint": "checkpoint",
}
"""Public name: the module it is loaded from."""

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604  the keys are strings


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'synthzoo' has no attribute {name!r}")
    value = getattr(import_module(f"synthzoo.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
