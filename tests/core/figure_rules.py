"""The rules that every figure keeps: title, axis labels, readable letters, a width that fits, class colours for classes."""

import colorsys
import inspect
import warnings

import numpy as np
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pnlib.plots import COLORS

UNFILLED = ("_", "|", "x", "+", *range(4))  # markers without a face
SMALLEST, WIDEST = 11, 10  # points, inches
CLASS_OF = {to_hex(color): name for name, color in COLORS.items()}


def figure_functions(module) -> set[str]:
    """The functions of a module that draw a figure: public, with a note, and return a Figure."""
    functions = inspect.getmembers(module, lambda f: inspect.isfunction(f) and f.__module__ == module.__name__)
    signatures = {name: inspect.signature(function) for name, function in functions if not name.startswith("_")}
    return {name for name, s in signatures.items() if s.return_annotation is Figure and "note" in s.parameters}


def check_figure(figure: Figure) -> None:
    """Raise AssertionError, with what is wrong, where a figure breaks a rule."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns where there isn't room for everything
        figure.draw_without_rendering()
    assert figure.get_figwidth() <= WIDEST and figure.dpi == 100, "wider than a notebook shows it unshrunk"
    assert figure.get_facecolor() == (1, 1, 1, 1), "letters need their white ground in a dark JupyterLab"
    assert figure.get_suptitle() or any(axis.get_title() for axis in figure.axes), "no title"
    for axis in figure.axes:
        for side in (axis.xaxis, axis.yaxis) if axis.axison else ():
            ticks = [label for label in side.get_ticklabels() if label.get_visible() and label.get_text()]
            assert not ticks or side.label.get_text(), f"{axis.get_title()!r}: ticks without an axis label"
    shown = written(figure)
    for text in shown:
        assert text.get_fontsize() >= SMALLEST, f"{text.get_text()!r} has {text.get_fontsize()} pt"
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown]
    for number, (name, box) in enumerate(boxes):
        inside = figure.bbox.x0 - 1 <= box.x0 and box.x1 <= figure.bbox.x1 + 1
        assert inside and figure.bbox.y0 - 1 <= box.y0 and box.y1 <= figure.bbox.y1 + 1, f"{name!r} is cut off"
        for other, of_other in boxes[:number]:
            assert not box.padded(-1).overlaps(of_other), f"{name!r} and {other!r} overlap"
    check_colors(figure)


def written(figure: Figure) -> list:
    """Every text that is drawn; of the ticks those alone that lie within the axes."""
    texts = [text for text in (figure._suptitle, figure._supxlabel) if text]
    for legend in (*figure.legends, *(axis.get_legend() for axis in figure.axes)):
        texts += [*legend.get_texts(), legend.get_title()] if legend else []
    for axis in figure.axes:
        texts += [axis.title, *axis.texts]
        for side in (axis.xaxis, axis.yaxis) if axis.axison else ():
            texts += [side.label, *(label for tick in side._update_ticks() for label in (tick.label1, tick.label2))]
    return [text for text in texts if text.get_visible() and text.get_text().strip()]


def check_colors(figure: Figure) -> None:
    """Colours are the classes' own, a legend names them, and color maps hold neither blue nor orange."""
    legends = [legend for legend in (*figure.legends, *(axis.get_legend() for axis in figure.axes)) if legend]
    shown = {text.get_text() for legend in legends for text in legend.get_texts()}
    named = {}
    for handle, label in (pair for axis in figure.axes for pair in zip(*axis.get_legend_handles_labels(), strict=True)):
        for color in chromatic([handle] if hasattr(handle, "get_alpha") else handle.get_children()):
            if label in shown:
                named.setdefault(color, []).append(label)
    for axis in figure.axes:
        drawn = [*axis.lines, *axis.patches, *(c for c in axis.collections if not isinstance(c, QuadMesh))]
        assert not drawn or legends or not axis.axison or axis.get_label() == "<colorbar>", "marks without a legend"
        for color in chromatic([*drawn, *(handle for legend in legends for handle in legend.legend_handles)]):
            assert color in CLASS_OF, f"{color} belongs to no class"
            assert color in named, f"no legend says what {color} is"
        for mapped in (*axis.images, *(c for c in axis.collections if isinstance(c, QuadMesh))):
            hues = np.array([colorsys.rgb_to_hsv(*color[:3]) for color in mapped.cmap(np.linspace(0, 1, 64))])
            strong, hue = (hues[:, 1] > 0.3) & (hues[:, 2] > 0.3), hues[:, 0] * 360
            of_classes = ((hue > 15) & (hue < 45)) | ((hue > 190) & (hue < 250))
            assert not (strong & of_classes).any(), f"the color map {mapped.cmap.name} has the colours of the classes"
    for color, labels in named.items():
        assert color in CLASS_OF and all(CLASS_OF[color] in label for label in labels), f"{color} stands for {labels}"


def chromatic(artists) -> set[str]:
    """The colours that lines, patches and collections show, without the grays."""
    found = set()
    for artist in artists:
        if isinstance(artist, Line2D):
            colors = [] if artist.get_linestyle() == "None" else [artist.get_color()]
            if artist.get_marker() not in ("None", "", None):
                colors.append(artist.get_markeredgecolor())
                colors += [artist.get_markerfacecolor()] if artist.get_marker() not in UNFILLED else []
        else:
            colors = [artist.get_facecolor(), artist.get_edgecolor()]
        for color in np.vstack([to_rgba_array(color) for color in colors] or [np.zeros((0, 4))]):
            if color[3] > 0 and np.ptp(color[:3]) > 0.05:
                found.add(to_hex(color))
    return found
