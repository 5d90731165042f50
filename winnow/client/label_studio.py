"""A Label Studio over HTTP: the few routes that tasks, predictions and annotations need, as 1.23 answers them.

    with LabelStudio("http://127.0.0.1:8080", token) as studio:
        project = studio.project(1)
        studio.import_tasks(project.id, [b'{"data": {"text": "Hi."}}'])
        tasks = list(studio.tasks(project.id))

A token is a legacy one, sent as `Authorization: Token`, or a personal access token. The latter is a JWT, exchanged for
an access token, again whenever that has run out. No message holds a token.

    429, or no connection where there was one     asked again, as `Retry-After` says or after doubling pauses
    408, 5xx, no answer in time                   the same if that changes nothing there, else `Unanswered`

A request that could not be sent whole changes nothing. After `Unanswered` only a look at the tasks tells whether an
import was done; one import is one transaction there.

Not covered: the import of Label Studio Enterprise, which answers before it is done.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import httpx
import orjson

from winnow.errors import (
    InputError,
    InvalidOption,
    NotAuthenticated,
    NotFound,
    ServiceError,
    ServiceUnreachable,
)

CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 300.0
"""A thousand tasks into a large project take that long on a slow machine."""

PATIENCE_S = 60.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 8.0

PAGE_TASKS = 500
LISTED_PROJECTS = 5
MAX_WORDS = 300
"""Characters of the server's own words that go into a message."""

JWT_DOTS = 2


class Unanswered(ServiceError):
    """Label Studio did not say whether it did what it was asked. Look at the project before asking again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project of a Label Studio; `label_config` is its XML."""

    id: int
    title: str
    label_config: str


