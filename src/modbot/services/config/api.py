"""The HTTP API: one table of operations, from which routing, the OpenAPI description and the reference page's test are made."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from modbot.cluster import protocol
from modbot.domain.errors import (
    AdoptionRefusedError,
    InvalidInputError,
    ModbotError,
    MoveRefusedError,
    NotFoundError,
    PodBusyError,
    StaleEpochError,
    UnauthorizedError,
    UnavailableError,
)
from modbot.services.config import calls, operations
from modbot.services.config.operations import Call
from modbot.services.config.service import Service

Run = Callable[[Service, Call], Awaitable[protocol.Message | Response | None]]
_REF = "#/components/schemas/{name}"
_OPTIONAL = frozenset({"asked", "drain"})
_PARAMETER = re.compile(r"{(\w+)}")


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the API: what it takes and gives, which query names it knows, and which errors are its own."""

    method: str
    path: str
    run: Run
    takes: type[protocol.Message] | None = None
    gives: Any = None
    media: str = "application/json"
    query: tuple[str, ...] = ()
    errors: tuple[type[ModbotError], ...] = field(default=())

    @property
    def name(self) -> str:
        """The operation id."""
        return str(getattr(self.run, "__name__", self.path))


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "POST",
        "/pods/{pod_id}/register",
        operations.register,
        takes=protocol.RegisterRequest,
        gives=protocol.Grant,
        errors=(StaleEpochError, PodBusyError),
    ),
    Operation(
        "POST",
        "/pods/{pod_id}/renew",
        operations.renew,
        takes=protocol.RenewRequest,
        gives=protocol.Grant,
        errors=(StaleEpochError,),
    ),
    Operation("POST", "/pods/{pod_id}/leave", operations.leave, takes=protocol.LeaveRequest, errors=(StaleEpochError,)),
    Operation(
        "POST",
        "/permits/identify",
        operations.identify,
        takes=protocol.IdentifyRequest,
        gives=protocol.IdentifyAnswer,
        errors=(NotFoundError,),
    ),
    Operation(
        "POST",
        "/shards/{shard_id}/move",
        operations.move,
        takes=protocol.MoveRequest,
        gives=protocol.MoveAnswer,
        errors=(NotFoundError, MoveRefusedError),
    ),
    Operation(
        "POST",
        "/shards/{shard_id}/move/complete",
        operations.complete_move,
        takes=protocol.HandoffRequest,
        gives=protocol.Shard,
        errors=(StaleEpochError,),
    ),
    Operation(
        "POST",
        "/shards/{shard_id}/move/cancel",
        operations.cancel_move,
        takes=protocol.HandoffRequest,
        errors=(StaleEpochError,),
    ),
    Operation("GET", "/moves", operations.list_moves, gives=protocol.MoveList),
    Operation(
        "POST",
        "/reassign-guild",
        operations.reassign_guild,
        takes=protocol.ReassignRequest,
        gives=protocol.Transfer,
        errors=(MoveRefusedError,),
    ),
    Operation(
        "DELETE",
        "/reassign-guild/{guild_id}",
        operations.return_guild,
        gives=protocol.Transfer,
        errors=(NotFoundError, MoveRefusedError),
    ),
    Operation("GET", "/transfers", operations.list_transfers, gives=protocol.TransferList),
    Operation(
        "GET",
        "/transfers/{transfer_id}",
        operations.read_transfer,
        gives=protocol.Transfer,
        errors=(NotFoundError,),
    ),
    Operation(
        "POST",
        "/transfers/{transfer_id}/step",
        operations.advance_transfer,
        takes=protocol.TransferStep,
        gives=protocol.Transfer,
        errors=(NotFoundError, StaleEpochError),
    ),
    Operation("POST", "/moves/pause", operations.pause_moves),
    Operation("POST", "/moves/resume", operations.resume_moves),
    Operation(
        "GET",
        "/rebalance",
        operations.rebalance_plan,
        gives=protocol.RebalancePlan,
        query=("asked", "drain"),
        errors=(NotFoundError,),
    ),
    Operation("POST", "/rebalance", operations.rebalance, gives=protocol.RebalancePlan, errors=(MoveRefusedError,)),
    Operation(
        "POST", "/pods/{pod_id}/drain", operations.drain_pod, takes=protocol.DrainRequest, errors=(NotFoundError,)
    ),
    Operation(
        "PUT", "/shards/{shard_id}/pin", operations.pin_shard, takes=protocol.PinRequest, errors=(NotFoundError,)
    ),
    Operation("GET", "/cluster", operations.cluster, gives=protocol.ClusterDetail),
    Operation("GET", "/adoption", operations.adoption, gives=protocol.AdoptionState),
    Operation("POST", "/adoption", operations.adopt, takes=protocol.AdoptRequest, errors=(AdoptionRefusedError,)),
    Operation("POST", "/inbox", operations.append_inbox, takes=protocol.AppendRequest, errors=(NotFoundError,)),
    Operation(
        "POST", "/inbox/deferred", operations.defer_inbox, takes=protocol.DeferredRequest, errors=(NotFoundError,)
    ),
    Operation(
        "GET",
        "/shards/{shard_id}/inbox",
        operations.read_inbox,
        gives=protocol.InboxPage,
        query=("pod_id", "incarnation", "epoch", "after"),
        errors=(NotFoundError, StaleEpochError),
    ),
    Operation(
        "POST",
        "/shards/{shard_id}/inbox/acknowledge",
        operations.acknowledge_inbox,
        takes=protocol.AcknowledgeRequest,
        errors=(NotFoundError, StaleEpochError),
    ),
    Operation("GET", "/anonymity-key", operations.anonymity_key, gives=protocol.AnonymityKey),
    Operation("GET", "/watch", operations.watch, gives=protocol.WatchLine, media="application/x-ndjson"),
    Operation("GET", "/started", operations.started, gives=protocol.Ready),
    Operation("GET", "/health", operations.health, gives=protocol.Ready),
    Operation("GET", "/ready", operations.ready, gives=protocol.Ready),
    Operation("GET", "/shards", operations.shards, gives=protocol.ShardList),
    Operation("GET", "/pods/health", operations.pods_health, gives=protocol.PodList),
    Operation(
        "GET",
        "/guild-assignments",
        operations.guild_assignments,
        gives=protocol.GuildAssignments,
        query=("guild_id",),
    ),
    Operation("GET", "/guild/{guild_id}/assignment", operations.guild_assignment, gives=protocol.Assignment),
    Operation("GET", "/metrics", operations.metrics, gives=str, media="text/plain"),
)


