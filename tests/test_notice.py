from __future__ import annotations

import logging

from claudeprov.notice import Notices
from claudeprov.testing import ManualClock


def test_a_notice_reaches_all_who_listen_with_its_time_and_call():
    clock = ManualClock()
    notices = Notices(clock)
    heard = []
    notices.listen(heard.append)
    notices.listen(heard.append)
    notices.post("breaker.changed", "call_1", state="open")
    assert len(heard) == 2
    assert heard[0] is heard[1]
    assert (heard[0].name, heard[0].call_id, heard[0].at, heard[0].fields) == (
        "breaker.changed",
        "call_1",
        clock.now(),
        {"state": "open"},
    )


def test_who_stops_listening_hears_no_more():
    notices = Notices(ManualClock())
    heard, still = [], []
    stop = notices.listen(heard.append)
    notices.listen(still.append)
    notices.post("retry.waiting")
    stop()
    stop()
    notices.post("retry.waiting")
    assert (len(heard), len(still)) == (1, 2)


def test_a_listener_that_fails_is_logged_and_the_others_hear(caplog):
    notices = Notices(ManualClock())
    heard = []
    notices.listen(lambda notice: 1 / 0)
    notices.listen(heard.append)
    with caplog.at_level(logging.ERROR):
        notices.post("retry.waiting")
    assert heard
    assert "retry.waiting" in caplog.text
