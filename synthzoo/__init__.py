"""Machine-learned interatomic potentials, pre-trained on synthetic data.

Use a model
    model_cards          cards of all models of the zoo
    find_card            card of one model: errors, limits, licence, citation
    load_calculator      ASE calculator of a model: zoo, folder or hub
    predict_structures   energies, forces and stresses of many structures
    predict_file         the same for a file
    run_md               molecular dynamics: does a model survive?
    compare_md           the same for several models from the same starts
    read_verdicts        verdicts of a finished run
    observe_frames       coordination, rings and the like along a trajectory
    check_crystals       lattice constants, bulk modulus and phonons
    verify_model         does a model compute here what its makers computed?
    fetch                download a model and return its folder
    fetch_all            the same for all models with a licence
    run_demo             crystals, dynamics and fine-tuning in two minutes

Simulate elsewhere
    run_lammps           run an input file of LAMMPS with a model
    attach               let a model compute for a LAMMPS object of Python
    serve                compute for i-PI through a socket
    export_model         compile a model for nequip's own programs

Fine-tune it on your own data
    inspect_files        what is in labelled files, and what seems wrong
    inspect_structures   the same for structures in memory
    advise               which model, how good, and what to do next
    map_environments     environments of atoms as a map, like ones close together
    features             what a network knows of each atom
    check_set            only what seems wrong; sees more with predictions
    check_data           what `finetune` would do with the data
    finetune             from a model and a few DFT structures to your own model
    load_committee       ASE calculator of a committee, with its uncertainty
    evaluate_models      errors of models against labels
    measure_physics      crystals, layers, phonons and defects by models
    run_benchmark        learning curves of several models
    suggest              structures that are most worth computing next
    write_dft_inputs     inputs of a DFT code for structures
    sample_names         small DFT sets that come with synthzoo
    load_sample          structures of such a set
    sample_path          file of such a set

Make a model of any material
    distill              from a few DFT structures and a teacher to your own model
    plan_distillation    what that would do, and how long it takes

Make a model step by step
    build_checkpoint     from a recipe to a model: the next three steps in one
    generate_structures  from a recipe to synthetic structures
    relabel_file         from structures and a teacher to labels
    pretrain             from labelled structures to a model
    named_teachers       published potentials that can label structures
    find_teacher         one of them: source, licence, citation
    check_teacher_file   is a downloaded file the published one?
    examine_teacher      test a teacher: gradients, symmetries, known numbers
    reference_values     diamond and graphene by a teacher, for a model's card
    learn_local_energies learning curves of a teacher's energies of atoms
    load_local_energies  ASE calculator of what has learned them
    estimate_cost        what a recipe would make, and what it would cost
    thin_file            the structures of a file that are least alike
    transmute_file       labelled structures of another element, by scaling
    transmute_model      starting point for another element, by scaling

Share it
    publish              send a model to the Hugging Face hub
    import_paper         convert a network of nequip 0.5.6

SynthzooError is the base class of all errors that you can mend. Each function has a
command of the same job (`synthzoo -h`); `help(synthzoo.finetune)` explains a function.
"""

# There is no `__all__`: with one, `help(synthzoo)` would print every docstring in full,
# a thousand lines after the table above. `__dir__` lists the public names instead.

from __future__ import annotations as _annotations

