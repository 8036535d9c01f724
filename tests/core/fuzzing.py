"""What the fuzz tests share: junk, mutated bytes, and what may come out of a library that gets them."""

import contextlib
import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume
from hypothesis import strategies as st

from pnlib import InputError


@contextlib.contextmanager
def input_error_only() -> Iterator[None]:
    """Only an InputError may come out, of one line that a terminal can show; and within 20 seconds of processor time."""

    def stop(*_: object) -> None:
        pytest.fail("it hangs")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, 20)
    try:
        yield
    except InputError as error:
        message = str(error)
        assert message.strip() and len(message.splitlines()) == 1, message
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@st.composite
def mutated(draw: Any, content: bytes) -> bytes:
    """`content` with one to four places overwritten, cut out or pushed apart."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        place, new = draw(st.integers(0, len(changed))), draw(st.binary(min_size=1, max_size=8))
        kind = draw(st.sampled_from(["overwrite", "insert", "delete", "cut off"]))
        if kind == "cut off":
            del changed[place:]
        else:
            changed[place : place + (0 if kind == "insert" else len(new))] = b"" if kind == "delete" else new
    assume(bytes(changed) != content)
    return bytes(changed)


def meaning(content: bytes) -> Any:
    """What JSON means; None where it is no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.builds(lambda: 10**5000),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9) | st.integers(), inner, max_size=4),
    max_leaves=8,
)
