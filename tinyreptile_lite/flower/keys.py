"""Keys of a Flower federation: TLS for the SuperLink, a key pair to know each SuperNode by.

Flower defines what these are: certificates in PEM, and NIST elliptic curve keys in the format of
OpenSSH. OpenSSL and ssh-keygen make the same files.
"""

import datetime
import ipaddress
import os
import re
from collections.abc import Iterable
from inspect import signature
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec

from tinyreptile_lite.errors import KitError, file_errors

CA, CERTIFICATE, KEY = "ca.crt", "server.pem", "server.key"
DAYS = 365
LOCAL = ("127.0.0.1", "localhost")
_AUTHORITY = "TinyReptile on Flower"
_NO_USAGE = dict.fromkeys(signature(x509.KeyUsage).parameters, False)  # it wants every one


def make_keys(folder: Path, hosts: Iterable[str], nodes: Iterable[str]) -> None:
    """Write the SuperLink's certificates and a key pair for each SuperNode.

    Raises `KitError` if a file is already there or cannot be written, or a name will not do.

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
    """
    files = _server_files(list(dict.fromkeys([*hosts, *LOCAL])))
    for name in nodes:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", name):
            raise KitError(f"the node's name is {name!r}; use letters, digits, - and _")
        key = ec.generate_private_key(ec.SECP384R1())
        files[name] = _private(key, form.PrivateFormat.OpenSSH)
        public = key.public_key()
        files[f"{name}.pub"] = public.public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
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
    own = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    names = x509.SubjectAlternativeName([_host(host) for host in hosts])
    return {
        CA: _certificate(_AUTHORITY, ca_key, ca_key, own),
        CERTIFICATE: _certificate("TinyReptile SuperLink", key, ca_key, names, issuer),
        KEY: _private(key, form.PrivateFormat.PKCS8),
    }


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    ca_key: ec.EllipticCurvePrivateKey,
    *extensions: x509.ExtensionType,
) -> bytes:
    """Sign a key with the authority's; with its own, it is the authority."""
    is_ca = key is ca_key
    usage = {"digital_signature": not is_ca, "key_cert_sign": is_ca, "crl_sign": is_ca}
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(_AUTHORITY))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a Pi's clock may be behind
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(is_ca, 0 if is_ca else None), critical=True)
        .add_extension(x509.KeyUsage(**_NO_USAGE | usage), critical=True)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(ca_key, hashes.SHA384()).public_bytes(form.Encoding.PEM)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}", host):
            text = f"the host is {host!r}; give a name or an address without port"
            raise KitError(text) from None
        return x509.DNSName(host)


def _private(key: ec.EllipticCurvePrivateKey, kind: form.PrivateFormat) -> bytes:
    return key.private_bytes(form.Encoding.PEM, kind, form.NoEncryption())


def write_private(path: Path, data: bytes) -> None:
    """Write a file that only its owner may read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