import warnings as _warnings
from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from synthzoo.advice.advise import advise as advise
    from synthzoo.advice.dft_inputs import write_dft_inputs as write_dft_inputs
    from synthzoo.advice.next_structures import suggest as suggest
    from synthzoo.benchmarking.learning_curves import run_benchmark as run_benchmark
    from synthzoo.data.samples import load_sample as load_sample
    from synthzoo.data.samples import sample_names as sample_names
    from synthzoo.data.samples import sample_path as sample_path
    from synthzoo.data.transmute import transmute_file as transmute_file
    from synthzoo.demo.run import run_demo as run_demo
    from synthzoo.distillation.run import distill as distill
    from synthzoo.distillation.run import plan_distillation as plan_distillation
    from synthzoo.environments.descriptors import features as features
    from synthzoo.environments.map import map_environments as map_environments
    from synthzoo.errors import SynthzooError as SynthzooError
    from synthzoo.evaluation.crystals import reference_values as reference_values
    from synthzoo.evaluation.evaluate import evaluate_models as evaluate_models
    from synthzoo.evaluation.physics import measure_physics as measure_physics
    from synthzoo.evaluation.predict_file import predict_file as predict_file
    from synthzoo.export.compiled import export_model as export_model
    from synthzoo.export.lammps import run_lammps as run_lammps
    from synthzoo.export.lammps_forces import attach as attach
    from synthzoo.export.serve import serve as serve
    from synthzoo.finetuning.committee import load_committee as load_committee
    from synthzoo.finetuning.data_check import check_data as check_data
    from synthzoo.finetuning.run import finetune as finetune
    from synthzoo.generation.estimate import estimate_cost as estimate_cost
    from synthzoo.generation.run import generate_structures as generate_structures
    from synthzoo.generation.thin import thin_file as thin_file
    from synthzoo.inspection.card import inspect_files as inspect_files
    from synthzoo.inspection.checks import check_set as check_set
    from synthzoo.inspection.summary import inspect_structures as inspect_structures
    from synthzoo.labelling.relabel import relabel_file as relabel_file
    from synthzoo.models.predict import predict_structures as predict_structures
    from synthzoo.regression.kept import load_local_energies as load_local_energies
    from synthzoo.regression.learn import learn_local_energies as learn_local_energies
    from synthzoo.stability.check import compare_md as compare_md
    from synthzoo.stability.check import run_md as run_md
    from synthzoo.stability.crystals import check_crystals as check_crystals
    from synthzoo.stability.observables import observe_frames as observe_frames
    from synthzoo.stability.results import read_verdicts as read_verdicts
    from synthzoo.teachers.catalogue import check_teacher_file as check_teacher_file
    from synthzoo.teachers.catalogue import examine_teacher as examine_teacher
    from synthzoo.teachers.catalogue import find_teacher as find_teacher
    from synthzoo.teachers.catalogue import named_teachers as named_teachers
    from synthzoo.training.build import build_checkpoint as build_checkpoint
    from synthzoo.training.pretrain import pretrain as pretrain
    from synthzoo.zoo.find import fetch as fetch
    from synthzoo.zoo.find import fetch_all as fetch_all
    from synthzoo.zoo.load import load_calculator as load_calculator
    from synthzoo.zoo.load import verify_model as verify_model
    from synthzoo.zoo.publish import publish as publish
    from synthzoo.zoo.published import import_paper as import_paper
    from synthzoo.zoo.registry import find_card as find_card
    from synthzoo.zoo.registry import model_cards as model_cards
    from synthzoo.zoo.scale_model import transmute_model as transmute_model

__version__ = "0.1.0"

_HOME = {
    "SynthzooError": "errors",
    "advise": "advice.advise",
    "attach": "export.lammps_forces",
    "build_checkpoint": "training.build",
    "check_crystals": "stability.crystals",
    "check_data": "finetuning.data_check",
    "check_set": "inspection.checks",
    "check_teacher_file": "teachers.catalogue",
    "compare_md": "stability.check",
    "distill": "distillation.run",
    "estimate_cost": "generation.estimate",
    "evaluate_models": "evaluation.evaluate",
    "measure_physics": "evaluation.physics",
    "examine_teacher": "teachers.catalogue",
    "export_model": "export.compiled",
    "features": "environments.descriptors",
    "fetch": "zoo.find",
    "fetch_all": "zoo.find",
    "find_card": "zoo.registry",
    "find_teacher": "teachers.catalogue",
    "finetune": "finetuning.run",
    "generate_structures": "generation.run",
    "import_paper": "zoo.published",
    "inspect_files": "inspection.card",
    "inspect_structures": "inspection.summary",
    "learn_local_energies": "regression.learn",
    "load_calculator": "zoo.load",
    "load_committee": "finetuning.committee",
    "load_local_energies": "regression.kept",
    "load_sample": "data.samples",
    "map_environments": "environments.map",
    "model_cards": "zoo.registry",
    "named_teachers": "teachers.catalogue",
    "observe_frames": "stability.observables",
    "plan_distillation": "distillation.run",
    "predict_file": "evaluation.predict_file",
    "predict_structures": "models.predict",
    "pretrain": "training.pretrain",
    "publish": "zoo.publish",
    "read_verdicts": "stability.results",
    "reference_values": "evaluation.crystals",
    "relabel_file": "labelling.relabel",
    "run_benchmark": "benchmarking.learning_curves",
    "run_demo": "demo.run",
    "run_lammps": "export.lammps",
    "run_md": "stability.check",
    "sample_names": "data.samples",
    "sample_path": "data.samples",
    "serve": "export.serve",
    "suggest": "advice.next_structures",
    "thin_file": "generation.thin",
    "transmute_file": "data.transmute",
    "transmute_model": "zoo.scale_model",
    "verify_model": "zoo.load",
    "write_dft_inputs": "advice.dft_inputs",
}
"""Public name: the module it is loaded from on first use, for a quick import."""

_RENAMED = {
    "check_stability": "run_md",
    "compare_stability": "compare_md",
    "verify_checkpoint": "verify_model",
}
"""Public name of the last version: what it is called now."""


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use (PEP 562)."""
    if name in _RENAMED:
        _warnings.warn(
            f"synthzoo.{name} is now called synthzoo.{_RENAMED[name]}; the old name "
            "goes with the next version.",
            DeprecationWarning,
            stacklevel=2,
        )
        return __getattr__(_RENAMED[name])
    if name not in _HOME:
        raise AttributeError(f"module 'synthzoo' has no attribute {name!r}")
    with _warnings.catch_warnings():  # SciPy and others add filters of their own
        module = _import_module(f"synthzoo.{_HOME[name]}")
    value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not, and no internals."""
    return ["__version__", *_HOME]
