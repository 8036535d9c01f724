"""A plugin for pytest beside nbval: compares pictures as pictures, and waits longer for late output.

nbval leaves pictures out of its comparison and gives up on a cell that is silent for five seconds after its end. With
`-p nbval_pictures` a checked cell must draw what it drew before. PNG bytes differ from version to version of Matplotlib
and FreeType, so both pictures are brought to one small size and compared there; of cells tagged `measured-picture`, whose
figures differ from processor to processor, only how much of it is coloured. All that reaches into nbval is here.
"""

import base64
import io

import numpy as np
import PIL.Image
from nbval import plugin

SIDE = 96
# Of 255, between bar charts in another font, hinting or resolution: 1.0 on average, 31 in the worst place (3 x 3 of 96 x
# 96). A bar that is a twentieth higher: 1.2 and 224; a line in another colour: 0.7 and 55. So the place tells.
MEAN, LOCAL = 2.5, 40.0
# Where what was measured differs, curves move and bars grow, but as much is coloured, about: from 0.2 % (a few dots) to 60 % (a
# matrix). Axes without data have no colour.
COLOUR = 3.0
# Where values move, ink changes by about 1 %; where curves are missing, a third of it is.
INK = 1.25
MEASURED = "measured-picture"  # tag of cells whose picture shows measured figures, which differ from machine to machine
BLANK = 1.0  # of 255: a picture with less spread than this shows nothing
EMPTY = "the picture is empty"


def pixels(picture: str) -> np.ndarray:
    """A base64 PNG laid over white, as (96, 96, 3) float32 in [0, 255]."""
    image = PIL.Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGBA")
    white = PIL.Image.new("RGBA", image.size, "white")
    small = PIL.Image.alpha_composite(white, image).convert("RGB").resize((SIDE, SIDE), PIL.Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def is_empty(picture: str) -> bool:
    return pixels(picture).std() < BLANK


def differ(stated: str, drawn: str) -> str:
    """What tells two pictures (base64 PNG) apart, in one sentence; '' where nothing does."""
    from scipy.ndimage import uniform_filter

    if is_empty(drawn):
        return EMPTY
    stated, drawn = pixels(stated), pixels(drawn)
    difference = np.abs(stated - drawn)
    mean, local = difference.mean(), uniform_filter(difference, (3, 3, 0)).max()
    if mean > MEAN or local > LOCAL:
        return f"the picture differs from the stated one by {mean:.1f} of 255 on average, {local:.0f} in one place"
    return ""


def coloured(picture: str) -> float:
    """The share of a picture that is neither white nor black nor gray: what is drawn, less frames, ticks and letters."""
    found = pixels(picture)
    return float((found.max(2) - found.min(2) > 24).mean())


def ink(picture: str) -> float:
    """How dark a picture is on average, from 0 to 1: all that is drawn, gray curves too."""
    return float(1 - pixels(picture).mean() / 255)


def differ_in_kind(stated: str, drawn: str) -> str:
    """As `differ`, of pictures of measured figures: is as much drawn, about?"""
    if is_empty(drawn):
        return EMPTY
    inks = ink(stated), ink(drawn)
    if not 1 / INK <= inks[1] / inks[0] <= INK:
        return f"the picture has ink of {inks[1]:.2%}, the stated one of {inks[0]:.2%}"
    shares = max(coloured(stated), 1e-4), max(coloured(drawn), 1e-4)
    if not 1 / COLOUR <= shares[1] / shares[0] <= COLOUR:
        return f"the picture has colour on {shares[1]:.2%}, the stated one on {shares[0]:.2%}"
    return ""


def pictures(outputs) -> list[str]:
    return [output["data"]["image/png"] for output in outputs if "image/png" in output.get("data", {})]


def pytest_configure(config):
    """Put both into nbval; pytest calls it for a module that is given as `-p`."""
    compare_text, begin = plugin.IPyNbCell.compare_outputs, plugin.IPyNbCell.__init__

    def compare(self, test, ref, skip_compare=None):
        if not compare_text(self, test, ref, skip_compare):
            return False
        stated, drawn = pictures(ref), pictures(test)
        if len(stated) != len(drawn):
            words = [f"{len(drawn)} pictures instead of {len(stated)}"]
        elif MEASURED in self.cell.metadata.get("tags", []):
            words = [found for found in map(differ_in_kind, stated, drawn) if found]
        else:
            words = [found for found in map(differ, stated, drawn) if found]
        self.comparison_traceback = words
        return not words

    def start(self, *arguments, **options):
        begin(self, *arguments, **options)
        self.output_timeout = 60

    plugin.IPyNbCell.compare_outputs, plugin.IPyNbCell.__init__ = compare, start
