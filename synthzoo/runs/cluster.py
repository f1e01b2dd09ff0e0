"""Work on a Dask cluster: the executor that stands for it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from concurrent.futures import Executor

from synthzoo.errors import MissingExtraError, SynthzooError

CONNECT_LIMIT_S = 5


@contextlib.contextmanager
def dask_executor(scheduler: str) -> Iterator[Executor]:
    """Give an executor whose jobs run on the workers of a Dask cluster.

    The workers need synthzoo with the teacher's extra, in the same versions as here,
    and must see the folder of the output and the teacher's files.

    ``scheduler``: address of the scheduler, such as ``tcp://login1:8786``.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtraError(
            "A Dask cluster needs distributed: pip install 'synthzoo[dask]'."
        ) from error
    try:
        client = Client(scheduler, timeout=CONNECT_LIMIT_S, set_as_default=False)
    except Exception as error:  # whatever answers at that address
        raise SynthzooError(
            f"There is no Dask scheduler at {scheduler!r} ({error}). Expected an "
            "address such as tcp://login1:8786, as `dask scheduler` prints it."
        ) from error
    with _silenced("distributed", "tornado"), client:
        # Jobs are told apart by their folders: no need to hash what they hold.
        yield client.get_executor(pure=False)


@contextlib.contextmanager
def _silenced(*packages: str) -> Iterator[None]:
    """Keep packages' logs out of what users see: one error says what happened."""
    loggers = [
        logging.getLogger(name)
        for name in logging.root.manager.loggerDict
        if name.partition(".")[0] in packages
    ]
    before = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    try:
        yield
    finally:
        for logger, disabled in zip(loggers, before, strict=True):
            logger.disabled = disabled
