"""Does pre-training buy stability? Networks trained directly, and fine-tuned ones.

    python tests/benchmarks/stability_experiment.py train.extxyz out --seeds 0 1 2 3 4

Section 5.2 of doi 10.1088/2632-2153/ad1626 on another set: of a labelled file of
carbon, some structures of one kind (60 crystals, if nothing else is said) are the
training set. For each seed a new network is trained on them directly, and a checkpoint
of the zoo is fine-tuned. All models then go through the protocol `anneal` (300 to
3000 K, held there) from the same structure of amorphous carbon at 1.5 g/cm³, which none
was trained on. Direct fits see four times as many structures as fine-tuned ones.

`out` gets the models, the trajectories, and `report.md` with the survival of the two
kinds of models. The same command goes on where a killed one stopped; with more seeds it
adds them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import ase.io
import numpy as np
from ase import Atoms

from synthzoo.checkpoint import golden_structures, write_checkpoint
from synthzoo.files import hash_files
from synthzoo.frames import read_frames
from synthzoo.hub import find_folder
from synthzoo.labels import find_label_keys
from synthzoo.stability.check import check_stability, find_protocol
from synthzoo.stability.observables import bond_shares
from synthzoo.stability.protocols import Dynamics, MdRecipe
from synthzoo.stability.report import write_report
from synthzoo.stability.rereading import read_verdicts
from synthzoo.structures import density_g_cm3, kind_of, read_structures
from synthzoo.tuning.finetuning import finetune
from synthzoo.tuning.fits import FitJob, run_fits
from synthzoo.tuning.jobs import DIRECT, direct_reference
from synthzoo.tuning.plan import Plan, make_plan, on_scale
from synthzoo.tuning.recipe import FinetuneRecipe
from synthzoo.tuning.tuned_model import with_reference

if TYPE_CHECKING:
    from synthzoo.stability.verdict import Verdict

TUNED = "fine-tuned"
DENSITY_G_CM3 = (1.45, 1.56)
START_ATOMS = 64
DIRECT_VISITS_FACTOR = 4


def main() -> None:
    """Run what is not there yet, then write the report of all."""
    options = _options()
    out: Path = options.output
    out.mkdir(exist_ok=True)
    _keep_settings(options, out / "settings.json")
    training = _training_set(options, out / "training.extxyz")
    start = _start(options.data, out / "start.extxyz")
    for seed in options.seeds:
        for kind, train in ((DIRECT, _train_directly), (TUNED, _finetune)):
            model = out / "models" / f"{kind}-{seed}"
            if not model.exists():
                model.parent.mkdir(exist_ok=True)
                train(options.start, training, model, _recipe(seed, options.visits))
            _anneal(model, start, out / "dynamics" / model.name, options)
    verdicts = [_pooled(kind, out / "dynamics") for kind in (DIRECT, TUNED)]
    print(write_report(out, verdicts))  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="labelled structures of carbon")
    parser.add_argument("output", type=Path)
    parser.add_argument("--start", default="carbon", help="what is fine-tuned")
    parser.add_argument("--kind", default="bulk_cryst", help="of the training set")
    parser.add_argument("--size", type=int, default=60)
    parser.add_argument("--visits", type=int, help="structures that a tuning sees")
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


def _training_set(options: argparse.Namespace, path: Path) -> Path:
    """Return a file with the training set: drawn once, the same for all seeds."""
    if not path.exists():
        frames = list(ase.io.iread(options.data))
        pool = [atoms for atoms in frames if kind_of(atoms) == options.kind]
        if len(pool) < options.size:
            kinds = sorted({kind_of(atoms) for atoms in frames})
            raise SystemExit(
                f"{options.data} has {len(pool)} structures of kind {options.kind}, "
                f"not {options.size}; its kinds are {', '.join(kinds)}."
            )
        order = np.random.default_rng(0).permutation(len(pool))[: options.size]
        ase.io.write(path, [pool[index] for index in order])
    return path


def _start(data: Path, path: Path) -> Atoms:
    """Return the calmest amorphous structure of that density without loose ends."""
    if not path.exists():
        low, high = DENSITY_G_CM3
        found = [
            atoms
            for atoms in ase.io.iread(data)
            if len(atoms) == START_ATOMS
            and atoms.pbc.all()
            and low < density_g_cm3(atoms) < high
            and not bond_shares(atoms)[:2].any()
        ]
        forces = str(find_label_keys(found).forces)
        calmest = min(found, key=lambda atoms: abs(atoms.arrays[forces]).max())
        bare = Atoms(
            calmest.symbols, calmest.positions, cell=calmest.cell, pbc=calmest.pbc
        )
        ase.io.write(path, bare)
    return read_structures(path)[0]


def _finetune(start: str, data: Path, model: Path, recipe: FinetuneRecipe) -> None:
    finetune(start, data, model, recipe=recipe, workers=1)


def _train_directly(
    start: str, data: Path, model: Path, recipe: FinetuneRecipe
) -> None:
    """Train a new network of the start's shape, its energies from the mean alone."""
    folder = find_folder(start)
    frames = read_frames([data])
    keys = find_label_keys(frames.structures)
    plan = make_plan(folder, frames, keys, recipe, given_eV={}, tested=True)
    reference = direct_reference(plan)
    parts = model.with_name(f"{model.name}.parts")
    parts.mkdir(exist_ok=True)
    weights = run_fits([_direct_job(plan)], parts)[DIRECT]
    network, config = with_reference(weights, plan.config, reference)
    write_checkpoint(
        model,
        model=network,
        config=dataclasses.replace(
            config,
            kind="potential",
            labels={"source": data.name, "isolated_atoms": reference.sources},
            provenance={"seed": recipe.seed, "training_structures": len(plan.training)},
        ),
        golden=golden_structures(folder),
    )
    shutil.rmtree(parts)


def _direct_job(plan: Plan) -> FitJob:
    visits = DIRECT_VISITS_FACTOR * (plan.recipe.visits or 0)
    return FitJob(
        name=DIRECT,
        start=plan.start,
        recipe=dataclasses.replace(plan.recipe, visits=visits),
        training=on_scale(plan.training, plan.config.elements, direct_reference(plan)),
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
    model: Path, start: Atoms, output: Path, options: argparse.Namespace
) -> None:
    """Run the dynamics of a model, unless they were run before."""
    if output.exists():
        return
    output.parent.mkdir(exist_ok=True)
    check_stability(
        str(model),
        start,
        output,
        protocol=_protocol(options),
        seed=100,
        workers=options.workers,
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


if __name__ == "__main__":
    main()
