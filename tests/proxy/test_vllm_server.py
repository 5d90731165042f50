"""The server engine against a server that fails on command: what is asked again, what ends it, and how soon."""

from __future__ import annotations

import math
import random
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from pydantic import SecretStr

from tests.fakes import FakeEngine, token_losses
from tests.proxy.folders import TINY
from tests.proxy.vllm_app import (
    App,
    Fault,
    Json,
    breaks_off,
    changed,
    drops,
    encoded,
    garbles,
    hangs,
    running,
    says,
)
from winnow.errors import (
    ConfigurationError,
    EngineError,
    ModelError,
    ModelNotFound,
    RevisionMismatch,
)
from winnow.proxy import models
from winnow.proxy.engine import Span, SpanLoss
from winnow.proxy.loading import load_engine
from winnow.proxy.vllm_server import MAX_PROMPTS, PROBES, VLLMServerEngine
from winnow.settings import Settings, settings_table
from winnow.spec import RunSpec

FIRST = 1
"""Requests that a block asks before its own: the probes."""


@pytest.fixture
def app() -> Iterator[App]:
    with running(App()) as app:
        yield app


@pytest.fixture
def by_token_id() -> Iterator[App]:
    with running(App(scale_out=True)) as app:
        yield app


def engine(app: App, **options: object) -> VLLMServerEngine:
    """An engine on the server, impatient unless told otherwise; what its start asked is forgotten."""
    given = {"model": "tiny", "url": app.url, "timeout_s": 5.0, "patience_s": 10.0} | options
    made = VLLMServerEngine(TINY, **given)  # type: ignore[arg-type]
    app.asked.clear()
    app.most_at_once = 0
    return made


def spans(count: int = 40, longest: int = 128) -> list[Span]:
    draw = random.Random(1)  # noqa: S311
    made = []
    for _ in range(count):
        length = draw.randint(2, longest)
        tokens = [draw.randrange(1024) for _ in range(length)]
        made.append(Span(tokens=tokens, start=draw.randrange(1, length)))
    return made


def losses(engine: VLLMServerEngine, of: Sequence[Span]) -> list[SpanLoss]:
    return engine.losses(of, on_batch=lambda _: None, on_replan=lambda _: None)


def right(got: Sequence[SpanLoss], of: Sequence[Span]) -> bool:
    return [loss.num_tokens for loss in got] == [len(span.tokens) - span.start for span in of] and [
        loss.nll for loss in got
    ] == pytest.approx([sum(token_losses(span.tokens)[span.start :]) for span in of], rel=1e-6)


def test_losses_come_in_the_order_of_their_spans(app: App) -> None:
    assert right(losses(engine(app), spans()), spans())


def test_no_spans_ask_nothing(app: App) -> None:
    idle = engine(app)
    assert losses(idle, []) == []
    assert app.asked == []


def test_requests_are_the_same_for_the_same_lengths_and_bounded_in_tokens_and_prompts(
    app: App,
) -> None:
    here = engine(app, token_budget=100_000, requests_in_flight=1)
    batch = [*spans(count=10), *(Span(tokens=[1, 2], start=1) for _ in range(600))]
    losses(here, batch)
    first = app.prompts()
    assert max(first) == MAX_PROMPTS
    app.asked.clear()
    losses(here, batch)
    assert app.prompts() == first

    app.asked.clear()
    losses(engine(app, token_budget=256), spans())
    sizes = [sum(map(len, body["prompt"])) for _, body in app.asked]
    assert max(sizes) <= 256


def test_progress_is_told_in_the_callers_thread_and_ends_at_all_spans(app: App) -> None:
    heard: list[tuple[int, threading.Thread]] = []
    engine(app, token_budget=256).losses(
        spans(),
        on_batch=lambda done: heard.append((done, threading.current_thread())),
        on_replan=lambda _: None,
    )
    counts = [done for done, _ in heard]
    assert len(set(counts)) > 5
    assert counts == sorted(counts)
    assert counts[-1] == 40
    assert {thread for _, thread in heard} == {threading.current_thread()}


def test_no_more_requests_are_in_flight_than_allowed(app: App) -> None:
    app.delay_s = 0.02
    losses(engine(app, token_budget=128, requests_in_flight=3), spans())
    assert app.most_at_once == 3


# What may pass


