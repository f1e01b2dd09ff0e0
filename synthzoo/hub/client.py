"""The client of the Hugging Face hub, and how long it waits."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import synthzoo
from synthzoo.hub.faults import endpoint, may_pass
from synthzoo.hub.limits import limited_answers

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")

TIMEOUT_S = 10.0
"""Of the question what a repository holds; files have `huggingface_hub`'s own."""

MAX_INFO_BYTES = 2**24

_WAITS_S = (1.0, 2.0, 4.0)
"""Pauses before a request is made again; one try more than there are pauses."""


def hub_api() -> HfApi:
    """Return the client of the hub; it knows endpoint, token and cache by itself."""
    from huggingface_hub import HfApi

    return HfApi(library_name="synthzoo", library_version=synthzoo.__version__)


def model_info(
    api: HfApi, repository: str, *, revision: str | None = None
) -> ModelInfo:
    """Return what the hub says about a repository: its commit, files and privacy.

    Parameters
    ----------
    api
        The client.
    repository
        As ``organisation/name``.
    revision
        Branch, tag or commit, if not the newest commit.
    """
    with limited_answers(repository, limit=MAX_INFO_BYTES):
        return patiently(
            lambda: api.model_info(repository, revision=revision, timeout=TIMEOUT_S)
        )


def patiently(request: Callable[[], Answer]) -> Answer:
    """Return the answer to a request, made again while the hub is only busy.

    Parameters
    ----------
    request
        Called without arguments.
    """
    for wait_s in _WAITS_S:
        try:
            return request()
        except OSError as error:
            if not may_pass(error):
                raise
        logger.warning("%s is busy; next try in %g s", endpoint(), wait_s)
        time.sleep(wait_s)
    return request()
