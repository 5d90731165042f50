"""The folder that carries messages in the embedded mode."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from kombu import Connection, Queue

from winnow.settings import Settings

NUM_MESSAGES = 300


def connect(folder: Path) -> Connection:
    settings = Settings(data_dir=folder).embedded_at("postgresql://nowhere")
    return Connection(
        settings.broker_url,
        transport=settings.broker_transport,
        transport_options=settings.broker_transport_options(),
    )


def send(connection: Connection, number: int, queue: str = "io") -> None:
    connection.Producer().publish({"number": number}, routing_key=queue, serializer="json")


def take(connection: Connection, queue: str = "io") -> int | None:
    message = Queue(queue)(connection.default_channel).get(no_ack=True, accept=["json"])
    return None if message is None else message.payload["number"]


def take_all(folder: Path, taken: list[int], published: threading.Event) -> None:
    with connect(folder) as connection:
        while True:
            were_all_there = published.is_set()
            number = take(connection)
            if number is not None:
                taken.append(number)
            elif were_all_there:
                return


def test_every_message_reaches_exactly_one_of_several_readers_while_messages_are_written(
    tmp_path: Path,
) -> None:
    taken: list[int] = []
    published = threading.Event()
    readers = [
        threading.Thread(target=take_all, args=(tmp_path, taken, published)) for _ in range(2)
    ]
    for reader in readers:
        reader.start()
    with connect(tmp_path) as connection:
        for number in range(NUM_MESSAGES):
            send(connection, number)
    published.set()
    for reader in readers:
        reader.join()
    assert sorted(taken) == list(range(NUM_MESSAGES))


def test_a_reader_takes_only_messages_of_its_queue(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        send(connection, 1, "score.torch.float32.io")
        assert take(connection) is None
        assert take(connection, "score.torch.float32.io") == 1


def test_messages_are_taken_in_the_order_in_which_they_were_sent(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        for number in range(3):
            send(connection, number)
            time.sleep(0.002)  # the order is that of milliseconds
        assert [take(connection) for _ in range(3)] == [0, 1, 2]
