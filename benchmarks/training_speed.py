"""Training speed beside `nequip-train`: same network, data, batch and machine.

    python benchmarks/training_speed.py labelled.xyz --epochs 4 -o speed.json
    python benchmarks/training_speed.py labelled.xyz --epochs 60 --structures 100

Each side runs in a process of its own with the same number of threads. A batch is of so
many structures for nequip, and of that number times their mean size for synthzoo, so
that an epoch has the same number of steps. The first epoch, in which things are
compiled, does not count. With many epochs the memory at their beginning and end shows
whether it stays flat.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from synthzoo.data.structures import read_structures, split_by_group, write_structures
from synthzoo.models.recipe import ModelRecipe
from synthzoo.recipes.loading import recipe_values
from synthzoo.runs.provenance import installed_versions
from synthzoo.training.recipe import FitRecipe

HERE = Path(__file__).parent
SIDES = ("synthzoo", "nequip-train")
SEED = 1


def main() -> None:
    """Run both sides, or one of them where this script was started for it."""
    options = _options()
    if options.run is not None:
        _run_synthzoo(json.loads(Path(options.run).read_text()))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = _task(options, folder)
        found = {}
        for side in options.sides:
            commands = {"synthzoo": _ours, "nequip-train": _theirs}
            _start(commands[side](task, folder), folder, options.threads, side)
            found[side] = _summary(folder / f"{side}.jsonl", task)
    record = {"task": task["told"], "versions": installed_versions(), "found": found}
    if options.output is not None:
        options.output.write_text(json.dumps(record, indent=1))
    _tell(record)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="?", type=Path, help="labelled structures")
    parser.add_argument("-o", "--output", type=Path, help="JSON file to write")
    parser.add_argument("--structures", type=int, help="train on so many")
    parser.add_argument("--batch", type=int, default=3, help="structures")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--features", type=int, nargs=2, default=[32, 16])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--run", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.data is None and options.run is None:
        parser.error("name a file of labelled structures")
    return options


def _task(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write both sets and return what both sides have to know."""
    structures = read_structures(options.data)
    training, validation = split_by_group(structures, 0.06, seed=SEED)
    training = training[: options.structures]
    for name, part in (("train", training), ("validation", validation)):
        write_structures(folder / f"{name}.xyz", [structures[i] for i in part])
    sizes = [len(structures[index]) for index in training]
    fit = FitRecipe(
        seed=SEED,
        batch_atoms=round(options.batch * float(np.mean(sizes))),
        max_epochs=options.epochs,
        warmup_steps=0,
        decay_start=1.0,
        energy_weight=10.0,
        threads=options.threads,
    )
    model = ModelRecipe(num_features=tuple(options.features))
    return {
        "folder": str(folder),
        "device": options.device,
        "batch": options.batch,
        "elements": sorted(
            {symbol for i in training for symbol in structures[i].symbols}
        ),
        "fit": recipe_values(fit),
        "model": recipe_values(model),
        "told": {
            "training_structures": len(training),
            "training_atoms": sum(sizes),
            "validation_structures": len(validation),
            "batch_structures": options.batch,
            "threads": options.threads,
            "device": options.device,
            "features": options.features,
        },
    }


