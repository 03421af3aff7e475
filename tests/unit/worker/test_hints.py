"""What a worker takes for a hint, and what Celery gets in its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.ids import is_id, new_id
from app.queue.names import RUN_JOB
from tests.fixtures.broker_messages import malformed_messages
from worker.hints import hinted_job, task_message

JOB_ID = new_id("job")
MALFORMED = malformed_messages(JOB_ID)


def test_an_id_alone_is_a_hint() -> None:
    assert hinted_job(JOB_ID.encode()) == JOB_ID


@pytest.mark.parametrize("number", range(len(MALFORMED)))
def test_whatever_else_lies_in_a_queue_is_not(number: int) -> None:
    assert hinted_job(MALFORMED[number]) is None


@given(st.one_of(st.binary(max_size=80), st.text(max_size=40).map(str.encode), st.none(), st.integers()))
def test_no_item_raises_and_none_passes_that_is_not_an_id_of_a_job(item: object) -> None:
    found = hinted_job(item)
    assert found is None or is_id("job", found)


def test_celery_gets_a_message_of_ours_that_schedules_nothing_and_calls_nothing_back() -> None:
    message = json.loads(task_message(JOB_ID, "a queue"))
    assert json.loads(message["body"]) == [[], {"job_id": JOB_ID}, {}]
    assert message["headers"]["task"] == RUN_JOB
    assert set(message["headers"]) == {"lang", "task", "id", "root_id", "argsrepr"}
    assert message["properties"]["delivery_info"]["routing_key"] == "a queue"
