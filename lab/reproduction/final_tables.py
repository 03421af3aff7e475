"""Tables of UAR's final evaluation, beside those of the reproduction. A row without a run says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cleanclip.spec.report import Estimate
from lab.reproduction import final, grid, rebound
from lab.reproduction.attackers import LATER_ATTACKERS
from lab.reproduction.beyond import CORRUPTIONS, Beyond
from lab.reproduction.cells import GATE, ORDER_SEED, cell_id
from lab.reproduction.development_table import methods_table
from lab.reproduction.final import Rows
from lab.reproduction.final_rows import FinalRows
from lab.reproduction.fronts import FAMILIES, NAME, clean_table, front_table
from lab.reproduction.grid import SEEDS
from lab.reproduction.groups import cleaned, subject
from lab.reproduction.summary import Group, Pooled, Results, pool, spelled
from lab.reproduction.tables import NOT_RUN, figures, table

ASR_AT_MOST, CA_LOST_AT_MOST, PA_AT_LEAST = 0.01, 0.01, 0.8
"""The aims: bounds of ASR and of CA lost, and PA by CA."""
_NOTHING = f"{NOT_RUN.capitalize()}.\n"
_SAME_SEEDS = "UAR's own rows are of the seeds that the others were run with, and of the same models."
_Part = Callable[[final.Recipes], Rows]


def sections(results: Results, rows: FinalRows, folder: str) -> list[str]:
    """The sections of the page; `folder` has the picture."""
    return [
        "## UAR against the others\n",
        "UAR's rows in the tables above, and the tables here, are written from `final.jsonl`, "
        f"`attackers.jsonl`, `beyond.jsonl` and `rebound.jsonl`. {_state(rows)} [What UAR is](uar.md).\n",
        "### The front\n\n"
        f"![CA lost against the ASR of the worst family, for every method]({folder}/{NAME})\n\n"
        "Upper bounds of the 95 % intervals. Small: one family each; large: the worst ASR and the most "
        "CA lost of all families. Dotted: the aims. A method's families are those that it was run on: "
        f"compare rows with equally many.\n\n{front_table(results)}",
        f"### Models that were never poisoned\n\n{clean_table(results)}",
        f"### Attacks by someone who knows UAR\n\n{attackers_table(rows)}",
        f"### UAR with one thing changed\n\n{_changed(results, final.ablations)}",
        "### Labelled images instead of pairs\n\nTheir labels are not read. They are the images of the "
        "pairs, so these runs are those of *no CLIP term* above, made again: the weights are the same.\n\n"
        + _changed(results, final.unpaired),
        "### Number of images, with the same number of updates\n\n" + _changed(results, final.fewer_images),
        "### The longer recipe\n\n`uar-long`: nine epochs, more patterns on more images, and "
        "`consistency_weight` 20. Its values were chosen before any held-out model was looked at, and it is "
        "run on these although the plan of the evaluation did not name it.\n\n"
        + _changed(results, final.longer_recipe),
        "### Remedies for what UAR left\n\nCleanCLIP, then UAR: two jobs in a row on the same pairs. UAR "
        "with warps: the recipe with 2 live and 4 inverted warps. **Thought of after the rows of seed 1 were "
        "seen**: only seeds 2 and 3 test them. CleanCLIP alone: the models of the tables above; the others: "
        "UAR's own models.\n\n" + _tables(results, final.beside_remedies, final.remedies),
        "### Rebound\n\nEach cleaned model is trained further on the clean pairs of its cleaning, and "
        "measured on validation images.\n\n"
        f"**At one rate for all methods**, {rebound.COMMON_RATE:g}, the lowest of theirs:\n\n"
        f"{curve_table([line for line in rows.rebound if rebound.is_at_common_rate(line)])}\n\n"
        "**At the rate of each recipe**, after 0, 10, 50 and 100 updates. These rates differ, so compare how "
        "the ASR of a row changes more than rows. *Highest*: of these four; the CA beside it is of the same "
        "point. *Way back*: the least share of the way from the cleaned weights to the input model's at "
        "which the ASR is 50 %, by four halvings. *poisoned*: the demo's model. The raw rows have curves at "
        "ten times these rates, too, which destroy every model (CA 0.5 to 37 % after 100 updates), so their "
        "ASR says nothing. Relearning with a few poisons was measured on the demo's model alone.\n\n"
        f"{rebound_table([line for line in rows.rebound if not rebound.is_at_common_rate(line)])}",
        f"### Beyond zero-shot classification\n\n{beyond_table(rows)}",
    ]


def _state(rows: FinalRows) -> str:
    if not rows.runs:
        return "**Nothing of the final evaluation was run yet.**"
    return (
        "Their models were trained again with the seeds of the other rows, on machines that compute a "
        "little differently: they are others than those that CleanCLIP's and PAR's rows started from, and a "
        "difference between these rows is one of models, too. The rows *UAR's own models* show them as they "
        "came; what UAR lost is paired with these."
    )


def _groups(results: Results, part: _Part) -> dict[str, Group]:
    return {name: results.over_seeds(make) for name, make in part(results.recipes).items()}


def _tables(results: Results, *parts: _Part) -> str:
    groups = {name: group for part in parts for name, group in _groups(results, part).items()}
    return figures(groups) if any(group.runs for group in groups.values()) else _NOTHING


def _changed(results: Results, part: _Part) -> str:
    """UAR itself on each model with the seeds that `part` was run with there, then the rows of `part`."""
    changed = _groups(results, part)
    seeds: dict[str, set[int]] = {}
    for name, group in changed.items():
        seeds.setdefault(_model(name), set()).update(group.seeds)
    own = {
        name: group.only(seeds[_model(name)])
        for name, group in _groups(results, final.full).items()
        if _model(name) in seeds
    }
    return f"{_SAME_SEEDS}\n\n{figures(own | changed)}" if any(seeds.values()) else _NOTHING


def _model(row: str) -> str:
    return row.split(":", maxsplit=1)[0]


def attackers_table(rows: FinalRows) -> str:
    """Every attacker's model as it came and after each method; UAR also as frozen for ResNets. Controls
    were never poisoned: what an attacker's pattern does without a backdoor."""
    if not rows.attackers:
        return _NOTHING
    controls = {model.name for model in LATER_ATTACKERS if model.pattern_of}
    before = (row for row in rows.attackers if row.method == "before" and row.model not in controls)
    weak = [
        row.model for row in before if row.test and min(one.value for one in row.test.asr.values()) < GATE
    ]
    told = f"\nNot implanted (ASR under {100 * GATE:.0f} % before), so these judge nothing: "
    told += f"{', '.join(weak)}.\n"
    return f"{methods_table(rows.attackers, ('uar kept 0.8',))}\n{told if weak else ''}"