def _start(command: list[str], folder: Path, threads: int, side: str) -> None:
    print(f"running {side} ...", file=sys.stderr, flush=True)  # noqa: T201
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    path = os.pathsep.join([str(HERE), str(HERE.parent)])
    with (folder / f"{side}.log").open("w") as log:
        done = subprocess.run(
            command,
            env={**os.environ, **counts, "PYTHONPATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            check=False,
        )
    if done.returncode:
        sys.exit((folder / f"{side}.log").read_text()[-4000:])


def _ours(task: dict[str, Any], folder: Path) -> list[str]:
    (folder / "task.json").write_text(json.dumps(task))
    return [sys.executable, __file__, "--run", str(folder / "task.json")]


def _run_synthzoo(task: dict[str, Any]) -> None:
    """Fit as `pretrain` does, with a clock."""
    import torch
    from epoch_clock import EpochClock  # type: ignore[import-not-found]

    from synthzoo.models.isolation import nequip_session
    from synthzoo.training.fit import fit
    from synthzoo.training.place import TrainingPlace

    folder, elements = Path(task["folder"]), task["elements"]
    recipe = FitRecipe(**task["fit"])
    torch.set_num_threads(recipe.threads or 1)
    with nequip_session():
        training, validation = (
            _stored(folder / name, task) for name in ("train", "validation")
        )
        statistics_found = _statistics(
            training.mean_neighbours(), training.force_rms_eV_A(), elements
        )
        (folder / "state").mkdir()
        fit(
            _network(task, statistics_found),
            recipe,
            training=training,
            validation=validation,
            folder=folder / "state",
            place=TrainingPlace(device=task["device"]),
            callbacks=[EpochClock(str(folder / "synthzoo.jsonl"))],
            progress=False,
        )


def _stored(place: Path, task: dict[str, Any]) -> Any:
    """Return a file's structures as `pretrain` has them, in a folder of that name."""
    from synthzoo.data.stored_set import StoredSet
    from synthzoo.training.stored_graphs import StoredGraphs
    from synthzoo.training.stored_sets import write_set

    place.mkdir()
    write_set(read_structures(place.with_suffix(".xyz")), place)
    stored = StoredSet(place)
    return StoredGraphs(
        stored,
        range(len(stored)),
        elements=task["elements"],
        cutoff_A=task["model"]["cutoff_A"],
    )


def _statistics(neighbours: float, scale: float, elements: list[str]) -> dict[str, Any]:
    return {
        "avg_num_neighbors": neighbours,
        "per_type_energy_scales": scale,
        "per_type_energy_shifts": dict.fromkeys(elements, 0.0),
    }


def _network(task: dict[str, Any], found: dict[str, Any]) -> Any:
    from synthzoo.models.config import FORMAT_VERSION, CheckpointConfig
    from synthzoo.models.network import build_model

    shape = dict(task["model"])
    cutoff_A = shape.pop("cutoff_A")
    config = CheckpointConfig(
        format_version=FORMAT_VERSION,
        builder="NequIPGNNModel",
        arguments=shape | found,
        elements=tuple(task["elements"]),
        cutoff_A=cutoff_A,
        dtype="float32",
        isolated_atom_energies_eV=dict.fromkeys(task["elements"], 0.0),
        labels={},
        kind="potential",
        provenance={},
    )
    return build_model(config, seed=SEED)


def _theirs(task: dict[str, Any], folder: Path) -> list[str]:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(_config(task)))
    program = str(Path(sys.executable).parent / "nequip-train")
    run = f"++hydra.run.dir={folder / 'nequip'}"
    return [program, "-cp", str(folder), "-cn", "config", run]


def _config(task: dict[str, Any]) -> dict[str, Any]:
    """Return the same task for nequip-train."""
    fit, shape = task["fit"], dict(task["model"])
    shape["r_max"] = shape.pop("cutoff_A")
    statistics_found = _statistics(
        "${training_data_stats:num_neighbors_mean}",  # type: ignore[arg-type]
        "${training_data_stats:forces_rms}",  # type: ignore[arg-type]
        task["elements"],
    )
    coefficients = {
        "total_energy": fit["energy_weight"],
        "forces": fit["forces_weight"],
    }
    return {
        "run": ["train"],
        "data": _data(task, shape["r_max"]),
        "trainer": {
            "_target_": "lightning.Trainer",
            "accelerator": {"cpu": "cpu", "cuda": "gpu"}[task["device"]],
            "devices": 1,
            "max_epochs": fit["max_epochs"],
            "gradient_clip_val": fit["gradient_clip"],
            "enable_progress_bar": False,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1_000_000,
            "callbacks": [
                {
                    "_target_": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "dirpath": "${hydra:runtime.output_dir}",
                    "monitor": "val0_epoch/forces_rmse",
                    "save_last": True,
                },
                {
                    "_target_": "epoch_clock.EpochClock",
                    "path": str(Path(task["folder"]) / "nequip-train.jsonl"),
                },
            ],
            "logger": {
                "_target_": "lightning.pytorch.loggers.CSVLogger",
                "save_dir": "${hydra:runtime.output_dir}",
            },
        },
        "training_module": {
            "_target_": "nequip.train.EMALightningModule",
            "ema_decay": fit["ema_decay"],
            "loss": {
                "_target_": "nequip.train.EnergyForceLoss",
                "coeffs": coefficients,
            },
            "val_metrics": {
                "_target_": "nequip.train.EnergyForceMetrics",
                "coeffs": {"per_atom_energy_rmse": None, "forces_rmse": 1.0},
            },
            "optimizer": {"_target_": "torch.optim.Adam", "lr": fit["learning_rate"]},
            "model": {
                "_target_": "nequip.model.NequIPGNNModel",
                "seed": SEED,
                "model_dtype": "float32",
                "type_names": task["elements"],
                **shape,
                **statistics_found,
            },
        },
    }


