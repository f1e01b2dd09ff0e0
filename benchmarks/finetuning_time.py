"""Time `synthzoo finetune` beside `nequip-train`: same weights, data and settings.

    python benchmarks/finetuning_time.py carbon train.xyz folder --structures 25

Structures are drawn from the file and others judge: no test file is needed. All start
as a command would be given, in a process of its own. ``default`` is `synthzoo finetune`
without any option: six fits, since five that leave out a fifth tell what the one to all
structures is worth, and the report. ``synthzoo`` gets the judges as a test set, so that
there is one fit; ``nequip-train`` makes the same one: as many epochs and steps, the
same rate, loss and moving average, measured on the same structures. It gets energies
that are aligned already, and writes no report. One line of ``folder/times.jsonl`` for
each program and draw; the table is ``folder/times.md``, and printed; what is there is
not run again.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from synthzoo.data.label_choice import find_label_keys
from synthzoo.data.labelled_set import as_labelled, read_labelled
from synthzoo.data.labels import labels_of
from synthzoo.data.structures import label, read_structures, write_structures
from synthzoo.finetuning.comparison import predict_set
from synthzoo.finetuning.plan import starting_calculator
from synthzoo.finetuning.recipe import FinetuneRecipe, resolve_recipe
from synthzoo.models.checkpoint import Checkpoint, load_model, read_config
from synthzoo.models.engine.module import undo
from synthzoo.models.predict import predict_structures
from synthzoo.reports.document import markdown_table
from synthzoo.runs.provenance import installed_versions
from synthzoo.training.batches import AtomBatches
from synthzoo.zoo.find import find_checkpoint
from synthzoo.zoo.load import load_calculator

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.records import run_missing

if TYPE_CHECKING:
    import torch
    from ase import Atoms

HERE = Path(__file__).parent
TRAINING, JUDGES = "training.xyz", "judges.xyz"
PROGRAMS = ("default", "synthzoo", "nequip-train")
ENERGY, FORCES = "val0_epoch/per_atom_energy_rmse", "val0_epoch/forces_rmse"


def main() -> None:
    """Run what is not there yet, then write the table."""
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    runs = [
        {"program": program, "draw": draw, "structures": options.structures}
        for draw in options.draws
        for program in options.programs
    ]
    record = options.folder / "times.jsonl"
    table = _table(run_missing(record, runs, lambda run: _run(run, options)))
    (options.folder / "times.md").write_text(table, encoding="utf-8")
    print(table)  # noqa: T201


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--structures", type=int, default=25)
    parser.add_argument("--judges", type=int, default=100)
    parser.add_argument("--draws", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    return parser.parse_args()


def _run(run: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    program, draw = run["program"], run["draw"]
    work = options.folder / f"{program}-{draw}-{options.structures}"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    training, judges = _drawn(options, draw)
    if program == "nequip-train":
        command = _prepare_nequip(work, training, judges, options)
    else:
        command = _prepare_ours(work, training, judges, options)
    if program == "synthzoo":
        command += ["--test", JUDGES]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(options.threads),
        "PYTHONPATH": str(HERE),
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    with (work / "log.txt").open("w") as log:
        subprocess.run(
            command, cwd=work, env=environment, stdout=log, stderr=log, check=True
        )
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = _nequips(work) if program == "nequip-train" else _ours(work)
    return {
        "threads": options.threads,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "energy_rmse_meV_per_atom": round(found[0], 2),
        "force_rmse_eV_A": round(found[1], 4),
        "versions": installed_versions(),
    }


def _drawn(options: argparse.Namespace, draw: int) -> tuple[list[Atoms], list[Atoms]]:
    """Return structures to fit and to judge by."""
    structures = [atoms for atoms in read_structures(options.data) if len(atoms) > 2]
    order = np.random.default_rng(0).permutation(len(structures))
    pool = np.random.default_rng(draw).permutation(order[options.judges :])
    return (
        [structures[index] for index in pool[: options.structures]],
        [structures[index] for index in order[: options.judges]],
    )


def _prepare_ours(
    work: Path,
    training: list[Atoms],
    judges: list[Atoms],
    options: argparse.Namespace,
) -> list[str]:
    write_structures(work / TRAINING, training)
    write_structures(work / JUDGES, judges)
    command = [sys.executable, "-c", "from synthzoo.cli import main; main()"]
    start = find_checkpoint(options.model).folder.resolve()
    command += ["finetune", str(start), TRAINING]
    return [*command, "-o", "tuned"]


def _ours(work: Path) -> tuple[float, float]:
    """Return the errors on the judges; measuring them is not in the time."""
    judges = as_labelled(*read_labelled([work / JUDGES]))
    tuned = load_calculator(work / "tuned", device="cpu")
    errors = predict_set(judges, tuned).errors[0]
    return errors.energy_rmse_meV_per_atom, errors.force_rmse_eV_A


def _prepare_nequip(
    work: Path,
    training: list[Atoms],
    judges: list[Atoms],
    options: argparse.Namespace,
) -> list[str]:
    start = find_checkpoint(options.model)
    shift = _write_aligned(work, start, training, judges)
    config = nequip_config(start.folder.resolve(), training, shift)
    (work / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    program = Path(sys.executable).parent / "nequip-train"
    return [str(program), "-cp", str(work.resolve()), "-cn", "config.yaml"]


def _write_aligned(
    work: Path, start: Checkpoint, training: list[Atoms], judges: list[Atoms]
) -> float:
    """Write both sets with energies on the start's scale; return the mean shift."""
    keys = find_label_keys([*training, *judges])
    predicted = list(predict_structures(training, starting_calculator(start)))
    shift = float(
        np.mean(
            [
                (labels_of(atoms, keys).energy_eV - found.get_potential_energy())
                / len(atoms)
                for atoms, found in zip(training, predicted, strict=True)
            ]
        )
    )
    for name, structures in ((TRAINING, training), (JUDGES, judges)):
        moved = []
        for atoms in structures:
            found = labels_of(atoms, keys)
            energy = found.energy_eV - shift * len(atoms)
            moved.append(label(atoms, energy_eV=energy, forces_eV_A=found.forces_eV_A))
        write_structures(work / name, moved)
    return shift


