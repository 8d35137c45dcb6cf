"""What beat puts into Redis: the very messages that Celery would, in order, and none lost where Redis is."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis

from tests.integration.test_beat import Gate
from tests.ledgers import LATENESS_US, a_site, entries_at, now_us
from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.errors import ServiceUnavailable
from wms_tasks.names import CLOSE_SLOTS_TASK, HOUSEKEEPING_QUEUE, PROBE_QUEUE
from wms_tasks.schedule import outbox as outbox_module
from wms_tasks.schedule.entries import Message
from wms_tasks.schedule.outbox import Outbox
from wms_tasks.settings import Settings


@pytest.fixture
def sender(redis_url: str) -> Settings:
    """Settings on the test's Redis alone."""
    return Settings(env="test", broker_url=redis_url)


def orders(count: int) -> list[Message]:
    """Probes of different sites, due now."""
    sites = [a_site(f"s{number}", headers={"X-Wörd": "„…“\u2028"}, jitter_seconds=1.0) for number in range(count)]
    return [entry.message(LATENESS_US) for entry in entries_at(sites, now_us())]


def a_housekeeping_task(**kwargs: Any) -> Message:
    """One."""
    return Message(
        task=CLOSE_SLOTS_TASK,
        queue=HOUSEKEEPING_QUEUE,
        task_id="close-slots.1",
        kwargs=kwargs,
        expires_at=clock.utcnow() + timedelta(seconds=9),
        shown="()",
    )


def taken(settings: Settings, queue: str) -> list[dict[str, Any]]:
    """What is in the queue, oldest first, taken out; bodies decoded."""
    with redis.Redis.from_url(settings.broker_url) as client:
        found = []
        while (raw := client.rpop(f"{settings.key_prefix}{queue}")) is not None:
            message = json.loads(raw)
            found.append(message | {"body": json.loads(base64.b64decode(message["body"]))})
        return found


def by_celery(settings: Settings, messages: Sequence[Message]) -> None:
    """Send them as Celery does."""
    app = app_for(settings)
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection, auto_declare=False)
        for message in messages:
            app.send_task(
                message.task,
                kwargs=message.kwargs,
                task_id=message.task_id,
                queue=message.queue,
                expires=message.expires_at,
                argsrepr=message.shown,
                kwargsrepr="{}",
                producer=producer,
                retry=False,
                ignore_result=True,
                declare=(),
            )


@pytest.mark.parametrize("transport", ["wms", "stock"])
def test_messages_are_field_by_field_what_celery_makes(sender: Settings, transport: str) -> None:
    """But for the tag, which is random, the app's address for answers, and the milliseconds that are left."""
    messages = [*orders(3), a_housekeeping_task(word={"from_us": 1, "ä": [None, 1.5, True]})]
    by_celery(sender.model_copy(update={"broker_transport": transport}), messages)
    theirs = taken(sender, PROBE_QUEUE) + taken(sender, HOUSEKEEPING_QUEUE)
    outbox = Outbox(app_for(sender), sender)
    outbox.send(*messages)
    outbox.close()
    ours = taken(sender, PROBE_QUEUE) + taken(sender, HOUSEKEEPING_QUEUE)
    assert len(ours) == len(theirs) == 4
    tags = [one["properties"].pop("delivery_tag") for one in [*ours, *theirs]]
    assert len(set(tags)) == 8
    assert {len(tag) for tag in tags} == {36}
    addresses = [one["properties"].pop("reply_to") for one in [*ours, *theirs]]
    assert {len(address) for address in addresses} == {36}
    left = [int(one["properties"].pop("expiration")) for one in [*ours, *theirs]]
    assert all(abs(mine - their) < 10_000 for mine, their in zip(left[:4], left[4:], strict=True))
    assert ours == theirs
    assert [list(one) for one in ours] == [list(one) for one in theirs]


def test_what_expired_already_is_sent_as_celery_sends_it(sender: Settings) -> None:
    """With nothing left; no negative number."""
    message = a_housekeeping_task()
    late = Message(**{name: getattr(message, name) for name in message.__slots__} | {"expires_at": clock.EPOCH})
    outbox = Outbox(app_for(sender), sender)
    outbox.send(late)
    outbox.close()
    (ours,) = taken(sender, HOUSEKEEPING_QUEUE)
    by_celery(sender, [late])
    (theirs,) = taken(sender, HOUSEKEEPING_QUEUE)
    assert ours["properties"]["expiration"] == theirs["properties"]["expiration"] == "0"


def test_all_of_a_batch_arrive_in_order(sender: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it goes out in several parts, and to two queues in turn."""
    monkeypatch.setattr(outbox_module, "_PART_BYTES", 5_000)
    messages = orders(500)
    outbox = Outbox(app_for(sender), sender)
    outbox.send(*messages[:400], a_housekeeping_task(), *messages[400:])
    outbox.close()
    assert [one["headers"]["id"] for one in taken(sender, PROBE_QUEUE)] == [one.task_id for one in messages]
    assert len(taken(sender, HOUSEKEEPING_QUEUE)) == 1


def test_a_broken_line_is_said_and_the_next_send_is_on_a_new_one(sender: Settings) -> None:
    """Whoever sends knows nothing of what arrived, and sends all of it again."""
    gate = Gate(sender.broker_url)
    outbox = Outbox(app_for(sender), sender.model_copy(update={"broker_url": gate.url}))
    messages = orders(20)
    outbox.send(*messages[:5])
    gate.shut()
    with pytest.raises(ServiceUnavailable):
        outbox.send(*messages)
    gate.reopen()
    outbox.send(*messages)
    outbox.close()
    outbox.close()
    gate.close()
    ids = [one["headers"]["id"] for one in taken(sender, PROBE_QUEUE)]
    assert ids[-20:] == [one.task_id for one in messages]


def test_what_redis_refuses_is_a_failure_too(sender: Settings) -> None:
    """Full, or the key is something else."""
    with redis.Redis.from_url(sender.broker_url) as client:
        client.set(f"{sender.key_prefix}{PROBE_QUEUE}", "no list")
    outbox = Outbox(app_for(sender), sender)
    with pytest.raises(ServiceUnavailable, match="WRONGTYPE"):
        outbox.send(*orders(1))
    outbox.close()
