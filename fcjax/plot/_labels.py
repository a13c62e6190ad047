"""Names as labels: short, different, on one line, literal, and in a font that has their letters."""

import contextlib
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from ._checks import require
from ._matplotlib import FT2Font, font_manager, rcParams
from ._shorten import shortened


class Labels(NamedTuple):
    """Labels, and the families of fonts to draw them in, of which the first may lack a letter."""

    texts: list[str]
    families: list[str]

    @property
    def font(self) -> dict[str, Any]:
        """The options of a text in matplotlib."""
        return {"fontfamily": self.families}

    @property
    def literal(self) -> list[str]:
        """The labels for matplotlib, which would read a formula between two dollars."""
        return [text.replace("$", r"\$") for text in self.texts]

    def key_to(self, names: Sequence[object]) -> dict[str, str]:
        """Return the names that have another label, by label."""
        pairs = zip(self.texts, map(str, names), strict=True)
        return {text: name for text, name in pairs if text != name}


def short_names(names: Sequence[str]) -> list[str]:
    """Return names of at most 28 letters, which differ where the names do, as pictures show them.

    A name with letters that no installed font has is replaced by its number, as in "#3".

    Raises:
        TypeError: `names` is not a sequence.

    >>> short_names(["price", "temperature of the oil in the first transformer"])
    ['price', 'temperature of the…ansformer']
    """
    require("names", names, Sequence)
    return labels(names).texts


def labels(names: Sequence[object], most: int = 28, numbers: Sequence[int] | None = None) -> Labels:
    """Return names as labels of at most `most` letters, which differ where the names do.

    A name with letters that no installed font has is replaced by its number, as in "#3". Numbers
    are those in the order of the names, or `numbers`.
    """
    texts = shortened([str(name) for name in names], most)
    families: list[str] = list(rcParams["font.family"])
    for letter in sorted({letter for text in texts for letter in text} - {" "}):
        if not any(_has(family, letter) for family in families):
            found = _family_with(letter)
            families += [found] if found else []
    tags = [f"#{number}" for number in numbers or range(1, len(texts) + 1)]
    drawn = [
        text if all(c == " " or any(_has(f, c) for f in families) for c in text) else tag
        for text, tag in zip(texts, tags, strict=True)
    ]
    return Labels(_numbered(names, drawn, tags, most), families)


def label(name: object, most: int = 28) -> tuple[str, dict[str, Any]]:
    """Return one name as a label, and the options of its text; nothing if no font has it."""
    found = labels([name], most)
    return "" if found.texts == ["#1"] != [str(name)] else found.literal[0], found.font


def _numbered(
    names: Sequence[object], texts: Sequence[str], tags: Sequence[str], most: int
) -> list[str]:
    """Add the number to labels of different names that are alike."""
    alike: dict[str, set[str]] = {}
    for name, text in zip(names, texts, strict=True):
        alike.setdefault(text, set()).add(str(name))
    return [
        text if len(alike[text]) == 1 else f"{text[: most - len(tag) - 1]} {tag}"
        for text, tag in zip(texts, tags, strict=True)
    ]


@cache
def _font(path: str) -> FT2Font | None:
    try:
        return font_manager.get_font(path)
    except (OSError, RuntimeError):  # a file that FreeType cannot read
        return None


@cache
def _has(family: str, letter: str) -> bool:
    font = _font(font_manager.findfont(font_manager.FontProperties(family=[family])))
    return font is not None and _draws(font, letter)


@cache
def _family_with(letter: str) -> str | None:
    """Return an installed family that has a letter."""
    _find_new_fonts()
    for entry in sorted(font_manager.fontManager.ttflist, key=lambda entry: entry.name):
        font = _font(entry.fname)
        if font is not None and _draws(font, letter) and _has(entry.name, letter):
            return entry.name
    return None


@cache
def _find_new_fonts() -> None:
    """Let matplotlib know the fonts that were installed after it made its list."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in sorted({*font_manager.findSystemFonts()} - known):
        # a file that FreeType cannot read, or a font without a name
        with contextlib.suppress(Exception):
            font_manager.fontManager.addfont(path)


def _draws(font: FT2Font, letter: str) -> bool:
    """Whether a font has a letter, and not only a box that says from what script it is."""
    is_font = font.scalable and not font.family_name.startswith("Last Resort")
    return is_font and font.get_char_index(ord(letter)) > 0