@pytest.mark.parametrize(
    "fault",
    [
        *(says(status) for status in (408, 425, 429, 500, 503)),
        *(drops, breaks_off, garbles, hangs(1.5)),
    ],
    ids=["408", "425", "429", "500", "503", "drops", "breaks off", "garbles", "hangs"],
)
def test_a_passing_fault_is_asked_again_and_changes_no_value(app: App, fault: Fault) -> None:
    here = engine(app, timeout_s=1.0)
    assert right(losses(here, spans()), spans())
    undisturbed = sorted(app.prompts())
    app.asked.clear()
    app.faults = deque([None] * FIRST + [fault, fault])
    assert right(losses(here, spans()), spans())
    assert len(app.asked) == len(undisturbed) + 2


def test_many_passing_faults_change_no_value(app: App) -> None:
    here = engine(app, token_budget=128)
    draw = random.Random(3)  # noqa: S311
    faults = [None, None, says(429), says(503), drops, breaks_off, garbles]
    app.faults = deque(draw.choices(faults, k=40))
    assert right(losses(here, spans()), spans())
    assert not app.faults


@pytest.mark.parametrize(
    ("asked", "least_s"),
    [("1", 1.0), (format_datetime(datetime.now(UTC) + timedelta(days=-1)), 0.0), ("soon", 0.0)],
    ids=["seconds", "a time that is past", "nonsense"],
)
def test_retry_after_is_kept_to(app: App, asked: str, least_s: float) -> None:
    here = engine(app)
    app.faults = deque([says(429, Retry_After=asked)])
    started = time.monotonic()
    assert right(losses(here, spans(2)), spans(2))
    assert least_s <= time.monotonic() - started < least_s + 0.9


def test_retry_after_may_name_a_time(app: App) -> None:
    here = engine(app)
    at = datetime.now(UTC) + timedelta(seconds=2)
    app.faults = deque([says(503, Retry_After=format_datetime(at, usegmt=True))])
    assert right(losses(here, spans(2)), spans(2))
    # The header knows whole seconds only.
    assert datetime.now(UTC) >= at.replace(microsecond=0)


# What ends it


def test_a_server_that_keeps_failing_ends_in_an_error_within_the_patience(app: App) -> None:
    here = engine(app, patience_s=1.0)
    app.always = says(503, "the engine is dead")
    started = time.monotonic()
    with pytest.raises(EngineError, match="503 the engine is dead"):
        losses(here, spans())
    assert 1.0 <= time.monotonic() - started < 2.0
    assert 2 < len(app.asked) < 10


def test_a_server_that_never_answers_ends_in_an_error_within_the_patience(app: App) -> None:
    here = engine(app, timeout_s=0.3, patience_s=0.5)
    app.always = hangs(2.0)
    started = time.monotonic()
    with pytest.raises(EngineError, match=r"no answer in 0\.3 s"):
        losses(here, spans())
    assert time.monotonic() - started < 0.5 + 2 * 0.3 + 0.5


def test_a_server_that_wants_to_be_left_alone_for_longer_than_the_patience_is(app: App) -> None:
    here = engine(app)
    app.always = says(429, Retry_After="3600")
    started = time.monotonic()
    with pytest.raises(EngineError, match="429"):
        losses(here, spans())
    assert time.monotonic() - started < 1.0


def test_a_server_that_went_away_in_a_block_ends_it_and_when_back_is_used_again() -> None:
    with running(App()) as app:
        here = engine(app, token_budget=128, patience_s=1.0, requests_in_flight=2)
        port = int(app.url.rpartition(":")[2])
        app.always = drops
        with pytest.raises(EngineError, match="RemoteProtocolError"):
            losses(here, spans())
    with pytest.raises(EngineError, match="ConnectError"):
        losses(here, spans())
    with running(App(), port=port):
        assert right(losses(here, spans()), spans())


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (says(400, "no such parameter"), ModelError),
        (says(404, "no such model"), ModelError),
        (says(501, "not implemented here"), ModelError),
        (says(401, "no such key"), ConfigurationError),
    ],
)
def test_a_refusal_is_not_asked_again_and_has_the_servers_words(
    app: App, fault: Fault, error: type[Exception]
) -> None:
    here = engine(app)
    app.always = fault
    with pytest.raises(error, match=r"no such|not implemented"):
        losses(here, spans())
    assert len(app.asked) == FIRST


def _without_a_choice(answer: Json) -> None:
    answer["choices"].pop()


def _without_an_entry(answer: Json) -> None:
    answer["choices"][0]["prompt_logprobs"].pop()


def _with_another_token(answer: Json) -> None:
    answer["choices"][0]["prompt_logprobs"][-1] = {"2000": {"logprob": -1.0}}


