"""Does pre-training buy stability? Networks trained directly, and fine-tuned ones.

    python benchmarks/stability_experiment.py train.extxyz out --workers 2

Section 5.2 of doi 10.1088/2632-2153/ad1626 on another set: of a labelled file of
carbon, some structures of one kind (60 crystals, if nothing else is said) are the
training set, as many others of that kind measure errors. For each seed a new network is
trained on them directly, and a checkpoint of the zoo is fine-tuned. All models then go
through the protocol `anneal` (300 to 3000 K, held there) from the same structure of
amorphous carbon at 1.5 g/cm³, which none was trained on; the two models of a seed get
the same velocities. Direct fits see twenty times as many structures as fine-tuned ones
(`--direct-visits`), with the paper's rate and a cosine to zero; the table has the
errors of both on what they were trained on, which says whether they had enough.

`out` gets the models, the trajectories, `report.md` with all figures, and for the card
`card.md` with a table and a paragraph, and `survival.png`. Each model is trained and
moved in one process with one thread; `--workers` run at a time. The same command goes
on where a killed one stopped; with more seeds it adds them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
import torch
from ase import Atoms

from synthzoo.data.frames import read_frames
from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.structures import density_g_cm3, kind_of, read_structures
from synthzoo.evaluation.evaluate import evaluate_models
from synthzoo.finetuning.checks import examine
from synthzoo.finetuning.energy_reference import with_reference
from synthzoo.finetuning.fits import FitJob, run_fits
from synthzoo.finetuning.jobs import DIRECT, direct_reference
from synthzoo.finetuning.plan import (
    Plan,
    make_plan,
    starting_calculator,
    take_off,
)
from synthzoo.finetuning.recipe import FinetuneRecipe
from synthzoo.finetuning.run import finetune
from synthzoo.models.checkpoint import write_checkpoint
from synthzoo.runs.files import hash_files
from synthzoo.stability.check import find_protocol, run_md
from synthzoo.stability.figures import SURVIVAL_FILE
from synthzoo.stability.observables import bond_shares, shown_of
from synthzoo.stability.protocol import Dynamics, MdRecipe
from synthzoo.stability.report import write_report
from synthzoo.stability.results import read_verdicts
from synthzoo.stability.survival import compare_survival, describe_survival
from synthzoo.stability.verdict import IN_WORDS
from synthzoo.zoo.find import find_checkpoint

if TYPE_CHECKING:
    from synthzoo.stability.observables import Shown
    from synthzoo.stability.verdict import Verdict

TUNED = "fine-tuned"
DENSITY_G_CM3 = (1.45, 1.56)
START_ATOMS = 64
DIRECT_VISITS_FACTOR = 20
FIRST_MD_SEED = 100

TRAINING_FILE, OTHERS_FILE, START_FILE = (
    "training.extxyz",
    "others.extxyz",
    "start.extxyz",
)
DATA_FILES = (TRAINING_FILE, OTHERS_FILE)
CARD_FILE = "card.md"


def main() -> None:
    """Run what is not there yet, then write the report of all."""
    options = _options()
    out: Path = options.output
    out.mkdir(exist_ok=True)
    _keep_settings(options, out / "settings.json")
    _draw_sets(options, out)
    _draw_start(options.data, out / START_FILE)
    tasks = [(kind, seed) for seed in options.seeds for kind in (DIRECT, TUNED)]
    run = partial(_run_model, options)
    if options.workers == 1:
        list(map(run, tasks))
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.workers, mp_context=context) as pool:
            list(pool.map(run, tasks))
    verdicts = [_pooled(kind, out / "dynamics") for kind in (DIRECT, TUNED)]
    report = write_report(out, verdicts)
    (out / CARD_FILE).write_text(_card(options, verdicts), encoding="utf-8")
    print(f"{report}\n{out / CARD_FILE}")  # noqa: T201


def _run_model(options: argparse.Namespace, task: tuple[str, int]) -> None:
    """Train a model, measure its errors and move it, unless that was done before."""
    kind, seed = task
    torch.set_num_threads(1)
    out: Path = options.output
    model = out / "models" / f"{kind}-{seed}"
    if not model.exists():
        model.parent.mkdir(exist_ok=True)
        train = _train_directly if kind == DIRECT else _finetune
        train(options, out / TRAINING_FILE, model, _recipe(seed, options.visits))
    errors = out / "errors" / f"{model.name}.json"
    if not errors.exists():
        errors.parent.mkdir(exist_ok=True)
        found = {name: _errors(model, out / name) for name in DATA_FILES}
        errors.write_text(json.dumps(found, indent=1) + "\n")
    start = read_structures(out / START_FILE)[0]
    _anneal(model, start, out / "dynamics" / model.name, options, seed)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="labelled structures of carbon")
    parser.add_argument("output", type=Path)
    parser.add_argument("--start", default="carbon", help="what is fine-tuned")
    parser.add_argument("--kind", default="bulk_cryst", help="of the training set")
    parser.add_argument("--size", type=int, default=60)
    parser.add_argument("--visits", type=int, help="structures that a tuning sees")
    parser.add_argument("--direct-visits", type=int, help="and a direct fit")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--replicas", type=int, default=1, help="of each model")
    parser.add_argument("--heat-ps", type=float, default=5.0)
    parser.add_argument("--hold-ps", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=1)
    return parser.parse_args()


def _keep_settings(options: argparse.Namespace, path: Path) -> None:
    """Refuse to add to what was made in another way."""
    free = {"data", "output", "seeds", "workers"}
    asked = {key: value for key, value in vars(options).items() if key not in free}
    asked["data_sha256"] = hash_files([options.data])
    if not path.exists():
        path.write_text(json.dumps(asked, indent=1) + "\n")
    if json.loads(path.read_text()) != asked:
        raise SystemExit(
            f"{path} has other settings than these; choose another output: {asked}"
        )


def _recipe(seed: int, visits: int | None) -> FinetuneRecipe:
    return FinetuneRecipe(
        seed=seed, visits=visits, held_out_share=0.0, check_share=0.0, threads=1
    )


def _draw_sets(options: argparse.Namespace, out: Path) -> None:
    """Write the training set and the others: drawn once, the same for all seeds."""
    if (out / OTHERS_FILE).exists():
        return
    frames = read_structures(options.data)
    pool = [atoms for atoms in frames if kind_of(atoms) == options.kind]
    if len(pool) < 2 * options.size:
        kinds = sorted({kind_of(atoms) for atoms in frames})
        raise SystemExit(
            f"{options.data} has {len(pool)} structures of kind {options.kind}, not "
            f"twice {options.size}; its kinds are {', '.join(kinds)}."
        )
    order = np.random.default_rng(0).permutation(len(pool))
    parts = order[: options.size], order[options.size : 2 * options.size]
    for name, part in zip(DATA_FILES, parts, strict=True):
        ase.io.write(out / name, [pool[index] for index in part], format="extxyz")


def _draw_start(data: Path, path: Path) -> None:
    """Write the calmest amorphous structure of that density without loose ends."""
    if path.exists():
        return
    low, high = DENSITY_G_CM3
    found = [
        atoms
        for atoms in read_structures(data)
        if len(atoms) == START_ATOMS
        and atoms.pbc.all()
        and low < density_g_cm3(atoms) < high
        and not bond_shares(atoms)[:2].any()
    ]
    forces = str(find_label_keys(found).forces)
    calmest = min(found, key=lambda atoms: abs(atoms.arrays[forces]).max())
    bare = Atoms(calmest.symbols, calmest.positions, cell=calmest.cell, pbc=calmest.pbc)
    ase.io.write(path, bare, format="extxyz")


def _errors(model: Path, data: Path) -> dict[str, float]:
    """Return the errors of a model on all structures of a file."""
    (evaluation,) = evaluate_models([str(model)], data)
    found = evaluation.groups[0]
    return {
        "energy_rmse_meV_per_atom": found.energy_rmse_meV_per_atom,
        "force_rmse_eV_A": found.force_rmse_eV_A,
    }


def _finetune(
    options: argparse.Namespace, data: Path, model: Path, recipe: FinetuneRecipe
) -> None:
    finetune(options.start, data, model, recipe=recipe, workers=1)


def _train_directly(
    options: argparse.Namespace, data: Path, model: Path, recipe: FinetuneRecipe
) -> None:
    """Train a new network of the start's shape, its energies from the mean alone."""
    start = find_checkpoint(options.start)
    frames = read_frames([data])
    keys = find_label_keys(frames.structures)
    examination = examine(frames, keys, starting_calculator(start))
    plan = make_plan(start, examination, recipe, given_eV={}, tested=True)
    reference = direct_reference(plan.config.elements, plan.training)
    parts = model.with_name(f"{model.name}.parts")
    parts.mkdir(exist_ok=True)
    weights = run_fits([_direct_job(plan, options)], parts)[DIRECT]
    stored = with_reference(weights, plan.config, reference)
    write_checkpoint(
        model,
        model=stored.network(),
        config=dataclasses.replace(
            stored.config,
            kind="potential",
            labels={"source": data.name, "isolated_atoms": reference.sources},
            provenance={"seed": recipe.seed, "training_structures": len(plan.training)},
        ),
        golden=start.golden,
    )
    shutil.rmtree(parts)


