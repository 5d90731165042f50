"""What the OpenAPI document says beyond the signatures: bodies that are streams, and one shape of error."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.errors import Problem
from service.fine_tuning.schemas import CreateFineTune

PROBLEM_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {
            "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
        },
    }
    for status, description in (
        ("4XX", "The request can't be served as it is; `detail` says what to change."),
        ("5XX", "Winnow failed; the log has the reason under `request_id`."),
    )
}

_RECORD = {
    "instruction": "Name three primary colours.",
    "input": "",
    "output": "Red, yellow, blue.",
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_RECORDS = {"type": "array", "items": {"type": "object"}, "description": "The dataset itself."}

DATASET_BODY: dict[str, Any] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "format": "binary"}},
            "additionalProperties": {
                "type": "string",
                "description": "An option, as in the query.",
            },
        }
    },
    "application/json": {
        "schema": {"oneOf": [_RECORDS, {"type": "object", "properties": {"records": _RECORDS}}]},
        "examples": {"records": {"value": {"records": [_RECORD]}}, "array": {"value": [_RECORD]}},
    },
    "application/jsonl": _BINARY,
    "text/csv": _BINARY,
    "application/vnd.apache.parquet": _BINARY,
    "application/octet-stream": _BINARY,
}
"""The content is sniffed; the Content-Type only tells forms and JSON objects with options apart."""

_STORED = {"dataset": "ds_mfrggzdfmztwq2lknnwg23tp"}


def _dataset_or_name(**examples: dict[str, Any]) -> dict[str, Any]:
    """A body that is a dataset, or an object with options that holds or names one."""
    options = {
        "type": "object",
        "properties": {
            "dataset": {"type": "string", "description": "A stored dataset."},
            "records": _RECORDS,
        },
        "additionalProperties": {"description": "An option, as in the query."},
    }
    values = {name: {"value": value} for name, value in examples.items()}
    body = {"schema": {"oneOf": [_RECORDS, options]}, "examples": values}
    return {**DATASET_BODY, "application/json": body}


SCORE_BODY = _dataset_or_name(
    stored=_STORED | {"template": "alpaca"},
    records={"records": [_RECORD], "method": "ifd"},
    learned=_STORED | {"method": "learning_percentage", "n_epochs": 3},
)

TRUST_BODY = _dataset_or_name(
    stored=_STORED | {"proxy": "winnow-mini", "target": "a-larger-model", "sample": 500}
)


FINE_TUNE_BODY: dict[str, Any] = {
    "application/json": {"schema": {"$ref": "#/components/schemas/CreateFineTune"}}
}

FILE_BODY: dict[str, Any] = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["file", "purpose"],
            "properties": {
                "file": {"type": "string", "format": "binary"},
                "purpose": {"type": "string", "enum": ["fine-tune"]},
            },
        }
    }
}


def accepts(content: dict[str, Any]) -> dict[str, Any]:
    """The request body of an operation that reads it as a stream."""
    return {"requestBody": {"content": content, "required": True}}


def streams(description: str, *media_types: str) -> dict[int | str, dict[str, Any]]:
    """The 200 answer of an operation that streams one of these."""
    return {200: {"description": description, "content": dict.fromkeys(media_types, _BINARY)}}


def install(app: FastAPI) -> None:
    """Give `app` a document with the schemas that no signature shows, built when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            built = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                webhooks=app.webhooks.routes,
            )
            schemas = built["components"]["schemas"]
            for kind in (Problem, CreateFineTune):
                schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas |= {**schema.pop("$defs"), kind.__name__: schema}
            app.openapi_schema = built
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # FastAPI's own way of extending the document
