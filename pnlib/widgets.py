"""Widgets for JupyterLab: a slider under a figure, and a box that takes an image and shows the answer.

Everywhere else (saved, GitHub, an HTML report) what was shown first stays.
"""

import io
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure


def slider(draw: Callable[[float], Figure], start: float, low: float, high: float, step: float, label: str) -> None:
    """Show `draw(start)`, and a slider that draws it again for another value.

    Args:
        draw: a figure for a value.
        start, low, high, step: of the slider.
        label: what is moved.
    """
    import ipywidgets
    from IPython.display import display

    first = _png(draw(start))
    picture = ipywidgets.Image(value=first, format="png", layout={"max_width": "100%"})
    options = {"description": label, "style": {"description_width": "initial"}, "layout": {"width": "500px"}}
    moved = ipywidgets.FloatSlider(value=start, min=low, max=high, step=step, continuous_update=False, **options)
    moved.observe(lambda change: setattr(picture, "value", _png(draw(change["new"]))), names="value")
    box = ipywidgets.VBox([moved, picture])
    # One output with a fallback: who can't show the widget shows the picture. `tidy` drops the widget from saved files.
    saved = {"image/png": b64encode(first).decode(), "text/plain": f"{label} {start:g}: run the cell to move it"}
    display({**box._repr_mimebundle_(), **saved}, raw=True)


def ask(answer: Callable[[Path | bytes, bool], str], examples: dict[str, Path]) -> None:
    """Choose an example or a file of your own, and see the answer.

    Args:
        answer: HTML for an example's path or a file's content, and whether an answer is wanted for any image.
        examples: what can be chosen without a file: {name: path}. The first is answered at once.
    """
    import ipywidgets
    from IPython.display import display

    wide = {"layout": {"width": "auto", "max_width": "480px"}, "style": {"description_width": "initial"}}
    chosen = ipywidgets.Dropdown(options=list(examples.items()), description="Example:", **wide)
    own = ipywidgets.FileUpload(
        accept="image/*,.dcm,.dicom", description="Or a file of your own", layout=wide["layout"]
    )
    forced = ipywidgets.Checkbox(description="Answer for any image", indent=False)
    result = ipywidgets.HTML()
    asked: list = [chosen.value]

    def show(file: Path | bytes | None = None) -> None:
        asked[0] = file or asked[0]
        result.value = "<p>Looking at the image…</p>"
        result.value = f"<div style='line-height: 1.4'>{answer(asked[0], forced.value)}</div>"

    def take(_: dict) -> None:
        if own.value:
            content, own.value = bytes(own.value[0]["content"]), ()
            show(content)

    chosen.observe(lambda change: show(change["new"]), names="value")
    own.observe(take, names="value")
    forced.observe(lambda _: show(), names="value")
    show()
    box = ipywidgets.VBox([chosen, own, forced, result])
    display({**box._repr_mimebundle_(), "text/html": result.value, "text/plain": "an answer, as HTML"}, raw=True)


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
