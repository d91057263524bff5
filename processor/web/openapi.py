"""The OpenAPI 3.1 document, made of the routes and of the types that they answer, so that it cannot drift."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, NamedTuple

import msgspec

from processor.web.parameters import NAME_MAX, Parameter
from processor.web.problems import CONTENT_TYPE, Kind, Problem

JSON = "application/json"

_REF = "#/components/schemas/{name}"

_INTRODUCTION = """\
The status of every message and every delivery, its reason, and since when. Any worker answers any question.

Errors are problems (RFC 9457). A 503 has Retry-After; a known message is never a 404. An id in a path is
percent-encoded; slashes in it may be, too. Every GET also takes HEAD.
"""


class PathParameter(NamedTuple):
    """A part of a path: an id, which takes the rest of the path, slashes as well."""

    name: str
    meaning: str
    #: The pattern that it matches.
    pattern: str = ".+"


class Route(NamedTuple):
    """One operation. `name` is its operation id, and the name of its handler."""

    method: str
    path: str
    name: str
    summary: str
    #: The type of the answer; None: a stream of events, or the document itself.
    answer: Any
    status: int = 200
    media_type: str = JSON
    #: The media types of streams that a client may accept instead.
    streams: tuple[str, ...] = ()
    part: PathParameter | None = None
    query: tuple[Parameter, ...] = ()
    body: Any = None
    is_body_required: bool = False
    problems: tuple[Kind, ...] = ()
    writes: bool = False
    #: Whether it reads what is for operators.
    is_for_operators: bool = False

    @property
    def pattern(self) -> str:
        """The path, as the server's pattern."""
        if self.part is None:
            return self.path
        return self.path.replace(f"{{{self.part.name}}}", f"{{{self.part.name}:{self.part.pattern}}}")


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Make the document."""
    routes = tuple(routes)
    types = {repr(each): each for route in routes for each in (route.answer, route.body) if each is not None}
    refs, schemas = msgspec.json.schema_components([Problem, *types.values()], ref_template=_REF)
    schema_of = dict(zip(["problem", *types], refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Delivery status",
            "version": version("delivery-status"),
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The token of a user (DELIVERY_USERS_FILE), or what a proxy says of one "
                    "(DELIVERY_USER_PROXIES), by role: `reader`, `unmasked_reader` with whole recipients, `operator` "
                    "to write, too. DELIVERY_READ_TOKEN is a reader's, DELIVERY_WRITE_TOKEN an operator's. Bound to "
                    "loopback, and without a read token or users, reading is open.",
                }
            },
        },
    }


def _operation(route: Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "security": [{"token": []}] if route.writes or route.is_for_operators else [{"token": []}, {}],
    }
    if route.part is not None or route.query:
        operation["parameters"] = [*_path_parameters(route.part), *map(_query_parameter, route.query)]
    if route.body is not None:
        content = {JSON: {"schema": schema_of[repr(route.body)]}}
        operation["requestBody"] = {"required": route.is_body_required, "content": content}
    operation["responses"] = _responses(route, schema_of)
    return operation


def _path_parameters(part: PathParameter | None) -> Iterable[dict[str, Any]]:
    if part is not None:
        schema = {"type": "string", "minLength": 1, "maxLength": NAME_MAX}
        yield {"name": part.name, "in": "path", "required": True, "description": part.meaning, "schema": schema}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    given = {"name": parameter.name, "in": "query", "description": parameter.meaning, "schema": dict(parameter.schema)}
    return {**given, "required": True} if parameter.is_required else given


def _responses(route: Route, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    if route.answer is not None:
        schema = schema_of[repr(route.answer)]
    else:
        schema = {"type": "object"} if route.media_type == JSON else {"type": "string"}
    content = {route.media_type: {"schema": schema}, **{each: {"schema": {"type": "string"}} for each in route.streams}}
    said = HTTPStatus(route.status).phrase
    responses: dict[str, Any] = {str(route.status): {"description": said, "content": content}}
    by_status: dict[int, list[Kind]] = {}
    for kind in route.problems:
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = _problem_response(kinds, schema_of["problem"])
    return responses


def _problem_response(kinds: Sequence[Kind], schema: Any) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": " ".join(f"`{kind.uri}`: {kind.title}." for kind in kinds),
        "content": {CONTENT_TYPE: {"schema": schema}},
    }
    if any(kind.retry_after is not None for kind in kinds):
        header = {"description": "Seconds after which to retry.", "schema": {"type": "integer", "minimum": 0}}
        response["headers"] = {"Retry-After": header}
    return response
