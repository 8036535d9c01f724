"""What file and folder names say: patient, subtype, split, class."""

import re

# The names of version 2 (person1000_bacteria_2931, IM-0115-0001, NORMAL2-IM-0588-0001) and of version 3 on Mendeley
# (BACTERIA-7422-0001, VIRUS-6249454-0002, NORMAL-28501-0001).
VERSION_2 = re.compile(
    r"(?P<person>person\d+)_(?P<subtype>bacteria|virus)_\d+(_\d+)*|(?P<normal>(NORMAL2-)?IM-\d+)(-\d+)+"
)
VERSION_3 = re.compile(r"(?P<subtype>BACTERIA|VIRUS|NORMAL)-(?P<number>\d+)-\d+")
# What copying adds to a name, in a few systems and languages: "x (1)", "x - Copy", "x copy 2", "x - Kopie (3)"; and
# what a labelling service adds: "x_jpg.rf.0a1b2c".
COPY = re.compile(r"( ?\(\d+\)|[ _-]+\(?(another )?(copy|kopie|copie|copia)( ?\(?\d+\)?)?\)?)$", re.IGNORECASE)
SERVICE = re.compile(r"(_(jpe?g|png))?\.rf\.[0-9a-z]+$", re.IGNORECASE)

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(("val", "valid", "validation"), "val")
# Class folders: label, and the subtype where the folder says it.
CLASSES = {"NORMAL": (0, ""), "PNEUMONIA": (1, ""), "BACTERIA": (1, "bacteria"), "VIRUS": (1, "virus")}


def split_of(folder: str) -> str | None:
    """Split of a folder's name, whatever its case (None: of no split)."""
    return SPLITS.get(folder.strip().lower())


def class_of(folder: str) -> tuple[int, str] | None:
    """Label and subtype ('' where it doesn't say) of a class folder's name (None: of no class)."""
    return CLASSES.get(folder.strip().upper())


def original_stem(stem: str) -> str:
    """A file name without extension, without what copying and labelling services add."""
    before = None
    while stem != before:
        before, stem = stem, COPY.sub("", SERVICE.sub("", stem))
    return stem


def parse_name(stem: str, label: int) -> tuple[str, str, bool]:
    """Patient, subtype, and whether the pattern is known, of a file name without extension.

    >>> parse_name("person1000_bacteria_2931", 1), parse_name("VIRUS-6249454-0002", 1)
    (('person1000', 'bacteria', True), ('patient6249454', 'virus', True))
    >>> parse_name("NORMAL2-IM-0588-0001 (1)", 0), parse_name("x7", 1)
    (('NORMAL2-IM-0588', 'none', True), ('x7', 'unknown', False))
    """
    if match := VERSION_2.fullmatch(original_stem(stem)):
        return match["person"] or match["normal"], match["subtype"] or "none", True
    if match := VERSION_3.fullmatch(original_stem(stem)):
        return f"patient{match['number']}", {"NORMAL": "none"}.get(match["subtype"], match["subtype"].lower()), True
    return stem, "unknown" if label else "none", False
