"""Errors that say where, what, which rule, and how to fix it.

Every error that a user can cause is a `StressError`; anything else that escapes is a defect of
this library. The command line prints them without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StressError(Exception):
    """An input or a state that breaks a rule.

    Parameters
    ----------
    rule : what must hold, in one sentence.
    file, line, key, value : where it was broken, as far as known; `line` counts from 1.
    fix : what the user can do about it.
    """

    def __init__(
        self,
        rule: str,
        *,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
        value: object = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(rule)
        self.rule = rule
        self.file = file
        self.line = line
        self.key = key
        self.value = value
        self.fix = fix

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        head = " ".join(part for part in (where and f"{where}:", self.key) if part)
        if self.value is not None:
            head = f"{head} = {self.value!r}" if head else repr(self.value)
        lines = [head] if head else []
        lines.append(f"  {self.rule}" if head else self.rule)
        if self.fix:
            lines.append(f"  {self.fix}" if head else self.fix)
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries; keyword-only arguments need this to survive pickling.
        return (_rebuild, (type(self), self.rule, self.__dict__.copy()))


def _rebuild(cls: type[StressError], rule: str, fields: dict[str, object]) -> StressError:
    error = cls(rule)
    error.__dict__.update(fields)
    return error


class StudyError(StressError):
    """A study, protocol, market or scenario file that cannot be understood or run."""


class BookError(StressError):
    """A book of accounts that breaks its schema."""


class PriceFileError(StressError):
    """A price file that breaks its schema, or does not cover what was asked of it."""


class StoreError(StressError):
    """A results folder that is incomplete, foreign, or of another schema version."""


class MechanismError(StressError):
    """A mechanism file, or a combination of mechanisms, that breaks the contract of its stage."""


class PeerError(StressError):
    """A file of venue test vectors that cannot be understood, or adapters that contradict each other."""


class InvariantViolation(StressError):
    """A numbered invariant (design: I1 to I10) did not hold on a path; the result is void."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ' did you mean …?' for the closest known name, or the list of them all."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return "known: " + ", ".join(names)