class LabelStudio:
    """A connection to one Label Studio; use it as a context manager, or call `close`.

    Every method raises `NotAuthenticated` if the token is refused, `ServiceUnreachable` if nothing answers, and
    `ServiceError` if the failure lasts for `patience_s` or cannot be explained.
    """

    def __init__(self, url: str, token: str, *, patience_s: float = PATIENCE_S) -> None:
        """Take the address of its page, and a token as its owner copied it.

        Raises:
            InvalidOption: one of them can be used nowhere.
        """
        self.url = _address(url)
        self._token = _printable(token)
        self._access: str | None = None
        self._patience_s = patience_s
        # A wrong address is reported at once; only a server that was there before is waited for.
        self._answered = False
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Content-Type": "application/json"},
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def project(self, project_id: int) -> Project:
        """One project.

        Raises:
            NotFound: the owner of the token sees no such project; the message names some that there are.
        """
        try:
            found = self._ask("GET", f"/api/projects/{project_id}/")
        except NotFound as error:
            raise NotFound(
                f"{self.url} shows the owner of this token no project {project_id}, but {self._projects()}.",
                param="project",
            ) from error
        return Project(id=found["id"], title=found["title"], label_config=found["label_config"])

    def tasks(
        self,
        project_id: int,
        *,
        after: int = 0,
        not_predicted_by: str | None = None,
        annotated: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """The tasks of a project with an id above `after`, by id, fetched in pages.

        `not_predicted_by` leaves those without a prediction of that model version; `annotated` those with an
        annotation, and brings the `annotations` with them.
        """
        wanted = []
        if not_predicted_by is not None:
            versions = [not_predicted_by]
            wanted.append(_where("predictions_model_versions", "not_contains", "List", versions))
        if annotated:
            wanted.append(_where("total_annotations", "greater", "Number", 0))
        last = after
        while True:
            # Pages by number would shift while others add and delete tasks; an id stays where it is.
            above = _where("id", "greater", "Number", last)
            page = self._page(project_id, [above, *wanted], whole=annotated)
            yield from page["tasks"]
            if not page["tasks"] or len(page["tasks"]) >= page["total"]:
                return
            last = page["tasks"][-1]["id"]

    def import_tasks(self, project_id: int, tasks: Sequence[bytes]) -> list[int]:
        """Create tasks, each a JSON object, with the predictions in it: all of them, or none. Their ids, if told.

        Raises:
            InputError: Label Studio refuses one; the message says why.
            Unanswered: it is unknown whether they were created.
        """
        path = f"/api/projects/{project_id}/import"
        done = self._ask("POST", path, params={"return_task_ids": "true"}, content=_array(tasks))
        return list(done.get("task_ids") or ())

    def import_predictions(self, project_id: int, predictions: Sequence[bytes]) -> None:
        """Add predictions to tasks: JSON objects with `task`, `result`, `score`, `model_version`. Raises as above."""
        path = f"/api/projects/{project_id}/import/predictions"
        self._ask("POST", path, content=_array(predictions))

    def _projects(self) -> str:
        page = self._ask("GET", "/api/projects/", params={"page_size": LISTED_PROJECTS})
        names = [f"{each['id']} ({each['title'][:40]})" for each in page["results"]]
        more = ", ..." if page["count"] > len(names) else ""
        return ", ".join(names) + more if names else "none at all"

    def _page(
        self, project_id: int, wanted: Sequence[Mapping[str, Any]], *, whole: bool
    ) -> dict[str, Any]:
        query = {"filters": {"conjunction": "and", "items": wanted}}
        params = {
            "project": project_id,
            "page_size": PAGE_TASKS,
            "query": orjson.dumps(query).decode(),
            "resolve_uri": "false",
            "fields": "all" if whole else "task_only",
        }
        page: dict[str, Any] = self._ask("GET", "/api/tasks/", params=params)
        return page

    def _ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
    ) -> Any:
        """The decoded answer, asked for until the patience ends."""
        pause_s, gives_up_at = FIRST_PAUSE_S, None
        while True:
            try:
                return self._decoded(self._authorised(method, path, params, content))
            except _Trouble as trouble:
                now = time.monotonic()
                gives_up_at = now + self._patience_s if gives_up_at is None else gives_up_at
                wait_s = max(pause_s, trouble.retry_after_s)
                if now + wait_s > gives_up_at:
                    raise ServiceError(
                        f"Label Studio at {self.url} failed for {self._patience_s:g} s; at last: {trouble}."
                    ) from trouble
            time.sleep(wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _authorised(
        self, method: str, path: str, params: Mapping[str, Any] | None, content: bytes | None
    ) -> httpx.Response:
        """The answer to a request with a token; with a new access token if the one at hand has run out."""

        def request() -> httpx.Response:
            headers = {"Authorization": self._authorization()}
            once = method != "GET"
            return self._request(
                method, path, once=once, params=params, content=content, headers=headers
            )

        response = request()
        if response.status_code == httpx.codes.UNAUTHORIZED and self._access is not None:
            self._access = None
            response = request()
        return response

    def _authorization(self) -> str:
        if self._token.count(".") != JWT_DOTS:
            return f"Token {self._token}"
        if self._access is None:
            body = orjson.dumps({"refresh": self._token})
            response = self._request("POST", "/api/token/refresh/", once=False, content=body)
            self._access = str(self._decoded(response)["access"])
        return f"Bearer {self._access}"

    def _request(self, method: str, path: str, *, once: bool, **request: Any) -> httpx.Response:
        """An answer that another try would not change; what may only be done `once` is not asked for again blindly."""
        try:
            response = self._http.request(method, path, **request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            if not self._answered:
                raise ServiceUnreachable(
                    f"No Label Studio answers at {self.url} ({_name(error)}). Start it, or correct --url.",
                    param="url",
                ) from error
            raise _Trouble(_name(error)) from error
        except (httpx.WriteTimeout, httpx.PoolTimeout) as error:
            raise _Trouble(_name(error)) from error
        except httpx.TransportError as error:
            raise self._failed(path, _name(error), once=once) from error
        self._answered = True
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise _Trouble(_words(response), retry_after_s=_retry_after_s(response))
        if response.is_server_error or response.status_code == httpx.codes.REQUEST_TIMEOUT:
            told = f"{response.status_code} {_words(response)}"
            raise self._failed(path, told, once=once, retry_after_s=_retry_after_s(response))
        return response

    def _failed(
        self, path: str, told: str, *, once: bool, retry_after_s: float = 0.0
    ) -> Unanswered | _Trouble:
        if once:
            return Unanswered(f"Label Studio at {self.url} failed at {path}: {told}.")
        return _Trouble(told, retry_after_s=retry_after_s)

    def _decoded(self, response: httpx.Response) -> Any:
        match response.status_code:
            case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
                raise NotAuthenticated(
                    f"Label Studio at {self.url} refuses the token ({_words(response)}). Copy one from its page "
                    "Account & Settings: a personal access token, or a legacy one where the organization allows it.",
                    param="token",
                )
            case httpx.codes.NOT_FOUND:
                raise NotFound(f"{self.url} has no {response.url.path} ({_words(response)}).")
            case httpx.codes.BAD_REQUEST:
                raise InputError(f"Label Studio refuses this: {_words(response)}")
        try:
            if response.is_success:
                return orjson.loads(response.content)
        except orjson.JSONDecodeError:
            pass
        raise ServiceError(
            f"{response.url.copy_with(query=None)} answered {response.status_code} {response.reason_phrase}, which "
            "Label Studio does not; is it one, and is its address complete, https:// included?"
        )


class _Trouble(Exception):
    """A failure that may pass; the server asks to be left alone for `retry_after_s`."""

    def __init__(self, message: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def _where(field: str, operator: str, kind: str, value: object) -> dict[str, object]:
    return {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}


def _array(items: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(items) + b"]"


def _address(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidOption(f"--url {url!r}: {error}.", param="url") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
        raise InvalidOption(
            "--url must be like http://host:8080, the address of Label Studio in a browser.",
            param="url",
        )
    return str(parsed.copy_with(query=None, fragment=None)).rstrip("/")


def _printable(token: str) -> str:
    token = token.strip()
    if not (token and token.isascii() and token.isprintable()):
        raise InvalidOption(
            "A token of Label Studio is one line of printable ASCII; copy it again.", param="token"
        )
    return token


def _name(error: httpx.TransportError) -> str:
    # The words of this one quote what was to be sent, the token among it.
    quotes = isinstance(error, httpx.LocalProtocolError)
    return type(error).__name__ if quotes or not str(error) else str(error)


def _retry_after_s(response: httpx.Response) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


def _words(response: httpx.Response) -> str:
    """What Label Studio says itself, in short: the first thing that is wrong, without the task that has it."""
    try:
        body = orjson.loads(response.content)
        found = body.get("validation_errors") or body["detail"]
    except (orjson.JSONDecodeError, AttributeError, KeyError):
        return response.reason_phrase
    told = next(_strings(found), response.reason_phrase)
    return told.partition(" :: ")[0].rstrip(".")[:MAX_WORDS]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(each)
