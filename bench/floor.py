# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What any bridge would pay: two plain INSERTs over a kept connection in a deferred trigger, without any guarantee."""

from __future__ import annotations

from dataclasses import replace

from bench.latency import by_turns, create_users
from bench.place import Place
from bench.table import Figure, median
from kit.pairs import PASSWORDS, pair

_REMOTE = """CREATE FUNCTION public.floor(p_id text, p_email text, p_name text) RETURNS boolean
LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO public."user" (id, name, email, role, profile_image_url, created_at, updated_at, last_active_at)
    VALUES (p_id, p_name, p_email, 'user', '/user.png', 1, 1, 1);
    INSERT INTO public.auth (id, email, password, active) VALUES (p_id, p_email, '', true);
    RETURN true;
END $body$"""
_LOCAL = """CREATE EXTENSION dblink SCHEMA public;
CREATE FUNCTION public.floor_deliver() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
BEGIN
    IF NOT 'floor' = ANY (coalesce(public.dblink_get_connections(), '{{}}')) THEN
        PERFORM public.dblink_connect('floor', '{connection}');
    END IF;
    PERFORM FROM public.dblink('floor', format('SELECT public.floor(%L, %L, %L)', 'usr_' || NEW.user_id, NEW.user_email,
                                               NEW.user_alias)) AS d(done boolean);
    RETURN NULL;
END $body$;
CREATE CONSTRAINT TRIGGER floor_deliver AFTER INSERT ON public."LiteLLM_UserTable" DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION public.floor_deliver()"""


def floor(where: Place) -> list[Figure]:
    with pair(where.cluster) as made:
        connection = (
            f"host={where.cluster.host} port={where.cluster.port} dbname={made.openwebui_db} user=openwebui "
            f"password={PASSWORDS['openwebui']} application_name=user_bridge"
        )
        made.openwebui.run(_REMOTE)
        made.litellm_admin.run(_LOCAL.format(connection=connection))
        taken = by_turns(replace(where, bridged=made, drains=False), create_users()[1], where.size.rounds // 3)
    note = f"{median(taken.bare):.3f} ms -> {median(taken.bridged):.3f} ms; blocking call, no ceiling, no guarantee"
    return [
        Figure(
            "floor, two plain INSERTs over a kept connection: added, median",
            median(taken.bridged) - median(taken.bare),
            "ms",
            note=note,
        ),
        Figure("floor: added CPU", taken.cpu_added, "us", note="of both backends"),
        Figure("bare INSERT and COMMIT, median", median(taken.bare), "ms"),
    ]
