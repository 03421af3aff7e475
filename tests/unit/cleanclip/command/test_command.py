"""The command: what it sends, what it prints where, and the status that it ends with."""

import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from cleanclip.command.exit_codes import MEANINGS, ExitCode
from cleanclip.command.main import main
from cleanclip.command.session import Session
from cleanclip.one_writer import only_writer
from cleanclip.vocabulary.recipe import CleanCLIPRecipe, to_json
from cleanclip.vocabulary.recommended import RecipeSource
from cleanclip.vocabulary.uar_recipe import UARRecipe
from tests.unit.cleanclip.service import KEY, URL, FakeClock, FakeRoutes, FakeService, job, problem

HERE = ("--url", URL, "--api-key", KEY)
CHECKPOINT = {"id": "ckpt_1", "state": "accepted", "filename": "a.pt", "size_bytes": 1500}
FINISHED = job(
    state="succeeded",
    result={
        "outcome": "pass",
        "verdict": {"outcome": "pass", "reason": "ASR fell."},
        "before": {
            "ca": {"value": 0.9, "low": 0.8, "high": 0.95, "n": 100},
            "attacks": [{"name": "badnet", "asr": {"value": 0.97, "low": 0.9, "high": 0.99, "n": 90}}],
        },
        "after": {
            "ca": {"value": 0.89, "low": 0.8, "high": 0.95, "n": 100},
            "attacks": [{"name": "badnet", "asr": {"value": 0.02, "low": 0.0, "high": 0.04, "n": 90}}],
        },
    },
)