def _direct_job(plan: Plan, options: argparse.Namespace) -> FitJob:
    tuned = plan.recipe.visits
    assert tuned is not None, "a plan leaves nothing open"
    visits = options.direct_visits or DIRECT_VISITS_FACTOR * tuned
    elements = plan.config.elements
    reference = direct_reference(elements, plan.training)
    return FitJob(
        name=DIRECT,
        start=plan.start,
        recipe=dataclasses.replace(plan.recipe, visits=visits),
        training=take_off(plan.training, reference.shifts_eV),
        fresh=True,
    )


def _protocol(options: argparse.Namespace) -> MdRecipe:
    """Return the protocol `anneal` with other durations."""
    recipe = find_protocol("anneal")
    lengths = (1000 * options.heat_ps, 1000 * options.hold_ps)
    stages = [
        dataclasses.replace(stage, duration_fs=length)
        for stage, length in zip(recipe.stages, lengths, strict=True)
        if isinstance(stage, Dynamics)
    ]
    return dataclasses.replace(
        recipe, stages=tuple(stages), replicas=options.replicas, frame_fs=100.0
    )


def _anneal(
    model: Path, start: Atoms, output: Path, options: argparse.Namespace, seed: int
) -> None:
    """Run the dynamics of a model, unless they were run before."""
    if output.exists():
        return
    output.parent.mkdir(exist_ok=True)
    run_md(
        str(model),
        start,
        output,
        protocol=_protocol(options),
        seed=FIRST_MD_SEED + options.replicas * seed,
        workers=1,
        device="cpu",
    )


