"""Bytes in texts: base64, packed floats, data URIs, and media types by magic bytes.

Contract: base64 is read in both alphabets, with or without padding and with white space (RFC 4648 sections 4
and 5); invalid input gives null, so that a mapping can decide.
This module must not know which API uses which form.
"""

from __future__ import annotations

import base64
import math
import struct

from engine.errors import EvaluationError
from engine.language.functions.bounds import check_length, utf8
from engine.language.functions.registry import NO_COST, Cost, function

#: The offset of the magic bytes, the bytes, and the media type. The first match wins.
#: From the WHATWG MIME Sniffing Standard, section 6; WAV and AAC by the names that speech APIs use.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBPVP", "image/webp"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AVI ", "video/avi"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyphei", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypM4A", "audio/mp4"),
    (4, b"ftypqt", "video/quicktime"),
    (4, b"ftyp", "video/mp4"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"BM", "image/bmp"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xfa", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (0, b"OggS\x00", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"\x1a\x45\xdf\xa3", "video/webm"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"\x1f\x8b\x08", "application/gzip"),
)
_SNIFFED_CHARACTERS = 64


def _decode(text: str) -> bytes | None:
    """The bytes of base64 text; None if it is invalid."""
    body = "".join(text.split()).replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except ValueError:
        return None


@function("base64_encode(text: string|null) -> string|null")
def base64_encode(text: str | None) -> str | None:
    """The base64 form of the text's UTF-8 bytes (RFC 4648 section 4); null for null.

    Examples:
        base64_encode('é') => "w6k="
        base64_encode('') => ""
    """
    return None if text is None else _encode("base64_encode", utf8("base64_encode", text))


def _encode(name: str, data: bytes) -> str:
    check_length(name, (len(data) + 2) // 3 * 4)
    return base64.b64encode(data).decode("ascii")


@function("base64_decode(text: string|null) -> string|null")
def base64_decode(text: str | None) -> str | None:
    """The text whose UTF-8 bytes are encoded in base64; null for invalid base64 or invalid UTF-8.

    Both alphabets of RFC 4648 are read; padding is optional, white space is ignored.

    Examples:
        base64_decode('w6k=') => "é"
        base64_decode('w6k') => "é"
        base64_decode('_w') => null
        base64_decode('no base64!') => null
    """
    data = None if text is None else _decode(text)
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return None


@function("floats_to_base64(numbers: array[number]|null) -> string|null")
def floats_to_base64(numbers: list[float] | None) -> str | None:
    """The numbers as little-endian 32-bit floats in base64, as in OpenAI's embeddings; null for null.

    Examples:
        floats_to_base64(`[0.5, -0.25, 1]`) => "AAAAPwAAgL4AAIA/"
        floats_to_base64(`[]`) => ""
        floats_to_base64(`[1e300]`) => !
    """
    if numbers is None:
        return None
    check_length("floats_to_base64", (len(numbers) * 4 + 2) // 3 * 4)
    try:
        return _encode("floats_to_base64", struct.pack(f"<{len(numbers)}f", *numbers))
    except (OverflowError, struct.error):
        raise EvaluationError("floats_to_base64() got a number beyond the range of 32-bit floats") from None


@function("base64_to_floats(text: string|null) -> array|null", cost=Cost(text_bytes=True))
def base64_to_floats(text: str | None) -> list[float] | None:
    """The little-endian 32-bit floats encoded in base64; null for invalid input, NaN and infinity.

    Examples:
        base64_to_floats('AAAAPwAAgL4AAIA/') => [0.5, -0.25, 1.0]
        base64_to_floats('') => []
        base64_to_floats('AAAA') => null
    """
    data = None if text is None else _decode(text)
    if data is None or len(data) % 4:
        return None
    numbers = struct.unpack(f"<{len(data) // 4}f", data)
    return list(numbers) if all(map(math.isfinite, numbers)) else None


@function("parse_data_uri(uri: string|null) -> object|null")
def parse_data_uri(uri: str | None) -> dict[str, str | None] | None:
    """The `{mime, data}` of a base64 data URI (RFC 2397); null for anything else, such as other URLs.

    The media type is in lower case, without parameters; null if the URI has none. The data is not
    decoded.

    Examples:
        parse_data_uri('data:image/png;base64,iVBORw0K') => {"mime": "image/png", "data": "iVBORw0K"}
        parse_data_uri('data:text/plain;charset=utf-8;base64,YQ==').mime => "text/plain"
        parse_data_uri('data:;base64,YQ==') => {"mime": null, "data": "YQ=="}
        parse_data_uri('data:text/plain,a') => null
        parse_data_uri('https://example.com/a.png') => null
    """
    head, comma, data = ("", "", "") if uri is None or uri[:5].lower() != "data:" else uri[5:].partition(",")
    mime, *parameters = head.lower().split(";")
    if not comma or not parameters or parameters[-1].strip() != "base64":
        return None
    return {"mime": mime.strip() or None, "data": data}


@function("data_uri(mime: string|null, data: string|null) -> string|null")
def data_uri(mime: str | None, data: str | None) -> str | None:
    """The data URI (RFC 2397) of base64 data; null if the data is null. A null media type is omitted.

    Examples:
        data_uri('image/png', 'iVBORw0K') => "data:image/png;base64,iVBORw0K"
        data_uri(`null`, 'YQ==') => "data:;base64,YQ=="
        data_uri('image/png', `null`) => null
    """
    if data is None:
        return None
    check_length("data_uri", len(data) + len(mime or "") + 13)
    return f"data:{mime or ''};base64,{data}"


@function("sniff_mime(base64: string|null) -> string|null", cost=NO_COST)
def sniff_mime(text: str | None) -> str | None:
    """The media type of base64 data by its first bytes (magic bytes); null if they are not known.

    It recognizes common formats of images, sound, video, PDF and archives (WHATWG MIME Sniffing Standard).

    Examples:
        sniff_mime('/9j/4AAQSkZJRg==') => "image/jpeg"
        sniff_mime('iVBORw0KGgo=') => "image/png"
        sniff_mime('aGVsbG8=') => null
        sniff_mime(`null`) => null
    """
    start = "".join((text or "")[: 2 * _SNIFFED_CHARACTERS].split())[:_SNIFFED_CHARACTERS]
    data = _decode(start[: len(start) // 4 * 4] if len(start) == _SNIFFED_CHARACTERS else start) or b""
    matches = (mime for offset, magic, mime in _SIGNATURES if data.startswith(magic, offset))
    return next(matches, None)
