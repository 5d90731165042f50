"""The rows of a choice: at once where scores decide, else as a unit of work chose them."""

from __future__ import annotations

from service.resources import Resources
from service.subsets.choice import Choice
from winnow.errors import Conflict, SelectionNotReady
from winnow.scores import ScoreTable
from winnow.selection.ratio import Selected, arranged, needs_work, select
from winnow.selection.request import check_size
from winnow.selection.stored import read_selected, selection_key
from winnow.store.selections import HeavySelection, request_selection


def select_rows(
    resources: Resources, choice: Choice, scores: ScoreTable, *, param: str = "strategy"
) -> Selected:
    """The selected rows; `scores` has `choice.selection.columns`, and `param` is what named the strategy.

    Raises:
        InvalidOption: the run lacks what the strategy needs, or too many rows would be compared; the message says what
            to change.
        SelectionNotReady: the rows are still being chosen; asking for them began it.
        Conflict: choosing them failed.
    """
    # A run without embeddings is refused by the selection itself, before anything is read.
    if not needs_work(choice.selection) or choice.run.spec.embeddings is None:
        return select(scores, choice.selection, sources=choice.blocks(resources.blobs).sources)
    check_size(choice.selection, len(scores))
    found = _ask(resources, choice)
    if found.error is not None:
        raise Conflict(
            f"The rows could not be chosen ({found.error.message}). Asked again after a minute, it is tried anew.",
            param=param,
        )
    not_ready = SelectionNotReady(
        f"The rows of strategy={choice.selection.strategy} are still being chosen. "
        "Ask again after Retry-After seconds.",
        param=param,
    )
    if found.result is None or found.blob is None:
        raise not_ready
    try:
        with resources.blobs.open_read(found.blob) as file:
            return arranged(read_selected(file, found.result), scores, choice.selection)
    except FileNotFoundError as error:  # a newer one took its place a moment ago
        raise not_ready from error


def _ask(resources: Resources, choice: Choice) -> HeavySelection:
    run, selection = choice.run, choice.selection
    with resources.database.transaction() as connection:
        found, wakeups = request_selection(
            connection,
            owner=run.owner,
            run_id=run.id,
            key=selection_key(selection),
            request=selection.canonical().as_dict(),
        )
    resources.publisher.publish(wakeups)
    return found