def _pooled(kind: str, folder: Path) -> Verdict:
    """Return one verdict over the models of a kind, its replicas numbered anew."""
    found = [v for path in _outputs(kind, folder) for v in read_verdicts(path)]
    replicas = [replica for verdict in found for replica in verdict.replicas]
    return dataclasses.replace(
        found[0],
        model=kind,
        protocol="anneal",
        passed=all(verdict.passed for verdict in found),
        replicas=tuple(
            dataclasses.replace(replica, model=kind, replica=number)
            for number, replica in enumerate(replicas)
        ),
        notes=_notes(found),
        provenance=_common(found),
    )


def _outputs(kind: str, folder: Path) -> Iterator[Path]:
    """Give the folders of all seeds that have ended, in order."""
    finished = (p for p in folder.glob(f"{kind}-*") if (p / "verdict.json").is_file())
    yield from sorted(finished, key=lambda path: int(path.name.rpartition("-")[2]))


def _notes(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for verdict in verdicts for note in verdict.notes))


def _common(verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Return what all runs share, and the weights of each."""
    first = verdicts[0].provenance
    same = {
        key: value
        for key, value in first.items()
        if all(verdict.provenance[key] == value for verdict in verdicts)
    }
    return same | {"models": [verdict.provenance["model"] for verdict in verdicts]}


def _card(options: argparse.Namespace, verdicts: Sequence[Verdict]) -> str:
    """Return what goes into a model card: figure, table, paragraph."""
    models = [shown_of(verdict, verdict.model) for verdict in verdicts]
    lines = [
        f"![Share of the models that live, with a 95 % band]({SURVIVAL_FILE})",
        "",
        "| training | on these: meV/atom, eV/Å | on others: meV/atom, eV/Å "
        f"| alive after {models[0].planned_ps:g} ps | half failed after (ps) "
        "| first failures |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_card_row(options.output / "errors", shown) for shown in models),
        "",
        _paragraph(options, models),
    ]
    return "\n".join(lines) + "\n"


def _card_row(folder: Path, shown: Shown) -> str:
    found = [json.loads(p.read_text()) for p in folder.glob(f"{shown.name}-*.json")]
    curve, failures = shown.survival, shown.verdict.failures
    assert curve is not None, "each model was moved"
    kinds = {IN_WORDS[failure.kind]: None for failure in failures}
    cells = (
        shown.name,
        *(_mean_errors([each[name] for each in found]) for name in DATA_FILES),
        f"{curve.replicas - curve.failures} of {curve.replicas}",
        "–" if curve.median_ps is None else f"{curve.median_ps:.3g}",
        ", ".join(kinds) or "none",
    )
    return f"| {' | '.join(cells)} |"


def _mean_errors(errors: Sequence[dict[str, float]]) -> str:
    """Return mean and standard deviation over the models of a kind."""
    energies = [each["energy_rmse_meV_per_atom"] for each in errors]
    forces = [each["force_rmse_eV_A"] for each in errors]
    return (
        f"{np.mean(energies):.1f} ± {np.std(energies):.1f}, "
        f"{np.mean(forces):.3f} ± {np.std(forces):.3f}"
    )


def _paragraph(options: argparse.Namespace, models: Sequence[Shown]) -> str:
    alive = [(shown.name, shown.lifetimes) for shown in models if shown.lifetimes]
    told = [
        f"{name.capitalize()}: {describe_survival(lifetimes, models[0].planned_ps)}"
        for name, lifetimes in alive
    ]
    networks = len(models[0].verdict.replicas) // options.replicas
    return (
        f"{options.size} structures of kind `{options.kind}` of `{options.data.name}`, "
        f"{networks} networks of each kind (mean ± standard deviation): "
        f"trained on them alone, or `{options.start}` fine-tuned. "
        f"{START_ATOMS} atoms of amorphous carbon at 1.5 g/cm³, 300 to 3000 K in "
        f"{options.heat_ps:g} ps, then {options.hold_ps:g} ps at 3000 K (Langevin, "
        f"1 fs). {' '.join([*told, *compare_survival(alive)])}"
    )


if __name__ == "__main__":
    main()
