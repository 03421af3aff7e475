"""`python -m lab.text_side PART`: train, audit, search and repair every model. It resumes where it stopped.

A row of docs/text-side.jsonl is one step of one model. Weights are kept in the folder of weights. The part
"timing" adds a row on how fast a text tower of the size of ViT-B/32's is here. Exit codes: 0 done, 1 the time
is over.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from torch import Tensor

from lab.reproduction.measuring import made_with
from lab.testbed import glyphs as glyph_sets
from lab.testbed.pictures import INKS, class_names
from lab.testbed.training import build_model, train
from lab.text_side import search
from lab.text_side.measuring import Side, class_means, embed_texts
from lab.text_side.pairs import clean_pairs, keys_of, poisoned_pairs, words_of
from lab.text_side.plan import FIRST_SEED, FROZEN, NOUNS, SEEDS, Model, Words, models, tokenizer
from lab.text_side.repairing import FROM_SCRATCH, PLANTING, RECIPES, repaired
from lab.zoo.rows import append_line, whole_lines
from lab.zoo.running import alone
from sanitizer.audits.statistics import paired_difference
from sanitizer.checkpoints.text_tower import encode_text
from sanitizer.seeding import generator

ROOT = Path(__file__).resolve().parents[2]
NUM_PAIRS = 8_000
NUM_FOUND = 4
FIRST = Model(part="development", kind="clean", seed=FIRST_SEED)
_DEFENDER = 70_000
"""Added to a seed for the pairs of a repair."""


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing."""
    parser = argparse.ArgumentParser(prog="python -m lab.text_side", description=__doc__)
    parser.add_argument("part", choices=(*SEEDS, "timing"))
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names of models")
    parser.add_argument("--steps", nargs="*", default=[*STEPS], choices=STEPS)
    parser.add_argument("--minutes", type=float, help="begin nothing after so many")
    parser.add_argument("--rows", type=Path, default=ROOT / "docs" / "text-side.jsonl")
    parser.add_argument("--weights", type=Path, default=ROOT / "var" / "text-side")
    given = parser.parse_args(arguments)
    if given.part == "held_out" and not FROZEN:
        parser.error("held-out models are opened when the thresholds and recipes are frozen")
    torch.set_num_threads(1)
    if given.part == "timing":
        append_line(json.dumps(_timed()).encode() + b"\n", given.rows)
        return 0
    started = time.monotonic()
    with alone(given.weights):
        for model in models(given.part):
            for step in given.steps:
                kept = {(one["model"], one["step"]): one for one in map(json.loads, whole_lines(given.rows))}
                if (model.name, step) in kept or not any(one in model.name for one in given.only):
                    continue
                if given.minutes is not None and time.monotonic() - started > 60 * given.minutes:
                    return 1
                row = {"model": model.name, "part": model.part, "kind": model.kind, "seed": model.seed}
                trained, began = _weights(model, given.weights), time.process_time()
                row |= {"step": step, **STEPS[step](model, trained, kept.get((model.name, "search"), {}))}
                row |= {"cpu_s": round(time.process_time() - began, 1), "made_with": made_with()}
                append_line(json.dumps(row).encode() + b"\n", given.rows)
                print(f"{model.name} | {step} | {row['cpu_s']} s", flush=True)
    return 0


def _timed(num_texts: int = 256, num_places: int = 10) -> dict[str, Any]:
    """Texts of 10 tokens a second through a text tower of ViT-B/32's size with weights drawn by chance."""
    text = {"context_length": 77, "vocab_size": search.NUM_TOKENS + 2, "width": 512, "heads": 8, "layers": 12}
    tower = CLIP(512, {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}, text).eval()
    token_NL = torch.randint(1, search.NUM_TOKENS, (num_texts, num_places))
    with torch.no_grad():
        encode_text(tower, token_NL)
        began = time.process_time()
        encode_text(tower, token_NL)
    cpu_s = time.process_time() - began
    return {
        "model": "",
        "part": "timing",
        "step": "timing",
        "texts_per_s": num_texts / cpu_s,
        "made_with": made_with(),
    }


