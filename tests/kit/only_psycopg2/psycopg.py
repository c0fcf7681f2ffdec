# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hides psycopg 3 from whoever has this folder in PYTHONPATH, as on a host that has psycopg2-binary alone."""

raise ImportError("only psycopg2 is meant to be here")
