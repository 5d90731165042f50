"""What a caller sees of an error: the one table from exception to status, and `application/problem+json`.

Every answer of 400 and above has this shape (RFC 9457), those of the framework too. `code` is stable and made for
programs, `detail` says what to change, `message` repeats it for clients that know OpenAI's shape only. What went wrong
inside is logged with the request id and never shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from winnow import errors

log = structlog.get_logger(__name__)

STATUS: dict[type[errors.WinnowError], HTTPStatus] = {
    errors.InputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.UnknownFormat: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Conflict: HTTPStatus.CONFLICT,
    # Label Studio keeps nothing of a 503, and so asks for the same tasks again.
    errors.PredictionsNotReady: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.ModelError: HTTPStatus.UNPROCESSABLE_ENTITY,
}
"""A class not listed takes the status of its nearest listed parent; without one it is our fault, a 500."""

DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""What a lost, restarting or overloaded database raises; asking again helps."""

HEADERS: dict[type[errors.WinnowError], dict[str, str]] = {
    errors.NotReady: {"Retry-After": "2"},
    errors.NotAuthenticated: {"WWW-Authenticate": "Bearer"},
    # A client that retries 409 by itself would wait for a state that never changes back.
    errors.Conflict: {"x-should-retry": "false"},
}


class FieldProblem(BaseModel):
    """One field that was refused."""

    location: str = Field(examples=["query"])
    param: str = Field(examples=["ratio"])
    detail: str = Field(examples=["Input should be less than or equal to 1"])


class Problem(BaseModel):
    """The body of every error (RFC 9457)."""

    type: str = Field("about:blank", examples=["about:blank"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["The run is still being scored."])
    message: str = Field(examples=["The run is still being scored."])
    code: str = Field(examples=["scores_not_ready"])
    param: str | None = Field(None, examples=[None])
    request_id: str | None = Field(None, examples=["req_5d3v"])
    errors: list[FieldProblem] = Field(default=[])


class ProblemResponse(JSONResponse):
    """A problem as bytes."""

    media_type = "application/problem+json"


def register(app: FastAPI) -> None:
    """Make `app` answer every error, its own and the framework's, as a problem."""
    app.add_exception_handler(errors.WinnowError, _on_winnow_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    for away in DATABASE_AWAY:
        app.add_exception_handler(away, _on_database_away)
    app.add_exception_handler(DataError, _on_data_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_surprise)


def _nearest(table: Mapping[type[errors.WinnowError], Any], error: Exception) -> Any:
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)


async def _on_winnow_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, errors.WinnowError)  # noqa: S101  (registered for nothing else)
    status = _nearest(STATUS, error)
    if status is None:
        return await _on_surprise(request, error)
    return _answer(
        request,
        status,
        code=error.code,
        detail=error.message,
        param=error.param,
        headers=_nearest(HEADERS, error),
    )


async def _on_validation_error(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    fields = [_field_problem(entry) for entry in error.errors()]
    return _answer(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code=errors.InvalidOption.code,
        detail=" ".join(f"{field.param}: {field.detail}." for field in fields),
        param=fields[0].param,
        fields=fields,
    )


def _field_problem(entry: Mapping[str, Any]) -> FieldProblem:
    location, *path = (str(part) for part in entry["loc"])
    unknown = entry["type"] == "extra_forbidden"
    return FieldProblem(
        location=location,
        param=".".join(path) or location,
        detail="There is no such option" if unknown else str(entry["msg"]),
    )


async def _on_http_exception(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    told = {
        HTTPStatus.NOT_FOUND: f"There is nothing at {request.url.path}. GET /docs lists what there is.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not served at {request.url.path}; see Allow.",
    }
    return _answer(
        request,
        status,
        code=status.phrase.lower().replace(" ", "_").replace("-", "_"),
        detail=told.get(status, error.detail),
        headers=error.headers,
    )


async def _on_database_away(request: Request, error: Exception) -> ProblemResponse:
    log.warning("database.away", path=request.url.path, error=str(error))
    return _answer(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        code="database_unavailable",
        detail="The database does not answer. Send the request again after Retry-After seconds.",
        headers={"Retry-After": "2"},
    )


async def _on_data_error(request: Request, error: Exception) -> ProblemResponse:
    """Text with a NUL, a number of thirty digits: valid in HTTP, and nothing that a column can hold."""
    log.warning("database.refused_value", path=request.url.path, error=str(error))
    return _answer(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        code=errors.InvalidOption.code,
        detail="A value of the request is out of range, or holds a NUL character.",
    )


async def _on_disconnect(request: Request, _: Exception) -> ProblemResponse:
    """Nobody reads this answer; it keeps an upload that was broken off from being logged as our failure."""
    return _answer(
        request,
        HTTPStatus.BAD_REQUEST,
        code="client_disconnected",
        detail="The body ended before its last byte.",
    )


async def _on_surprise(request: Request, error: Exception) -> ProblemResponse:
    log.error("request.failed", path=request.url.path, exc_info=error)
    return _answer(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        code="internal_error",
        detail="Winnow failed while it served this request. The log has the reason under the request id.",
    )


def _answer(
    request: Request,
    status: HTTPStatus,
    *,
    code: str,
    detail: str,
    param: str | None = None,
    fields: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    request_id = getattr(request.state, "request_id", None)
    problem = Problem(
        title=status.phrase,
        status=status,
        detail=detail,
        message=detail,
        code=code,
        param=param,
        request_id=request_id,
        errors=list(fields),
    )
    sent = dict(headers or {})
    if request_id is not None:
        # The outermost handler answers outside the middleware that would add it.
        sent["X-Request-ID"] = request_id
    return ProblemResponse(problem.model_dump(), status_code=status, headers=sent)
