"""The one exception that users are meant to see."""


class InputError(ValueError):
    """Bad input: a file, a folder or a value that the user can correct.

    Its message is one sentence that names the file or the value and says what to do. The command line prints that
    sentence without a traceback. So does a notebook: IPython calls `_render_traceback_` where it exists.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"InputError: {self}"]


def reason(error: BaseException) -> str:
    """Another library's exception as part of a sentence: one line, without the path that an OSError repeats."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:300].rstrip(".") or type(error).__name__


def quoted(value: object) -> str:
    """A value as a sentence may quote it, shortened."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more than 4,300 digits
        return "(a number of thousands of digits)"
    return text if len(text) <= 200 else f"{text[:200]}…"
