"""Work on a real Dask cluster: the same bytes, whatever is lost on the way."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from synthzoo.cli import main
from synthzoo.data.structures import write_structures
from synthzoo.errors import MissingExtraError, SynthzooError
from synthzoo.runs.cluster import dask_executor
from tests.dask_cluster import HERE, DaskCluster, dask_cluster
from tests.extras import need
from tests.faulty_calculators import FAULTY, copper

CHUNKS, SLOW = 8, 7
RECIPE = f"""
relabel:
  teacher: '{FAULTY}'
  chunk_structures: 4
"""


@pytest.fixture(scope="module", autouse=True)
def _dask_is_installed() -> None:
    need("distributed", "dask")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an input that takes some seconds, with a structure that crashes."""
    path = tmp_path_factory.mktemp("cluster")
    frames = [copper(number, SLOW) for number in range(4 * CHUNKS)]
    frames[10] = copper(10, 1)
    write_structures(path / "in.xyz", frames)
    (path / "recipe.yaml").write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def expected(folder: Path) -> bytes:
    """Return what a local run makes."""
    return finish(relabel(folder, "local.xyz", "--workers", "1"), folder, "local.xyz")


def relabel(folder: Path, output: str, *options: str) -> subprocess.Popen[str]:
    """Start the command; paths are relative to the folder."""
    code = "from synthzoo.cli import main; main()"
    arguments = [
        "relabel",
        "in.xyz",
        output,
        "--recipe",
        "recipe.yaml",
        "--trust",
        *options,
    ]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def on(cluster: DaskCluster) -> tuple[str, ...]:
    return "--executor", "dask", "--scheduler", cluster.address


def finish(process: subprocess.Popen[str], folder: Path, output: str) -> bytes:
    """Wait for a run that succeeds and return its output."""
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert "1 failed (1 crashed)" in errors
    assert not (folder / f"{output}.parts").exists()
    return (folder / output).read_bytes()


def wait_for(condition: Callable[[], object], limit_s: float = 180.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def finished_chunks(folder: Path, output: str) -> int:
    return len(list(folder.glob(f"{output}.parts/???????")))


@pytest.mark.thorough
def test_a_cluster_makes_the_bytes_of_a_local_run(
    folder: Path, expected: bytes, tmp_path: Path
):
    """Workers that come late are waited for; the work of one that dies is done again.

    That a queue has still to start them is said.
    """
    with dask_cluster(tmp_path, 0) as cluster:
        process = relabel(folder, "dask.xyz", *on(cluster))
        assert process.stderr is not None
        assert "no workers; waiting" in process.stderr.readline()
        cluster.add_worker()
        cluster.add_worker()
        wait_for(lambda: finished_chunks(folder, "dask.xyz") >= 2)
        cluster.workers[0].kill()
        assert finish(process, folder, "dask.xyz") == expected


@pytest.mark.thorough
def test_a_lost_scheduler_is_one_clear_error_and_the_run_goes_on_elsewhere(
    folder: Path, expected: bytes, tmp_path: Path
):
    """What the cluster had finished is kept and is not done again."""
    with dask_cluster(tmp_path, 1) as cluster:
        process = relabel(folder, "lost.xyz", *on(cluster))
        wait_for(lambda: finished_chunks(folder, "lost.xyz") >= 2)
        cluster.scheduler.kill()
        output, errors = process.communicate(timeout=120)
    assert (process.returncode, output) == (1, "")
    assert errors.startswith("Error: The workers are gone")
    assert "What is finished is kept; run the same command again" in errors
    assert errors.count("\n") == 1
    kept = finished_chunks(folder, "lost.xyz")
    assert 2 <= kept < CHUNKS
    resumed = relabel(folder, "lost.xyz", "--workers", "1")
    assert finish(resumed, folder, "lost.xyz") == expected


@pytest.mark.parametrize(
    "address",
    [pytest.param("tcp://127.0.0.1:1", marks=pytest.mark.thorough), "nonsense"],
)
def test_no_scheduler_is_one_clear_error_within_seconds(address: str):
    """The address that was given is in it, and what was expected."""
    start = time.monotonic()
    with (
        pytest.raises(SynthzooError, match=f"no Dask scheduler at '{address}'.*8786"),
        dask_executor(address),
    ):
        pass
    assert time.monotonic() - start < 20


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    """The message is the line to type."""
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(MissingExtraError, match=r"pip install 'synthzoo\[dask\]'"),
        dask_executor("tcp://127.0.0.1:1"),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--executor", "dask"], "needs --scheduler"),
        (["--scheduler", "tcp://127.0.0.1:1"], "needs --executor dask"),
        (
            ["--executor", "dask", "--scheduler", "tcp://127.0.0.1:1", "--workers=2"],
            "a cluster has its own",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    options: list[str], message: str, tmp_path: Path
):
    """Nothing is guessed about where the work is to be done."""
    arguments = ["relabel", "in.xyz", str(tmp_path / "out.xyz"), "--teacher", FAULTY]
    result = CliRunner().invoke(main, [*arguments, *options])
    assert result.exit_code == 2
    assert message in result.stderr