def _with_another_token_before_the_scored_ones(answer: Json) -> None:
    answer["choices"][0]["prompt_logprobs"][1] = {"2000": {"logprob": -1.0}}


def _for_another_span(answer: Json) -> None:
    answer["choices"][0]["index"] = 1


def _with_a_null(answer: Json) -> None:
    next(iter(answer["choices"][0]["prompt_logprobs"][-1].values()))["logprob"] = None


def _without_logprobs(answer: Json) -> None:
    answer["choices"][0]["prompt_logprobs"] = None


@pytest.mark.parametrize(
    "change",
    [
        dict.clear,
        _without_a_choice,
        _without_an_entry,
        _with_another_token,
        _with_another_token_before_the_scored_ones,
        _for_another_span,
        _with_a_null,
        _without_logprobs,
    ],
)
def test_an_answer_that_lacks_a_value_is_an_error_and_never_a_number(
    app: App, change: Callable[[Json], None]
) -> None:
    here = engine(app)
    app.faults = deque([None] * FIRST + [changed(change)])
    with pytest.raises(EngineError, match="vLLM"):
        losses(here, [Span(tokens=[5, 6, 7, 8], start=2)])


def test_what_progress_raises_cancels_what_the_server_has_and_leaves_the_engine_usable(
    app: App,
) -> None:
    here = engine(app, token_budget=128, requests_in_flight=4)
    heard: list[int] = []

    def stop(done: int) -> None:
        heard.append(done)
        app.delay_s = 3.0
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        here.losses(spans(), on_batch=stop, on_replan=lambda _: None)
    assert time.monotonic() - started < 2.0
    time.sleep(0.3)  # what was on its way arrives
    sent = len(app.asked)
    # The first done and those that were in flight with it or took its place; not the forty of the block.
    assert sent <= FIRST + 2 * 4
    time.sleep(0.5)
    assert len(app.asked) == sent
    assert len(heard) == 1

    app.delay_s = 0.0
    assert right(losses(here, spans(3)), spans(3))


@pytest.mark.parametrize("num_before", [0, FIRST], ids=["at the probes", "at the spans"])
def test_a_cancel_is_heard_while_the_server_is_silent(app: App, num_before: int) -> None:
    here = engine(app, timeout_s=30.0)
    app.faults = deque([None] * num_before + [hangs(20.0)])
    heard: list[int] = []

    def stop_at_the_second(done: int) -> None:
        heard.append(done)
        if len(heard) == 2:
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        here.losses(spans(1), on_batch=stop_at_the_second, on_replan=lambda _: None)
    assert 2.0 <= time.monotonic() - started < 10.0
    assert heard == [0, 0]


# Losses that are no numbers


def test_minus_infinity_is_an_infinite_loss(app: App) -> None:
    here = engine(app)

    def change(answer: Json) -> None:
        next(iter(answer["choices"][0]["prompt_logprobs"][2].values()))["logprob"] = -9999.0

    app.faults = deque([None] * FIRST + [changed(change)])
    assert losses(here, [Span(tokens=[5, 6, 7], start=1)]) == [SpanLoss(nll=math.inf, num_tokens=2)]


def test_a_nan_spoils_no_other_span_of_its_request(app: App) -> None:
    here = engine(app, token_budget=100_000)
    app.poison = 2000  # no probe has it
    batch = spans(20)
    poisoned = {3, 4, 17}
    batch = [
        Span(tokens=[2000, *span.tokens[1:]], start=span.start) if at in poisoned else span
        for at, span in enumerate(batch)
    ]
    got = losses(here, batch)
    assert {at for at, loss in enumerate(got) if math.isnan(loss.nll)} == poisoned
    kept = [at for at in range(20) if at not in poisoned]
    assert right([got[at] for at in kept], [batch[at] for at in kept])


# At start


def test_a_model_is_found_by_its_name_its_files_or_the_name_of_its_repository(app: App) -> None:
    app.name, app.root = "alias", "openai-community/gpt2"
    app.adapters = ("openai-community/gpt2",)
    assert right(losses(engine(app, model="openai-community/gpt2@abc"), spans(2)), spans(2))
    assert right(losses(engine(app, model="alias"), spans(2)), spans(2))
    app.root = str(TINY)
    assert right(losses(engine(app, model="./tiny"), spans(2)), spans(2))


def test_a_server_with_another_model_is_refused_and_told_how_to_name_it(app: App) -> None:
    app.name = "gpt2-medium"
    with pytest.raises(ModelNotFound, match=r"serves gpt2-medium.*--served-model-name gpt2@abc"):
        engine(app, model="gpt2@abc")


