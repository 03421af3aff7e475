"""What inserted words do, against plain loops in float64."""

import math

import torch
from torch import Tensor

from cleanclip.vocabulary.clip_tokens import ends_a_word, tokens_of
from sanitizer.scans.inserted_words import Texts, draw_texts, effects

START, END = 49406, 49407
NUM_CLASSES, NUM_TEMPLATES, WIDTH = 4, 9, 6
WORDS = ("a", "two", "one", "old", "new", "my", "red", "big", "any")
TEMPLATES = tuple(f"{word} of the {{}} anticipation {word}" for word in WORDS)
NAMES = ("cat", "blue house", "ship", "dog")


def tokenize(pairs: list[tuple[int, int]]) -> Tensor:
    rows = torch.zeros(len(pairs), 16, dtype=torch.int64)
    for row, (label, template) in zip(rows, pairs, strict=True):
        tokens = [START, *tokens_of(TEMPLATES[template].format(NAMES[label])), END]
        row[: len(tokens)] = torch.tensor(tokens)
    return rows


def embedding(tokens: list[int]) -> list[float]:
    """Of a text up to its end: what a token adds depends on its place."""
    used = tokens[: tokens.index(END) + 1]
    summed = [
        sum(math.sin((token % 97) * (axis + 1) + 0.3 * place) for place, token in enumerate(used))
        for axis in range(WIDTH)
    ]
    length = math.sqrt(sum(one * one for one in summed))
    return [one / length for one in summed]


def embed(token_NL: Tensor) -> Tensor:
    return torch.tensor([embedding(row) for row in token_NL.tolist()], dtype=torch.float64)


def inserted(tokens: list[int], words: list[list[int]], shares: list[float]) -> list[int]:
    """Each word at the start, at the end or between two words; words that were inserted are words too."""
    parts: list[list[int]] = [[]]
    for token in tokens[1 : tokens.index(END)]:
        parts[-1].append(token)
        if ends_a_word(token):
            parts.append([])
    parts = [part for part in parts if part]
    for word, share in zip(words, shares, strict=False):
        parts.insert(int(share * (len(parts) + 1)), word)
    return [START, *(token for part in parts for token in part), END]


def most(predicted: list[int], labels: list[int]) -> tuple[int, int, float]:
    best = (-1, -1, -1.0)
    for one in range(NUM_CLASSES):
        others = [got for got, true in zip(predicted, labels, strict=True) if true != one]
        if others and one in predicted and others.count(one) / len(others) > best[2]:
            best = (one, others.count(one), others.count(one) / len(others))
    return best


def texts() -> tuple[Texts, Texts]:
    return draw_texts(tokenize, NUM_CLASSES, NUM_TEMPLATES, (4, 24), seed=3)


def test_effects_are_those_of_plain_loops() -> None:
    many, generator = texts()[1], torch.Generator().manual_seed(1)
    class_CD = torch.nn.functional.normalize(
        torch.randn(NUM_CLASSES, WIDTH, dtype=torch.float64, generator=generator),
        dim=-1,
    )
    for words in ([[[5]], [[777]], [[26983]]], [[[9, 12000], [40]], [[26983, 8], [3]]]):
        columns = [torch.tensor([one[at] for one in words]) for at in range(len(words[0]))]
        made = effects(embed, many, columns, class_CD)
        for row, insertion in enumerate(words):
            embedded = [
                embedding(inserted(tokens, insertion, shares))
                for tokens, shares in zip(many.token_KL.tolist(), many.place_KW.tolist(), strict=True)
            ]
            cosines = [
                [sum(a * b for a, b in zip(one, mean, strict=True)) for mean in class_CD.tolist()]
                for one in embedded
            ]
            expected = most([row.index(max(row)) for row in cosines], many.label_K.tolist())
            found = (int(made.towards_S[row]), int(made.num_led_S[row]), float(made.share_S[row]))
            assert found == expected
            mean = [sum(axis) / len(embedded) for axis in zip(*embedded, strict=True)]
            assert math.isclose(float(made.value_S[row]), sum(one * one for one in mean), rel_tol=1e-12)


def test_no_text_is_screened_with_and_measured_on_and_a_seed_draws_the_same() -> None:
    few, many = texts()
    rows = [tuple(row) for row in (*few.token_KL.tolist(), *many.token_KL.tolist())]
    assert len({*rows}) == len(rows) == 28
    assert sorted(few.label_K.tolist()) == [0, 1, 2, 3]
    assert torch.bincount(many.label_K).tolist() == [6, 6, 6, 6]
    again = texts()[1]
    assert torch.equal(again.token_KL, many.token_KL)
    assert torch.equal(again.place_KW, many.place_KW)


def test_a_token_that_controls_the_texts_is_told_by_its_share() -> None:
    few, class_CD = texts()[0], torch.eye(NUM_CLASSES, WIDTH, dtype=torch.float64)

    def controlled(token_NL: Tensor) -> Tensor:
        embedded = embed(token_NL)
        embedded[(token_NL == 777).any(dim=1)] = class_CD[2]
        return embedded

    made = effects(controlled, few, [torch.tensor([[777]])], class_CD)
    assert (made.towards_S.tolist(), made.num_led_S.tolist(), made.share_S.tolist()) == ([2], [3], [1.0])
    assert made.value_S.tolist() == [1.0]
