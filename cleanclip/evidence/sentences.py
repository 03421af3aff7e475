"""What a verification proves and what it does not, in sentences for people."""

from collections.abc import Iterator

from cleanclip.evidence.signature import SignatureState
from cleanclip.evidence.verification import Verification
from cleanclip.kinds.catalogue import KINDS

_SINCE: dict[SignatureState, str] = {
    "signed": "the holder of that key signed them",
    "unchecked": "the owner of the key beside them signed them",
    "unsigned": "the list of digests was made",
}


def headline(found: Verification) -> str:
    """One sentence: the outcome, and whether anybody vouches for it."""
    if not found.holds:
        num = len(found.findings)
        return f"NOT VERIFIED: {found.folder} has problems ({num} finding{'s' * (num != 1)})."
    if found.signature == "signed":
        return f"VERIFIED: the holder of {_key(found)} signed these {found.num_files} files."
    if found.signature == "unchecked":
        return (
            f"SIGNER NOT CHECKED: these {found.num_files} files match each other and were "
            f"signed with the key that is beside them, {_key(found)}, which nobody vouches "
            "for. Give a key that you trust with --key."
        )
    return (
        f"UNSIGNED: these {found.num_files} files match each other, but nobody vouches for "
        "them: someone who could change one could have changed all."
    )


def proven(found: Verification) -> list[str]:
    """Only what follows from the checks; empty where anything was found wrong."""
    if not found.holds or found.statement is None:
        return []
    facts = found.statement.predicate.observed
    says = "The signed statement says" if found.signature == "signed" else "The statement says, unproven,"
    upload = facts.checkpoint.upload.digest.sha256
    sentences = [
        f"No file is missing, added or changed since {_SINCE[found.signature]}.",
        KINDS[facts.job.kind].shows,
        f"{says} that {facts.job.kind} job {facts.job.id}, attempt {facts.job.attempt}, made them from the "
        f"upload {facts.checkpoint.filename!r} with SHA-256 {upload}.",
    ]
    if facts.recheck.done and "audit" not in facts.order:
        sentences.append(
            f"{says} that a process that never read the upload made the {facts.job.kind} again, and that "
            "this report is its."
        )
    elif facts.recheck.done:
        sentences.append(
            f"{says} that an independent second audit, in a process that never read the upload, found the "
            "same figures before and after on the same images" + _withheld(facts.recheck.num_withheld)
        )
    if found.input:
        sentences.append("The file given with --input is that upload.")
    return sentences


def not_proven(found: Verification) -> list[str]:
    """What people might take for proven."""
    sentences = [*_judged(found), *_whose_word(found), _whose_weights(found)]
    if found.signature == "signed":
        sentences.append("Whose key it is: you must trust the way in which you got it.")
    else:
        sentences.append("Who made these files, and that nobody replaced all of them.")
    if found.input is None:
        sentences.append("That the job was about your file: give the original with --input.")
    return sentences


def _withheld(num_images: int) -> str:
    if num_images == 0:
        return ". No images were withheld from the first process, so it could fit weights to them."
    return f", and audited {num_images:,} more, which the first process never had."


def _judged(found: Verification) -> list[str]:
    """What a verdict is taken for; of a kind that has none, what its figures are taken for."""
    kind = None if found.statement is None else KINDS[found.statement.predicate.observed.job.kind]
    if kind is not None and not kind.judges:
        return [] if kind.does_not_show is None else [kind.does_not_show]
    return [
        "That the model is clean: the figures are about the triggers that were tested, on the given data."
        + _verdict(found),
        f"That no other job gave these weights a worse verdict: `cleanclip report {_job(found)}` asks the "
        "service.",
    ]


def _whose_word(found: Verification) -> Iterator[str]:
    """What nobody but the process that read the upload measured."""
    facts = None if found.statement is None else found.statement.predicate.observed
    if facts is None or not facts.recheck.done:
        yield (
            "That the figures are true: only the process that read the upload reported them. "
            "They were recomputed from its counts; no second audit confirmed them."
        )
    elif KINDS[facts.job.kind].trains:
        yield ("That the training's curve is true: only the job's first process reported it.")


def _whose_weights(found: Verification) -> str:
    """By how many processes the canonical weights are the upload's."""
    is_twice = found.statement is not None and found.statement.predicate.observed.checkpoint.converted_again
    said_by = (
        "two processes converted it with the same result, one of them with the service's own "
        "reader alone; a file that takes over that reader takes over both"
        if is_twice
        else "only the process that inspected it says so (`claimed.canonical_of`)"
    )
    return (
        f"That the weights that were used are those of the upload: {said_by}. `python -m sanitizer` "
        "measures again from the upload itself."
    )


def _verdict(found: Verification) -> str:
    """What the report says, unless it passes: files that hold are easily taken for a model that does."""
    verdict = None if found.statement is None else found.statement.predicate.claimed.verdict
    if verdict is None or verdict.outcome == "pass":
        return ""
    return f" The verdict in them: {verdict.reason}"


def _job(found: Verification) -> str:
    return "JOB" if found.statement is None else found.statement.predicate.observed.job.id


def _key(found: Verification) -> str:
    return f"key {found.key_sha256}" if found.key_sha256 else "no key that the statement names"
