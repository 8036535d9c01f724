"""A slider shows its first figure where no one can move it, and draws the others where one can."""

import io

import matplotlib.pyplot as plt
import PIL.Image

from pnlib import widgets
from pnlib.plots import new_figure


def bar(height):
    figure, axis = new_figure(3, 2)
    axis.bar([0], [height])
    axis.set_ylim(0, 1)
    return figure


def test_a_slider_has_its_first_figure_as_a_fallback_and_redraws(monkeypatch):
    shown, boxes = [], []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    import ipywidgets

    monkeypatch.setattr(ipywidgets, "VBox", lambda children: boxes.append(children) or ipywidgets.Box(children))
    widgets.slider(bar, 0.5, 0, 1, 0.1, "height")
    (data,), ((slider, picture),) = shown, boxes
    assert set(data) >= {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"}
    assert data["text/plain"] == "height 0.5: run the cell to move it"
    first = picture.value
    slider.value = 0.9
    assert picture.value != first and PIL.Image.open(io.BytesIO(picture.value)).size == (300, 200)
    slider.value = 0.5
    assert picture.value == first and not plt.get_fignums()