def application(service: Service) -> Starlette:
    """Build the ASGI application of a running service."""
    description = msgspec.json.encode(openapi())

    async def describe(_request: Request) -> Response:
        return Response(description, media_type="application/json")

    routes = [Route(each.path, _endpoint(service, each), methods=[each.method]) for each in OPERATIONS]
    return Starlette(
        routes=[*routes, Route("/openapi.json", describe, methods=["GET"])],
        middleware=[Middleware(calls.TokenGate, token=service.settings.common.internal_token)],
        exception_handlers={HTTPException: calls.http_problem},
    )


def openapi() -> dict[str, Any]:
    """Describe the API in OpenAPI 3.1."""
    types = {each.takes or protocol.Problem for each in OPERATIONS} | {
        each.gives or protocol.Problem for each in OPERATIONS
    }
    ordered = sorted(types, key=str)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REF)
    by_type = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(each.path, {})[each.method.lower()] = _described(each, by_type)
    return {
        "openapi": "3.1.0",
        "info": {"title": "modbot config service", "version": "1"},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"internal": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"internal": []}],
    }


def _endpoint(service: Service, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    known = frozenset(operation.query)

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        try:
            query = calls.query_of(request, known)
            body = None if operation.takes is None else await calls.body_of(request, operation.takes)
            given = await operation.run(service, Call(request.path_params, query, body))
            response = given if isinstance(given, Response) else calls.answer(given)
        except ModbotError as error:
            response = calls.problem(error)
        service.metrics.calls.labels(operation.name, response.status_code).inc()
        service.metrics.call_seconds.labels(operation.name).observe(time.perf_counter() - started)
        return response

    return endpoint


def _described(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": operation.name,
        "summary": (operation.run.__doc__ or "").strip(),
        "parameters": [_parameter(name, "path") for name in _PARAMETER.findall(operation.path)]
        + [_parameter(name, "query") for name in operation.query],
        "responses": _responses(operation, schemas),
    }
    if operation.takes is not None:
        content = {"application/json": {"schema": schemas[operation.takes]}}
        told["requestBody"] = {"required": True, "content": content}
    if operation.path in calls.OPEN_PATHS:
        told["security"] = []
    return told


def _parameter(name: str, place: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    if name == "guild_id" and place == "query":
        return {"name": name, "in": place, "required": False, "schema": {"type": "array", "items": schema}}
    return {"name": name, "in": place, "required": place == "path" or name not in _OPTIONAL, "schema": schema}


def _responses(operation: Operation, schemas: dict[Any, Any]) -> dict[str, Any]:
    if operation.gives is None:
        found: dict[str, Any] = {"204": {"description": "Done."}}
    else:
        content = {operation.media: {"schema": schemas[operation.gives]}}
        found = {"200": {"description": "Done.", "content": content}}
    refused: tuple[type[ModbotError], ...] = (InvalidInputError, UnauthorizedError, UnavailableError)
    for error in (*refused, *operation.errors):
        content = {"application/problem+json": {"schema": schemas[protocol.Problem]}}
        told = found.setdefault(str(error.status), {"description": "", "content": content})
        told["description"] = f"{told['description']} {error.code}: {(error.__doc__ or '').strip()}".strip()
    return found
