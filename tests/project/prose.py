"""Lists places in prose that want a second look: stilted patterns, history in lessons, long paragraphs and sentences.

    python tests/project/prose.py README.md notebooks/*.ipynb pnlib    # a folder means its .py files

Of notebooks it reads the markdown cells, of Python files the docstrings. It gives no verdict: the exit status is 0.
"""

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PARAGRAPH, SENTENCE = 80, 35  # words at most
# What to look at, and what to write instead.
PATTERNS = {
    "'who' as a subject; write 'if you'": r"(?:^|[.:;] )Who(?:ever)? [a-z]|\bwhoever\b",
    "a number in words; write digits": r"\bone half\b|\ba (?:third|quarter|fifth|sixth|twelfth) of\b",
    "'one X a Y'; write 'per'": r"\b(?:one|two|three|\d+) [a-z]+ an? "
    r"(?:image|epoch|seed|recipe|cell|run|row|network|split|patient|file|class|batch|step|core|second|draw)\b",
    "'told apart'; write 'distinguish'": r"\b(?:is|are|be|isn't|aren't) (?:not )?told (?:apart|from)\b|\btells? [a-z ]{1,20} apart\b",
    "write 'depend on', 'match', 'rely on'": r"\bhangs? on\b|\blean(?:s|t|ed)? (?:on|to)\b|\b(?:stands?|lies?) beside\b",
    "write 'barely', 'respectable', 'slow'": r"\bhardly\b|\bdecent\b|\blaborious",
    "'is no'; write 'isn't a'": r"\b(?:is|are|was) no (?!longer|more|need|way|reason|such|doubt|medical)[a-z]+",
    "', too'; write 'also'": r", too\b",
    "'what' as a subject": r"(?:^|\. )What (?:is|was|has|had|they|it|came|comes|lies|stands|remains|others)\b(?![^.?!]*\?)",
    "'exam'; name the test": r"\bexams?\b",
    "history of the project": r"\b(?:earlier|former) default|\bphase (?:\d|one|two|three|four|five|six)\b|\bas committed\b",
    "write it plainly": r"\bon the average\b|\bof all things\b|\bto speak of\b",
}
NO_PROSE = r"```.*?```|`[^`]*`|\]\([^)]*\)|^\|.*$|^<.*$"


def texts(path: Path) -> Iterator[tuple[str, str]]:
    """(where, text) of each piece of prose in a file."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        for number, cell in enumerate(json.loads(content)["cells"]):
            if cell["cell_type"] == "markdown":
                yield f"[{number}]", "".join(cell["source"])
    elif path.suffix == ".py":
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and (text := ast.get_docstring(node)):
                yield f":{getattr(node, 'lineno', 1)}", text
    else:
        yield "", content


def places(text: str, lengths: bool = True) -> list[str]:
    """What a text holds that wants a second look; `lengths` counts words as well."""
    text = re.sub(NO_PROSE, " ", text, flags=re.DOTALL | re.MULTILINE)
    found = []
    for kind, pattern in PATTERNS.items():
        for match in re.finditer(pattern, text, re.MULTILINE):
            found.append(f"{kind}: …{' '.join(text[max(0, match.start() - 30) : match.end() + 30].split())}…")
    for paragraph in re.split(r"\n\s*\n|\n(?=[-*\d#])", text) if lengths else ():
        sentences = re.split(r"(?<=[.!?:]) +", " ".join(paragraph.split()))
        pieces = [("paragraph", PARAGRAPH, paragraph), *(("sentence", SENTENCE, s) for s in sentences)]
        for name, most, piece in pieces:
            if len(words := piece.split()) > most:
                found.append(f"{name} of {len(words)} words: {' '.join(words[:8])}…")
    return found


if __name__ == "__main__":
    for given in map(Path, sys.argv[1:]):
        for path in sorted(given.rglob("*.py")) if given.is_dir() else [given]:
            for where, text in texts(path):
                for line in places(text, lengths=path.suffix != ".py"):
                    print(f"{path}{where}: {line}")
