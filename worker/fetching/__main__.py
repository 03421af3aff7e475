"""The process that has the network and nothing else: `python -m worker.fetching FOLDER`.

Reads its errand, writes its answer, and the file beside it. Has no key, no login and no other folder; what it
brings and says is checked by whoever started it.
"""

import sys
from pathlib import Path

import httpx

from app.domain.sources import HubSource, SourceRules, StoreSource, parse_source
from app.domain.webhook_urls import ReachRules
from worker.fetching import hub
from worker.fetching.errands import (
    ANSWER,
    ANSWER_NAME,
    ERRAND,
    ERRAND_NAME,
    FETCHED_NAME,
    Answer,
    Errand,
    Pinned,
)
from worker.fetching.web import Refused, Web
from worker.outward import Deadline, resolve

_IDLE_S = 30.0


def run(errand: Errand, target: Path) -> Pinned:
    """What the source is, once it is pinned with its bytes in `target`. Raises Refused, DomainError."""
    source = parse_source(errand.source)
    reach = ReachRules(allow_loopback=errand.allow_loopback, denied_networks=errand.denied_networks)
    rules = SourceRules(reach=reach, hub_url=errand.hub_url, allowed_hosts=errand.allowed_hosts)
    web = Web(
        rules,
        Deadline(errand.timeout_s, idle_s=_IDLE_S),
        resolve_name=resolve,
        tls=httpx.create_ssl_context(),
        min_bytes_per_s=errand.min_bytes_per_s,
    )
    if isinstance(source, StoreSource):
        raise Refused("source_leads_elsewhere", "The store is not another server.")
    pinned = errand.pinned or Pinned()
    if isinstance(source, HubSource):
        if errand.pinned is None:
            return hub.resolve(web, errand.hub_url, source)
        url = hub.url_of(errand.hub_url, source, pinned)
    else:
        url = source.url
    with web.get(url) as got, target.open("wb") as file:
        if isinstance(source, HubSource):
            pinned = hub.check_headers(got, pinned)
        for chunk in got.chunks(errand.max_bytes):
            file.write(chunk)
    return pinned


def main(folder: Path) -> None:
    errand = ERRAND.validate_json((folder / ERRAND_NAME).read_bytes())
    try:
        answer = Answer(pinned=run(errand, folder / FETCHED_NAME))
    except Refused as refusal:
        answer = Answer(code=refusal.code, said=refusal.said[:1000])
    (folder / ANSWER_NAME).write_bytes(ANSWER.dump_json(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
