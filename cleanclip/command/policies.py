"""`policies …`: limits that the project keeps by name."""

import json
from pathlib import Path
from typing import Annotated

import typer

from cleanclip.command import completion, values
from cleanclip.command.commands import Commands
from cleanclip.command.formats import fields, table, when
from cleanclip.command.listing import AfterOption, LimitOption
from cleanclip.command.output import Output
from cleanclip.command.session import JsonFlag, session_of
from cleanclip.project_models import Policy

PolicyName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=completion.policies)]

policies = Commands(no_args_is_help=True, help="Named limits of the project, for --policy NAME.")


@policies.command("ls")
def list_policies(
    context: typer.Context, *, limit: LimitOption = 20, after: AfterOption = None, as_json: JsonFlag = False
) -> None:
    """List policies, newest first.

    Example: cleanclip policies ls
    """
    with session_of(context).client() as client:
        page = client.policies.list(limit=limit, after=after)
    rows = [(one.name, when(one.updated_at), _limits(one)) for one in page.data]
    Output(is_json=as_json).result(page.to_json(), table(("NAME", "CHANGED", "LIMITS"), rows))


@policies.command("show")
def show_policy(context: typer.Context, name: PolicyName, as_json: JsonFlag = False) -> None:
    """Show the limits of a policy.

    Example: cleanclip policies show release
    """
    with session_of(context).client() as client:
        found = client.policies.get(name)
    Output(is_json=as_json).result(found.to_json(), _policy_text(found))


@policies.command("put")
def put_policy(
    context: typer.Context,
    *,
    name: PolicyName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The limits as JSON.")],
    as_json: JsonFlag = False,
) -> None:
    """Create a policy, or replace the one of that name. Needs a key with scope admin.

    Example: cleanclip policies put release release.json
    """
    content = values.json_object(file, "FILE")
    with session_of(context).client() as client:
        found = client.policies.put(name, content)
    Output(is_json=as_json).result(found.to_json(), _policy_text(found))


@policies.command("rm")
def remove_policy(context: typer.Context, name: PolicyName, as_json: JsonFlag = False) -> None:
    """Delete a policy. Jobs keep the limits that they were ordered with. Needs a key with scope admin.

    Example: cleanclip policies rm release
    """
    with session_of(context).client() as client:
        client.policies.delete(name)
    Output(is_json=as_json).result({"deleted": name}, f"{name} is deleted.")


def _policy_text(policy: Policy) -> str:
    limits = [(limit, json.dumps(value)) for limit, value in policy.policy.items()]
    return fields(
        [("name", policy.name), *limits, ("sha256", policy.sha256), ("changed", when(policy.updated_at))]
    )


def _limits(policy: Policy) -> str:
    return ", ".join(f"{limit} {json.dumps(value)}" for limit, value in policy.policy.items())
