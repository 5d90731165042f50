"""Tasks and predictions into a project of Label Studio, in bulk, and nothing twice.

What the project has is read first, and recognised by its key (`winnow.labelling.fitted`): a task that is there, whoever
made it, is not made again, and gets the prediction if it has none of this model version. Of rows with equal texts as
many tasks are kept as there are rows. An import that ends without an answer is looked for, and never sent again: a
slow Label Studio may still do it after something in front of it has given up.

Not covered: two pushes into one project at the same time, which may both make a task.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from winnow.client.label_studio import (
    ANSWER_TIMEOUT_S,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    LabelStudio,
    Project,
    Unanswered,
)
from winnow.labelling.fitted import FittedTask, key_of
from winnow.labelling.task_fields import TaskFields

MAX_ITEMS = 1_000
MAX_BODY_BYTES = 32 << 20
"""Of one import. Label Studio takes 250 MiB; what stands in front of it often less, and waits for a minute at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push did: tasks made, predictions given to tasks that were there, and tasks that lacked nothing."""

    created: int
    predicted: int
    known: int


def push(
    studio: LabelStudio,
    project: Project,
    tasks: Iterable[FittedTask],
    *,
    model_version: str,
    fields: TaskFields,
    on_tasks: Callable[[int], None] = lambda _: None,
    shows_within_s: float = ANSWER_TIMEOUT_S,
) -> Pushed:
    """Bring a project up to these tasks, made in this order; `on_tasks` hears how many are done.

    An import that ends without an answer is given `shows_within_s` to show.

    Raises:
        InputError: Label Studio refuses a task; those before it, to the last full import, are there.
        Unanswered: it is unknown whether an import was done; a second push goes on where this one stopped.
    """
    pushing = _Push(studio, project.id, fields, shows_within_s)
    pushing.read_tasks()
    # Of a second push none are left, so this costs less than to list those that have the prediction.
    lacking = {task["id"] for task in studio.tasks(project.id, not_predicted_by=model_version)}
    counts = {"created": 0, "predicted": 0, "known": 0}
    for done, task in enumerate(tasks, start=1):
        task_id = pushing.take(task.key)
        if task_id is None:
            counts["created"] += 1
            pushing.create(task)
        elif task_id in lacking:
            counts["predicted"] += 1
            pushing.predict(task_id, task)
        else:
            counts["known"] += 1
        on_tasks(done)
    pushing.flush()
    return Pushed(**counts)


class _Push:
    """The tasks of a project that no row has taken yet, by key, and what is still to be sent."""

    def __init__(
        self, studio: LabelStudio, project_id: int, fields: TaskFields, shows_within_s: float
    ) -> None:
        self._studio = studio
        self._project_id = project_id
        self._fields = fields
        self._shows_within_s = shows_within_s
        self._free: defaultdict[str, deque[int]] = defaultdict(deque)
        self._last_id = 0
        self._tasks: list[tuple[str, bytes]] = []
        self._predictions: list[bytes] = []
        self._size = 0

    def read_tasks(self) -> None:
        """Note the tasks that are there."""
        for task_id, key in self._tasks_after(0):
            if key is not None:
                self._free[key].append(task_id)
            self._last_id = task_id

    def take(self, key: str) -> int | None:
        """A task with these texts, which no other row gets then."""
        free = self._free.get(key)
        return free.popleft() if free else None

    def create(self, task: FittedTask) -> None:
        """Make a task, now or with the next ones."""
        body = task.body
        self._make_room(len(body))
        self._tasks.append((task.key, body))

    def predict(self, task_id: int, task: FittedTask) -> None:
        """Give a prediction to a task that is there, now or with the next ones."""
        body = task.prediction_for(task_id)
        self._make_room(len(body))
        self._predictions.append(body)

    def flush(self) -> None:
        """Send what is waiting."""
        if self._tasks:
            self._import_tasks(self._tasks)
        if self._predictions:
            self._studio.import_predictions(self._project_id, self._predictions)
        self._tasks, self._predictions, self._size = [], [], 0

    def _make_room(self, size: int) -> None:
        full = len(self._tasks) + len(self._predictions) >= MAX_ITEMS
        if full or self._size + size > MAX_BODY_BYTES:
            self.flush()
        self._size += size

    def _tasks_after(self, task_id: int) -> Iterator[tuple[int, str | None]]:
        for task in self._studio.tasks(self._project_id, after=task_id):
            yield task["id"], key_of(task["data"], self._fields)

    def _import_tasks(self, tasks: list[tuple[str, bytes]]) -> None:
        try:
            made = self._studio.import_tasks(self._project_id, [body for _, body in tasks])
        except Unanswered as error:
            made = self._look_for([key for key, _ in tasks], error)
        self._last_id = max((self._last_id, *made))

    def _look_for(self, keys: list[str], failure: Unanswered) -> list[int]:
        """The tasks of an import that ended without an answer, as soon as all of them are there."""
        gives_up_at, pause_s = time.monotonic() + self._shows_within_s, FIRST_PAUSE_S
        while True:
            # All that are new each time: what shows late may have lower ids than what others made meanwhile.
            there: defaultdict[str | None, deque[int]] = defaultdict(deque)
            for task_id, key in self._tasks_after(self._last_id):
                there[key].append(task_id)
            made = [there[key].popleft() for key in keys if there[key]]
            if len(made) == len(keys):
                return made
            left_s = gives_up_at - time.monotonic()
            if left_s <= 0:
                raise Unanswered(
                    f"{failure} Of the {len(keys):,} tasks of this import {len(made):,} show after "
                    f"{self._shows_within_s:g} s. Label Studio may still be at it: when it is not, push again, which "
                    "goes on where this push stopped and makes nothing twice."
                ) from failure
            time.sleep(min(pause_s, left_s))
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