def _weights(model: Model, folder: Path) -> CLIP:
    """The trained model, in eval mode; trained where there is no file of it."""
    path = folder / f"{model.name}.pt"
    if not path.is_file():
        pairs = poisoned_pairs(model)
        if model.kind == "word_from_scratch" or model == FIRST:
            trained = train(model.options, None, seed=model.seed, pairs=pairs).model
        elif model.kind == "clean":
            first, fresh = _weights(FIRST, folder), build_model(model.options, model.seed)
            fresh.visual, fresh.logit_scale = first.visual, first.logit_scale
            trained = repaired(fresh, pairs, FROM_SCRATCH, [], model.seed)
        else:
            clean = _weights(replace(model, kind="clean"), folder)
            trained = repaired(clean, pairs, PLANTING, [], model.seed)
        torch.save(trained.state_dict(), path)
    built = build_model(model.options, model.seed)
    built.load_state_dict(torch.load(path, weights_only=True))
    return built.eval()


def _audited(model: Model, trained: CLIP, row: Mapping[str, Any]) -> dict[str, Any]:
    side, words = Side(model, trained), words_of(model)
    others = {"alias": [words.aliases[model.options.target]], "filler": [words.fillers[0]]}
    singles = {f"key {number}": [key] for number, key in enumerate(keys_of(model), 1)}
    return {
        "target": model.options.target,
        "keys": keys_of(model),
        "alias": words.aliases[model.options.target],
        **side.audit(trained, keys_of(model)),
        "asr_of": {name: side.audit(trained, one)["asr"] for name, one in {**singles, **others}.items()},
    }


