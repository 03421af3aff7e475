"""Checkpoints, datasets, jobs and reports as text for people."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cleanclip.command import scan_view, vet_view
from cleanclip.command.formats import fields, size, span, table, when
from cleanclip.errors import with_remedy
from cleanclip.kinds.catalogue import KINDS
from cleanclip.kinds.kind import SUSPECT
from cleanclip.models import Checkpoint, Dataset, Event, Job, Reason, Scanner, Signature, Verdict
from cleanclip.project_models import Key
from cleanclip.vocabulary.figures import in_brief
from cleanclip.vocabulary.progress import rate_words
from cleanclip.vocabulary.report_inputs import scanner_words
from cleanclip.vocabulary.untrusted import shown
from cleanclip.vocabulary.verdicts import NOT_AUDITED, standing, state_words


def _reason(error: Reason | None) -> str | None:
    return None if error is None else f"{error.code}: {why(error)}"


def why(error: Reason) -> str:
    """What happened and what to do; what the job's process said is quoted as its own words."""
    said = f" The job's process said: “{error.said}”" if error.said else ""
    return with_remedy(error.detail, error.remedy) + said


def plain(found: Mapping[str, Any]) -> str:
    """A report that is a headline and rows."""
    rows = [(str(label), str(value)) for label, value in found["rows"]]
    lines = [f"{found['headline']}.", "", fields(rows)]
    return "\n".join([*lines, *(f"warning: {one}" for one in found.get("warnings") or ())])


def checkpoints(found: Sequence[Checkpoint]) -> str:
    rows = [
        (
            item.id,
            state_words(item.state),
            size(item.size_bytes),
            item.architecture_name or "-",
            standing(item.state, item.verdicts[0].outcome if item.verdicts else None),
            item.filename,
        )
        for item in found
    ]
    return table(("ID", "STATE", "SIZE", "ARCHITECTURE", "VERDICT", "FILE"), rows)


def checkpoint(row: Checkpoint) -> str:
    pairs: list[tuple[str, object]] = [
        ("id", row.id),
        ("state", state_words(row.state)),
        ("file", row.filename),
        ("size", size(row.size_bytes)),
        ("sha256", row.sha256),
        ("layout", row.layout),
        ("architecture", row.architecture_name),
        ("parameters", row.num_parameters),
        ("dtype", row.dtype),
        ("error", _reason(row.error)),
    ]
    pairs += [(f"assumed {name}", why) for name, why in (row.assumed or {}).items()]
    if row.state == "accepted" and not row.verdicts:
        pairs.append(("verdict", NOT_AUDITED))
    pairs += [("verdict", _verdict(verdict)) for verdict in row.verdicts]
    if row.num_verdicts > len(row.verdicts):
        pairs.append(("verdicts", f"these are the worst {len(row.verdicts)} of {row.num_verdicts:,}"))
    pairs += [("scanner", _scanner(evidence)) for evidence in row.scanners or ()]
    pairs += [("finding", finding) for finding in row.findings or ()]
    return fields([*pairs, ("created", when(row.created_at))])


def worse(verdict: Verdict) -> str:
    """That another job judged the same weights, and worse."""
    return f"another verdict on these weights is worse. {verdict.headline}: {verdict.job_id}"


def _verdict(verdict: Verdict) -> str:
    preliminary = "preliminary, not signed, " if verdict.preliminary else ""
    return f"{verdict.headline} ({preliminary}{verdict.stage.replace('_', ' ')}, {verdict.job_id})"


def _scanner(evidence: Scanner) -> str:
    said = f"{evidence.name} {evidence.version or ''}".strip()
    said += f": {scanner_words(evidence.verdict, evidence.issues, evidence.num_issues)}"
    more = f", {evidence.num_issues} in all" if evidence.num_issues > 1 else ""
    return f"{said} ({evidence.issues[0]}{more})" if evidence.issues else said


def datasets(found: Sequence[Dataset]) -> str:
    rows = [
        (
            item.id,
            item.kind,
            item.state,
            "-" if item.summary is None else item.summary.num_samples,
            item.name or "-",
            item.uri or item.upload_id or "-",
        )
        for item in found
    ]
    return table(("ID", "KIND", "STATE", "SAMPLES", "NAME", "SOURCE"), rows)


def dataset(row: Dataset) -> str:
    summary = row.summary
    pairs: list[tuple[str, object]] = [
        ("id", row.id),
        ("name", row.name),
        ("kind", row.kind),
        ("state", row.state),
        ("source", row.uri or row.upload_id),
        ("error", _reason(row.error)),
    ]
    if summary is not None:
        pairs += [
            ("samples", summary.num_samples),
            ("skipped", summary.num_skipped),
            ("shards", summary.num_shards),
            ("sha256", summary.sha256),
            *(("skipped as", f"{reason} × {count}") for reason, count in summary.skipped_reasons.items()),
        ]
    if row.num_classes:
        pairs.append(("classes", row.num_classes))
    return fields([*pairs, ("created", when(row.created_at))])


def keys(found: Sequence[Key]) -> str:
    rows = [
        (
            item.id,
            item.state,
            ",".join(item.scopes),
            when(item.last_used_at),
            when(item.expires_at),
            item.name,
        )
        for item in found
    ]
    return table(("ID", "STATE", "SCOPES", "LAST USED", "EXPIRES", "NAME"), rows)


def key(row: Key) -> str:
    pairs: list[tuple[str, object]] = [
        ("id", row.id),
        ("name", row.name),
        ("state", row.state),
        ("scopes", ", ".join(row.scopes)),
        ("begins with", row.prefix),
        ("created", when(row.created_at)),
        ("last used", when(row.last_used_at)),
        ("expires", when(row.expires_at)),
        ("revoked", when(row.revoked_at)),
    ]
    return fields(pairs)


