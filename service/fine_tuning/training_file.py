"""A subset as training data, checked while its owner still waits for an answer; files are checked by the store."""

from __future__ import annotations

from service.resources import Resources
from service.runs.results import read_scores, require_completed
from service.subsets.choice import Choice
from service.subsets.rows import select_rows
from winnow.errors import InvalidOption, NotFound
from winnow.selection.reference import PARAM, SubsetReference
from winnow.store.datasets import get_dataset
from winnow.store.fine_tunes import FILE_PREFIX
from winnow.store.runs import get_run


def check_training_file(resources: Resources, name: str, *, owner: str) -> None:
    """Refuse a subset that has no rows to train on, or none yet; the name of a file passes.

    Raises:
        NotFound: the owner has no such run.
        ScoresNotReady: the run still works.
        RunNotUsable: it failed or was cancelled.
        SelectionNotReady: the rows are still being chosen.
        InvalidOption: it is neither a file nor a subset; the selection contradicts itself, needs what the run lacks, or
            leaves no row.
    """
    if name.startswith(FILE_PREFIX):
        return
    reference = SubsetReference.parse(name)
    try:
        with resources.database.transaction() as connection:
            run = get_run(connection, owner=owner, run_id=reference.run_id)
            dataset = get_dataset(connection, owner=owner, dataset_id=run.dataset_id)
    except NotFound as error:
        raise NotFound(error.message, param=PARAM) from error
    selection = reference.selection(run.method)
    require_completed(run, param=PARAM)
    choice = Choice(run=run, dataset=dataset, selection=selection)
    scores = read_scores(resources.blobs, run, columns=selection.columns)
    try:
        selected = select_rows(resources, choice, scores, param=PARAM)
    except InvalidOption as error:
        raise InvalidOption(f"{name}: {error.message}", param=PARAM) from error
    if not len(selected.rows):
        taken = ", ".join(
            f"{rule} {count}" for rule, count in selected.taken_by_rule.items() if count
        )
        raise InvalidOption(
            f"{name} selects none of {selected.rows_read} rows ({taken}). Ask for more, or widen the bounds.",
            param=PARAM,
        )