def nequip_config(
    start: Path, training: list[Atoms], shift_eV: float
) -> dict[str, Any]:
    """Return a configuration of `nequip-train` that fits as `synthzoo finetune` does.

    All but the warm-up: nequip's cosine starts at the full rate.
    """
    described = read_config(start)
    sizes = [len(structure) for structure in training]
    recipe = resolve_recipe(FinetuneRecipe(), sizes)
    epochs = math.ceil((recipe.visits or 0) / len(training))
    batch = math.ceil(len(sizes) / len(AtomBatches(sizes, recipe.batch_atoms, 0)))
    steps = epochs * math.ceil(len(training) / batch)
    species = list(described.elements)
    metrics = {"per_atom_energy_rmse": None, "forces_rmse": 1.0}
    return {
        "run": ["train"],
        "note": f"labels minus {shift_eV:.4f} eV per atom",
        "data": _nequip_data(species, described.cutoff_A, batch),
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": "cpu",
            "max_epochs": epochs,
            "check_val_every_n_epoch": epochs,  # the judges, in the end
            "num_sanity_val_steps": 0,
            "gradient_clip_val": recipe.gradient_clip,
            "logger": {
                "_target_": "lightning.pytorch.loggers.CSVLogger",
                "save_dir": "logs",
            },
            "enable_progress_bar": False,
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": recipe.ema_decay,
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "coeffs": {
                    "total_energy": recipe.energy_weight,
                    "forces": recipe.forces_weight,
                },
            },
            **{
                f"{part}_metrics": {
                    "_target_": "nequip.train.EnergyForceMetrics",
                    "coeffs": metrics,
                }
                for part in ("train", "val")
            },
            "optimizer": {"_target_": "torch.optim.Adam", "lr": recipe.learning_rate},
            "lr_scheduler": {
                "scheduler": {
                    "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
                    "T_max": steps,
                },
                "interval": "step",
            },
            "model": {"_target_": "finetuning_time.network", "folder": str(start)},
        },
        "global_options": {"allow_tf32": False},
    }


def _nequip_data(species: list[str], cutoff_A: float, batch: int) -> dict[str, Any]:
    sizes = {"train": batch, "val": 5}
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": 0,
        "train_file_path": TRAINING,
        "val_file_path": JUDGES,
        "transforms": [
            {
                "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                "model_type_names": species,
            },
            {
                "_target_": "nequip.data.transforms.NeighborListTransform",
                "r_max": cutoff_A,
            },
        ],
        **{
            f"{part}_dataloader": {
                "_target_": "torch.utils.data.DataLoader",
                "batch_size": size,
                **({"shuffle": True} if part == "train" else {}),
            }
            for part, size in sizes.items()
        },
    }


def network(folder: str, **_: Any) -> torch.nn.Module:
    """Return a checkpoint's network as nequip evaluates it, for its configuration."""
    found = load_model(folder)[0].train()
    undo(found)
    return found


def _nequips(work: Path) -> tuple[float, float]:
    found: dict[str, float] = {}
    for path in work.rglob("metrics.csv"):
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                found |= {key: float(row[key]) for key in (ENERGY, FORCES)
                          if row.get(key)}  # fmt: skip
    return 1000 * found[ENERGY], found[FORCES]


def _table(lines: list[dict[str, Any]]) -> str:
    names = {
        "program": "Program",
        "structures": "Structures",
        "draw": "Draw",
        "threads": "Threads",
        "seconds": "Seconds",
        "cpu_seconds": "CPU seconds",
        "energy_rmse_meV_per_atom": "Energy RMSE (meV/atom)",
        "force_rmse_eV_A": "Force RMSE (eV/Å)",
    }
    rows = [tuple(str(line[name]) for name in names) for line in lines]
    return markdown_table(tuple(names.values()), rows) + "\n"


if __name__ == "__main__":
    main()
