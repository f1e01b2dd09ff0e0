"""What a hub may answer: names that stay in the cache, sizes and times within limits.

`huggingface_hub` makes a file's name of the ETag that a server sends, reads a body to
its end however long it is, and waits for the next byte again and again. A server that
HF_ENDPOINT or a redirect leads to may be anybody's: its answers are looked at here,
before the client sees them.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from synthzoo.errors import HubError

if TYPE_CHECKING:
    from httpx2 import Client, Request, Response, SyncByteStream

PATIENCE_S = 60.0
SLOWEST_BYTES_PER_S = 1000.0
"""A body that needs longer than this patience and this rate allow is given up."""

_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_TAG = re.compile(r'(?:W/)?"?(?!\.+"?$)[\w.+=-]{1,200}"?', re.ASCII)
_FILE_NAMES = {"ETag": _TAG, "X-Linked-Etag": _TAG, "X-Repo-Commit": _COMMIT}
"""Headers of which the client makes names of files, and what they may be."""

_SIZES = ("Content-Length", "X-Linked-Size")
_XET = ("X-Xet-Hash", "X-Xet-Refresh-Route")
"""With these a file would come another way, which cannot be limited."""

_ONE_AT_A_TIME = threading.RLock()
_clients: dict[Callable[[], Client], Client | None] = {}
_here = threading.local()
"""What is asked for by this thread, if anything is."""


@contextmanager
def limited_answers(what: str, *, limit: int) -> Iterator[None]:
    """Refuse answers to this thread's requests that no honest hub gives.

    Other threads are not concerned, and the client of the process is afterwards what it
    was before.

    ``what``: name of what is asked for, for messages.
    """
    _here.check = _Check(what, limit)
    try:
        with _our_client():
            yield
    finally:
        del _here.check


@contextmanager
def _our_client() -> Iterator[None]:
    """Have `huggingface_hub` use a client whose answers are looked at."""
    from huggingface_hub.utils import _http

    with _ONE_AT_A_TIME:
        factory: Callable[[], Client] = _http._GLOBAL_CLIENT_FACTORY
        client = _http._GLOBAL_CLIENT
        # The public `set_client_factory` would close what other threads are using.
        _http._GLOBAL_CLIENT_FACTORY = partial(_with_hooks, factory)
        _http._GLOBAL_CLIENT = _clients.get(factory)
        try:
            yield
        finally:
            _clients[factory] = _http._GLOBAL_CLIENT
            _http._GLOBAL_CLIENT_FACTORY = factory
            _http._GLOBAL_CLIENT = client


def _with_hooks(factory: Callable[[], Client]) -> Client:
    client = factory()
    hooks = client.event_hooks
    client.event_hooks = {
        "request": [*hooks["request"], _on_request],
        "response": [*hooks["response"], _on_response],
    }
    return client


def _on_request(request: Request) -> None:
    """Ask for the bytes as they are, which can be counted."""
    if hasattr(_here, "check"):
        request.headers["Accept-Encoding"] = "identity"


def _on_response(response: Response) -> None:
    if hasattr(_here, "check"):
        _here.check(response)


class _Check:
    """Refuses an answer, or lets its body be counted."""

    def __init__(self, what: str, limit: int) -> None:
        self._what, self._limit = what, limit

    def __call__(self, response: Response) -> None:
        headers = response.headers
        named = _FILE_NAMES.items() if response.request.method == "HEAD" else ()
        for name, form in named:
            if name in headers and not form.fullmatch(headers[name]):
                raise self._refusal(f"{name} {headers[name][:60]!r} is no file's name")
        for name in _SIZES:
            if int(headers.get(name, 0)) > self._limit:
                self._refuse_size(headers[name])
        if headers.get("Content-Encoding", "identity") != "identity":
            raise self._refusal("it is compressed, which was not asked for")
        for name in _XET:
            headers.pop(name, None)
        response.stream = _metered(response.stream, self._count())

    def _count(self) -> Callable[[int], None]:
        start, received = time.monotonic(), 0

        def count(size: int) -> None:
            nonlocal received
            received += size
            if received > self._limit:
                self._refuse_size(f"more than {self._limit}")
            seconds = time.monotonic() - start
            if seconds > PATIENCE_S + received / SLOWEST_BYTES_PER_S:
                raise self._refusal(
                    f"only {received} bytes came in {seconds:.0f} s; try again later"
                )

        return count

    def _refuse_size(self, size: str) -> None:
        raise self._refusal(f"it has {size} bytes; the limit is {self._limit}")

    def _refusal(self, reason: str) -> HubError:
        from synthzoo.zoo.hub_errors import endpoint

        return HubError(
            f"{self._what} on {endpoint()} was not downloaded: {reason}. Check "
            "HF_ENDPOINT, and who publishes the repository."
        )


def _metered(stream: Any, count: Callable[[int], None]) -> SyncByteStream:
    """Return a body that is counted while it is read."""
    from httpx2 import SyncByteStream

    class Metered(SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            for piece in stream:
                count(len(piece))
                yield piece

        def close(self) -> None:
            stream.close()

    return Metered()
