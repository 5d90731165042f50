"""Label Studio's side of a service: the tasks of a run, and annotations for the webhook route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from winnow.client.connection import Connection, failure


class Labelling(Connection):
    """`/label-studio`, and what is read in the format `label_studio`."""

    def label_studio_tasks(
        self, run_id: str, *, ratio: float | str | None = None
    ) -> Iterator[bytes]:
        """The task file of a completed run as it arrives: every row, or those that a subset of `ratio` has.

        Raises:
            ScoresNotReady: the run is not completed.
        """
        path, asked = f"/runs/{run_id}/scores", {"format": "label_studio"}
        if ratio is not None:
            path, asked = "/subsets", asked | {"run": run_id, "ratio": str(ratio)}
        with self._stream(path, asked) as response:
            if not response.is_success:
                raise failure(response)
            yield from response.iter_bytes()

    def send_annotations(
        self, target: str, event: Mapping[str, Any], **fields: str
    ) -> dict[str, Any]:
        """Hand over a webhook's event by hand; what was handed over before is known, and done once.

        `target` is a run or a model; `fields` names prompt, answer and input of a task where they cannot be told. The
        answer counts annotations: `queued`, `known`, `unchanged`, `ignored`.
        """
        path = f"/label-studio/{quote(target, safe='')}/webhook"
        return self._json("POST", path, params=fields, json=dict(event))
