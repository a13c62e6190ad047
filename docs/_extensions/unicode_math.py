r"""Set the formulas of docstrings and comments, which are plain text, in mathematics.

>>> to_latex("dW = Xᵀ dZ")
'dW = X^{T} dZ'
>>> print(to_latex("x̂ = (x − mean(x))/√(var(x) + eps)"))
\hat{x} = (x - \operatorname{mean}(x))/\sqrt{\operatorname{var}(x) + \mathit{eps}}
"""

import re
import unicodedata
from collections.abc import Sequence

SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀᶻᵃᵇʳˣᵗ", "0123456789-+Tzabrxt", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ᵢⱼₖₗₘₙₜ", "0123456789+-ijklmnt", strict=True))
SYMBOLS = {
    "⊙": r"\odot", "Σ": r"\sum", "·": r"\cdot", "−": "-", "≤": r"\le", "≥": r"\ge", "≠": r"\ne",
    "≈": r"\approx", "⟨": r"\langle", "⟩": r"\rangle", "½": r"\frac{1}{2}", "∂": r"\partial",
    "…": r"\dots", "∞": r"\infty", "±": r"\pm", "×": r"\times", "∈": r"\in", "→": r"\to",
    "‖": r"\|", "¼": r"\frac{1}{4}", "ℓ": r"\ell", "{": r"\{", "}": r"\}", "%": r"\%", "#": r"\#",
    "&": r"\&", "_": r"\_", "∘": r"\circ", "√": r"\surd",
}  # fmt: skip
FUNCTIONS = {
    *("log", "exp", "tanh", "cosh", "sinh", "max", "min", "sign", "mean", "var", "diag", "sigmoid"),
    *("softplus", "softmax", "relu", "relu6", "hard_sigmoid", "log1p", "expm1", "erf", "dense"),
}
MARKS = {"\u0307": r"\dot", "\u0302": r"\hat", "\u0303": r"\tilde", "\u0304": r"\bar"}
# Names of parameters that are more than a letter.
NAMES = {"scale", "bias", "dscale", "dbias", "eps", "negative_slope", "rate", "inputs", "counts"}

_WORD = re.compile(r"(?![Σ½¼ℓ])[^\W\d_](?:(?![Σ½¼ℓ])\w|[\u0300-\u0304\u0307])*'*˙?|ℓ")


def to_latex(text: str) -> str:
    """Return a line of plain text with formulas as LaTeX; words become text."""
    text = unicodedata.normalize("NFD", text)
    parts: list[str] = []
    i = 0
    while i < len(text):
        inner = _bracketed(text, i)
        if inner:  # √(…) and ^(…)
            opening = r"\sqrt" if text[i] == "√" else "^"
            parts.append(f"{opening}{{{to_latex(inner)}}}")
            i += len(inner) + 3
        elif text[i] in SUPERSCRIPTS or text[i] in SUBSCRIPTS:
            table, sign = (SUPERSCRIPTS, "^") if text[i] in SUPERSCRIPTS else (SUBSCRIPTS, "_")
            end = i
            while end < len(text) and text[end] in table:
                end += 1
            parts.append(f"{sign}{{{''.join(table[c] for c in text[i:end])}}}")
            i = end
        elif word := _WORD.match(text, i):
            name = _without_scripts(word[0])
            end = i + len(name)
            parts.append(_spaced(_named(name), text[i - 1 : i], text[end : end + 1]))
            i = end
        else:
            symbol = SYMBOLS.get(text[i], text[i])
            parts.append(symbol + " " if symbol[-1:].isalpha() and symbol[:1] == "\\" else symbol)
            i += 1
    return "".join(parts)


def _without_scripts(word: str) -> str:
    """Return the part of a word in front of small letters, which count as letters too."""
    for i, letter in enumerate(word):
        if letter in SUPERSCRIPTS or letter in SUBSCRIPTS:
            return word[:i]
    return word