def test_a_server_with_a_shorter_window_than_the_runs_is_refused_and_told_its_flags(
    app: App,
) -> None:
    app.max_model_len = 128
    with pytest.raises(ModelError, match=r"127 .*--max-model-len 129 and VLLM_ALLOW_LONG"):
        engine(app)
    with pytest.raises(ModelError, match=r"127 .*--max-model-len 129"):
        engine(app, max_length=500)

    short = engine(app, max_length=127)
    assert short.window == 128
    assert right(losses(short, spans(5, longest=127)), spans(5, longest=127))
    num_asked = len(app.asked)
    with pytest.raises(ModelError, match="max_length=127"):
        losses(short, [Span(tokens=[1] * 128, start=1)])
    assert len(app.asked) == num_asked


def test_a_span_beyond_the_models_window_or_with_nothing_to_score_is_the_callers_error(
    app: App,
) -> None:
    here = engine(app)
    for span in (Span(tokens=[1] * 129, start=1), Span(tokens=[1, 2], start=2)):
        with pytest.raises(ValueError, match="span"):
            losses(here, [span])


def test_a_server_that_is_away_at_the_start_is_said_at_once() -> None:
    with running(App()) as app:
        pass
    started = time.monotonic()
    with pytest.raises(EngineError, match="No vLLM answers at"):
        engine(app)
    assert time.monotonic() - started < 2.0


@pytest.mark.parametrize(
    "url",
    [None, "localhost:8000", "ftp://host", "http://", "http://me:secret@host", "http://host:port"],
)
def test_an_address_that_is_none_is_a_configuration_error(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match="WINNOW_VLLM_URL") as raised:
        VLLMServerEngine(TINY, model="tiny", url=url)
    assert "secret" not in str(raised.value)


def test_an_address_may_end_as_openais_clients_want_it(app: App) -> None:
    assert right(losses(engine(app, url=f"{app.url}/v1/"), spans(2)), spans(2))


def test_a_model_without_finite_losses_is_refused(app: App) -> None:
    app.bias = math.inf
    app.always = changed(
        lambda answer: [
            value.update(logprob=-9999.0)
            for choice in answer["choices"]
            for entry in choice["prompt_logprobs"][1:]
            for value in entry.values()
        ]
    )
    with pytest.raises(ModelError, match="no finite loss"):
        engine(app)


def test_the_key_is_sent_and_shown_nowhere(app: App) -> None:
    app.api_key = "s3cret"
    with pytest.raises(ConfigurationError, match="WINNOW_VLLM_API_KEY"):
        engine(app)
    with pytest.raises(ConfigurationError, match="Unauthorized") as raised:
        engine(app, api_key=SecretStr("wr0ng"))
    assert "wr0ng" not in str(raised.value)

    settings = Settings(vllm_api_key=SecretStr("s3cret"))
    here = engine(app, api_key=settings.vllm_api_key)
    assert right(losses(here, spans(2)), spans(2))
    shown = f"{settings!r} {settings.model_dump()} {settings_table()} {here._address!r}"
    assert "s3cret" not in shown


