# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Docker engine on this machine, and images of Debian with systemd made by debootstrap: no registry takes part.

Usage: python3 -m kit.engine start | images DISTRIBUTION | stop
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kit.common import REPO, KitError, as_program, cache_dir, is_running, locked, run_logged, say
from kit.prepare import apt_install, as_root

# Debian's name for each version that the scenarios run on.
SUITES = {"debian12": "bookworm", "debian13": "trixie"}
REPOSITORY = NETWORK = "user-bridge"
# On every container and network that molecule/shared/create.yml makes.
LABEL = "llmops.user_bridge=molecule"
# In the names of what the role postgres makes in the scenario `container`; the role gives no labels.
ROLES_OWN = "user-bridge-molecule"
# What systemd and Ansible's modules need, and what the scenarios look at the host with; nothing that the roles install.
_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "python3", "python3-apt"),
    *("sudo", "ca-certificates", "procps", "iproute2", "openssl"),
)
ENTRYPOINT = REPO / "molecule" / "container" / "entrypoint.sh"
_START_SECONDS = 30
_STOP_SECONDS = 30


def is_ready() -> bool:
    """Whether an engine answers to whatever DOCKER_HOST, or the default socket, leads to."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "version", "--format", "{{.Server.Version}}"], capture_output=True, check=False)
    return asked.returncode == 0


def ensure_engine() -> None:
    """Install Docker where it is missing, and start it where nothing answers."""
    if is_ready():
        return
    if os.environ.get("DOCKER_HOST"):
        raise KitError(f"no Docker engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}")
    if shutil.which("docker") is None or shutil.which("dockerd") is None:
        apt_install("docker.io")
    if not is_ready():
        _start()


def _start() -> None:
    """dockerd as a process of its own, with its log in the cache: a machine without an init has no other."""
    say("Starting dockerd")
    log = cache_dir() / "dockerd.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*as_root(), "dockerd"], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, start_new_session=True
        )
    _pid_file().write_text(str(process.pid), encoding="ascii")
    deadline = time.monotonic() + _START_SECONDS
    while not is_ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-20:])
            raise KitError(f"dockerd did not start; the end of {log}:\n{tail}")
        time.sleep(0.2)


def stop_engine() -> None:
    """Remove what scenarios may have left, and stop the dockerd that ensure_engine() started, but no other."""
    if is_ready():
        _remove_leftovers()
    with contextlib.suppress(FileNotFoundError):
        pid = int(_pid_file().read_text(encoding="ascii"))
        # The number may be another process's by now.
        if is_running(pid) and b"dockerd" in Path(f"/proc/{pid}/cmdline").read_bytes():
            say("Stopping dockerd")
            subprocess.run([*as_root(), "kill", f"-{signal.SIGTERM.name}", str(pid)], check=True)
            deadline = time.monotonic() + _STOP_SECONDS
            while is_running(pid) and time.monotonic() < deadline:
                time.sleep(0.2)
        _pid_file().unlink()


def _remove_leftovers() -> None:
    for kind, removal in (("container", ["rm", "--force", "--volumes"]), ("network", ["rm"]), ("volume", ["rm"])):
        for filtered in (f"label={LABEL}", f"name={ROLES_OWN}"):
            every = ["--all"] if kind == "container" else []
            listed = ["docker", kind, "ls", *every, "--quiet", "--filter", filtered]
            found = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.split()
            if found:
                subprocess.run(["docker", kind, *removal, *found], capture_output=True, check=True)


def _pid_file() -> Path:
    return cache_dir() / "dockerd.pid"


def ensure_network() -> str:
    """The network in which the hosts know each other by name; returns the address that the engine's machine has in it.

    Docker makes a second one of the same name without a word.
    """
    inspect = ["docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", NETWORK]
    found = subprocess.run(inspect, capture_output=True, text=True, check=False)
    if found.returncode:
        subprocess.run(["docker", "network", "create", "--label", LABEL, NETWORK], capture_output=True, check=True)
        found = subprocess.run(inspect, capture_output=True, text=True, check=True)
    return found.stdout.strip()


def socket() -> str:
    """Where the engine's machine has the engine's socket."""
    host = os.environ.get("DOCKER_HOST", "")
    return host.removeprefix("unix://") if host.startswith("unix://") else "/var/run/docker.sock"


@dataclass(frozen=True)
class Image:
    """One layer of the stack: what it is built on, and the Dockerfile that builds it, with the files that it copies."""

    name: str
    base: str
    dockerfile: str
    files: Mapping[str, str]


def images(distribution: str) -> tuple[Image, Image, Image]:
    """Each is built on the one before.

    A bare machine with a user who may sudo; the same with PostgreSQL as the distribution's package leaves it;
    PostgreSQL alone, which takes what its official image takes.
    """
    kept = Path(__file__).with_name("compiled.py").read_text(encoding="utf-8")
    first, entrypoint = {"script": _PREPARE, "compiled.py": kept}, ENTRYPOINT.read_text(encoding="utf-8")
    bare = _image(distribution, _base_name(distribution), _BARE, first)
    server = _image(distribution, bare.name, _SERVER, {"script": _INSTALL})
    return bare, server, _image(distribution, server.name, _POSTGRES, {"script": entrypoint})


def _image(distribution: str, base: str, dockerfile: str, files: Mapping[str, str]) -> Image:
    return Image(_tagged(distribution, base, dockerfile, *files.values()), base, dockerfile, files)


def _base_name(distribution: str) -> str:
    return _tagged(distribution, _suite(distribution), *_PACKAGES)


def _tagged(distribution: str, *recipe: str) -> str:
    """The tag names all that the image is made of, so that a change makes a new one."""
    return f"{REPOSITORY}/{distribution}:{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}"


def _suite(distribution: str) -> str:
    if distribution not in SUITES:
        raise KitError(f"there is no image of {distribution}: there are {', '.join(SUITES)}")
    return SUITES[distribution]


# The archives wait in apt's cache: installing them is what is tested, not the network. Package scripts may start
# services, as on a machine. Units without a meaning in a container only cost time.
_PREPARE = """
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y install --download-only --no-install-recommends \\
    postgresql postgresql-client python3-psycopg2 python3-requests acl
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/user-bridge
rm -f /usr/sbin/policy-rc.d /etc/machine-id
touch /etc/machine-id
systemctl mask console-getty.service getty@.service systemd-logind.service systemd-udevd.service \\
    systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer
