"""Replicas, draws and committees on a Dask cluster: the results of a local run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk
from click.testing import CliRunner

from synthzoo.benchmarking.learning_curves import VALUES_FILE
from synthzoo.cli import main
from synthzoo.finetuning.committee import MEMBERS_FOLDER
from synthzoo.stability.verdict import SERIES_FILE
from tests.extras import need

FEW_VISITS = "finetune: {visits: 8, check_share: 0, replay_share: 0, threads: 1}\n"
PROTOCOL = """
md:
  timestep_fs: 1
  save_fs: 4
  sample_fs: 2
  stages: [{kind: dynamics, name: warm, duration_fs: 8, start_K: 300}]
"""


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Give the address of a cluster of a worker with a nanny, as is usual."""
    need("distributed", "dask")
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def folder(
    scheduler: str,
    tiny_checkpoint: Path,
    rattled_diamond: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Go to a folder with a checkpoint and structures; the workers are elsewhere."""
    shutil.copytree(tiny_checkpoint, tmp_path / "tiny")
    shutil.copy(rattled_diamond, tmp_path / "diamond.xyz")
    (tmp_path / "recipe.yaml").write_text(FEW_VISITS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_twice(scheduler: str, *arguments: str) -> None:
    """Run a command on this machine and on the cluster, into folders of these names."""
    cluster = ("--executor", "dask", "--scheduler", scheduler)
    for output, place in (("local", ("--workers", "1")), ("cluster", cluster)):
        result = CliRunner().invoke(main, [*arguments, "-o", output, *place])
        assert result.exit_code == 0, result.output


def same_files(name: str) -> int:
    """Compare files of a name in both outputs, byte by byte; return their number."""
    local = sorted(Path("local").rglob(name))
    for path in local:
        other = Path("cluster", *path.parts[1:])
        assert path.read_bytes() == other.read_bytes(), path
    return len(local)


def without_times(value: Any) -> Any:
    """Return values without what a run took."""
    if isinstance(value, list):
        return [without_times(item) for item in value]
    if isinstance(value, dict):
        return {
            key: without_times(item)
            for key, item in value.items()
            if not key.endswith("seconds")
        }
    return value


@pytest.mark.slow
def test_replicas_on_a_cluster_are_those_of_a_local_run(folder: Path, scheduler: str):
    """The model, the protocol and the output have names relative to this folder."""
    bulk("C", cubic=True).write(folder / "start.xyz")
    (folder / "short.yaml").write_text(PROTOCOL)
    command = ("md", "tiny", "start.xyz", "--protocol", "short.yaml")
    run_twice(scheduler, *command, "--replicas", "2")
    assert same_files(SERIES_FILE) == 2


@pytest.mark.slow
def test_draws_on_a_cluster_are_those_of_a_local_run(folder: Path, scheduler: str):
    """Errors and failures agree to the last digit; what they took does not matter."""
    data = ("--training", "diamond.xyz", "--test", "diamond.xyz", "--sizes", "0,4")
    run_twice(
        scheduler, "benchmark", "tiny", *data, "--draws", "2", "--recipe", "recipe.yaml"
    )
    local, cluster = (
        without_times(json.loads(Path(output, VALUES_FILE).read_text()))
        for output in ("local", "cluster")
    )
    assert len(local["runs"]) == 3
    assert local == cluster


@pytest.mark.long
def test_a_committee_of_a_cluster_is_that_of_a_local_run(folder: Path, scheduler: str):
    """The weights of all members are the same bytes."""
    command = ("finetune", "tiny", "diamond.xyz", "--recipe", "recipe.yaml")
    run_twice(scheduler, *command, "--committee", "2")
    assert (folder / "cluster" / MEMBERS_FOLDER).is_dir()
    assert same_files("*.safetensors") >= 2
