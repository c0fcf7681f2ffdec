# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make` needs before anything else runs, with nothing but the standard library.

Usage: python3 -m kit.prepare venv | apt PACKAGE...
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from kit.common import (
    REPO,
    REQUIREMENTS,
    KitError,
    as_program,
    cache_dir,
    install,
    locked,
    required_lines,
    run_logged,
    say,
)

# Open WebUI 0.6.30 to 0.12.4 run on these, ansible 12 and 13 too.
SUPPORTED_PYTHONS = ((3, 11), (3, 12))
VENV = REPO / ".venv"


def venv() -> None:
    """The virtual environment under .venv/, and the link that makes the checkout importable as a collection."""
    if sys.version_info[:2] not in SUPPORTED_PYTHONS:
        raise KitError("Python 3.11 or 3.12 is needed; name one with: make PYTHON=/path/to/python3.11 ...")
    _link_collection()
    constraints = _constraints()
    wanted = (REQUIREMENTS / "dev.txt").read_text(encoding="utf-8") + constraints
    stamp = VENV / "ready"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    if not _has_ensurepip():
        apt_install(f"python{sys.version_info.major}.{sys.version_info.minor}-venv")
    say("Making .venv with Ansible, linters and test tools (once, about 15 s)")
    started = time.monotonic()
    log = cache_dir() / "venv.log"
    log.unlink(missing_ok=True)
    run_logged([sys.executable, "-m", "venv", "--clear", VENV], log, "making .venv")
    pins = VENV / "constraints.txt"
    pins.write_text(constraints, encoding="utf-8")
    install(VENV / "bin" / "python", log, "installing", "-c", str(pins), "-r", str(REQUIREMENTS / "dev.txt"))
    # An empty one, so that no ansible.cfg of the user's takes part; Ansible refuses /dev/null.
    (VENV / "ansible.cfg").touch()
    stamp.write_text(wanted, encoding="utf-8")
    say(f"  done in {time.monotonic() - started:.0f} s")


def _constraints() -> str:
    """dev-constraints.txt, but for another Ansible where USER_BRIDGE_ANSIBLE names one that requirements/ pins."""
    major = os.environ.get("USER_BRIDGE_ANSIBLE", "")
    name = f"ansible-{major}.txt" if major else "dev-constraints.txt"
    if not (REQUIREMENTS / name).exists():
        known = sorted(each.stem.partition("-")[2] for each in REQUIREMENTS.glob("ansible-*.txt"))
        raise KitError(f"USER_BRIDGE_ANSIBLE={major}: requirements/ pins {', '.join(known)}, and 12 without it")
    pins = pins_with(name)
    # pip would leave a pin that is for another Python out, without a word.
    if sys.version_info[:2] < (3, 12) and any("python_version" in pin for pin in pins):
        raise KitError(f"USER_BRIDGE_ANSIBLE={major} needs Python 3.12: add PYTHON=/path/to/python3.12")
    return "\n".join(pins) + "\n"


def pins_with(name: str) -> list[str]:
    """dev-constraints.txt with what another file in requirements/ pins instead."""
    pins = (*required_lines("dev-constraints.txt"), *required_lines(name))
    return list({pin.partition("==")[0]: pin for pin in pins}.values())


def apt_install(*packages: str) -> None:
    """Debian packages, as root or through sudo; those that are there already cost nothing."""
    with locked(cache_dir() / "apt.lock"):
        lacking = [name for name in packages if not _is_installed(name)]
        if lacking:
            _apt_install(lacking)


def _apt_install(lacking: list[str]) -> None:
    if shutil.which("apt-get") is None:
        raise KitError(f"this machine has no apt-get: install by hand what Debian calls {' '.join(lacking)}")
    root = as_root()
    log = cache_dir() / "apt.log"
    say(f"Installing {' '.join(lacking)}")
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"]
    run_logged([*apt, "update"], log, "apt-get update")
    run_logged([*apt, "install", *lacking], log, f"apt-get install {' '.join(lacking)}")


def as_root() -> list[str]:
    """The words before a command that needs root; asks for sudo's password now, while somebody is looking."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None or subprocess.run(["sudo", "-v"], check=False).returncode:
        raise KitError("root rights are needed to install packages: run this as root, or as a user with sudo")
    return ["sudo"]


def _is_installed(package: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    if shutil.which("dpkg-query") is None:
        return False
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "installed"


def _has_ensurepip() -> bool:
    """Debian keeps it in a package of its own."""
    return (Path(sysconfig.get_path("stdlib")) / "ensurepip" / "__main__.py").exists()


def _link_collection() -> None:
    """ansible_collections/llmops/user_bridge is the checkout itself, so that a change needs no build."""
    link = REPO / ".collections" / "ansible_collections" / "llmops" / "user_bridge"
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path("..", "..", ".."))


def main(arguments: list[str]) -> None:
    if arguments == ["venv"]:
        venv()
    elif arguments[:1] == ["apt"]:
        apt_install(*arguments[1:])
    else:
        raise KitError((__doc__ or "").strip())


if __name__ == "__main__":
    as_program(main)
