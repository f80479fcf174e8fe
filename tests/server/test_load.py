"""S28, S29, S31: more than can be done, clients that leave, a process that fails."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from serving import Running, request, running

from filbert.server.limits import Limits
from filbert.server.worker import SAMPLE as TEXT


def at_once(count: int, ask: Callable[[int], object]) -> None:
    threads = [threading.Thread(target=ask, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def until(true: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(scope="module")
def busy(folder: Path) -> Iterator[Running]:
    """The model served by a process that takes 20 ms for any text."""
    with running([folder], odd=True, each=0.02, limits=Limits(queue=0.3, deadline=10)) as made:
        made.ask(TEXT)
        yield made


def test_S28_what_is_too_much_is_refused_at_once(busy: Running) -> None:
    statuses, refused, after = Counter[int](), list[float](), list[int]()

    def ask(n: int) -> None:
        with httpx.Client(base_url=busy.url, timeout=30, trust_env=False) as client:
            client.get("/health")  # connected
            began = time.monotonic()
            answer = client.post("/predict", json={"inputs": TEXT})
        statuses[answer.status_code] += 1
        if answer.status_code == 429:
            refused.append(time.monotonic() - began)
            after.append(int(answer.headers["retry-after"]))
            assert answer.json()["error_type"] == "Overloaded"

    at_once(40, ask)
    assert set(statuses) == {200, 429}
    assert statuses[200] >= 4
    assert min(after) >= 1
    assert min(refused) < 0.1  # the threads of this test are in the way of the others
    assert busy.model.line.seconds < 0.05
    assert busy.ask("good")


def test_S28_health_is_told_while_work_waits(odd: Running) -> None:
    done: list[int] = []
    busy = threading.Thread(target=lambda: done.append(odd.post(inputs=[["slow"]] * 6).status_code))
    busy.start()
    time.sleep(0.1)
    with httpx.Client(base_url=odd.url, trust_env=False) as client:
        took = []
        for _ in range(5):
            began = time.monotonic()
            assert client.get("/health").status_code == 200
            took.append(time.monotonic() - began)
    assert sorted(took)[2] < 0.1
    busy.join()
    assert done == [200]


def test_S28_what_expired_is_never_computed(folder: Path) -> None:
    with running([folder], odd=True, each=0.02, limits=Limits(deadline=0.5, queue=100)) as slow:
        slow.ask("good")
        before = slow.model.line.computed
        answers = list[int]()
        at_once(30, lambda n: answers.append(slow.client.post("/predict", json={"inputs": [[TEXT]] * 4}).status_code))
        assert set(answers) == {200, 503}
        until(lambda: slow.model.line.waiting == 0 and not slow.model.line.seconds)
        assert slow.model.line.computed - before < 60  # of 120 texts
        assert slow.ask("good")


def test_S29_a_client_that_left_frees_its_place(odd: Running) -> None:
    odd.ask("slow")
    before = odd.model.line.computed
    for _ in range(12):
        odd.raw(request({"inputs": "slow"})).close()
    until(lambda: odd.model.line.waiting == 0 and odd.model.line.seconds == 0)
    assert odd.model.line.computed - before < 12
    assert odd.ask("good")


def test_S31_a_text_that_raises_fails_alone(odd: Running) -> None:
    answer = odd.post(inputs=[["good"], ["raise"], ["bad"]])
    assert (answer.status_code, answer.json()["fields"]) == (503, ["inputs[1]"])
    assert "secret" not in answer.text
    statuses = dict[str, int]()
    texts = ["slow", "slow", "slow", "good", "raise", "bad", "nan", "film"]
    at_once(
        8, lambda n: statuses.__setitem__(texts[n], odd.client.post("/predict", json={"inputs": texts[n]}).status_code)
    )
    assert statuses == {"slow": 200, "good": 200, "raise": 503, "bad": 200, "nan": 503, "film": 200}


def test_S31_nan_is_an_error_and_no_score(odd: Running) -> None:
    answer = odd.post(inputs="nan")
    assert answer.status_code == 503
    assert "NaN" in answer.json()["error"]
    assert odd.ask("good")


def test_S31_a_killed_process_fails_its_own_requests_only(odd: Running) -> None:
    restarts = odd.model.counts.restarts
    statuses = dict[str, int]()

    def ask(name: str, text: str) -> None:
        statuses[name] = odd.client.post("/predict", json={"inputs": text}).status_code

    threads = []
    for name, text in (("first", "die"), ("second", "good one"), ("third", "bad one")):
        threads.append(threading.Thread(target=ask, args=(name, text)))
        threads[-1].start()
        time.sleep(0.01 if name == "first" else 0)
    for thread in threads:
        thread.join()
    assert statuses == {"first": 503, "second": 200, "third": 200}
    assert odd.model.counts.restarts == restarts + 1
    os.kill(odd.model.line.worker.pid, signal.SIGKILL)  # while it does nothing
    until(lambda: odd.model.counts.restarts == restarts + 2 and odd.model.up)
    assert odd.ask("good")


def test_S31_a_stalled_process_is_killed(odd: Running) -> None:
    restarts = odd.model.counts.restarts
    assert odd.post(inputs="stall").status_code == 503
    assert odd.ask("good")  # waits for the new process
    assert odd.model.counts.restarts == restarts + 1
