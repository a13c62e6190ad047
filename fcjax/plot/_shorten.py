"""Short forms of long names, in which the names still differ."""

import re
from collections.abc import Iterator, Sequence

# Shorter parts are not left out: "…" would save nothing.
_FEWEST = 4
# Of a longer name, the two ends are compared.
_MOST_COMPARED = 160


def shortened(names: Sequence[str], most: int) -> list[str]:
    """Return names of at most `most` letters, with "…" for what is left out.

    This is the middle of a name, because names often differ at their ends. Of names that would then
    be equal, it is the words that they have in common, or the end, or the beginning. Some may be
    equal all the same.

    >>> shortened(["the temperature in the hall", "the pressure"], 16)
    ['the temper… hall', 'the pressure']
    >>> shortened(["class number 1 of a year", "class number 2 of a year"], 16)
    ['class number 1…', 'class number 2…']
    """
    texts = [" ".join("".join(c if c.isprintable() else " " for c in n).split()) for n in names]
    found = [_without_middle(text, most) for text in texts]
    for group in _groups_that_begin_alike(texts, most):
        long = [texts[i] for i in group]
        if len({found[i] for i in group}) < len(set(long)):
            for i, text in zip(group, _different(long, most), strict=True):
                found[i] = text
    return found


def _without_middle(text: str, most: int) -> str:
    end = most // 3
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[-end:]}"


def _groups_that_begin_alike(texts: Sequence[str], most: int) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for i, text in enumerate(texts):
        if len(text) > most:
            groups.setdefault(text[: most // 2], []).append(i)
    return list(groups.values())


def _different(texts: Sequence[str], most: int) -> list[str]:
    """Return the first of some ways to shorten texts that keeps them different, or the last."""
    half = _MOST_COMPARED // 2
    texts = [t if len(t) <= _MOST_COMPARED else f"{t[:half]}…{t[-half:]}" for t in texts]
    found: list[str] = []
    for found in _ways(texts, most):
        if len(set(found)) == len(set(texts)):
            break
    return found


def _ways(texts: Sequence[str], most: int) -> Iterator[list[str]]:
    words = [re.findall(r"[^\W_]+|[\W_]+", text) for text in texts]
    without_common = [_joined(parts, most) for parts in _parts(words)]
    if all(len(text) <= most for text in without_common):
        yield without_common
    yield [f"{text[: most - 1]}…" for text in texts]
    yield [f"…{text[1 - most :]}" for text in texts]
    # letters that texts have in common may be parts of words
    yield [_without_middle(_joined(parts, most), most) for parts in _parts([[*t] for t in texts])]


def _parts(texts: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return parts of texts, of which the second, the fourth, ... are common to all of them."""
    common = _longest_common(texts)
    if not common:
        return [["".join(words)] for words in texts]
    starts = [_find(words, common) for words in texts]
    before = _parts([words[:i] for words, i in zip(texts, starts, strict=True)])
    after = _parts([words[i + len(common) :] for words, i in zip(texts, starts, strict=True)])
    return [[*a, "".join(common), *b] for a, b in zip(before, after, strict=True)]


def _longest_common(texts: Sequence[Sequence[str]]) -> Sequence[str]:
    """Return the words that follow each other in all texts, of most letters; none if few."""
    best: Sequence[str] = ()
    shortest = min(texts, key=len)
    for start in range(len(shortest)):
        stop = len(shortest)
        if _letters(shortest[start:]) <= _letters(best):
            break
        # as many words from here on as every text has
        for words in texts:
            stop = min(stop, start + _longest_at(shortest[start:stop], words))
        if _letters(shortest[start:stop]) > max(_letters(best), _FEWEST - 1):
            best = shortest[start:stop]
    return best


def _longest_at(words: Sequence[str], others: Sequence[str]) -> int:
    """Return how many of the first words follow each other in others."""
    longest = 0
    for i in range(len(others)):
        size = 0
        while size < min(len(words), len(others) - i) and words[size] == others[i + size]:
            size += 1
        longest = max(longest, size)
    return longest


def _find(words: Sequence[str], part: Sequence[str]) -> int:
    size = len(part)
    return next(i for i in range(len(words)) if words[i : i + size] == part)


def _letters(words: Sequence[str]) -> int:
    return sum(map(len, words))


def _joined(parts: Sequence[str], most: int) -> str:
    """Join parts, without the common ones for which there is no room; of the first, begin it."""
    spare = most - sum(len(part) if i % 2 == 0 else 1 for i, part in enumerate(parts))
    found: list[str] = []
    for i, part in enumerate(parts):
        is_common, keep = i % 2 == 1, part
        if is_common and len(part) - 1 > spare:
            keep = part[: max(spare, 0)].rstrip() + "…" if i == 1 else "…"
        spare -= len(keep) - 1 if is_common else 0
        found.append(keep)
    return "".join(found)
