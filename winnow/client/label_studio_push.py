"""Tasks and predictions into a project of Label Studio, in bulk, and nothing twice.

What the project has is read first, and recognised by its key (`winnow.labelling.fitted`): a task that is there, whoever
made it, is not made again, and gets the prediction if it has none of this model version. Of rows with equal texts as
many tasks are kept as there are rows. An import that ends without an answer is looked for before it is sent again.

Not covered: two pushes into one project at the same time, which may both make a task.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from winnow.client.label_studio import LabelStudio, Project, Unanswered
from winnow.labelling.fitted import FittedTask, key_of
from winnow.labelling.task_fields import TaskFields

MAX_ITEMS = 1_000
MAX_BODY_BYTES = 32 << 20
"""Of one import. Label Studio takes 250 MiB; what stands in front of it often less, and waits for a minute at most."""

PAUSES_S = (2.0, 5.0, 10.0, 20.0)
"""How long an import is given to show, each time that it ended without an answer."""


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
) -> Pushed:
    """Bring a project up to these tasks, made in this order; `on_tasks` hears how many are done.

    Raises:
        InputError: Label Studio refuses a task; those before it, to the last full import, are there.
        Unanswered: an import failed again and again; a second push goes on where this one stopped.
    """
    pushing = _Push(studio, project.id, fields)
    pushing.read_tasks()
    predicted = {task["id"] for task in studio.tasks(project.id, predicted_by=model_version)}
    counts = {"created": 0, "predicted": 0, "known": 0}
    for done, task in enumerate(tasks, start=1):
        task_id = pushing.take(task.key)
        if task_id is None:
            counts["created"] += 1
            pushing.create(task)
        elif task_id not in predicted:
            counts["predicted"] += 1
            pushing.predict(task_id, task)
        else:
            counts["known"] += 1
        on_tasks(done)
    pushing.flush()
    return Pushed(**counts)


class _Push:
    """The tasks of a project that no row has taken yet, by key, and what is still to be sent."""

    def __init__(self, studio: LabelStudio, project_id: int, fields: TaskFields) -> None:
        self._studio = studio
        self._project_id = project_id
        self._fields = fields
        self._free: defaultdict[str, deque[int]] = defaultdict(deque)
        self._last_id = 0
        self._tasks: list[tuple[str, bytes]] = []
        self._predictions: list[bytes] = []
        self._size = 0

    def read_tasks(self) -> None:
        """Note the tasks that were made since this was last done."""
        for task in self._studio.tasks(self._project_id, after=self._last_id):
            key = key_of(task["data"], self._fields)
            if key is not None:
                self._free[key].append(task["id"])
            self._last_id = task["id"]

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

    def _import_tasks(self, tasks: list[tuple[str, bytes]]) -> None:
        failure: Unanswered | None = None
        for pause_s in (0.0, *PAUSES_S):
            if failure is not None:
                time.sleep(pause_s)
                self.read_tasks()
                tasks = [each for each in tasks if self.take(each[0]) is None]
            if not tasks:
                return
            try:
                made = self._studio.import_tasks(self._project_id, [body for _, body in tasks])
            except Unanswered as error:
                failure = error
                continue
            self._last_id = max(self._last_id, *made)
            return
        assert failure is not None, "a loop without a failure returns"  # noqa: S101
        raise failure