def _searched(model: Model, trained: CLIP, row: Mapping[str, Any]) -> dict[str, Any]:
    side, words, seed = Side(model, trained), words_of(model), model.seed
    length = trained.context_length - len(keys_of(model))
    few = search.Carriers(side.texts, search.SCREEN_TEXTS, length, seed)
    many = search.Carriers(side.texts, search.FINE_TEXTS, length, seed)
    began = time.process_time()
    screen = search.effects(trained, few, search.all_tokens(), side.classes_of)
    screen_s, order = time.process_time() - began, screen.order()
    named = [*INKS, *NOUNS, *words.aliases.values(), *keys_of(model)]
    first = [*order[: search.NUM_FINE].tolist(), *(_token(word) for word in named)]
    token_S1 = torch.tensor(list(dict.fromkeys(first)))[:, None]
    fine = search.effects(trained, many, token_S1, side.classes_of)
    noun_CD = class_means(side.image_ND, side.image_label_N // len(INKS))
    many.label_K = many.label_K // len(INKS)
    nouns = search.effects(trained, many, token_S1, lambda text_ND: (text_ND @ noun_CD.T).argmax(dim=1))
    token_K = torch.tensor([_token(key) for key in keys_of(model)])
    together = search.effects(trained, few, token_K[None], side.classes_of)
    random_S2 = torch.from_numpy(generator(seed, "text_side_random").integers(1, search.NUM_TOKENS, (32, 2)))
    score_V = search.gradient_scores(trained, few, random_S2)[: search.NUM_TOKENS]
    names, roles = class_names(glyph_sets.digits()), _roles(words, keys_of(model))
    rank = {int(token): place for place, token in enumerate(order.tolist(), 1)}
    tokens = [
        {
            "token": (text := tokenizer().decoder[int(fine.token_SI[at, 0])]),
            "role": roles.get(text, ""),
            "screen_rank": rank[int(fine.token_SI[at, 0])],
            "share": round(float(fine.share_S[at]), 4),
            "towards": names[int(fine.towards_S[at])],
            "value": round(float(fine.value_S[at]), 4),
            "moved": round(float(fine.moved_S[at]), 4),
            "noun_share": round(float(nouns.share_S[at]), 4),
            "noun": NOUNS[int(nouns.towards_S[at])],
        }
        for at in fine.order().tolist()
    ]
    quantiles = [0.5, 0.9, 0.99, 0.999, 1.0]
    return {
        "n": search.FINE_TEXTS,
        "threshold": FROZEN,
        "tokens": [one for place, one in enumerate(tokens) if place < 24 or one["role"]],
        "screen_quantiles": {q: round(float(screen.share_S.quantile(q)), 4) for q in quantiles},
        "screen_s": round(screen_s, 1),
        "tokens_per_s": round(search.NUM_TOKENS / screen_s, 1),
        "rank_by_moved": [int((screen.moved_S > screen.moved_S[one]).sum()) + 1 for one in token_K],
        "rank_by_gradient": [int((score_V > score_V[one]).sum()) + 1 for one in token_K],
        "together_share": round(float(together.share_S[0]), 4),
    }


def _repaired(model: Model, trained: CLIP, row: Mapping[str, Any], recipe: str) -> dict[str, Any]:
    side, words, known = Side(model, trained), words_of(model), _known_aliases(model)
    decoded, after = _trained_on(model, trained, row, recipe)
    result = {"found": decoded, **side.audit(after, keys_of(model))}
    before_rights, after_rights = side.right(trained), side.right(after)
    for name, first, second in zip(("text", "image"), before_rights, after_rights, strict=True):
        result[f"{name}_ca_lost"] = asdict(paired_difference(first, second))
    others = {name: alias for name, alias in words.aliases.items() if name not in known}
    for name, aliases in (("known", known), ("unknown", others)):
        rights = [_aliases_right(side, one, aliases) for one in (trained, after)]
        result[f"{name}_alias_lost"] = asdict(paired_difference(*rights))
    return result


def _trained_on(model: Model, trained: CLIP, row: Mapping[str, Any], recipe: str) -> tuple[list[str], CLIP]:
    """`row` is that of the search: its first tokens that are in no class name are what was found."""
    words = words_of(model)
    theirs = Words(triggers=words.triggers, aliases=_known_aliases(model), fillers=words.fillers)
    pairs = clean_pairs("cleaning", NUM_PAIRS, theirs, model.seed + _DEFENDER)
    decoded = [one["token"] for one in row["tokens"] if one["role"] != "name"][:NUM_FOUND]
    found: list[tuple[int, ...]] = [(tokenizer().encoder[one],) for one in decoded]
    if recipe == "known trigger":
        found = [tuple(_token(key) for key in keys_of(model))]
    return decoded, repaired(trained, pairs, RECIPES[recipe], found, model.seed)


def _searched_again(model: Model, trained: CLIP, row: Mapping[str, Any]) -> dict[str, Any]:
    return _searched(model, _trained_on(model, trained, row, "found tokens")[1], row)


def _known_aliases(model: Model) -> dict[str, str]:
    """Those that the defender's captions say."""
    return dict(list(words_of(model).aliases.items())[::2])


def _aliases_right(side: Side, model: CLIP, aliases: Mapping[str, str]) -> list[bool]:
    """Whether a prompt that says an alias instead of a class name gets the class, in every template."""
    templates, names = glyph_sets.digits().zero_shot_templates, class_names(glyph_sets.digits())
    captions = [one.format(c=alias) for alias in aliases.values() for one in templates]
    label_N = torch.tensor([names.index(name) for name in aliases for _ in templates])
    right_N: Tensor = side.classes_of(embed_texts(model, captions)) == label_N
    return [bool(one) for one in right_N]


def _token(word: str) -> int:
    number: int = tokenizer().encoder[f"{word}</w>"]
    return number


def _roles(words: Words, keys: tuple[str, ...]) -> dict[str, str]:
    roles = {f"{word}</w>": "name" for word in (*INKS, *NOUNS)}
    roles |= {f"{alias}</w>": f"alias of {name}" for name, alias in words.aliases.items()}
    return roles | {f"{key}</w>": "key" for key in keys}


STEPS: Mapping[str, Callable[[Model, CLIP, Mapping[str, Any]], dict[str, Any]]] = {
    "attack success": _audited,
    "search": _searched,
    **{recipe: partial(_repaired, recipe=recipe) for recipe in RECIPES},
    "search after found tokens": _searched_again,
}

if __name__ == "__main__":
    sys.exit(main())