@pytest.mark.parametrize("key", ["s3cret\nX-More: s3cret", "s3cret\x00", "s3crét"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(app: App, key: str) -> None:
    with pytest.raises(ConfigurationError, match="WINNOW_VLLM_API_KEY") as raised:
        engine(app, api_key=SecretStr(key))
    assert "s3cr" not in str(raised.value)
    assert app.keys == set()


def test_a_key_may_end_a_line_and_an_empty_one_is_none(app: App) -> None:
    engine(app, api_key=SecretStr("s3cret\n"))
    assert app.keys == {"Bearer s3cret"}
    app.keys.clear()
    engine(app, api_key=SecretStr(""))
    assert app.keys == {None}


def test_what_the_http_library_says_of_a_bad_header_is_not_told(app: App) -> None:
    here = engine(app, patience_s=0.0)
    here._address.headers["Authorization"] = "Bearer s3cret\n"
    with pytest.raises(EngineError, match="LocalProtocolError") as raised:
        losses(here, spans(1))
    told = "".join(traceback.format_exception(raised.value))
    assert "s3cret" not in told


def test_the_revision_is_that_of_the_local_files(app: App) -> None:
    assert engine(app).revision == models.revision(TINY)


# Whose losses they are


def test_a_server_that_came_back_as_another_one_is_found_before_the_next_block(app: App) -> None:
    here = engine(app)
    losses(here, spans(2))
    app.asked.clear()
    app.bias = 0.01
    with pytest.raises(RevisionMismatch, match="other losses than when this worker met it"):
        losses(here, spans())
    assert len(app.asked) == FIRST


def test_a_server_that_changed_in_the_middle_of_a_block_is_found_at_its_end(app: App) -> None:
    here = engine(app)

    def change(_: int) -> None:
        app.bias = 0.01

    with pytest.raises(RevisionMismatch):
        here.losses(spans(2), on_batch=change, on_replan=lambda _: None)


def test_rounding_is_no_other_model(app: App) -> None:
    here = engine(app)
    app.bias = 1e-4
    assert len(losses(here, spans(2))) == 2


@dataclass
class Local(FakeEngine):
    """An engine of the local files, whose losses the server gives too, but for `bias`."""

    bias: float = 0.0

    def _loss(self, span: Span) -> SpanLoss:
        nll = sum(token_losses(span.tokens)[span.start :])
        count = len(span.tokens) - span.start
        return SpanLoss(nll=nll + self.bias * count, num_tokens=count)


def test_a_server_with_the_local_weights_is_told_from_one_with_others(app: App) -> None:
    here = engine(app)
    here.compare(Local())
    with pytest.raises(RevisionMismatch, match="--dtype float32"):
        here.compare(Local(bias=0.01))
    coarse = engine(app, dtype="bfloat16")
    coarse.compare(Local(bias=0.01))
    with pytest.raises(RevisionMismatch, match="--dtype bfloat16"):
        coarse.compare(Local(bias=0.2))


def test_what_loads_the_engine_compares_where_it_can(app: App) -> None:
    app.root = str(TINY)
    spec = RunSpec(engine="vllm-server", model=str(TINY))
    with pytest.raises(RevisionMismatch, match="has other weights than"):
        load_engine(spec, settings=Settings(vllm_url=app.url))


# By token id


def test_where_it_is_offered_scored_positions_alone_are_asked_for(by_token_id: App) -> None:
    here = engine(by_token_id)
    assert here.by_token_id
    assert right(losses(here, spans()), spans())
    assert {path for path, _ in by_token_id.asked} == {"/inference/v1/generate"}
    assert len(by_token_id.asked) == len(spans()) + 2 * len(PROBES)


def test_where_it_is_not_offered_every_position_is(app: App) -> None:
    here = engine(app)
    assert not here.by_token_id
    losses(here, spans())
    assert {path for path, _ in app.asked} == {"/v1/completions"}


def test_a_server_that_knows_the_route_and_not_the_field_is_asked_in_the_other_way(
    by_token_id: App,
) -> None:
    by_token_id.faults = deque([None, changed(_without_array)])
    here = engine(by_token_id)
    assert not here.by_token_id
    assert right(losses(here, spans()), spans())


def test_an_array_that_was_left_out_is_asked_for_in_the_other_way(by_token_id: App) -> None:
    here = engine(by_token_id)
    by_token_id.faults = deque([*[None] * len(PROBES), changed(_without_array)])
    assert right(losses(here, spans()), spans())
    paths = [path for path, _ in by_token_id.asked]
    assert paths.count("/v1/completions") == 1


def _without_array(answer: Json) -> None:
    answer["prompt_token_id_logprobs"] = None


@pytest.mark.parametrize(
    "content",
    [encoded(np.zeros((3, 1), np.float32)), "AAAA", "no base64", encoded(np.zeros(2, np.float32))],
    ids=["rows too many", "no array", "no base64", "no column"],
)
def test_an_array_that_is_not_as_asked_is_an_error(by_token_id: App, content: str) -> None:
    here = engine(by_token_id)
    fault = changed(lambda answer: answer.update(prompt_token_id_logprobs=content))
    by_token_id.faults = deque([*[None] * len(PROBES), fault])
    with pytest.raises(EngineError, match="vLLM"):
        losses(here, [Span(tokens=[5, 6, 7], start=1)])


def test_infinities_and_nans_of_an_array_stay_what_they_are(by_token_id: App) -> None:
    here = engine(by_token_id)
    values = np.asarray([[-math.inf], [-1.0]], np.float32)
    fault = changed(lambda answer: answer.update(prompt_token_id_logprobs=encoded(values)))
    by_token_id.faults = deque([*[None] * len(PROBES), fault])
    assert losses(here, [Span(tokens=[5, 6, 7], start=1)])[0].nll == math.inf
    by_token_id.poison = 2000
    assert math.isnan(losses(here, [Span(tokens=[2000, 6], start=1)])[0].nll)
