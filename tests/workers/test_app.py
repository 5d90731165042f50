"""The settings of Celery on which the guarantees rest; its defaults are otherwise."""

from __future__ import annotations

from pathlib import Path

from winnow.settings import Settings
from workers.app import make_app


def service_settings() -> Settings:
    return Settings(
        database_url="postgresql+psycopg://nowhere",
        broker_url="redis://nowhere",
        blob_url="file:///nowhere",
    )


def test_a_message_is_acknowledged_after_the_work_and_never_waits_in_a_busy_worker() -> None:
    conf = make_app(service_settings()).conf
    assert conf.task_acks_late is True
    assert conf.worker_prefetch_multiplier == 1
    assert conf.worker_pool == "solo"


def test_the_visibility_timeout_is_the_same_in_all_three_places() -> None:
    conf = make_app(service_settings()).conf
    timeouts = {
        conf.visibility_timeout,
        conf.broker_transport_options["visibility_timeout"],
        conf.result_backend_transport_options["visibility_timeout"],
    }
    assert timeouts == {900}


def test_only_json_is_decoded() -> None:
    assert make_app(service_settings()).conf.accept_content == ["json"]


def test_the_embedded_mode_carries_messages_through_its_folder(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path).embedded_at("postgresql+psycopg://nowhere")
    with make_app(settings).connection() as connection:
        assert type(connection.transport).__module__ == "winnow.store.message_folder"


def test_an_application_of_one_installation_does_not_become_that_of_the_process() -> None:
    first, second = make_app(service_settings()), make_app(service_settings())
    assert first.conf is not second.conf
    assert first.tasks is not second.tasks
