# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of pauses and hourly counts: as those in faults_of_trust.py."""

from __future__ import annotations

from collections.abc import Callable

import test_hourly as hourly
import test_metrics as metrics
import test_pause as pauses
from kit.pairs import Pair

Row = tuple[str, str, str, str, Callable[[Pair], None]]

_CONTROL = "engine/litellm/control.sql.j2"
_HOURLY = "engine/litellm/hourly.sql.j2"


def _refused(pair: Pair) -> None:
    pauses.test_an_end_that_never_comes_is_refused(pair, "infinity")


OPERATING: list[Row] = [
    (
        "a pause goes on when it is over",
        _CONTROL,
        "SELECT s.paused AND (s.paused_until > clock_timestamp()) IS NOT FALSE",
        "SELECT s.paused",
        pauses.test_a_pause_that_is_over_holds_up_nothing_without_a_drainer,
    ),
    (
        "a commit does not know that a pause is over",
        "engine/litellm/commit.sql.j2",
        "IF user_bridge.is_paused(s) OR",
        "IF s.paused OR",
        pauses.test_a_pause_that_is_over_holds_up_nothing_without_a_drainer,
    ),
    (
        "a drain does not know that a pause is over",
        "engine/litellm/drain.sql.j2",
        "IF user_bridge.is_paused(s) OR",
        "IF s.paused OR",
        pauses.test_a_pause_that_is_over_holds_up_nothing_without_a_drainer,
    ),
    (
        "nobody ends a pause that is over",
        "engine/litellm/drainer.sql.j2",
        "PERFORM user_bridge.end_pause();",
        "NULL;",
        pauses.test_the_drainer_ends_a_pause_that_is_over,
    ),
    (
        "pausing again takes the end away",
        _CONTROL,
        "     WHERE NOT user_bridge.is_paused(s);",
        "     WHERE true;",
        pauses.test_the_end_can_be_moved_and_the_beginning_stays,
    ),
    (
        "moving the end begins the pause anew",
        _CONTROL,
        "paused_at = CASE WHEN user_bridge.is_paused(s) THEN s.paused_at ELSE clock_timestamp() END",
        "paused_at = clock_timestamp()",
        pauses.test_the_end_can_be_moved_and_the_beginning_stays,
    ),
    (
        "a pause may last for ever by a mistake",
        _CONTROL,
        "IF (p_until > clock_timestamp() AND isfinite(p_until)) IS NOT TRUE THEN",
        "IF p_until <= clock_timestamp() THEN",
        _refused,
    ),
    (
        "what came after the last count of an hour is lost",
        _HOURLY,
        "least(p_hour - interval '1 hour',",
        "least(p_hour,",
        lambda pair: hourly.test_what_is_counted(hourly.lived_in(pair)),
    ),
    (
        "of what waited the last is kept",
        _HOURLY,
        "WHEN 'queue' THEN greatest(h.value, excluded.value)",
        "WHEN 'queue' THEN excluded.value",
        lambda pair: hourly.test_what_is_counted(hourly.lived_in(pair)),
    ),
    (
        "the longest delay of all times is counted every hour",
        _HOURLY,
        "    PERFORM setval('user_bridge.longest_delay', 1);\n",
        "",
        lambda pair: hourly.test_what_is_counted(hourly.lived_in(pair)),
    ),
    (
        "of the delays the last is counted",
        "engine/litellm/drain.sql.j2",
        "IF v_delay > coalesce(pg_sequence_last_value('user_bridge.longest_delay'), 1) THEN",
        "IF true THEN",
        lambda pair: hourly.test_what_is_counted(hourly.lived_in(pair)),
    ),
    (
        "hourly counts are kept for ever",
        _HOURLY,
        "WHERE h.hour < c_hour - interval '30 days'",
        "WHERE false",
        lambda pair: hourly.test_it_is_kept_for_thirty_days(hourly.lived_in(pair)),
    ),
    (
        "what is delivered while no drainer lives is never counted",
        _HOURLY,
        "SELECT max(h.hour) FROM",
        "SELECT p_hour FROM",
        metrics.test_what_was_delivered_while_nobody_counted_is_counted,
    ),
    (
        "nothing is counted in a pause",
        "engine/litellm/upkeep.sql.j2",
        "interval '5 minutes', false, true)",
        "interval '5 minutes', false, false)",
        metrics.test_counting_goes_on_in_a_pause,
    ),
    (
        "a counter counts what it has counted",
        _HOURLY,
        "sum(c.value - coalesce(h.value, 0))",
        "sum(c.value)",
        metrics.test_counters_never_fall,
    ),
    (
        "a counter falls with the audit",
        _HOURLY,
        "AND c.value > coalesce(h.value, 0)",
        "",
        metrics.test_counters_never_fall,
    ),
    (
        "a batch is one delay",
        "engine/litellm/metrics.sql.j2",
        "::bigint, 0) + p_entities,",
        "::bigint, 0) + 1,",
        metrics.test_delays_are_a_histogram,
    ),
    (
        "counting accounts for too long is an outage",
        "entities/user/litellm/initial_password.sql.j2",
        "'UB002' THEN\n    -- No outage: it may be this",
        "'UB003' THEN\n    -- No outage: it may be this",
        metrics.test_counting_that_takes_too_long_is_no_outage,
    ),
]
