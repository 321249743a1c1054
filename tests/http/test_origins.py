"""Origins and their patterns."""

from __future__ import annotations

import pytest

from engine.http.origins import covers_the_web, origins_of


@pytest.mark.parametrize(
    ("pattern", "matched", "others"),
    [
        ("https://App.example.com", ["https://app.example.com"],
         ["http://app.example.com", "https://app.example.com:8443", "https://app.example.com.evil", ""]),
        ("https://a.example:443", ["https://a.example"], ["https://a.example:80"]),
        ("http://a.example:443", ["http://a.example:443"], ["http://a.example"]),
        ("http://localhost:*", ["http://localhost", "http://localhost:1", "http://localhost:65535"],
         ["http://localhost:", "http://localhost:x", "http://localhost.evil", "http://localhost:80.evil",
          "http://localhost:80/x", "https://localhost", "xhttp://localhost", "http://localhost\n"]),
        ("http://[::1]:*", ["http://[::1]", "http://[::1]:11434"], ["http://[::2]", "http://::1"]),
        ("https://*.example.com", ["https://a.example.com", "https://a.b.example.com"],
         ["https://example.com", "https://.example.com.evil", "https://evilexample.com",
          "https://a.example.com:8443", "https://evil/.example.com"]),
        ("https://*.example.com:*", ["https://a.example.com", "https://a.example.com:8443"],
         ["https://example.com:8443"]),
        ("http://*:80", ["http://a.example"], ["http://a.example:8080", "http://"]),
        ("http://*:8080", ["http://a.example:8080", "http://[::1]:8080"], ["http://a.example"]),
        ("app://*", ["app://obsidian.md", "app://-", "app://x:1"], ["apps://x", "app:x", "app://x/y"]),
        ("file://*", ["file://", "file://x"], ["null", "file:///etc/passwd"]),
        ("file://", ["file://"], ["file://x"]),
        ("vscode-webview://*", ["vscode-webview://0f3a-9"], ["vscode-file://vscode-app"]),
        ("*", ["https://who.ever", "null", ""], []),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_pattern_matches_only_its_origins(pattern: str, matched: list[str], others: list[str]) -> None:
    origins = origins_of([pattern])
    assert [origin for origin in matched if origin not in origins] == []
    assert [origin for origin in others if origin in origins] == []


def test_an_origin_matches_any_of_several_patterns() -> None:
    origins = origins_of(["https://a.example", "http://localhost:*", "app://*"])
    assert all(o in origins for o in ("https://a.example", "http://localhost:3000", "app://x"))
    assert "https://b.example" not in origins
    assert "" not in origins_of([])


@pytest.mark.parametrize(
    "pattern",
    ["", "localhost", "localhost:3000", "null", "https://a.example/", "https://a.example/x", "https://a.example?",
     "https://user@a.example", "http://", "https://:443", "*://localhost", "h*://localhost", "https://a.*",
     "https://a*b.example", "https://*.*.example", "https://*.", "https://a..example", "https://a.example:",
     "https://a.example:0", "https://a.example:65536", "https://a.example:x", "https://a.example:4*", "https://bücher.example",
     "https://[::1", "https://a b", "//a.example"],
)  # fmt: skip
def test_a_pattern_that_no_browser_can_send_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="origin") as raised:
        origins_of([pattern])
    assert pattern == "" or pattern not in str(raised.value)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("*", True), ("http://*", True), ("HTTPS://*", True), ("https://*:8443", True), ("app://*", False),
     ("https://*.example.com", False), ("http://localhost:*", False)],
)  # fmt: skip
def test_patterns_that_cover_the_web(pattern: str, expected: bool) -> None:
    assert covers_the_web(pattern) is expected
