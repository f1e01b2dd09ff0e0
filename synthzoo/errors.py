"""The errors that synthzoo raises on purpose; commands print them as one line."""

from __future__ import annotations

from typing import Any


class SynthzooError(Exception):
    """An error that you can mend: its message says what is wrong and what to do.

    Examples
    --------
    >>> from synthzoo import SynthzooError, find_card
    >>> try:
    ...     card = find_card("carbn")
    ... except SynthzooError as error:
    ...     print(error)
    No model named 'carbn'. Did you mean 'carbon'? See `synthzoo list`.
    """


class InputError(SynthzooError):
    """A structure, data file, recipe or option that cannot be used."""


class FileWarning(UserWarning):
    """Something was read or written otherwise than it stands there; it was said."""


class GuessedEnergyWarning(UserWarning):
    """An energy holds a constant for each atom of some element that nobody knows."""


class UnknownModelError(SynthzooError):
    """A name that no model card carries."""


class CheckpointError(SynthzooError):
    """A folder that is not a checkpoint, or one that is damaged or too new."""


class IntegrityError(CheckpointError):
    """A file whose SHA-256 or size is not the one on record."""


class HubError(SynthzooError):
    """A hub that could not be reached, refused, or sent something else."""


class MissingExtraError(SynthzooError):
    """An optional package that is not installed."""


class TeacherError(SynthzooError):
    """A label source that cannot be loaded or fails its start-up test."""


class SimulationError(SynthzooError):
    """Another program that runs a simulation with a model stopped, or went away."""


class DivergedError(SynthzooError):
    """A fit whose loss or gradient is not a finite number any more.

    Parameters
    ----------
    message
        What happened.
    kept
        The last good weights (`synthzoo.training.fit.FitResult`), if there are any.
    """

    def __init__(self, message: str, kept: Any = None) -> None:
        super().__init__(message)
        self.kept = kept

    def __reduce__(self) -> tuple[type[DivergedError], tuple[str]]:
        """Leave the weights behind: in another process only the message counts."""
        return type(self), (str(self),)


class InterruptedRunError(KeyboardInterrupt):
    """Ctrl-C in a run that goes on when it is started again; the message says so."""


LONGEST_REASON = 300


def one_line(error: BaseException) -> str:
    """Return the text of an error on one line, without a full stop; its kind if empty.

    ``error``: of any library; some quote whole files.
    """
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 3]}..."