def aims_table(results: Results) -> str:
    """Of UAR, a row for each place and family: whether the aims are met, each by its bound."""
    headings = ("", "seeds", "n of ASR", "ASR % before", "ASR %", "n", "CA lost, points", "PA / CA", "aims")
    rows = []
    for bed, families in FAMILIES.items():
        for family, attack in families.items():
            make = cleaned(subject(attack, bed), grid.CLEANCLIP)
            group = results.uar(make)
            rows.append([f"{bed}: {family}", *_aims(group, results.before_uar(make, group.seeds))])
    return table(headings, rows)


def _aims(group: Group, before: Group) -> Sequence[str]:
    asr, lost, ca, pa = group.share("asr"), group.ca_lost(), group.share("ca"), group.share("pa")
    if asr is None or lost is None or ca is None or pa is None:
        return ("–", *[""] * 6, "the trigger did not work before" if group.not_implanted else NOT_RUN)
    missed = [
        name
        for name, is_met in (
            ("ASR", asr.high <= ASR_AT_MOST),
            ("CA lost", lost.high <= CA_LOST_AT_MOST),
            ("PA", pa.value >= PA_AT_LEAST * ca.value),
        )
        if not is_met
    ]
    told = f"missed: {', '.join(missed)}" if missed else "met"
    was = str(before.share("asr") or "")
    shares = (f"{asr.n:,}", was, str(asr), f"{lost.n:,}", str(lost), f"{pa.value / ca.value:.2f}")
    return (spelled(group.seeds), *shares, told)


