"""Compiles `tls` of an upstream to an `ssl.SSLContext`.

Contract: unusable certificates and keys are findings at the location that names them; findings never contain
their contents. The minimum version is TLS 1.2.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from engine.compiler.context import MappingContext
from engine.language import yaml
from engine.language.spec import TlsSpec
from engine.locations import Node


def compile_tls(context: MappingContext, spec: TlsSpec | None, name: str) -> ssl.SSLContext | None:
    """The TLS context of an upstream; None for the system's trust store."""
    if spec is None or not spec.node.value:
        return None
    tls = _load_trust(context, spec.ca_file, f"upstreams.{name}.tls.ca_file")
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_certificate(context, tls, spec, f"upstreams.{name}.tls")
    if not spec.verify:
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
        message = f"the certificate of '{name}' is not verified"
        hint = "set 'ca_file' to the certificate of its CA"
        context.findings.warning("tls-unverified", message, spec.node["verify"].span, hint)
    return tls


def _load_trust(context: MappingContext, node: Node | None, label: str) -> ssl.SSLContext:
    """A context that trusts only the CAs of a file, or those of the system."""
    file = _file(context, node, label)
    if node is None or file is None:
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=str(file))
    except (ssl.SSLError, OSError):
        context.findings.error("bad-value", "this file contains no PEM certificates", node.span)
        return ssl.create_default_context()


def _load_certificate(context: MappingContext, tls: ssl.SSLContext, spec: TlsSpec, label: str) -> None:
    """Load the client certificate, with its key from the same or another file."""
    certificate, key = spec.certificate, spec.key
    if certificate is None:
        if key is not None:
            context.findings.error("missing-key", "'key' requires 'certificate'", key.key_span)
        return
    reports = context.findings.reports
    file = _file(context, certificate, f"{label}.certificate")
    key_file = _file(context, key, f"{label}.key")
    if file is None or context.findings.reports > reports:
        return
    try:
        tls.load_cert_chain(file, key_file, password=lambda: "")
    except (ssl.SSLError, OSError, ValueError):
        message = "cannot read a PEM certificate with an unencrypted private key"
        context.findings.error("bad-value", message, certificate.span)


def _file(context: MappingContext, node: Node | None, label: str) -> Path | None:
    """A readable file, relative to the mapping; None if none is set, or after a finding."""
    path = None if node is None else context.text(node, label, secrets=False)
    if node is None or not path:
        return None
    file = Path(node.document.file.name).parent / path
    content = yaml.read_bytes(file, context.findings, node.span)
    return None if content is None else file
