"""TLS of an upstream: the files that a mapping names → a context, made once.

Contract: certificates and keys that cannot be used are findings at the place that names them; what they hold
is never told. TLS 1.2 is the oldest that is spoken.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from engine.compiler.context import MappingContext
from engine.language import yaml
from engine.locations import Node


def compile_tls(context: MappingContext, node: Node | None, name: str) -> ssl.SSLContext | None:
    """The context that an upstream's `tls` describes; None for the system's trust."""
    if node is None or not node.value:
        return None
    tls = _trust(context, node.get("ca_file"), f"upstreams.{name}.tls.ca_file")
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    _present(context, tls, node, f"upstreams.{name}.tls")
    verify = node.get("verify")
    if verify is not None and verify.value is False:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        message = f"whoever answers for '{name}' is believed: its certificate is not checked"
        hint = "name the authority that has signed it under ca_file"
        context.findings.warning("tls-unverified", message, verify.span, hint)
    return tls


def _trust(context: MappingContext, node: Node | None, label: str) -> ssl.SSLContext:
    """Trust in the authorities of a file alone, or in those of the system."""
    file = _file(context, node, label)
    if node is None or file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(file))
    except (ssl.SSLError, OSError):
        context.findings.error("bad-value", "this file holds no certificates in PEM", node.span)
        return ssl.create_default_context()


def _present(context: MappingContext, tls: ssl.SSLContext, node: Node, label: str) -> None:
    """The certificate that is presented to the upstream, with its key in the same file or another."""
    certificate, key = node.get("certificate"), node.get("key")
    if certificate is None:
        if key is not None:
            context.findings.error("missing-key", "'certificate' is missing beside this key", key.key_span)
        return
    reports = context.findings.reports
    file = _file(context, certificate, f"{label}.certificate")
    key_file = _file(context, key, f"{label}.key")
    if file is None or context.findings.reports > reports:
        return
    try:
        tls.load_cert_chain(file, key_file, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError):
        message = "no certificate in PEM with its key, without a password, can be read here"
        context.findings.error("bad-value", message, certificate.span)


def _file(context: MappingContext, node: Node | None, label: str) -> Path | None:
    """A file that can be read, by its path from the mapping; None where none is named."""
    path = None if node is None else context.text(node, label, secrets=False)
    if node is None or not path:
        return None
    file = Path(node.document.file.name).parent / path
    content = yaml.read_bytes(file, context.findings, node.span)
    return None if content is None else file