def _data(task: dict[str, Any], cutoff_A: float) -> dict[str, Any]:
    folder, elements = Path(task["folder"]), task["elements"]
    loader = {
        "_target_": "torch.utils.data.DataLoader",
        "num_workers": 0,
    }
    return {
        "_target_": "nequip.data.datamodule.ASEDataModule",
        "seed": SEED,
        "train_file_path": str(folder / "train.xyz"),
        "val_file_path": str(folder / "validation.xyz"),
        "transforms": [
            {
                "_target_": "nequip.data.transforms.ChemicalSpeciesToAtomTypeMapper",
                "model_type_names": elements,
                "chemical_species_to_atom_type_map": {name: name for name in elements},
            },
            {
                "_target_": "nequip.data.transforms.NeighborListTransform",
                "r_max": cutoff_A,
            },
        ],
        "train_dataloader": loader | {"batch_size": task["batch"], "shuffle": True},
        "val_dataloader": loader | {"batch_size": 4 * task["batch"]},
        "stats_manager": {
            "_target_": "nequip.data.CommonDataStatisticsManager",
            "type_names": elements,
            "dataloader_kwargs": {"batch_size": task["batch"]},
        },
    }


def _summary(path: Path, task: dict[str, Any]) -> dict[str, Any]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    counted = lines[1:] or lines
    seconds = statistics.median(line["train_s"] for line in counted)
    return {
        "atoms_per_s": task["told"]["training_atoms"] / seconds,
        "train_s_per_epoch": seconds,
        "validation_s_per_epoch": statistics.median(
            line["validation_s"] for line in counted
        ),
        "memory_MB": [counted[0]["memory_MB"], counted[-1]["memory_MB"]],
        "last_force_rmse_eV_A": lines[-1]["force_rmse_eV_A"],
        "epochs": lines,
    }


def _tell(record: dict[str, Any]) -> None:
    """Print a table, and how long each side takes to the error that both reach."""
    found, told = record["found"], record["task"]
    target = max(min(e["force_rmse_eV_A"] for e in f["epochs"]) for f in found.values())
    print(  # noqa: T201
        f"{told['training_structures']} structures, {told['training_atoms']} atoms, "
        f"{told['batch_structures']} structures a step, {told['threads']} thread(s), "
        f"{told['device']}\n\n"
        "| | atoms/s | s an epoch | s to validate | MB at epoch 2 and at the end | "
        f"s to {target:.3f} eV/Å |\n| --- | --- | --- | --- | --- | --- |"
    )
    for side, each in found.items():
        reached = [
            e["elapsed_s"] for e in each["epochs"] if e["force_rmse_eV_A"] <= target
        ]
        first, last = each["memory_MB"]
        print(  # noqa: T201
            f"| {side} | {each['atoms_per_s']:.0f} | {each['train_s_per_epoch']:.1f} | "
            f"{each['validation_s_per_epoch']:.1f} | {first:.0f}, {last:.0f} | "
            f"{reached[0]:.0f} |"
        )
    if len(found) == len(SIDES):
        ours, theirs = (found[side]["atoms_per_s"] for side in SIDES)
        print(f"\nsynthzoo trains {ours / theirs:.2f} times as fast.")  # noqa: T201


if __name__ == "__main__":
    main()