def _bracketed(text: str, i: int) -> str:
    """Return what is inside of the brackets after a root or a power."""
    if text[i] not in "√^" or text[i + 1 : i + 2] != "(":
        return ""
    depth = 0
    for end in range(i + 1, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if not depth:
            return text[i + 2 : end]
    return ""


def _spaced(name: str, before: str, after: str) -> str:
    """Return a word with the spaces around it, which mathematics leaves out."""
    if not name.startswith(r"\text"):
        return name
    left, right = (" " if c in (" ", ",") else "" for c in (before, after))
    return name.replace("{", "{" + left, 1).removesuffix("}") + right + "}"


def _named(word: str) -> str:
    if word.endswith("˙"):  # a dot above a letter that has another mark
        return rf"\dot{{{_named(word[:-1])}}}"
    bare, primes = word.rstrip("'"), "'" * (len(word) - len(word.rstrip("'")))
    if bare in FUNCTIONS:
        return rf"\operatorname{{{bare.replace('_', chr(92) + '_')}}}{primes}"
    if bare in NAMES:
        return rf"\mathit{{{bare.replace('_', chr(92) + '_')}}}"
    letters = re.findall(r"[^\W\d_][\u0300-\u0304\u0307]*|[\d_]", bare)
    if len(letters) == 1 or (len(letters) <= 3 and letters[0] == "d" and bare not in ("do", "due")):
        return "".join(map(_letter, letters)) + primes
    if len(letters) == 2 and not bare.islower():
        return "".join(map(_letter, letters)) + primes
    return rf"\text{{{bare.replace('_', chr(92) + '_')}}}{primes}"


def _letter(letter: str) -> str:
    base, marks = letter[0], letter[1:]
    name = unicodedata.name(base, "")
    if name.startswith("GREEK"):
        greek = name.split()[-1].lower().replace("lamda", "lambda")
        base = "\\" + (greek if "SMALL" in name else greek.capitalize()) + " "
    base = r"\ell " if base == "ℓ" else base
    for mark in marks:
        base = f"{MARKS[mark]}{{{base}}}"
    return base


def is_formula(text: str) -> bool:
    """Whether what stands between backticks is a formula, and not the name of something."""
    if re.search(r"[a-z]\.[a-z]|=[\"']|\w\[|^-|=[\"'\w]+\)|^\w+\(.*=", text) or "__" in text:
        return False
    return (
        bool(re.search(r"[=⊙Σ√²ᵀ−·±ᵢⱼₖ₀₁₂½⟨≤≥ʳᶻᵃα-ωΦ/>]|^[A-Z]$|\|", text)) or " " in text.strip()
    )


def formulas_of(line: str) -> list[str]:
    """Return the formulas of an indented line, which several spaces divide."""
    return [part.strip() for part in re.split(r" {4,}", line.strip()) if part.strip()]


_PROSE = re.compile(r"^[(\"]?[A-Za-z][a-z'’-]+[)\"]?[,.;:]*$|^(?:A|I)$")


def set_comment(lines: Sequence[str]) -> str:
    """Return a comment, prose with formulas in it, as Markdown with mathematics.

    A line that is indented, or begins with a relation or a product, is one of its own.
    """
    paragraphs: list[list[str]] = [[]]
    for line in lines:
        is_new = line[:1] in (" ", "=", "⟨") or (
            paragraphs[-1]
            and paragraphs[-1][-1].endswith((".", ":"))
            and not _is_prose(line.split()[0])
        )
        if is_new and paragraphs[-1]:
            paragraphs.append([])
        paragraphs[-1] += line.split()
    return "\n\n".join(_set(words) for words in paragraphs if words)


def _set(words: list[str]) -> str:
    runs: list[tuple[bool, list[str]]] = []
    ends = True
    for i, word in enumerate(words):
        after = words[i + 1] if i + 1 < len(words) else ""
        is_prose = _is_prose(word) or (word == "a" and (_is_prose(after) or after[-1:] in ",."))
        if not ends and runs[-1][0] == is_prose:
            runs[-1][1].append(word)
        else:
            runs.append((is_prose, [word]))
        ends = word[-1] in ";:." or (word[-1] == "," and word.count("(") == word.count(")"))
    return " ".join(
        " ".join(words) if prose else _dollars(" ".join(words)) for prose, words in runs
    )


def set_docstring(text: str) -> str:
    """Return a docstring as Markdown: what stands between backticks or is indented is set."""
    parts: list[str] = []
    for block in re.split(r"\n{2,}", text.strip("\n")):
        if block.startswith("    "):
            rows = [formulas_of(line) for line in block.splitlines()]
            parts += [f"$$\n{to_latex(formula)}\n$$" for row in rows for formula in row]
        else:
            parts.append(re.sub(r"``?([^`]+)``?", _backticked, block))
    return "\n\n".join(parts)


def _backticked(found: re.Match[str]) -> str:
    return f"${to_latex(found[1]).strip()}$" if is_formula(found[1]) else f"`{found[1]}`"


def _is_prose(word: str) -> bool:
    bare = word.strip('()",.;:')
    if bare in FUNCTIONS and word[-1] in ",.;:":
        return True
    if bare in FUNCTIONS or bare in NAMES or "'" in bare or re.fullmatch(r"d[a-zA-Z]", bare):
        return False
    return bool(_PROSE.match(word))


def _dollars(formula: str) -> str:
    bare = formula.rstrip(",.;:")
    return f"${to_latex(bare).strip()}${formula[len(bare) :]}" if bare else formula
