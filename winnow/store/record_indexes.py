"""The index of a dataset's records: asked for by the gateway, made by a unit of work, and there until the dataset goes.

Whether it is there says the blob store (`winnow.labelling.record_index.index_path`), not a row: nothing else needs to
know, and a file that is lost is made again.
"""

from __future__ import annotations

from sqlalchemy import Connection

from winnow.messages import Wakeup
from winnow.store import units
from winnow.store.clock import clock
from winnow.store.datasets import get_dataset
from winnow.store.work import Claim, close


def request_index(conn: Connection, *, owner: str, dataset_id: str) -> list[Wakeup]:
    """Have the index of a dataset made, unless a unit does that already.

    Raises:
        NotFound: the owner has no such dataset.
    """
    get_dataset(conn, owner=owner, dataset_id=dataset_id)
    return units.enqueue(conn, kind="index", subject=dataset_id, dataset_id=dataset_id)


def finish_index(conn: Connection, claim: Claim) -> list[Wakeup]:
    """The index is in place.

    Raises:
        LeaseLost: someone else took the unit over.
    """
    close(conn, claim, "done", finished_at=clock())
    return []
