"""The one exception that users are meant to see."""


class InputError(ValueError):
    """Bad input: a file, a folder or a value that the user can mend.

    Its message is one sentence that names the file or the value and says what to do. The command line prints that
    sentence without a traceback; so does a notebook, since IPython calls `_render_traceback_` where it exists.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"InputError: {self}"]
