"""A slider under a figure, for JupyterLab. Everywhere else (saved, GitHub, an HTML report) the first figure stays."""

import io
from base64 import b64encode
from collections.abc import Callable

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


def _png(figure: Figure) -> bytes:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    return content.getvalue()
