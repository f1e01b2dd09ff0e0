"""Runs of many jobs: order, resumption, and what is refused."""

import json
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from tqdm import tqdm

from synthzoo.errors import InputError, SynthzooError
from synthzoo.guarded import call_guarded
from synthzoo.resumable import (
    close_run,
    completed_run,
    exclusive,
    join,
    mark_complete,
    open_run,
    read_results,
    run_jobs,
    worker_threads,
    working_folder,
)


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
    context = get_context("spawn")
    with (
        ProcessPoolExecutor(1, mp_context=context) as pool,
        pytest.raises(SynthzooError, match="What is finished is kept; run the same"),
    ):
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


def test_files_beside_an_output_are_kept(tmp_path: Path):
    """What an earlier run wrote beside its output is not overwritten, either."""
    output, beside = tmp_path / "out.txt", tmp_path / "out.failed.txt"
    beside.write_text("mine")
    with pytest.raises(
        InputError, match=r"out\.failed\.txt exists, from an earlier run"
    ):
        open_run(output, {}, beside=[beside])
    assert list(tmp_path.iterdir()) == [beside]


def test_a_run_killed_while_it_cleans_up_is_complete(tmp_path: Path):
    """The output is there; the same run finds its summary, another run does not."""
    output = tmp_path / "out.txt"
    folder = open_run(output, {"input": "a"})
    mark_complete(folder, {"count": 3})
    assert completed_run(output, {"input": "a"}) is None
    assert open_run(output, {"input": "a"}) == folder
    join(folder, 0, "number.txt", output)
    assert completed_run(output, {"input": "a"}) == {"count": 3}
    assert completed_run(output, {"input": "b"}) is None
    (folder / "0000000").mkdir()
    close_run(output)
    assert list(tmp_path.iterdir()) == [output]
    assert completed_run(output, {"input": "a"}) is None


def test_two_runs_do_not_share_a_folder(tmp_path: Path):
    """The same command given twice at a time is refused, and goes on later."""
    folder = open_run(tmp_path / "out.txt", {})
    with (
        exclusive(folder),
        pytest.raises(SynthzooError, match="Another run is writing"),
        exclusive(folder),
    ):
        pass
    with exclusive(folder):
        pass


def test_workers_must_see_the_folder(tmp_path: Path, threads):
    """Without a shared file system results would be lost; the user is told."""
    folder = open_run(tmp_path / "out.txt", {})
    (folder / "manifest.json").unlink()
    with (
        tqdm(disable=True) as bar,
        pytest.raises(SynthzooError, match=r"does not see .*out\.txt\.parts"),
    ):
        run_jobs(write_number, range(3), folder, executor=threads, progress=bar)


def do_at_once(job: int, folder: Path) -> None:
    """Do the job, after another worker that was given the same has done it."""
    write_number(job, folder)
    target = folder.with_name(folder.name.split(".")[1])
    target.mkdir()
    write_number(100 + job, target)


def test_a_job_that_two_workers_did_counts_once(tmp_path: Path, threads):
    """A cluster gives a job to another worker if the first seems to be lost."""
    output = tmp_path / "out.txt"
    count = run(do_at_once, range(4), output, threads)
    folder = working_folder(output)
    join(folder, count, "number.txt", output)
    assert output.read_text().split() == ["100", "101", "102", "103"]
    assert sorted(path.name for path in folder.glob("*.part*")) == []


def sleep_guarded(job: int, folder: Path) -> None:
    call_guarded(partial(time.sleep, 1000 if job else 0), limit_s=None)


def test_an_error_does_not_wait_for_the_other_jobs(tmp_path: Path):
    """Ctrl-C, or a fault of one job, ends what the others compute."""

    def stop(_: Path) -> None:
        raise KeyboardInterrupt

    folder = open_run(tmp_path / "out.txt", {})
    start = time.monotonic()
    with (
        worker_threads(2) as pool,
        tqdm(disable=True) as bar,
        pytest.raises(KeyboardInterrupt),
    ):
        run_jobs(
            sleep_guarded, range(3), folder, executor=pool, progress=bar, on_done=stop
        )
    assert time.monotonic() - start < 60
