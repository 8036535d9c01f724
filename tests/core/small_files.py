"""Small files that tests make: images, the folders of a dataset, arrays and archives that claim what they are not."""

import io
import zipfile
from pathlib import Path

import PIL.Image


def picture(path: Path, value: int = 128, size: tuple[int, int] = (40, 40)) -> None:
    """An image file around one gray level: darker at the top, brighter at the bottom by 16 levels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ramp = PIL.Image.linear_gradient("L").resize(size)
    PIL.Image.eval(ramp, lambda level: value - 8 + level // 16).save(
        path, **({} if path.suffix == ".png" else {"quality": 95})
    )


def layout(root: Path, normal: tuple[str, ...] = ("IM-0001-0001.jpeg",), pneumonia: tuple[str, ...] = ("person1_virus_1.jpeg",)) -> Path:  # fmt: skip
    """A dataset's folder: these images in train, and the same in test."""
    for part in ("train", "test"):
        for kind, names in (("NORMAL", normal), ("PNEUMONIA", pneumonia)):
            for name in names:
                picture(root / part / kind / name)
    return root


def archived(**members: bytes) -> bytes:
    """A .npz archive of these members, whatever they hold."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for name, member in members.items():
            file.writestr(f"{name}.npy", member)
    return content.getvalue()


def npy(shape: str, dtype: str = "|u1") -> bytes:
    """The head of a .npy file that claims this shape."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