def beyond_table(rows: FinalRows) -> str:
    """A row for each varied model and method: probe, recall at 1 and corrupted images beside CA."""
    found, headings = {row.id: row for row in rows.beyond}, ("", "seeds", *(name for name, _ in _SHARES))
    lines = []
    for name, make in final.beyond_zero_shot(rows.recipes).items():
        runs = {seed: row for seed in SEEDS if (row := found.get(cell_id(make(seed)))) is not None}
        if not runs:
            lines.append([name, "–", NOT_RUN, *[""] * (len(_SHARES) - 1)])
            continue
        lines.append([name, spelled(runs), *(_pooled(runs.values(), share) for _, share in _SHARES)])
    return table(headings, lines) if rows.beyond else _NOTHING


_Share = Callable[[Beyond], Estimate | None]
_CORRUPTED: Mapping[str, _Share] = {
    f"CA %, {name}": lambda row, name=name: row.corrupted_ca[name]  # type: ignore[misc]
    for name in CORRUPTIONS
}
_SHARES: Sequence[tuple[str, _Share]] = (
    ("CA %", lambda row: row.ca),
    ("probe's accuracy %", lambda row: row.probe_accuracy),
    ("probe's ASR %", lambda row: row.probe_asr),
    ("image to text, recall at 1 %", lambda row: row.image_to_text[1]),
    ("text to image, recall at 1 %", lambda row: row.text_to_image[1]),
    *_CORRUPTED.items(),
)


def _pooled(rows: Iterable[Beyond], share: _Share) -> str:
    found = pool([one for row in rows if (one := share(row)) is not None])
    return "" if found is None else f"{found}, n {found.n:,}"


def curve_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each run at the common rate: ASR and CA along its curve."""
    if not lines:
        return _NOTHING
    asr = [f"ASR % after {step}" for step in (0, *rebound.COMMON_STEPS)]
    headings = ("", "seed", "n", *asr, "n of CA", "CA % after 0", f"CA % after {rebound.COMMON_STEPS[-1]}")
    return table(headings, [_curve_row(line) for line in lines])


def _curve_row(line: Mapping[str, Any]) -> list[str]:
    (curve,) = line["rebound"]["curves"]
    asr = [point["attacks"][0]["asr"] for point in curve["points"]]
    first, last = curve["points"][0]["ca"], curve["points"][-1]["ca"]
    return [
        *(f"{line['subject']}: {line['method']}", str(line["seed"] - ORDER_SEED), f"{asr[0]['n']:,}"),
        *(_json(share) for share in asr),
        *(f"{first['n']:,}", _json(first), _json(last)),
    ]


def rebound_table(lines: Sequence[Mapping[str, Any]]) -> str:
    """A row for each run: the highest ASR of its curves at the cleaning's own rate."""
    if not lines:
        return _NOTHING
    headings = (
        *("", "seed", "n", "ASR % before", "ASR % after", "CA % after"),
        *("n of the curve", "highest ASR %", "at update", "CA % there", "way back"),
    )
    return table(headings, [_rebound_row(line) for line in lines])


def _rebound_row(line: Mapping[str, Any]) -> list[str]:
    curves = [curve for curve in line["rebound"]["curves"] if curve["rate"] == 1.0]
    points = [point for curve in curves for point in curve["points"]]
    top = max(points, key=lambda point: point["attacks"][0]["asr"]["successes"])
    highest, (before, after) = top["attacks"][0]["asr"], line["asr"]
    return [
        f"{line['subject']}: {line['method']}",
        *(str(line["seed"] - ORDER_SEED), f"{after['n']:,}"),
        *(_json(before), _json(after), _json(line["ca"][1])),
        *(f"{highest['n']:,}", _json(highest), str(top["step"]), _json(top["ca"])),
        _way_back(line["rebound"].get("interpolation")),
    ]


def _way_back(interpolation: Mapping[str, Any] | None) -> str:
    if interpolation is None:
        return "not measured"
    (share,) = interpolation["to_half"][:1]
    return "not reached" if share is None else f"{share:.3g}"


def _json(share: Mapping[str, Any]) -> str:
    n, successes = share["n"], share["successes"]
    return str(Pooled(value=successes / n, low=share["low"], high=share["high"], n=n, seeds=()))