useradd --create-home admin
echo 'admin ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/admin
# Each run of a module would compile anew whatever it imports.
mkdir -m 1777 /var/tmp/compiled
echo 'import pathlib, kept_compiled; kept_compiled.keep_modules(pathlib.Path("/var/tmp/compiled"))' \\
    >/usr/lib/python3/dist-packages/kept_compiled.pth
"""

_INSTALL = """
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q -y install --no-install-recommends postgresql python3-psycopg2 acl
"""

_SERVER = """
FROM {base}
COPY script /
RUN sh /script && rm /script
ENV container=docker
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
"""

_BARE = f"""{_SERVER}
COPY compiled.py /usr/lib/python3/dist-packages/kept_compiled.py
"""

_POSTGRES = """
FROM {base}
COPY script /usr/local/bin/docker-entrypoint.sh
RUN chmod 0755 /usr/local/bin/docker-entrypoint.sh && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""


def ensure_images(distribution: str, wanted: int = 3) -> list[str]:
    """Names of the first of images(), with systemd as process 1; made on first use, in about two minutes."""
    log = cache_dir() / f"image-{distribution}.log"
    with locked(cache_dir() / f"image-{distribution}.lock"):
        stack = images(distribution)[:wanted]
        missing = [image for image in stack if not _has_image(image.name)]
        if missing:
            log.unlink(missing_ok=True)
        if stack[0] in missing and not _has_image(stack[0].base):
            _import(distribution, stack[0].base, log)
        for image in missing:
            _build(image, log)
    return [image.name for image in stack]


def _has_image(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


def _build(image: Image, log: Path) -> None:
    say(f"Making the image {image.name} (once, about 20 s)")
    with tempfile.TemporaryDirectory(prefix="user-bridge-image-") as context:
        for name, text in image.files.items():
            (Path(context) / name).write_text(text, encoding="utf-8")
        (Path(context) / "Dockerfile").write_text(image.dockerfile.format(base=image.base), encoding="utf-8")
        # The classic builder: Debian's package brings no other.
        environment = {**os.environ, "DOCKER_BUILDKIT": "0"}
        run_logged(["docker", "build", "--tag", image.name, context], log, f"image {image.name}", env=environment)


def _import(distribution: str, base: str, log: Path) -> None:
    """A minimal Debian, from its archive alone."""
    if shutil.which("debootstrap") is None:
        apt_install("debootstrap")
    say(f"Making the image {base} with debootstrap (once, about 90 s)")
    mirror = os.environ.get("USER_BRIDGE_DEBIAN_MIRROR", "http://deb.debian.org/debian")
    root = as_root()
    what = f"debootstrap of {distribution}"
    # Device nodes and files of root's: not in the cache, which a container runtime may have mounted with nodev.
    home = Path(tempfile.mkdtemp(prefix="user-bridge-debootstrap-", dir="/var/tmp"))
    rootfs, archive = home / "rootfs", home / "rootfs.tar"
    try:
        include = f"--include={','.join(_PACKAGES)}"
        debootstrap = ["debootstrap", "--variant=minbase", include, _suite(distribution), str(rootfs), mirror]
        run_logged([*root, "env", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *debootstrap], log, what)
        run_logged([*root, "tar", "--numeric-owner", "-C", rootfs, "-cf", archive, "."], log, what)
        run_logged(["docker", "import", archive, base], log, what)
    finally:
        _remove(root, home, log)


def _remove(root: list[str], home: Path, log: Path) -> None:
    """debootstrap mounts /proc and /sys into what it makes, and leaves them there when it is interrupted."""
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    for mount in reversed(mounts):
        if Path(mount).is_relative_to(home):
            run_logged([*root, "umount", mount], log, f"umount {mount}")
    run_logged([*root, "rm", "-rf", "--one-file-system", home], log, "cleaning up")


def main(arguments: list[str]) -> None:
    if arguments == ["start"]:
        ensure_engine()
    elif arguments[:1] == ["images"] and len(arguments) == 2:
        print(*ensure_images(arguments[1]), sep="\n")
    elif arguments == ["stop"]:
        stop_engine()
    else:
        raise KitError((__doc__ or "").strip())


if __name__ == "__main__":
    as_program(main)
