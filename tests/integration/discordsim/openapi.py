"""Checks the calls of a test against Discord's own OpenAPI description; other suites may use `Checker` too.

`Checker.middleware` belongs outermost in an application; deviations are collected and `Checker.verify()` fails with all of them.
"""

import json
import os
import re
from functools import cache
from pathlib import Path

from aiohttp import web
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from discordsim.rest.calls import BODY

_ROOT = Path(__file__).resolve().parents[3]
_API = re.compile(r"^/api(/v\d+)?(?=/)")
_URI = "urn:discord"


def path() -> Path:
    folder = Path(os.environ.get("SHARED_DIR", _ROOT.parent / "shared"))
    return folder / "reference" / "discord-openapi.json"


@cache
def _document():
    return json.loads(path().read_text())


@cache
def _registry():
    return Registry().with_resource(_URI, Resource(contents=_document(), specification=DRAFT202012))


@cache
def _operations():
    found = []
    for template, item in _document()["paths"].items():
        pattern = re.compile("^" + re.sub(r"\{\w+\}", "[^/]+", template) + "$")
        found += [(method.upper(), template.count("{"), pattern, template) for method in item if method != "parameters"]
    return sorted(found, key=lambda one: one[1])


@cache
def _validator(pointer):
    return Draft202012Validator({"$ref": f"{_URI}#{pointer}"}, registry=_registry())


def _escaped(text):
    return text.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")


def _problems(pointer, value):
    for error in _validator(pointer).iter_errors(value):
        yield from _leaves(error)


def _leaves(error):
    """Go down to the sub-schema that came closest, so that the message names the real culprit."""
    while error.context:
        branches = {}
        for one in error.context:
            branches.setdefault(one.relative_schema_path[0], []).append(one)
        best = min(branches.values(), key=lambda some: (any(x.validator in {"enum", "const"} for x in some), len(some)))
        error = best[0]
    yield f"{error.json_path}: {error.message[:300]}"


# The description only knows replies; Discord's reference documents forwards (type 1) as well.
_FORWARD = re.compile(r"^\$\.message_reference\b")
# Where the description contradicts the reference, which all client libraries follow: bits go as text, descriptions are texts.
_GAPS = re.compile(
    r"^\$\S*(permissions|allow|deny): '\d+' is not of type 'integer'|^\$\.description: '.*' is not of type 'object'"
)


def _is_forward(value):
    reference = value.get("message_reference") if isinstance(value, dict) else None
    return bool(reference) and reference.get("type") == 1


class Checker:
    """Collects deviations of the requests that were accepted and of all 2xx answers."""

    def __init__(self):
        self.deviations: list[str] = []
        self.checked = 0

    def operation(self, method, route):
        return next((one[3] for one in _operations() if one[0] == method and one[2].match(route)), None)

    def check(self, method, route, *, request, status, response):
        template = self.operation(method, route)
        if template is None:
            self.deviations.append(f"{method} {route}: not in the OpenAPI description")
            return
        operation = _document()["paths"][template][method.lower()]
        place = f"/paths/{_escaped(template)}/{method.lower()}"
        self.checked += 1
        if request is not None and "requestBody" in operation:
            self._add(method, route, "request", f"{place}/requestBody/content/application~1json/schema", request)
        answers = operation["responses"]
        if str(status) not in answers:
            self.deviations.append(f"{method} {route}: status {status} is not among {list(answers)}")
        elif response is not None:
            self._add(
                method, route, "response", f"{place}/responses/{status}/content/application~1json/schema", response
            )

    def _add(self, method, route, side, pointer, value):
        problems = [
            one
            for one in _problems(pointer, value)
            if not (_is_forward(value) and _FORWARD.match(one)) and not (side == "request" and _GAPS.match(one))
        ]
        self.deviations += [f"{method} {route} {side} {problem}" for problem in problems]

    @property
    def middleware(self):
        @web.middleware
        async def lead(request, handler):
            response = await handler(request)
            if _API.match(request.path) and response.status < 300:
                raw = response.body
                self.check(
                    request.method,
                    _API.sub("", request.path),
                    request=request.get(BODY),
                    status=response.status,
                    response=json.loads(raw) if raw else None,
                )
            return response

        return lead

    def verify(self):
        assert not self.deviations, "\n".join(dict.fromkeys(self.deviations))