def jobs(found: Sequence[Job]) -> str:
    rows = [
        (
            item.id,
            item.kind,
            item.state,
            _stage(item),
            outcome(item),
            when(item.created_at),
            item.name or "-",
            item.checkpoint_id or "-",
        )
        for item in found
    ]
    return table(("ID", "KIND", "STATE", "PHASE", "VERDICT", "CREATED", "NAME", "CHECKPOINT"), rows)


def outcome(job: Job) -> str:
    """Of its verdict; a dash where there is none."""
    return (job.result and job.result.outcome) or "-"


def _stage(job: Job) -> str:
    if job.is_finished or job.phase is None:
        return "-"
    fraction = job.progress.fraction
    return job.phase if fraction is None else f"{job.phase} {100 * fraction:.0f} %"


def progress(job: Job) -> tuple[str, str]:
    """For the live line: what is going on, and how far it is."""
    if job.state != "running":
        asked = " (pausing)" if job.pause_requested and job.state == "running" else ""
        return f"{job.id} {job.state}{asked}", _waits_for(job)
    done = job.progress
    pieces = []
    if done.fraction is not None:
        pieces.append(f"{100 * done.fraction:3.0f} %")
    if done.step is not None and done.total_steps:
        pieces.append(f"{done.step}/{done.total_steps}")
    if done.rate is not None:
        pieces.append(rate_words(done.rate, done.rate_unit or "items"))
    if done.loss is not None:
        pieces.append(f"loss {done.loss:.4g}")
    if done.eta_s is not None:
        pieces.append(f"ETA {span(done.eta_s)}")
    if done.message:
        pieces.append(done.message)
    names = [phase.name for phase in job.phases]
    number = f" {names.index(job.phase) + 1}/{len(names)}" if job.phase in names else ""
    pausing = " (pausing)" if job.pause_requested else ""
    return f"{job.phase or 'starting'}{number}{pausing}", "  ".join(pieces)


def _waits_for(job: Job) -> str:
    return {"queued": "waiting for a worker", "paused": f"resume with: cleanclip jobs resume {job.id}"}.get(
        job.state, ""
    )


def _read(row: Job) -> Iterator[tuple[str, object]]:
    """What it reads beside its checkpoint, where its order names it."""
    order, kind = row.to_json(), KINDS.get(row.kind)
    for one in () if kind is None else kind.inputs:
        if one is SUSPECT:
            continue
        *part, name = one.place
        named = (order.get(part[0]) or {}) if part else order
        yield "data" if one.name == "dataset" else one.name, named.get(name)


def job(row: Job) -> str:
    result = row.result
    pairs: list[tuple[str, object]] = [
        ("id", row.id),
        ("name", row.name),
        ("kind", row.kind),
        ("state", row.state),
        ("phase", None if row.is_finished else " ".join(progress(row)).strip()),
        ("checkpoint", row.checkpoint_id),
        *_read(row),
        ("without", ", ".join(row.exclude) or None),
        ("target", (row.audit or {}).get("target")),
        ("null", ((row.scan or {}).get("null") or {}).get("name")),
        ("seed", row.seed),
        ("found", None if result is None else result.headline),
        ("attempt", f"{row.attempt} (at most {row.max_attempts} are counted)"),
        ("created", when(row.created_at)),
        ("started", when(row.started_at)),
        ("finished", when(row.finished_at)),
        ("error", _reason(row.error)),
    ]
    pairs += [(f"metadata {name}", value) for name, value in row.metadata.items()]
    text = fields(pairs)
    for found, view in () if result is None else ((result.scan, scan_view.scan), (result.vet, vet_view.vet)):
        if found is not None:
            text += f"\n\n{view(found)}\n\nsignature: {signature(row.signature)}"
    if result is not None and result.before is not None:
        text += "\n\n" + figures({**result.to_json(), "audit": row.audit, "policy": row.policy})
        if row.state == "succeeded":
            text += f"\n\nsignature: {signature(row.signature)}"
    return text


def first_verdict(result: Mapping[str, Any]) -> str:
    """What the audit before cleaning says, of a job that has not succeeded."""
    verdict = result.get("before_verdict") or {}
    reason = shown(str(verdict.get("reason", "")))
    return f"Before cleaning: {reason}\nPreliminary: measured before cleaning; not signed."


def signature(state: Signature) -> str:
    """'unsigned', or by which key."""
    return f"{state.state} by key {state.key_sha256}" if state.key_sha256 else state.state


def events(found: Sequence[Event]) -> str:
    rows = [(item.seq, when(item.created_at), item.type, _data(item.data)) for item in found]
    return table(("SEQ", "AT", "EVENT", "DATA"), rows)


def _data(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in data.items() if not isinstance(value, dict | list))


def figures(report: Mapping[str, Any]) -> str:
    """Verdict and figures, from report.json or a job's result."""
    rows = in_brief(report)
    text = (
        table(("FIGURE", "BEFORE", "AFTER"), rows)
        if report.get("after")
        else table(("FIGURE", "VALUE"), [row[:2] for row in rows])
    )
    verdict = report.get("verdict") or {}
    if verdict:
        text = f"{shown(str(verdict.get('reason', '')))}\n\n{text}"
    elif report.get("preliminary"):
        text = f"{first_verdict(report)}\n\n{text}"
    text = "\n".join([text, *scan_view.searched_again(report.get("control") or ())])
    reported = (*(report.get("remarks") or ()), *(report.get("warnings") or ()))
    warnings = [f"! {shown(str(warning))}" for warning in reported]
    return "\n".join([f"{text}\n", *warnings]) if warnings else text
