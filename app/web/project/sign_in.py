"""Sign in with a key of the project, or once with a link; sign out."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from app.domain.errors import DomainError, QuotaExceeded, Unauthorized
from app.live.callers import known_caller, remote_addr_of
from app.live.ports import Ports, PortsDep
from app.services import sessions
from app.services.api_keys import Caller, PresentedKey, read_key
from app.services.sessions import token_digest
from app.web.kit.addresses import HOME, own_path
from app.web.kit.rendering import page, see_other
from app.web.kit.visitor import COOKIE, AnyVisitor, FormDep, find_visitor, read_form

_COOKIE_PATH = "/ui"
WHY = {
    "ended": "Your session has ended. Sign in again to return to the page.",
    "unsent": "Your session has ended, and nothing was sent: nothing is ordered, changed or deleted."
    " Sign in again, and send the form once more.",
}
"""Why somebody is here, by the mark in the address: its text is ours, whatever the address says."""

router = APIRouter()


@router.get("/")
def home() -> Response:
    """The first page is the list of jobs."""
    return see_other(HOME)


@router.get("/sign-in")
async def show_sign_in(
    request: Request,
    ports: PortsDep,
    next: str = HOME,  # noqa: A002
    why: str = "",
) -> Response:
    """The form; who is signed in goes on."""
    try:
        await find_visitor(request, ports)
    except (Unauthorized, QuotaExceeded):
        return page(request, "sign_in.html", next=own_path(next), failed=None, why=WHY.get(why))
    return see_other(own_path(next))


@router.post("/sign-in")
async def sign_in(request: Request, ports: PortsDep) -> Response:
    """A session for the key of the form. What is wrong with the key is said in the form."""
    form = await read_form(request)
    next_path = own_path(form.get("next"))
    try:
        async with ports.rates.failures_counted(remote_addr_of(request)):
            key = read_key(form.get("key"))
            caller = await known_caller(request, ports, key)
    except (Unauthorized, QuotaExceeded) as error:
        return _again(request, next_path, error)
    token = await run_in_threadpool(_begin, ports, caller, key)
    return _with_session(request, ports, next_path, token)


@router.get("/sign-in/once")
async def sign_in_once(request: Request, ports: PortsDep, token: str, next: str = HOME) -> Response:  # noqa: A002
    """By a link that an operator's command printed."""
    try:
        async with ports.rates.failures_counted(remote_addr_of(request)):
            found = await run_in_threadpool(_find_link, ports, token)
            caller = await known_caller(request, ports, found.key)
            session = await run_in_threadpool(_open_link, ports, caller, found.key, token)
    except (Unauthorized, QuotaExceeded) as error:
        return _again(request, own_path(next), error)
    return _with_session(request, ports, own_path(next), session)


@router.post("/sign-out")
def sign_out(visitor: AnyVisitor, form: FormDep, ports: PortsDep) -> Response:
    """Ends this session."""
    del form
    with ports.database.unit_of_work(visitor.caller.project_id) as unit:
        sessions.end(unit, visitor.caller, visitor.token)
    answer = see_other("/ui/sign-in")
    answer.delete_cookie(COOKIE, path=_COOKIE_PATH)
    return answer


def _again(request: Request, next_path: str, error: DomainError) -> Response:
    return page(
        request,
        "sign_in.html",
        429 if isinstance(error, QuotaExceeded) else 401,
        next=next_path,
        failed=error,
        why=None,
    )


def _begin(ports: Ports, caller: Caller, key: PresentedKey) -> str:
    with ports.database.unit_of_work(caller.project_id) as unit:
        return sessions.begin(unit, caller, key, lasts_s=ports.settings.web.session_s)


def _find_link(ports: Ports, token: str) -> sessions.FoundSession:
    with ports.database.unit_of_work(session_sha256=token_digest(token)) as unit:
        return sessions.find(unit, token, is_link=True)


def _open_link(ports: Ports, caller: Caller, key: PresentedKey, token: str) -> str:
    with ports.database.unit_of_work(caller.project_id) as unit:
        return sessions.open_link(unit, caller, key, token, lasts_s=ports.settings.web.session_s)


def _with_session(request: Request, ports: Ports, next_path: str, token: str) -> Response:
    web = ports.settings.web
    answer = see_other(next_path)
    answer.set_cookie(
        COOKIE,
        token,
        max_age=round(web.session_s),
        path=_COOKIE_PATH,
        secure=request.url.scheme == "https" if web.secure_cookie is None else web.secure_cookie,
        httponly=True,
        samesite="lax",  # so that a link in a message opens the page; forms are checked besides
    )
    return answer
