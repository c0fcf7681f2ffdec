# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to log in, with every module and both drivers: TLS with certificates on both ends, and the Unix socket."""

from __future__ import annotations

import datetime
import ipaddress
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kit.cluster import Cluster
from kit.pairs import Pair
from kit.pairs import pair as new_pair
from modules_support import DRIVERS, MODULES, ModuleFailed, a_call, install, run_module

every_module = pytest.mark.parametrize("module", MODULES)
both_drivers = pytest.mark.parametrize("driver", DRIVERS)
# May log in with a certificate only.
CERTIFIED = "certified"


@dataclass(frozen=True)
class Authority:
    """Signs certificates, itself first."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    subject: x509.Name

    @property
    def file(self) -> Path:
        return self.folder / "ca.crt"

    def sign(self, name: str, subject: x509.Name, key: ec.EllipticCurvePrivateKey, is_authority: bool = False) -> Path:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
        )
        signed = builder.sign(self.key, hashes.SHA256())
        path = self.folder / f"{name}.crt"
        path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return path

    def pair(self, common_name: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(common_name, named(common_name), key)
        path = self.folder / f"{common_name}.key"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path.chmod(0o600)
        return certificate, path


def named(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def authority(folder: Path) -> Authority:
    made = Authority(folder, ec.generate_private_key(ec.SECP256R1()), named(f"Test authority {folder.name}"))
    made.sign("ca", made.subject, made.key, is_authority=True)
    return made


@dataclass(frozen=True)
class Secured:
    pair: Pair
    certified: dict[str, Any]
    other_authority: Path


@pytest.fixture(scope="module")
def secured(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """The server with TLS for as long as these tests run, and a login that needs a certificate."""
    ours, theirs = (authority(tmp_path_factory.mktemp(name)) for name in ("ours", "theirs"))
    settings = dict(zip(("ssl_cert_file", "ssl_key_file"), ours.pair("server"), strict=True))
    settings["ssl_ca_file"] = ours.file
    hba = server.data / "pg_hba.conf"
    before = hba.read_text(encoding="utf-8")
    with new_pair(server) as pair:
        install(pair)
        admin = pair.litellm_admin
        admin.run(f"CREATE ROLE {CERTIFIED} LOGIN SUPERUSER")
        for name, source in settings.items():
            # Beside the data, where the server's own user can read them.
            path = server.data / name
            path.write_bytes(source.read_bytes())
            path.chmod(0o600)
            if server.os_user is not None:
                entry = pwd.getpwnam(server.os_user)
                os.chown(path, entry.pw_uid, entry.pw_gid)
            admin.run(f"ALTER SYSTEM SET {name} = '{name}'")
        admin.run("ALTER SYSTEM SET ssl = on")
        hba.write_text(f"hostssl all {CERTIFIED} 127.0.0.1/32 cert\n{before}", encoding="utf-8")
        admin.run("SELECT pg_reload_conf()")
        certificate, key = ours.pair(CERTIFIED)
        login = {"ssl_mode": "verify-full", "ca_cert": str(ours.file), "login_user": CERTIFIED, "login_password": ""}
        try:
            yield Secured(pair, {**login, "ssl_cert": str(certificate), "ssl_key": str(key)}, theirs.file)
        finally:
            hba.write_text(before, encoding="utf-8")
            for name in ("ssl", *settings):
                admin.run(f"ALTER SYSTEM RESET {name}")
            admin.run("SELECT pg_reload_conf()")
            admin.run(f"DROP ROLE {CERTIFIED}")


def fails(module: str, options: dict[str, Any], driver: str) -> str:
    with pytest.raises(ModuleFailed) as failed:
        run_module(module, options, check=True, driver=driver)
    return str(failed.value)


@pytest.mark.parametrize("module", [module for module in MODULES if module != "bridge_preflight_info"])
@both_drivers
def test_tls_with_certificates_on_both_ends(secured: Secured, module: str, driver: str) -> None:
    options = {**a_call(secured.pair, module), **secured.certified}
    run_module(module, options, check=True, driver=driver)
    assert "certificate" in fails(module, {**options, "ssl_cert": "", "ssl_key": ""}, driver)
    message = fails(module, {**options, "ca_cert": str(secured.other_authority)}, driver)
    assert "certificate verify failed" in message and message.endswith("check ssl_mode and ca_cert")


@both_drivers
def test_tls_of_the_second_login(secured: Secured, driver: str) -> None:
    login = secured.certified
    options = {
        **a_call(secured.pair, "bridge_info"),
        "openwebui_login_user": login["login_user"],
        "openwebui_login_password": "",
        "openwebui_ssl_mode": login["ssl_mode"],
        "openwebui_ca_cert": login["ca_cert"],
        "openwebui_ssl_cert": login["ssl_cert"],
        "openwebui_ssl_key": login["ssl_key"],
    }
    assert run_module("bridge_info", options, driver=driver)["openwebui"]["installed"] is True
    options["openwebui_ca_cert"] = str(secured.other_authority)
    (unseen,) = run_module("bridge_info", options, driver=driver)["unseen"]
    assert unseen["what"] == "openwebui" and unseen["reason"].endswith("check openwebui_ssl_mode and openwebui_ca_cert")


@every_module
@both_drivers
def test_the_unix_socket(secured: Secured, module: str, driver: str) -> None:
    options = {**a_call(secured.pair, module), "login_password": ""}
    options.update({"login_host": "", "login_unix_socket": str(secured.pair.cluster.socket_dir)})
    run_module(module, options, check=True, driver=driver)


@both_drivers
def test_the_unix_socket_of_the_second_login(secured: Secured, driver: str) -> None:
    second = {"openwebui_login_host": "", "openwebui_login_unix_socket": str(secured.pair.cluster.socket_dir)}
    options = {**a_call(secured.pair, "bridge_info"), **second, "openwebui_connect_params": {"password": "unused"}}
    assert run_module("bridge_info", options, driver=driver)["openwebui"]["installed"] is True
