"""The numbers and warnings of a finished run."""

from __future__ import annotations

from winnow.proxy.engine import SpanLoss
from winnow.records.example import Flag, RejectionReason
from winnow.scores import RowScore, score_batch
from workers.summary import Summary, warnings


def scored(row: int, score: float, *flags: Flag, tokens: int = 2) -> RowScore:
    conditioned = SpanLoss(nll=1.0 * tokens, num_tokens=tokens)
    direct = SpanLoss(nll=2.0 * tokens, num_tokens=tokens)
    return RowScore(row=row, score=score, conditioned=conditioned, direct=direct, flags=flags)


def rejected(row: int, reason: RejectionReason) -> RowScore:
    return RowScore(row=row, reason=reason, detail="line 1")


def summary_of(*batches: list[RowScore]) -> dict[str, object]:
    summary = Summary()
    for batch in batches:
        summary.add(score_batch(batch))
    return summary.as_dict()


def test_it_does_not_depend_on_how_rows_are_batched() -> None:
    rows = [scored(0, 0.5), rejected(1, RejectionReason.EMPTY_ANSWER), scored(2, 1.5), scored(3, 1)]
    assert summary_of(rows) == summary_of(rows[:1], rows[1:2], rows[2:])


def test_scored_and_rejected_add_up_to_the_rows() -> None:
    counts = summary_of(
        [
            scored(0, 0.5),
            rejected(1, RejectionReason.EMPTY_ANSWER),
            rejected(2, RejectionReason.MALFORMED),
            rejected(3, RejectionReason.EMPTY_ANSWER),
        ]
    )
    assert (counts["rows"], counts["scored"], counts["rejected"]) == (4, 1, 3)
    assert counts["rejected_by_reason"] == {"empty_answer": 2, "malformed": 1}


def test_quantiles_are_of_scored_rows() -> None:
    quantiles = summary_of([scored(row, row / 100) for row in range(101)])["quantiles"]
    assert isinstance(quantiles, dict)
    assert quantiles["0"] == 0
    assert quantiles["50"] == 0.5
    assert quantiles["95"] == 0.95
    assert quantiles["100"] == 1


def test_mean_losses_are_over_tokens_not_over_rows() -> None:
    long = RowScore(
        row=0,
        score=0.5,
        conditioned=SpanLoss(nll=90.0, num_tokens=90),
        direct=SpanLoss(nll=180.0, num_tokens=90),
    )
    short = RowScore(
        row=1,
        score=0.5,
        conditioned=SpanLoss(nll=30.0, num_tokens=10),
        direct=SpanLoss(nll=20.0, num_tokens=10),
    )
    numbers = summary_of([long, short])
    assert numbers["mean_loss_conditioned"] == 1.2
    assert numbers["mean_loss_direct"] == 2.0


def test_truncated_rows_and_scores_of_one_or_more_are_shares_of_scored_rows() -> None:
    numbers = summary_of(
        [
            scored(0, 0.5, Flag.TRUNCATED),
            scored(1, 1.0),
            scored(2, 0.9),
            scored(3, 0.2),
            rejected(4, RejectionReason.NO_ANSWER),
        ]
    )
    assert numbers["share_truncated"] == 0.25
    assert numbers["share_at_least_1"] == 0.25
    assert numbers["flagged"] == {"truncated": 1}


def test_a_run_in_which_every_row_was_rejected_has_a_summary() -> None:
    numbers = summary_of([rejected(0, RejectionReason.ANSWER_TOO_SHORT)])
    assert numbers["quantiles"] == {}
    assert numbers["share_at_least_1"] is None
    assert numbers["mean_loss_direct"] is None


def test_it_warns_when_the_prompt_helps_few_rows() -> None:
    numbers = summary_of([scored(0, 0.5), scored(1, 1.5), scored(2, 1.25)])
    (warning,) = warnings(numbers)
    assert "67%" in warning
    assert "template" in warning


def test_it_warns_about_rejected_rows_and_names_the_main_reason() -> None:
    rows = [scored(row, 0.5) for row in range(7)]
    rows += [rejected(7, RejectionReason.MALFORMED)]
    rows += [rejected(row, RejectionReason.EMPTY_ANSWER) for row in (8, 9)]
    (warning,) = warnings(summary_of(rows))
    assert "30.0%" in warning
    assert "empty_answer" in warning


def test_it_is_silent_about_an_ordinary_run() -> None:
    assert warnings(summary_of([scored(row, 0.7) for row in range(10)])) == []


def test_scores_of_one_and_more_are_nothing_to_warn_of_but_in_ifd() -> None:
    summary = Summary()
    summary.add(score_batch([scored(0, 1.5), scored(1, 1.2)]))
    numbers = summary.as_dict("s2l")
    assert numbers["share_at_least_1"] is None
    assert warnings(numbers) == []


def test_it_warns_when_the_proxy_did_not_learn() -> None:
    learned = [scored(row, 0.7) for row in range(9)]
    one, two = (scored(row, 0.1, Flag.UNLEARNED) for row in (9, 10))
    assert warnings(summary_of([*learned, one])) == []
    (warning,) = warnings(summary_of([*learned, one, two]))
    assert "18%" in warning
    assert "learning_rate" in warning
