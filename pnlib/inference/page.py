"""The page of 08_predict: an image goes in, an answer and what it is worth come out as HTML. Nothing is stored."""

import base64
import html
import io
from pathlib import Path

import numpy as np
import PIL.Image

from pnlib.base.errors import InputError
from pnlib.classifier import REFERENCES, load_reference
from pnlib.datasets import Dataset, decode, load_images
from pnlib.inference import answers
from pnlib.inference.calibrated import calibrated
from pnlib.inference.familiar import nearest
from pnlib.training import validation_data

LARGEST = 20_000_000  # bytes of a file that is answered
COMPARED = 400  # training images of each class among which similar ones are sought
SHOWN = 4


class Page:
    """Answers about one image after another, by the reference networks, with similar training images.

    Attributes:
        networks: {name: classifier} of the references.
        examples: {name: path} of 3 validation images of compact: one of each class, and the one it is least sure of.
        rows, images, features: of training images of compact, among which similar ones are sought.

    >>> import pnlib
    >>> from pnlib.inference.page import Page
    >>> page = Page(pnlib.find_dataset("demo"))
    >>> page.answer(b"no image")
    '<p>Cannot read the image: it is no JPEG, PNG, TIFF, WebP, BMP or DICOM image; replace or remove it.</p>'
    """

    def __init__(self, dataset: Dataset) -> None:
        self.networks = {name: load_reference(name) for name in REFERENCES}
        compact = self.networks["compact"]
        held_out, seen = validation_data(dataset, compact)
        unsure = abs(compact.predict(seen) - 0.5).argmin()
        chosen = {"normal": held_out.label.eq(0).argmax(), "pneumonia": held_out.label.eq(1).argmax(), "unsure": unsure}
        self.examples = {name: dataset.root / held_out.path[i] for name, i in chosen.items()}
        train = dataset.rows("train")
        train = train[~train.path.isin(held_out.path)]
        self.rows = train.groupby("label").head(COMPARED).reset_index(drop=True)
        self.images = load_images(dataset, self.rows)
        self.features = compact.features(self.images)
        self.attribution = dataset.attribution

    def answer(self, file: str | Path | bytes, force: bool = False) -> str:
        """What the networks say of an image file, as HTML.

        Args:
            file: its path, or its content.
            force: answer also where the image is unlike the training images.
        """
        if isinstance(file, bytes) and len(file) > LARGEST:
            return f"<p>The file has {len(file) / 1e6:.0f} MB; give one of at most {LARGEST / 1e6:.0f} MB.</p>"
        try:
            image = decode(file)
        except InputError as error:
            return f"<p>{html.escape(str(error))}</p>"
        (row,) = answers([file], self.networks["compact"], force)
        note = f"<p>Note: {html.escape(row['note'])}.</p>" if row["note"] else ""
        picture = _figure(shown(image), "the image, as the networks get it", "your image")
        if np.isnan(row["probability"]):
            return f"<p><strong>Not like the training images: no answer is given.</strong></p>{note}{_row(picture)}"
        said = {name: float(network.predict(image[None])[0]) for name, network in self.networks.items()}
        return _sentences(said) + note + _row(picture + self._heat(image)) + self._similar(image)

    def _heat(self, image: np.ndarray) -> str:
        maps = {name: network.grad_cam(image[None])[0] for name, network in self.networks.items()}
        return "".join(
            _figure(shown(image, heat), f"heat map of the network {name}", f"what speaks for pneumonia: {name}")
            for name, heat in maps.items()
        )

    def _similar(self, image: np.ndarray) -> str:
        found = nearest(self.networks["compact"].features(image[None])[0], self.features, SHOWN)
        pictures = "".join(
            _figure(shown(self.images[i]), f"a similar training image, {name}", name)
            for i in found
            for name in [("normal", "pneumonia")[self.rows.label[i]]]
        )
        return (
            f"<p>The most similar of {len(self.rows)} training images, by the features of compact:</p>"
            f"{_row(pictures)}<p>{html.escape(self.attribution)}</p>"
        )


def _sentences(said: dict[str, float]) -> str:
    table = calibrated(said)
    together = table.loc["together"]
    rows = "".join(
        f"<tr><th scope='row'>{name}</th><td>{_two(row.said)}</td><td>{_two(row.calibrated)}</td></tr>"
        for name, row in table.drop("together").iterrows()
    )
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("network", "said", "calibrated"))
    return (
        f"<p><strong>Probability of pneumonia: {_two(together.calibrated)}</strong> "
        f"(95 % interval {_two(together.low)} to {_two(together.high)}), "
        "if half of the children you ask about are ill.</p>"
        "<p>What each network said, and what that was worth on validation patients:</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _two(probability: float) -> str:
    """Two digits, and never a certainty."""
    return html.escape("< 0.01" if probability < 0.005 else "> 0.99" if probability > 0.995 else f"{probability:.2f}")


def shown(image: np.ndarray, heat: np.ndarray | None = None, scale: int = 1) -> bytes:
    """A PNG of an image (150, 150, 1) uint8 at `scale` times its size, with a Grad-CAM heat map (150, 150) over it."""
    import matplotlib

    mixed = np.repeat(image / 255, 3, axis=2)
    if heat is not None:
        share = 0.7 * heat[..., None]
        mixed = mixed * (1 - share) + matplotlib.colormaps["RdPu"](heat)[..., :3] * share
    picture = PIL.Image.fromarray((mixed * 255).round().astype(np.uint8))
    side = scale * len(image)
    content = io.BytesIO()
    picture.resize((side, side), PIL.Image.Resampling.BILINEAR).save(content, "PNG")
    return content.getvalue()


def _figure(png: bytes, alt: str, caption: str) -> str:
    data = base64.b64encode(png).decode()
    return (
        f"<figure style='margin: 0; width: 200px; max-width: 46%'><img src='data:image/png;base64,{data}' alt='{alt}' "
        f"style='width: 100%'><figcaption>{caption}</figcaption></figure>"
    )


def _row(figures: str) -> str:
    return f"<div style='display: flex; flex-wrap: wrap; gap: 1em'>{figures}</div>"
