"""Select: a choice of rows that compares them with each other is made once, and kept with its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from winnow.messages import Wakeup
from winnow.selection.request import Selection
from winnow.selection.stored import selection_path, write_selected
from winnow.store.blobs import Blobs
from winnow.store.runs import load_run
from winnow.store.selections import finish_select, load_selection
from winnow.store.session import Connection, Database
from winnow.store.work import Claim
from workers.lease import Lease
from workers.patience import patiently
from workers.subset import select_rows
from workers.unit import Finish


@dataclass(frozen=True, kw_only=True)
class SelectHandler:
    """Reads the scores and embeddings of a run, and writes the rows that were asked for."""

    database: Database
    blobs: Blobs

    def __call__(self, claimed: Claim, lease: Lease) -> Finish:
        """Choose the rows.

        Raises:
            InvalidOption: the run lacks what the strategy needs, or too many rows would be compared.
        """
        assert claimed.run_id is not None  # noqa: S101  # a selection is of a run
        with self.database.transaction() as connection:
            run = load_run(connection, claimed.run_id)
            asked = load_selection(connection, run.id, claimed.subject)
        selection = Selection.make(method=run.method, **asked.request)
        selected = patiently(lease, run.rows or 0, select_rows, self.blobs, run, selection)
        blob = selection_path(run.id, asked.key, claimed.lease_token[:8])
        with self.blobs.write(blob) as file:
            result = write_selected(selected, file)

        def finish(connection: Connection) -> Sequence[Wakeup]:
            return finish_select(connection, claimed, blob=blob, result=result)

        return finish
