"""Machine-learned interatomic potentials, pre-trained on synthetic data.

Use a model
    load_calculator      ASE calculator of a model: zoo, folder or hub
    predict_structures   energies, forces and stresses of many structures
    model_cards          cards of all models of the zoo
    find_card            card of one model: errors, limits, licence
    fetch                folder of a model's checkpoint, downloaded if needed
    verify_checkpoint    does it compute here what its makers computed?

Fine-tune it on your own data
    inspect_files        what is in labelled files, and what seems wrong
    inspect_structures   the same for structures in memory
    check_set            only what is wrong; sees more with predictions
    check_data           what `finetune` would do with the data
    finetune             a checkpoint and a few DFT structures to your own model
    load_committee       calculator of a committee, with its spread
    evaluate_models      errors of models against labels
    run_benchmark        learning curves of several models
    sample_names         small DFT sets that come with synthzoo
    load_sample          structures of such a set
    sample_path          file of such a set

Test it
    check_stability      does a model survive molecular dynamics?
    compare_stability    the same for several models from the same starts
    read_verdicts        verdicts of a finished run
    observe_frames       coordination, rings and the like along a trajectory
    check_crystals       lattice constants, bulk modulus and phonons
    run_demo             all of this in under two minutes

Make a model
    build_checkpoint     the next three steps in one, as a recipe says
    generate_structures  synthetic structures
    relabel_file         labels of a teacher for structures
    pretrain             labelled structures to a checkpoint
    estimate_cost        what a recipe would make, and what it would cost
    thin_file            the structures that are least like each other
    transmute_file       labelled structures of another element, by scaling
    transmute_model      starting point for another element, by scaling
    reference_values     diamond and graphene by a teacher, for a card

Share it
    publish              checkpoint to the Hugging Face hub
    import_paper         network of nequip 0.5.6 to a checkpoint

Errors that the user can mend are a SynthzooError. `help(synthzoo.finetune)` explains a
function, `synthzoo -h` lists the commands. Names are loaded on first use, so that
``import synthzoo`` loads neither torch nor nequip nor ase.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthzoo.benchmarking.learning_curves import run_benchmark as run_benchmark
    from synthzoo.data.samples import load_sample as load_sample
    from synthzoo.data.samples import sample_names as sample_names
    from synthzoo.data.samples import sample_path as sample_path
    from synthzoo.data.transmute import transmute_file as transmute_file
    from synthzoo.demo.run import run_demo as run_demo
    from synthzoo.errors import SynthzooError as SynthzooError
    from synthzoo.evaluation.crystals import reference_values as reference_values
    from synthzoo.evaluation.errors import evaluate_models as evaluate_models
    from synthzoo.finetuning.committee import load_committee as load_committee
    from synthzoo.finetuning.data_check import check_data as check_data
    from synthzoo.finetuning.run import finetune as finetune
    from synthzoo.generation.estimate import estimate_cost as estimate_cost
    from synthzoo.generation.run import generate_structures as generate_structures
    from synthzoo.generation.thin import thin_file as thin_file
    from synthzoo.inspection.checks import check_set as check_set
    from synthzoo.inspection.summary import inspect_files as inspect_files
    from synthzoo.inspection.summary import inspect_structures as inspect_structures
    from synthzoo.labelling.relabel import relabel_file as relabel_file
    from synthzoo.models.checkpoint import verify_checkpoint as verify_checkpoint
    from synthzoo.models.predict import predict_structures as predict_structures
    from synthzoo.stability.check import check_stability as check_stability
    from synthzoo.stability.check import compare_stability as compare_stability
    from synthzoo.stability.crystals import check_crystals as check_crystals
    from synthzoo.stability.observables import observe_frames as observe_frames
    from synthzoo.stability.results import read_verdicts as read_verdicts
    from synthzoo.training.build import build_checkpoint as build_checkpoint
    from synthzoo.training.pretrain import pretrain as pretrain
    from synthzoo.zoo.find import fetch as fetch
    from synthzoo.zoo.load import load_calculator as load_calculator
    from synthzoo.zoo.publish import publish as publish
    from synthzoo.zoo.published import import_paper as import_paper
    from synthzoo.zoo.registry import find_card as find_card
    from synthzoo.zoo.registry import model_cards as model_cards
    from synthzoo.zoo.scale_model import transmute_model as transmute_model

__version__ = "0.1.0"

_HOME = {
    "SynthzooError": "errors",
    "build_checkpoint": "training.build",
    "check_crystals": "stability.crystals",
    "check_data": "finetuning.data_check",
    "check_set": "inspection.checks",
    "check_stability": "stability.check",
    "compare_stability": "stability.check",
    "estimate_cost": "generation.estimate",
    "evaluate_models": "evaluation.errors",
    "fetch": "zoo.find",
    "find_card": "zoo.registry",
    "finetune": "finetuning.run",
    "generate_structures": "generation.run",
    "import_paper": "zoo.published",
    "inspect_files": "inspection.summary",
    "inspect_structures": "inspection.summary",
    "load_calculator": "zoo.load",
    "load_committee": "finetuning.committee",
    "load_sample": "data.samples",
    "model_cards": "zoo.registry",
    "observe_frames": "stability.observables",
    "predict_structures": "models.predict",
    "pretrain": "training.pretrain",
    "publish": "zoo.publish",
    "read_verdicts": "stability.results",
    "reference_values": "evaluation.crystals",
    "relabel_file": "labelling.relabel",
    "run_benchmark": "benchmarking.learning_curves",
    "run_demo": "demo.run",
    "sample_names": "data.samples",
    "sample_path": "data.samples",
    "thin_file": "generation.thin",
    "transmute_file": "data.transmute",
    "transmute_model": "zoo.scale_model",
    "verify_checkpoint": "models.checkpoint",
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
    """List the public names, loaded or not, and no internals."""
    return __all__
