# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests to the HTTP APIs of LiteLLM and Open WebUI, with errors that name the variables.

This module_utils is PRIVATE to the collection. It can have breaking changes at any time.
"""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit

from ansible.module_utils.urls import open_url
from ansible_collections.llmops.user_bridge.plugins.module_utils._errors import BridgeError

# What a program says at once, it says within this; a chat may take longer.
TIMEOUT_SECONDS = 15
# LiteLLM's list of all models that there are has two megabytes.
_MAX_BYTES = 64 * 1024 * 1024
_CHUNK = 64 * 1024


@dataclass(frozen=True)
class Program:
    """One of the two programs, and the variables that say where it is and who asks."""

    name: str
    url: str
    url_variable: str
    ca_path: str = ""
    ca_variable: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def where(self) -> str:
        return f"{self.name} at {self.url} ({self.url_variable})"


@dataclass(frozen=True)
class Answer:
    """The body is None where it is no JSON."""

    status: int
    body: Any


def call(program: Program, method: str, path: str, body: Any = None, timeout: float = TIMEOUT_SECONDS) -> Answer:
    """One request; an error status is an answer, too. No message has anything of what was sent or answered in it."""
    if program.ca_path and not os.access(program.ca_path, os.R_OK):
        raise BridgeError(
            f"{program.ca_path} ({program.ca_variable}) cannot be read on this host: give it another path"
        )
    deadline = time.monotonic() + timeout
    try:
        response = open_url(
            program.url.rstrip("/") + path,
            data=None if body is None else json.dumps(body),
            headers={"Accept": "application/json", "Content-Type": "application/json", **program.headers},
            method=method,
            timeout=timeout,
            ca_path=program.ca_path or None,
            # A key goes to nobody but whom the variable names.
            follow_redirects="none",
            # A ~/.netrc would take the place of the key that was given, and of none.
            use_netrc=False,
            decompress=False,
        )
    except HTTPError as error:
        response = error
    except (OSError, HTTPException, ValueError) as error:
        raise BridgeError(_unreachable(program, error)) from None
    status = int(response.code or 0)
    if 300 <= status < 400:
        target = _address(response.headers.get("Location", ""))
        raise BridgeError(
            f"{program.where} answers with a redirect{target}: set {program.url_variable} to where it leads"
        )
    try:
        with response:
            return Answer(status, _parsed(_read(response, deadline)))
    except (OSError, HTTPException) as error:
        raise BridgeError(_unreachable(program, error)) from None


def _read(response: Any, deadline: float) -> bytes:
    """All of it; a program that keeps sending is not waited for."""
    found = b""
    while len(found) <= _MAX_BYTES:
        piece = response.read1(_CHUNK)
        if not piece:
            return found
        found += piece
        if time.monotonic() > deadline:
            raise TimeoutError("the answer did not end in time")
    raise OSError("the answer is too long")


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def _unreachable(program: Program, error: Exception) -> str:
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, ssl.SSLError):
        why = getattr(cause, "verify_message", "") or cause.reason or type(cause).__name__
        return (
            f"{program.where} has no certificate that this host accepts: {why}. Set {program.ca_variable} to a file "
            f"with the certificate of its authority, and {program.url_variable} to the name in its certificate"
        )
    if isinstance(cause, TimeoutError) or "timed out" in str(cause):
        why = "it does not answer in time"
    else:
        why = getattr(cause, "strerror", None) or re.sub(r"\s+", " ", str(cause)) or type(cause).__name__
    return f"{program.where} cannot be reached from this host: {why}. Check {program.url_variable}, and that it runs"


def _address(location: str) -> str:
    """Where a redirect leads, without what could be a secret there."""
    parts = urlsplit(location)
    return f" to {urlunsplit((parts.scheme, parts.netloc.rpartition('@')[2], parts.path, '', ''))}" if location else ""
