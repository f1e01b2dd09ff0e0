"""What went wrong between us and the hub, in one sentence that says what to do.

`huggingface_hub` raises a dozen kinds of errors, some of them wrapped in others. Here
each becomes one `HubError`; nothing in this module opens a connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from synthzoo.errors import HubError, one_line
from synthzoo.runs.files import DISK_FULL, NO_ACCESS

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

Explanation = Callable[[Any, str, str], str]
"""Takes the error, the repository and the revision; returns the message."""

_BUSY = frozenset({408, 429, 500, 502, 503, 504})
"""Answers of a server that may well give another one in a few seconds."""

_LOG_IN = "Log in with `hf auth login` or set HF_TOKEN"


@contextmanager
def one_clear_error(repository: str, revision: str) -> Iterator[None]:
    """Turn whatever `huggingface_hub` raises inside into one `HubError`.

    ``repository``: as ``organisation/name``.
    """
    from huggingface_hub import errors

    try:
        yield
    except (
        errors.HTTPError,  # type: ignore[attr-defined]  # of its HTTP library
        errors.EntryNotFoundError,
        OSError,
        RuntimeError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise HubError(explain(error, repository, revision)) from error


def may_pass(error: Exception) -> bool:
    """Return whether the same request may succeed in a few seconds.

    Faults that `huggingface_hub` itself has tried several times before it gave up
    are not among them.
    """
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in _BUSY
    return _is_cut_short(error)


def explain(error: Exception, repository: str, revision: str) -> str:
    """Return one sentence about a failed request and one about the way out.

    ``repository``: as ``organisation/name``.
    """
    from huggingface_hub import errors

    wrappers = (errors.LocalEntryNotFoundError, RuntimeError)
    while isinstance(error, wrappers) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    explanations: tuple[tuple[type[Exception], Explanation], ...] = (
        (errors.GatedRepoError, _gated),
        (errors.RevisionNotFoundError, _no_revision),
        (errors.RemoteEntryNotFoundError, _no_file),
        (errors.RepositoryNotFoundError, _no_repository),
        (errors.HfHubHTTPError, _refused),
        (errors.OfflineModeIsEnabled, _offline),
        (errors.FileMetadataError, _not_a_hub),
        (errors.HTTPError, _unreachable),  # type: ignore[attr-defined]
        (json.JSONDecodeError, _not_a_hub),
        (KeyError, _not_a_hub),
        (TypeError, _not_a_hub),
        (OSError, _disk),
    )
    for kind, explanation in explanations:
        if isinstance(error, kind):
            return explanation(error, repository, revision)
    return _other(error, repository, revision)


def endpoint() -> str:
    """Return the address of the hub in use (the environment's HF_ENDPOINT)."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def _gated(_error: Exception, repository: str, _revision: str) -> str:
    return (
        f"{repository} is gated: ask for access on {endpoint()}/{repository}. "
        f"{_LOG_IN} once it is granted."
    )


def _no_revision(_error: Exception, repository: str, revision: str) -> str:
    return f"{repository} on {endpoint()} has no branch, tag or commit {revision!r}."


def _no_file(error: HfHubHTTPError, repository: str, revision: str) -> str:
    name = str(error.response.url).rsplit("/", 1)[-1]
    return (
        f"{repository}@{revision} on {endpoint()} has no file {name}: "
        "it is not a synthzoo checkpoint."
    )


def _no_repository(_error: Exception, repository: str, _revision: str) -> str:
    return (
        f"There is no repository {repository} on {endpoint()}, or it is private. "
        f"Check the name. {_LOG_IN} if it is private."
    )


def _refused(error: HfHubHTTPError, repository: str, _revision: str) -> str:
    status = error.response.status_code
    answer = f"{endpoint()} answered {status} {error.response.reason_phrase}"
    if status == 401:
        return (
            f"{answer} for {repository}: the repository does not exist or is private, "
            f"or the token is not valid. {_LOG_IN}."
        )
    if status == 403:
        return (
            f"{answer} for {repository}: {error.server_message or 'no reason given'}. "
            "The token needs permission for this repository."
        )
    if status in _BUSY:
        return f"{answer} for {repository}, several times. Try again later."
    reason = f": {error.server_message}" if error.server_message else ""
    return f"{answer} for {repository}{reason}."


def _offline(_error: Exception, repository: str, _revision: str) -> str:
    return (
        f"HF_HUB_OFFLINE forbids to connect to {endpoint()} for {repository}. "
        "Unset it, or do this where there is a network."
    )


def _not_a_hub(_error: Exception, repository: str, _revision: str) -> str:
    return (
        f"{endpoint()} did not answer like a Hugging Face hub for {repository} (a web "
        "page instead?). Check HF_ENDPOINT, the proxy, and whether this network wants "
        "a log-in first."
    )


def _unreachable(error: Exception, repository: str, _revision: str) -> str:
    if _is_broken_off(error):
        return (
            f"The connection to {endpoint()} broke off in the middle of a file of "
            f"{repository}, several times. Try again; nothing was kept."
        )
    return (
        f"Cannot reach {endpoint()} for {repository} ({one_line(error)}). Check the "
        "connection, the proxy and HF_ENDPOINT; `synthzoo list` says what needs no "
        "network."
    )


def _disk(error: OSError, repository: str, revision: str) -> str:
    from huggingface_hub import constants

    cache = constants.HF_HUB_CACHE
    if error.errno in DISK_FULL:
        return (
            f"No space left for {repository} in the cache {cache} ({error.strerror}). "
            "Free some, or set HF_HOME to a folder on a larger disk."
        )
    if error.errno in NO_ACCESS:
        return (
            f"Cannot write {repository} into the cache {cache} ({error.strerror}). "
            "Set HF_HOME to a folder that you may write to."
        )
    if _is_cut_short(error):
        return (
            f"A file of {repository} arrived with another size than {endpoint()} had "
            "announced, several times: cut short, or a web page instead of the file. "
            "Try again; nothing was kept."
        )
    if error.errno is not None:
        return f"{repository} cannot be kept in the cache {cache}: {one_line(error)}."
    return _other(error, repository, revision)


def _other(error: Exception, repository: str, _revision: str) -> str:
    text = one_line(error)
    hint = ""
    if "xet" in text.lower():
        hint = " If this hub has no Xet storage, set HF_HUB_DISABLE_XET=1."
    return f"{repository} and {endpoint()}: {text}.{hint}"


def _is_cut_short(error: Exception) -> bool:
    # Whether this is the plain `OSError` that reports a file of the wrong size.
    return type(error) is OSError and error.errno is None


def _is_broken_off(error: Exception) -> bool:
    return type(error).__name__ in {"RemoteProtocolError", "ReadError"}
