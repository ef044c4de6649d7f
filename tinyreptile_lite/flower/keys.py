"""Keys of a Flower federation: TLS for the SuperLink, a key pair to know each SuperNode by.

Flower defines what these are: certificates in PEM, and NIST elliptic curve keys in the format of
OpenSSH. OpenSSL and ssh-keygen make the same files.
"""

import datetime
import ipaddress
import os
import re
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from tinyreptile_lite.errors import KitError, file_errors

CA, CERTIFICATE, KEY = "ca.crt", "server.pem", "server.key"
DAYS = 365
LOCAL = ("127.0.0.1", "localhost")


def make_keys(folder: Path, hosts: Iterable[str], nodes: Iterable[str]) -> None:
    """Write the SuperLink's certificates and a key pair for each SuperNode.

    Parameters
    ----------
    folder : Path
        Gets ``ca.crt`` (for every machine), ``server.pem`` and ``server.key`` (for the SuperLink),
        NODE (private, for that node alone) and NODE.pub (to be registered).
    hosts : iterable of str
        Names and addresses by which the nodes reach the SuperLink. Its own computer reaches it at
        127.0.0.1 and localhost, too.
    nodes : iterable of str
        Names of the SuperNodes.

    Raises
    ------
    KitError
        If a file is already there or cannot be written, or a name will not do.
    """
    nodes = list(nodes)
    for name in nodes:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
            raise KitError(f"the node's name is {name!r}; use letters, digits, - and _")
    files = _server_files(list(dict.fromkeys([*hosts, *LOCAL])))
    for name in nodes:
        key = ec.generate_private_key(ec.SECP384R1())
        files[name] = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
        files[f"{name}.pub"] = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    with file_errors("choose a folder you can write to"):
        for path in (folder / name for name in files):
            if path.exists():
                raise KitError(f"{path} is already there; choose another folder for the keys")
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, data in files.items():
            write_private(folder / name, data)


def _server_files(hosts: list[str]) -> dict[str, bytes]:
    """Certificates for one SuperLink; the key that signed them is thrown away."""
    ca_key, key = (ec.generate_private_key(ec.SECP384R1()) for _ in range(2))
    ca_name = _name("TinyReptile on Flower")
    authority = (
        _certificate(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), False)
        .sign(ca_key, hashes.SHA384())
    )
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    certificate = (
        _certificate(_name("TinyReptile SuperLink"), ca_name, key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs=False), critical=True)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), False)
        .add_extension(issuer, False)
        .sign(ca_key, hashes.SHA384())
    )
    return {
        CA: authority.public_bytes(Encoding.PEM),
        CERTIFICATE: certificate.public_bytes(Encoding.PEM),
        KEY: key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    }


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a Pi's clock may be behind
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


def _key_usage(signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", host):
        raise KitError(f"the host is {host!r}; give a name or an address without port")
    return x509.DNSName(host)


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