class Ran:
    """One run of the command."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status = status
        self.out = out
        self.err = err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(transport: httpx.BaseTransport, *arguments: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([*HERE, *arguments], session=Session(transport=transport, clock=FakeClock().clock()))
        captured = capsys.readouterr()
        code = caught.value.code
        return Ran(int(code or 0), captured.out, captured.err)

    return run


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (problem(422, "invalid_request"), ExitCode.REFUSED),
        (problem(409, "job_state_conflict"), ExitCode.REFUSED),
        (problem(401, "invalid_key"), ExitCode.NOT_AUTHORISED),
        (problem(403, "scope_missing"), ExitCode.NOT_AUTHORISED),
        (problem(404, "job_not_found"), ExitCode.NOT_FOUND),
        (problem(500, "internal_error"), ExitCode.UNREACHABLE),
        (httpx.Response(200, content=b"<html>"), ExitCode.UNREACHABLE),
        (RuntimeError("a bug"), ExitCode.UNEXPECTED),
    ],
)
@pytest.mark.parametrize("is_json", [False, True])
def test_each_refusal_has_its_status_and_says_why_on_stderr(
    run: Any, answer: Any, status: ExitCode, is_json: bool
) -> None:
    ran = run(FakeService(answer), "jobs", "show", "job_1", *(["--json"] if is_json else []))
    assert ran.status == status
    assert ran.err.strip()
    assert "Traceback" not in ran.err
    if is_json:
        assert ran.document["error"]["exit_code"] == status
        assert ran.document["error"]["message"]
    else:
        assert ran.out == ""


def test_pointers_and_the_request_id_are_shown(run: Any) -> None:
    errors = [{"pointer": "/audit/target", "detail": "No such class."}]
    ran = run(FakeService(problem(422, "unknown_target", errors=errors)), "jobs", "show", "job_1")
    assert "/audit/target: No such class." in ran.err
    assert "req_1" in ran.err
    assert "Do something else." in ran.err


TOO_MANY = "Input should be less than or equal to 100"


@pytest.mark.parametrize(
    ("detail", "errors", "reported"),
    [
        (
            f"/recipe/epochs: {TOO_MANY} and 1 more",  # no whole sentence
            [
                {"pointer": "/recipe/epochs", "detail": TOO_MANY},
                {"pointer": "/recipe/lambda1", "detail": TOO_MANY},
            ],
            [f"/recipe/epochs: {TOO_MANY} and 1 more. Do something else.", f"  /recipe/lambda1: {TOO_MANY}"],
        ),
        (
            f"/recipe/epochs: {TOO_MANY}.",
            [{"pointer": "/recipe/epochs", "detail": f"{TOO_MANY}."}],
            [f"/recipe/epochs: {TOO_MANY}. Do something else."],
        ),
        (
            "There is no such class.",
            [{"pointer": "/audit/target", "detail": "There is no such class."}],
            ["There is no such class. Do something else.", "  at /audit/target"],
        ),
    ],
)
def test_a_refusal_is_told_in_sentences_each_said_once(
    run: Any, detail: str, errors: list[dict[str, str]], reported: list[str]
) -> None:
    ran = run(FakeService(problem(422, "x", detail=detail, errors=errors)), "jobs", "show", "job_1")
    assert ran.err.splitlines() == [*reported, "  (x, request req_1)"]


def test_a_service_that_is_not_there_ends_with_its_own_status(run: Any) -> None:
    service = FakeService(httpx.ConnectError("refused", request=httpx.Request("GET", URL)))
    ran = run(service, "jobs", "ls")
    assert ran.status == ExitCode.UNREACHABLE
    assert URL in ran.err
    assert len(service.requests) > 1, "it was tried more than once"


def test_usage_errors_end_with_2(run: Any) -> None:
    nobody = FakeService(RuntimeError("nothing is asked of the service"))
    for arguments in (
        ["jobs", "fly"],
        ["jobs", "show"],
        ["datasets", "add", "s3://x/", "--kind", "pictures"],
        ["audit", "--checkpoint", "c", "--labelled", "d"],
        ["audit", "--checkpoint", "c", "--labelled", "d", "--target", "t", "--metadata", "novalue"],
        ["audit", "--checkpoint", "c", "--labelled", "d", "--target", "t", "--attack", "{"],
        [*("audit", "--checkpoint", "c", "--labelled", "d", "--target", "t"), "--suite=x", "--attack=sig"],
    ):
        ran = run(nobody, *arguments)
        assert ran.status == ExitCode.USAGE, arguments
        assert ran.out == ""
        assert ran.err


ON_THIS = ("--labelled", "d", "--target", "t")


@pytest.mark.parametrize(
    "arguments",
    [
        ("upload", "FILE"),
        ("sanitize", "FILE", "--pairs", "p", *ON_THIS),
        ("audit", "FILE", *ON_THIS),
        ("sanitize", "--checkpoint", "c", "--pairs", "p", *ON_THIS, "--recipe", "FILE"),
        ("audit", "--checkpoint", "c", *ON_THIS, "--audit", "FILE"),
        ("audit", "--checkpoint", "c", *ON_THIS, "--trigger", "FILE"),
        ("audit", "--checkpoint", "c", *ON_THIS, "--policy", "FILE"),
        ("audit", "--checkpoint", "c", *ON_THIS, "--download", "out", "--key", "FILE"),
        ("policies", "put", "release", "FILE"),
        ("datasets", "add", "s3://d/t/", "--kind", "labelled", "--class-names", "FILE"),
        ("datasets", "add", "s3://d/t/", "--kind", "labelled", "--templates", "FILE"),
        ("verify", "FILE"),
        ("verify", "FOLDER", "--key", "FILE"),
        ("verify", "FOLDER", "--keys", "FILE"),
        ("verify", "FOLDER", "--input", "FILE"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("is_folder", [False, True])
def test_whatever_file_cannot_be_read_ends_with_11_and_is_named(
    run: Any, tmp_path: Path, arguments: tuple[str, ...], is_folder: bool
) -> None:
    if is_folder and arguments in {("verify", "FILE"), ("verify", "FOLDER", "--keys", "FILE")}:
        return  # a folder is what it takes
    unreadable, folder = tmp_path / "missing.x", tmp_path / "folder"
    folder.mkdir()
    (folder / "report.json").write_text("{}")
    if is_folder:
        unreadable.mkdir()
    names = {"FILE": str(unreadable), "FOLDER": str(folder)}
    nobody = FakeService(RuntimeError("nothing is asked of the service"))
    ran = run(nobody, *[names.get(word, word) for word in arguments], "--json")
    assert (ran.status, ran.document["error"]["kind"]) == (ExitCode.UNREADABLE, "Unreadable"), ran.err
    assert str(unreadable) in ran.err


def test_a_file_that_is_not_what_its_option_reads_ends_with_11(run: Any, tmp_path: Path) -> None:
    nobody = FakeService(RuntimeError("nothing is asked of the service"))
    for content in (b"{", b"[]", b"\xff"):
        (tmp_path / "a.json").write_bytes(content)
        ran = run(nobody, "policies", "put", "release", str(tmp_path / "a.json"))
        assert (ran.status, "a.json" in ran.err) == (ExitCode.UNREADABLE, True)


def test_without_a_key_or_an_address_it_says_how_to_give_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--url", URL, "jobs", "ls"])
    assert caught.value.code == ExitCode.NOT_AUTHORISED
    assert "cleanclip login" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["jobs", "ls"])
    assert caught.value.code == ExitCode.USAGE


def test_a_finished_job_is_printed_and_ends_with_0(run: Any) -> None:
    ran = run(FakeService(httpx.Response(200, json=FINISHED)), "jobs", "wait", "job_1")
    assert ran.status == ExitCode.OK
    assert "ASR fell." in ran.out
    assert "97.0 % [90.0, 99.0] n=90" in ran.out
    assert "2.0 % [0.0, 4.0] n=90" in ran.out
    assert "job_1 succeeded" in ran.err


@pytest.mark.parametrize(
    ("state", "status"), [("failed", ExitCode.JOB_FAILED), ("cancelled", ExitCode.JOB_CANCELLED)]
)
def test_a_job_that_did_not_succeed_is_printed_and_has_its_own_status(
    run: Any, state: str, status: ExitCode
) -> None:
    error = {"code": "training_diverged", "detail": "It diverged.", "remedy": "Lower the learning rate."}
    ended = job(state=state, error=error if state == "failed" else None)
    ran = run(FakeService(httpx.Response(200, json=ended)), "jobs", "wait", "job_1", "--json")
    assert ran.status == status
    assert ran.document["state"] == state
    assert state in ran.err


def test_the_time_limit_has_its_own_status(run: Any) -> None:
    ran = run(FakeService(httpx.Response(200, json=job())), "jobs", "wait", "job_1", "--timeout", "0")
    assert ran.status == ExitCode.TIMED_OUT
    assert "continues" in ran.err


def test_an_interrupted_wait_says_how_to_follow_the_job_again(run: Any) -> None:
    answers = [httpx.Response(200, json=job())]

    def interrupt(request: httpx.Request) -> httpx.Response:
        if answers:
            return answers.pop()
        raise KeyboardInterrupt

    ran = run(FakeService(interrupt), "jobs", "wait", "job_1")
    assert ran.status == ExitCode.INTERRUPTED
    assert "cleanclip jobs wait job_1" in ran.err
    assert ran.out == ""


def test_progress_goes_to_stderr_with_phase_rate_and_time_left(run: Any) -> None:
    phases = [{"name": "stage", "state": "succeeded"}, {"name": "finetune", "state": "running"}]
    progress = {
        "fraction": 0.25,
        "step": 5,
        "total_steps": 20,
        "rate": 123.4,
        "rate_unit": "pairs",
        "loss": 1.5,
        "eta_s": 65,
    }
    running = job(state="running", phase="finetune", phases=phases, progress=progress)
    service = FakeService(httpx.Response(200, json=running), httpx.Response(200, json=FINISHED))
    ran = run(service, "jobs", "wait", "job_1", "--json")
    assert "finetune 2/2   25 %  5/20  123 pairs/s  loss 1.5  ETA 1:05" in ran.err.replace("    25", "   25")
    assert ran.document["state"] == "succeeded"


def test_an_order_sends_what_was_said_and_nothing_else(run: Any, tmp_path: Path) -> None:
    service = FakeService(httpx.Response(202, json=job()))
    recipe = tmp_path / "recipe.json"
    recipe.write_text('{"epochs": 3, "lambda2": 2}')
    ran = run(
        service,
        "sanitize",
        *("--checkpoint", "ckpt_1", "--pairs", "ds_1", "--labelled", "ds_2", "--target", "banana"),
        *("--attack", "badnet:pattern=yellow,size=0.1", "--attack", '{"attack": "wanet", "strength": 1}'),
        *("--recipe", str(recipe), "--lambda2", "0.5", "--lr", "1e-6", "--set", "max_grad_norm=null"),
        *("--asr-at-most", "0.1", "--seed", "7", "--metadata", "ticket=42"),
    )
    assert ran.status == ExitCode.OK
    assert ran.out == "job_1\n"
    assert json.loads(service.requests[0].content) == {
        "kind": "sanitize",
        "checkpoint_id": "ckpt_1",
        "dataset_id": "ds_1",
        "audit": {
            "dataset_id": "ds_2",
            "target": "banana",
            "attacks": [
                {"attack": "badnet", "pattern": "yellow", "size": 0.1},
                {"attack": "wanet", "strength": 1},
            ],
        },
        "recipe": {"epochs": 3, "lambda2": 0.5, "learning_rate": 1e-6, "max_grad_norm": None},
        "policy": {"asr_at_most": 0.1},
        "seed": 7,
        "metadata": {"ticket": "42"},
    }


@pytest.mark.parametrize("noun", ["datasets", "jobs", "keys"])
def test_a_thing_is_renamed_and_its_name_is_listed(run: Any, noun: str) -> None:
    row = {**job(), "id": "x_1", "name": "release 7", "kind": "pairs", "state": "ready"}
    row |= {"prefix": "cclip", "scopes": ["read"]}
    service = FakeService(httpx.Response(200, json=row), httpx.Response(200, json={"data": [row]}))
    assert "release 7" in run(service, noun, "rename", "x_1", "release 7").out
    sent = service.requests[0]
    assert (sent.method, sent.url.path) == ("PATCH", f"/v1/{noun}/x_1")
    assert json.loads(sent.content) == {"name": "release 7"}
    assert "release 7" in run(service, noun, "ls").out


@pytest.mark.parametrize("state", ["cancelling", "paused", "running"])
def test_what_became_of_a_job_names_it_once(run: Any, state: str) -> None:
    shown = run(FakeService(httpx.Response(200, json=job(state=state))), "jobs", "cancel", "job_1").out
    assert shown.startswith("job_1 ")
    assert shown.replace("cleanclip jobs resume job_1", "").count("job_1") == 1


def test_an_order_and_a_dataset_have_the_name_that_is_given(run: Any) -> None:
    things = ("--checkpoint", "ckpt_1", "--labelled", "ds_2", "--target", "apple", "--name", "release 7")
    dataset = {"id": "ds_1", "kind": "pairs", "state": "validating"}
    for answer, words in (
        (job(), ("audit", *things)),
        (dataset, ("datasets", "add", "s3://d/p/", "--kind", "pairs", "--name", "release 7")),
    ):
        service = FakeService(httpx.Response(202, json=answer))
        assert run(service, *words).status == ExitCode.OK
        assert json.loads(service.requests[0].content)["name"] == "release 7"


THINGS = ("--checkpoint", "ckpt_1", "--pairs", "ds_1", "--labelled", "ds_2")
SMALL = {"num_parameters": 4_000_000, "architecture_name": "ModifiedResNet [1,1,1,1] width 64"}


def test_an_order_sends_what_was_given_and_says_which_values_the_service_took(
    run: Any,
) -> None:
    recipe = CleanCLIPRecipe(epochs=2, learning_rate=1e-4)
    source = RecipeSource.of(recipe, ("epochs",), ("ModifiedResNet", "small"))
    made = job(kind="sanitize", recipe=to_json(recipe), recipe_source=to_json(source))
    service = FakeService(httpx.Response(200, json=CHECKPOINT | SMALL), httpx.Response(202, json=made))
    ran = run(service, "sanitize", *THINGS, "--target", "apple", "--epochs", "2")
    assert ran.status == ExitCode.OK
    assert json.loads(service.requests[-1].content)["recipe"] == {"epochs": 2}
    assert "learning_rate 0.0001, batch_size 64, warmup_steps 50 (measured; docs/" in ran.err


def test_with_defaults_every_option_is_sent(run: Any) -> None:
    service = FakeService(httpx.Response(202, json=job(kind="sanitize")))
    options = ("--target", "apple", "--method", "uar", "--recipe", "defaults", "--epochs", "7")
    assert run(service, "sanitize", *THINGS, *options).status == ExitCode.OK
    assert json.loads(service.requests[-1].content)["recipe"] == to_json(UARRecipe(epochs=7))


@pytest.mark.parametrize(
    ("options", "architecture", "reason"),
    [
        ((), "ModifiedResNet", "no trigger is named"),
        (("--attacks-from-scan", "job_9"), "ModifiedResNet", "no trigger is named"),
        (("--attacks-from-scan", "job_9", "--target", "apple"), "RN50", "no trigger is named"),
        (("--target", "apple"), "ViT-S/16", "the image tower is a ViT"),
        (("--target", "apple", "--suite", "structured"), "RN50", "structured triggers are audited"),
        (("--target", "apple", "--attack", "text_trigger"), "RN50", "structured triggers are audited"),
        (("--target", "apple"), "ModifiedResNet", None),
        (("--target", "apple", "--suite", "paper"), "ModifiedResNet", None),
        (("--method", "cleanclip"), None, None),
        (("--lambda1", "2"), None, None),
    ],
)
def test_uar_is_taken_where_no_trigger_is_known_the_tower_is_a_vit_or_the_suite_is_structured(
    run: Any, options: tuple[str, ...], architecture: str | None, reason: str | None
) -> None:
    facts = {"num_parameters": 4_000_000, "architecture_name": architecture}
    found = [] if architecture is None else [httpx.Response(200, json=CHECKPOINT | facts)]
    service = FakeService(*found, httpx.Response(202, json=job(kind="sanitize")))
    ran = run(service, "sanitize", *THINGS, *options)
    assert ran.status == ExitCode.OK
    sent = json.loads(service.requests[-1].content).get("recipe") or {}
    assert sent.get("method", "cleanclip") == ("cleanclip" if reason is None else "uar")
    said = f"The method is uar, because {reason}: on small models it left at most 0.7 % ASR"
    assert (said in " ".join(ran.err.split())) == (reason is not None)


def test_one_flag_orders_cleanclip_beside_it_on_the_same_inputs(run: Any) -> None:
    made = [httpx.Response(202, json=job(id=name, kind="sanitize")) for name in ("job_1", "job_2")]
    service = FakeService(httpx.Response(200, json=CHECKPOINT | SMALL), *made)
    ran = run(service, "sanitize", *THINGS, "--beside", "--json")
    assert ran.status == ExitCode.OK
    first, second = (json.loads(one.content) for one in service.requests[-2:])
    assert (first.pop("recipe"), second.pop("recipe")) == ({"method": "uar"}, {"method": "cleanclip"})
    assert first == second
    assert json.loads(ran.out)["beside"]["id"] == "job_2"
    assert "/ui/compare?job=job_1&job=job_2" in ran.err
    refused = run(FakeService(), "sanitize", *THINGS, "--beside", "--method", "cleanclip")
    assert "this order is CleanCLIP" in " ".join(refused.err.split())
    refused = run(FakeService(), "sanitize", *THINGS, "--beside", "--method", "supervised")
    assert "which trains on pairs" in " ".join(refused.err.split())


def test_a_key_that_may_not_read_the_checkpoint_is_told_what_the_choice_of_the_method_lacks(run: Any) -> None:
    service = FakeService(problem(403, "scope_missing"), httpx.Response(202, json=job(kind="sanitize")))
    ran = run(service, "sanitize", *THINGS, "--target", "apple")
    assert ran.status == ExitCode.OK
    assert "whether its image tower is a ViT is not known" in " ".join(ran.err.split())


WRONG = [
    (("--attack", "badnett"), "/audit/attacks/0: there is no attack 'badnett'. Did you mean badnet?"),
    (("--attack", "badnet:size=7"), "/audit/attacks/0/size: Input should be less than or equal to 1."),
    (("--attack", "sig:colour=1"), "/audit/attacks/0/colour: there is no such option."),
    (("--suite", "papers"), "/audit/suite"),
    (("--method", "parr"), "/recipe: there is no method 'parr'. Did you mean par?"),
    (("--set", "epoch=3"), "/recipe/epoch: there is no such option."),
    (("--method", "par", "--set", "method=uar"), "but --method names par and --set names uar."),
    (("--lambda1", "0", "--lambda2", "0"), "/recipe: lambda1 and lambda2 are both 0"),
    (("--declared", "quick_gelu=maybe"), "/declared/quick_gelu"),
    (("--output-layout", "pt"), "--output-layout is open_clip or as_uploaded"),
    (("--labelled", "hf://datasets/x"), "hf download"),
    (("--data", "./pairs"), "cleanclip datasets push ./pairs --kind pairs"),
    (("--data", "gs://b/p/"), "the service reads no gs:// addresses"),
]


@pytest.mark.parametrize(("options", "said"), WRONG, ids=lambda one: one[0] if isinstance(one, tuple) else "")
def test_options_are_refused_before_anything_is_asked_or_sent(
    run: Any, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "clip.pt"
    file.write_bytes(b"abc")
    nobody = FakeService(RuntimeError("nothing is asked of the service"))
    usual = {"--data": "s3://d/p/", "--labelled": "s3://d/t/", "--target": "banana"}
    data = (part for name, value in usual.items() if name not in options for part in (name, value))
    ran = run(nobody, "sanitize", str(file), *data, *options)
    assert (ran.status, nobody.requests) == (ExitCode.USAGE, [])
    assert said in ran.err


def test_a_method_is_given_once_or_twice_alike(run: Any, tmp_path: Path) -> None:
    file = tmp_path / "recipe.json"
    file.write_text('{"method": "par", "epochs": 3}')
    order = ("sanitize", "--checkpoint", "c", "--pairs", "p", "--labelled", "ds_2", "--target", "banana")
    ran = run(FakeService(RuntimeError("nothing is sent")), *order, "--recipe", str(file), "--method", "uar")
    assert ran.status == ExitCode.USAGE
    assert all(one in ran.err for one in ("recipe.json", "par", "--method", "uar"))
    service = FakeService(httpx.Response(202, json=job()))
    assert run(service, *order, "--recipe", str(file), "--method", "par").status == ExitCode.OK
    assert json.loads(service.requests[0].content)["recipe"]["method"] == "par"


AUDIT = ("audit", "--checkpoint", "ckpt_1", "--labelled", "ds_2", "--target", "banana")


def test_a_policy_is_a_kept_one_or_a_file_that_other_options_change(run: Any, tmp_path: Path) -> None:
    (tmp_path / "limits.json").write_text('{"asr_at_most": 0.2, "asr_at_most_for": {"sig": 0.5}}')

    def sent(*options: str) -> dict[str, Any]:
        service = FakeService(httpx.Response(202, json=job(kind="audit")))
        assert run(service, *AUDIT, *options).status == ExitCode.OK
        body = json.loads(service.requests[0].content)
        return {name: value for name, value in body.items() if name.startswith("policy")}

    assert sent() == {}
    assert sent("--policy", "release") == {"policy_name": "release"}
    file = str(tmp_path / "limits.json")
    assert sent("--policy", file) == {"policy": {"asr_at_most": 0.2, "asr_at_most_for": {"sig": 0.5}}}
    assert sent("--policy", file, "--asr-at-most", "0.1") == {
        "policy": {"asr_at_most": 0.1, "asr_at_most_for": {"sig": 0.5}}
    }
    assert sent("--controlled-at-most", "0.5") == {"policy": {"controlled_at_most": 0.5}}
    service = FakeService(httpx.Response(202, json=job(kind="audit")))
    assert run(service, *AUDIT, "--policy", "release", "--asr-at-most", "0.1").status == ExitCode.USAGE
    assert service.requests == []


def test_policies_are_put_shown_listed_and_removed(run: Any, tmp_path: Path) -> None:
    kept = {"id": "pol_1", "name": "release", "policy": {"asr_at_most": 0.2}, "sha256": "ab"}
    (tmp_path / "limits.json").write_text('{"asr_at_most": 0.2}')
    service = FakeService(httpx.Response(201, json=kept))
    ran = run(service, "policies", "put", "release", str(tmp_path / "limits.json"))
    assert "asr_at_most  0.2" in ran.out
    [request] = service.requests
    assert (request.method, request.url.path) == ("PUT", "/v1/policies/release")
    assert json.loads(request.content) == {"asr_at_most": 0.2}
    assert "release" in run(FakeService(httpx.Response(200, json=kept)), "policies", "show", "release").out
    page = {"data": [kept], "has_more": False, "first_id": "pol_1", "last_id": "pol_1"}
    assert "release" in run(FakeService(httpx.Response(200, json=page)), "policies", "ls").out
    service = FakeService(httpx.Response(204))
    assert run(service, "policies", "rm", "release", "--json").document == {"deleted": "release"}
    assert (service.requests[0].method, service.requests[0].url.path) == ("DELETE", "/v1/policies/release")


def test_audit_options_come_from_a_file_and_are_overridden(run: Any, tmp_path: Path) -> None:
    options = tmp_path / "audit.json"
    options.write_text('{"target": "apple", "gate": 0.4, "attacks": [{"attack": "sig"}]}')
    service = FakeService(httpx.Response(202, json=job(kind="audit")))
    run(
        service,
        "audit",
        *("--checkpoint", "ckpt_1", "--labelled", "ds_2", "--audit", str(options), "--target", "banana"),
    )
    assert json.loads(service.requests[0].content) == {
        "kind": "audit",
        "checkpoint_id": "ckpt_1",
        "audit": {
            "target": "banana",
            "gate": 0.4,
            "attacks": [{"attack": "sig"}],
            "dataset_id": "ds_2",
        },
    }


@pytest.mark.parametrize(("in_file", "sent"), [("null", {}), ('{"folds": 3}', {"folds": 3})])
def test_a_linear_probe_is_ordered_by_a_flag_and_told_more_in_the_file(
    run: Any, tmp_path: Path, in_file: str, sent: Any
) -> None:
    options = tmp_path / "audit.json"
    options.write_text(f'{{"target": "apple", "linear_probe": {in_file}}}')
    service = FakeService(httpx.Response(202, json=job(kind="audit")))
    common = ("audit", "--checkpoint", "ckpt_1", "--labelled", "ds_2", "--audit", str(options))
    run(service, *common, "--linear-probe")
    assert json.loads(service.requests[0].content)["audit"]["linear_probe"] == sent


def test_who_lets_no_picture_leave_says_so_in_the_order(run: Any) -> None:
    for command in (("sanitize", "--pairs", "ds_1"), ("audit",)):
        service = FakeService(httpx.Response(202, json=job(kind=command[0])))
        things = ("--checkpoint", "ckpt_1", "--labelled", "ds_2", "--target", "apple", "--examples", "0")
        assert run(service, *command, *things).status == ExitCode.OK
        assert json.loads(service.requests[-1].content)["audit"]["examples"] == 0


def test_pairs_for_retrieval_are_named_beside_the_labelled_set(run: Any) -> None:
    for command in (("sanitize", "--pairs", "ds_1"), ("audit",)):
        service = FakeService(httpx.Response(202, json=job(kind=command[0])))
        things = ("--checkpoint", "ckpt_1", "--labelled", "ds_2", "--retrieval", "ds_3", "--target", "apple")
        assert run(service, *command, *things).status == ExitCode.OK
        sent = json.loads(service.requests[-1].content)["audit"]
        assert sent == {"target": "apple", "dataset_id": "ds_2", "retrieval_dataset_id": "ds_3"}


def test_a_suite_is_sent_by_its_name_and_replaces_the_files_attacks(run: Any, tmp_path: Path) -> None:
    options = tmp_path / "audit.json"
    options.write_text('{"target": "apple", "attacks": [{"attack": "sig"}]}')
    service = FakeService(httpx.Response(202, json=job(kind="audit")))
    run(
        service,
        *("audit", "--checkpoint", "ckpt_1", "--labelled", "ds_2", "--audit", str(options)),
        *("--suite", "structured"),
    )
    sent = json.loads(service.requests[0].content)["audit"]
    assert sent == {"target": "apple", "suite": "structured", "dataset_id": "ds_2"}


def test_a_picture_is_sent_as_a_custom_patch_beside_other_attacks(run: Any, tmp_path: Path) -> None:
    mark = tmp_path / "mark.png"
    mark.write_bytes(b"\x89PNG any bytes: the service looks at them, not the client")
    service = FakeService(httpx.Response(202, json=job(kind="audit")))
    run(
        service,
        *("audit", "--checkpoint", "ckpt_1", "--labelled", "ds_2", "--target", "apple"),
        *("--attack", "sig", "--trigger", f"{mark},placement=top_left,size=0.1,at=[0,0.5]"),
    )
    assert json.loads(service.requests[0].content)["audit"]["attacks"] == [
        {"attack": "sig"},
        {
            "attack": "custom_patch",
            "placement": "top_left",
            "size": 0.1,
            "at": [0, 0.5],
            "image": base64.b64encode(mark.read_bytes()).decode(),
        },
    ]


def test_a_picture_over_the_limit_is_not_sent(run: Any, tmp_path: Path) -> None:
    (tmp_path / "large.png").write_bytes(bytes(64 * 1024 + 1))
    nobody = FakeService(RuntimeError("nothing is asked of the service"))
    ran = run(
        nobody,
        *("audit", "--checkpoint", "c", "--labelled", "d", "--target", "t"),
        *("--trigger", str(tmp_path / "large.png")),
    )
    assert ran.status == ExitCode.USAGE
    assert "64 KiB" in ran.err


def test_lists_are_tables_for_people_and_documents_for_scripts(run: Any) -> None:
    page = {
        "object": "list",
        "data": [CHECKPOINT],
        "has_more": False,
        "first_id": "ckpt_1",
        "last_id": "ckpt_1",
    }
    service = FakeService(httpx.Response(200, json=page))
    ran = run(service, "checkpoints", "ls", "--limit", "5", "--state", "accepted")
    assert ran.out.splitlines()[0].split() == [
        "ID",
        "STATE",
        "SIZE",
        "ARCHITECTURE",
        "VERDICT",
        "FILE",
    ]
    assert ran.out.splitlines()[1].split() == [
        "ckpt_1",
        "readable",
        "1.5",
        "kB",
        "-",
        *["not", "yet", "audited"],
        "a.pt",
    ]
    assert dict(service.requests[0].url.params) == {"limit": "5", "state": "accepted"}
    assert run(service, "checkpoints", "ls", "--json").document["data"][0]["id"] == "ckpt_1"


def test_text_from_elsewhere_cannot_steer_the_terminal(run: Any) -> None:
    evil = CHECKPOINT | {"filename": "a\x1b]0;pwned\x07\x9b2J.pt"}
    ran = run(FakeService(httpx.Response(200, json=evil)), "checkpoints", "show", "ckpt_1")
    assert "\x1b" not in ran.out
    assert "\x9b" not in ran.out
    ran = run(FakeService(problem(404, "x", detail="no\x1b[2J")), "checkpoints", "show", "ckpt_1")
    assert "\x1b" not in ran.err


def test_a_rejected_data_set_is_refused_input(run: Any) -> None:
    error = {"code": "dataset_empty", "detail": "It holds no shard.", "remedy": "Check the reference."}
    rejected = {"id": "ds_1", "kind": "pairs", "state": "rejected", "error": error}
    service = FakeService(
        httpx.Response(202, json=rejected | {"state": "validating"}), httpx.Response(200, json=rejected)
    )
    ran = run(service, "datasets", "add", "s3://data/x/", "--kind", "pairs", "--wait")
    assert ran.status == ExitCode.REFUSED
    assert "Check the reference." in ran.err
    body = json.loads(service.requests[0].content)
    assert body == {"kind": "pairs", "uri": "s3://data/x/"}


def test_login_keeps_address_and_key_for_this_user_only(run: Any, tmp_path: Path) -> None:
    methods = httpx.Response(200, json={"methods": [{"name": "cleanclip"}], "attacks": []})
    ran = run(FakeService(methods), "login")
    assert ran.status == ExitCode.OK
    config = tmp_path / "config" / "config.json"
    assert ran.out.strip() == str(config)
    assert config.stat().st_mode & 0o777 == 0o600
    assert json.loads(config.read_text()) == {"url": URL, "api_key": KEY}
    assert KEY not in ran.out + ran.err


def test_a_key_that_does_not_work_is_not_kept(run: Any, tmp_path: Path) -> None:
    ran = run(FakeService(problem(401, "invalid_key")), "login")
    assert ran.status == ExitCode.NOT_AUTHORISED
    assert not (tmp_path / "config").exists()


def test_options_win_over_the_environment_and_that_over_the_file(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.json").write_text('{"url": "https://file", "api_key": "file-key"}')
    page = httpx.Response(200, json={"data": []})

    def asked(*arguments: str) -> tuple[str, str]:
        service = FakeService(page)
        with pytest.raises(SystemExit):
            main([*arguments, "jobs", "ls"], session=Session(transport=service))
        request = service.requests[0]
        return request.url.host, request.headers["authorization"]

    assert asked() == ("file", "Bearer file-key")
    monkeypatch.setenv("CLEANCLIP_URL", "https://environment")
    monkeypatch.setenv("CLEANCLIP_API_KEY", "environment-key")
    assert asked() == ("environment", "Bearer environment-key")
    assert asked("--url", "https://option", "--api-key", "option-key") == ("option", "Bearer option-key")


def test_check_says_what_is_used_without_showing_the_key(run: Any) -> None:
    service = FakeRoutes(
        {
            ("GET", "/v1/methods"): httpx.Response(200, json={"methods": [{"name": "cleanclip"}]}),
            ("GET", "/readyz"): httpx.Response(200, json={"status": "ready", "database": "ok"}),
        }
    )
    ran = run(service, "check", "--json")
    assert ran.document["readiness"]["status"] == "ready"
    assert ran.document["key_from"] == "option"
    assert KEY not in ran.out


def test_downloads_of_an_unfinished_job_are_refused(run: Any, tmp_path: Path) -> None:
    service = FakeRoutes(
        {
            ("GET", "/v1/jobs/job_1/artifacts"): httpx.Response(200, json={"data": []}),
            ("GET", "/v1/jobs/job_1"): httpx.Response(200, json=job(state="running")),
        }
    )
    ran = run(service, "download", "job_1", "--out", str(tmp_path / "out"))
    assert ran.status == ExitCode.REFUSED
    assert "running" in ran.err
    assert not (tmp_path / "out").exists()


def test_help_lists_every_exit_status(run: Any) -> None:
    ran = run(FakeService(RuntimeError()), "--help")
    assert ran.status == ExitCode.OK
    text = " ".join(ran.out.split())
    for code, meaning in MEANINGS.items():
        assert f"{code.value} {meaning}" in text
    assert set(MEANINGS) == set(ExitCode)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("jobs", "ls", "--limit", "x"), "Invalid value for '--limit'"),
        (("sanitize",), "Missing"),
        (("jobs", "ls", "--colour"), "No such option: --colour"),
        (("nope",), "No such command 'nope'"),
    ],
)
def test_a_wrong_use_is_a_document_too(run: Any, arguments: tuple[str, ...], said: str) -> None:
    ran = run(FakeService(problem(500, "never_asked")), *arguments, "--json")
    assert ran.status == ExitCode.USAGE
    error = ran.document["error"]
    assert said in error["message"]
    assert said in ran.err
    assert error["exit_code"] == ExitCode.USAGE


def test_a_download_into_a_folder_that_another_one_writes_is_refused(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    artifact = {"id": "art_1", "job_id": "job_1", "name": "w", "size_bytes": 1, "sha256": "0" * 64}
    page = {"data": [artifact], "has_more": False}
    with only_writer(out / ".download.lock", out):
        service = FakeService(
            httpx.Response(200, json=job(state="succeeded")), httpx.Response(200, json=page)
        )
        ran = run(service, "download", "job_1", "--out", str(out))
    assert ran.status == ExitCode.UNREADABLE
    assert f"Another download writes {out}" in " ".join(ran.err.split())
    assert list(out.iterdir()) == []
