"""AuthZEN 1.0 searches for subjects, resources and actions. Each result would be allowed at that instant."""

from typing import Any, Final

from sidecar.api.authzen import problems, schemas
from sidecar.api.authzen.evaluation import SEARCH, STATUSES, circumstances_of
from sidecar.api.authzen.pagination import page_of
from sidecar.api.authzen.requests import action_of, context_of, kind_of, members_of, resource_of, subject_of
from sidecar.domain.decision import Reason
from sidecar.domain.peps import Scope
from sidecar.domain.users import Member
from sidecar.http.endpoint import Endpoint, Handler, RequireScope
from sidecar.http.request import RawBody, Request, Response
from sidecar.pdp import search
from sidecar.pdp.evaluation import USER
from sidecar.store.outcomes import NoAccount
from sidecar.store.users import Roster


async def subjects(call: Request[RawBody]) -> Response:
    """Search users of the key's account, or roles (``POST /access/v1/search/subject``)."""
    sent = members_of(call.body)
    kind, action, resource = kind_of(sent, "subject"), action_of(sent), resource_of(sent)
    page = page_of({**sent, "subject": {**sent["subject"], "id": ""}}, "subject")
    context = context_of(sent)
    members = await _members(call) if kind == USER else ()
    facts = circumstances_of(call, context)
    ids, shown = page.cut(search.subjects(call.policy, kind, action, resource, members, facts))
    return Response(200, schemas.Entities(page=shown, results=[schemas.Entity(kind, each) for each in ids]))


async def resources(call: Request[RawBody]) -> Response:
    """Search sections, or paths of the route table (``POST /access/v1/search/resource``)."""
    sent = members_of(call.body)
    subject, action, kind = subject_of(sent), action_of(sent), kind_of(sent, "resource")
    page = page_of({**sent, "resource": {**sent["resource"], "id": ""}}, "resource")
    context = context_of(sent)
    resolved = await call.app.subjects.find(call.policy, call.pep.account, subject)
    facts = circumstances_of(call, context)
    found = [] if isinstance(resolved, Reason) else search.resources(call.policy, kind, resolved, action, facts)
    ids, shown = page.cut(found)
    return Response(200, schemas.Entities(page=shown, results=[schemas.Entity(kind, each) for each in ids]))


async def actions(call: Request[RawBody]) -> Response:
    """Search actions of a section, or methods of a route (``POST /access/v1/search/action``)."""
    sent = members_of(call.body)
    subject, resource = subject_of(sent), resource_of(sent)
    page = page_of({name: value for name, value in sent.items() if name != "action"}, "action")
    context = context_of(sent)
    resolved = await call.app.subjects.find(call.policy, call.pep.account, subject)
    facts = circumstances_of(call, context)
    found = [] if isinstance(resolved, Reason) else search.actions(call.policy, resolved, resource, facts)
    names, shown = page.cut(found)
    return Response(200, schemas.Actions(page=shown, results=[schemas.NamedAction(each) for each in names]))


async def _members(call: Request[RawBody]) -> tuple[Member, ...]:
    match await call.app.people.users.roster(call.pep.account):
        case Roster(members):
            return members
        case NoAccount():  # deleted a moment ago
            return ()


_SEARCH: Final = RequireScope(Scope.SEARCH)


def _row(what: str, handler: Handler, summary: str, body: type[Any], answer: type[Any]) -> Endpoint:
    return Endpoint(
        "POST",
        SEARCH + what,
        _SEARCH,
        handler,
        summary,
        RawBody,
        statuses=STATUSES,
        render_problem=problems.render_problem,
        at_least=True,
        response_schema=answer,
        request_schemas=(body,),
    )


ENDPOINTS: tuple[Endpoint, ...] = (
    _row("subject", subjects, "AuthZEN: search subjects", schemas.SubjectSearch, schemas.Entities),
    _row("resource", resources, "AuthZEN: search resources", schemas.ResourceSearch, schemas.Entities),
    _row("action", actions, "AuthZEN: search actions", schemas.ActionSearch, schemas.Actions),
)
