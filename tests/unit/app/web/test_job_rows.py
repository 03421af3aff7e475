"""A row of the list of jobs shows the attacks that matter most, and says which of them are not judged."""

from dataclasses import replace

from app.schemas.jobs import ResultOut
from app.web.jobs.jobs import JobRow
from app.web.kit.rendering import environment
from cleanclip.vocabulary.verdicts import AttackVerdict
from tests.unit.app.schemas.test_stored import job, kept


def row(*outcomes: str, judged: tuple[bool, ...] = (True,) * 5) -> JobRow:
    """Of a cleaning with as many attacks, named by their numbers."""
    result = ResultOut.of(kept())
    assert result is not None
    assert result.before is not None
    assert result.after is not None
    assert result.verdict is not None
    numbers = range(len(outcomes))
    before, after = (
        replace(side, attacks=tuple(replace(side.attacks[0], name=f"attack {n}") for n in numbers))
        for side in (result.before, result.after)
    )
    parts = tuple(
        AttackVerdict(attack=f"attack {n}", outcome=outcome, reason="", judged=judged[n])
        for n, outcome in enumerate(outcomes)
    )
    verdict = replace(result.verdict, attacks=parts)
    found = result.model_copy(update={"before": before, "after": after, "verdict": verdict})
    return JobRow(job=job(kept()), filename=None, result=found)


def test_the_attacks_that_fail_come_first_and_the_others_keep_their_order() -> None:
    shown = row("inconclusive", "pass", "inconclusive", "fail", "undecided")
    assert [line.name for line in shown.lines] == ["attack 3", "attack 4", "attack 0"]
    assert shown.num_more == 2


def test_a_row_says_which_attacks_fail_and_which_are_not_judged() -> None:
    shown = row("fail", "inconclusive", "inconclusive", judged=(True, True, False))
    html = environment.get_template("jobs_found.html").render(
        rows=[shown], again=None, most_compared=4, is_part_searched=False, older=None, newest=None, newer=None
    )
    listed = [line.split("</li>")[0] for line in html.split("<li>attack ")[1:]]
    assert [one.rpartition(" (")[2] for one in listed] == ["fail)", "inconclusive)", "not judged)"]
