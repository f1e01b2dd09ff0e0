"""Runs of many jobs: order, resumption, and what is refused."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tqdm import tqdm

from synthzoo.errors import InputError, SynthzooError
from synthzoo.resumable import join, open_run, process_pool, read_results, run_jobs


def write_number(job: int, folder: Path) -> None:
    (folder / "number.txt").write_text(f"{job}\n")
    (folder / "number.json").write_text(json.dumps({"number": job}))


def fail_at_three(job: int, folder: Path) -> None:
    write_number(job, folder)
    if job == 3:
        raise ValueError("three")


def die_at_three(job: int, folder: Path) -> None:
    write_number(job, folder)
    if job == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def run(function, jobs, output: Path, executor) -> int:
    folder = open_run(output, {"jobs": "numbers"})
    with tqdm(disable=True) as bar:
        return run_jobs(function, jobs, folder, executor=executor, progress=bar)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_results_are_joined_in_the_order_of_the_jobs(tmp_path: Path, threads):
    """The order in which workers end does not matter."""
    output = tmp_path / "out.txt"
    count = run(write_number, range(12), output, threads)
    folder = open_run(output, {"jobs": "numbers"})
    join(folder, count, "number.txt", output)
    assert output.read_text().split() == [str(number) for number in range(12)]
    found = [result["number"] for result in read_results(folder, count, "number.json")]
    assert found == list(range(12))


def test_finished_jobs_are_not_run_again(tmp_path: Path, threads):
    """After a failure, only what is missing is done."""
    output = tmp_path / "out.txt"
    with pytest.raises(ValueError, match="three"):
        run(fail_at_three, range(5), output, threads)
    folder = open_run(output, {"jobs": "numbers"})
    marked = folder / "0000000" / "number.txt"
    marked.write_text("kept\n")
    count = run(write_number, range(5), output, threads)
    join(folder, count, "number.txt", output)
    assert output.read_text().split() == ["kept", "1", "2", "3", "4"]


def test_a_killed_worker_is_reported_and_the_rest_is_kept(tmp_path: Path):
    """Death by signal ends in one clear error; no half-written job counts."""
    output = tmp_path / "out.txt"
    with process_pool(1) as pool, pytest.raises(SynthzooError, match="was killed"):
        run(die_at_three, range(5), output, pool)
    folder = open_run(output, {"jobs": "numbers"})
    finished = sorted(path.name for path in folder.glob("???????"))
    assert finished == ["0000000", "0000001", "0000002"]


def test_an_existing_output_is_refused(tmp_path: Path):
    """Nothing of the user's is overwritten."""
    output = tmp_path / "out.txt"
    output.write_text("mine")
    with pytest.raises(InputError, match="exists; remove it"):
        open_run(output, {})
    assert output.read_text() == "mine"


def test_a_run_with_other_inputs_is_refused(tmp_path: Path):
    """What changed is named, with the way to start anew."""
    open_run(tmp_path / "out.txt", {"recipe": 1, "input": "a"})
    with pytest.raises(InputError, match=r"with another input. Remove that folder"):
        open_run(tmp_path / "out.txt", {"recipe": 1, "input": "b"})


def test_a_missing_folder_is_named(tmp_path: Path):
    """The place to write to must be there."""
    with pytest.raises(InputError, match="There is no folder"):
        open_run(tmp_path / "nowhere" / "out.txt", {})


def test_the_pool_leaves_the_environment_alone():
    """One thread a worker is set for the workers only."""
    before = dict(os.environ)
    with process_pool(1) as pool:
        assert pool.submit(os.getenv, "OMP_NUM_THREADS").result() == "1"
    assert dict(os.environ) == before
