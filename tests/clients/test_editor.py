"""The YAML language server, as editors run it, on the mappings and suites of this repository.

It validates, completes and explains by the schemas of `schema/`, which the first line of each file names.
"""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.table import FOLDER
from tests.support.repository import ROOT
from tests.support.times import PATIENCE

SERVER = FOLDER / "node_modules" / "yaml-language-server" / "bin" / "yaml-language-server"
NODE = shutil.which("node")

if os.environ.get("CLIENTS_VENV") is None:
    pytest.skip("CLIENTS_VENV is not set: make test-clients", allow_module_level=True)
if NODE is None or not SERVER.exists():
    pytest.skip("node or the package yaml-language-server is not installed", allow_module_level=True)

FILES = sorted([*ROOT.glob("mappings/**/*.yaml"), *ROOT.glob("examples/**/*.yaml")])
HEADER = "# yaml-language-server: $schema=../schema/mapping.schema.json\ndragoman: 1\n"
SETTINGS = {"validate": True, "hover": True, "completion": True, "schemaStore": {"enable": False}}


class LanguageServer:
    """A language server over stdio (Language Server Protocol 3.17)."""

    def __init__(self) -> None:
        assert NODE is not None
        command = [NODE, str(SERVER), "--stdio"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.diagnostics: dict[str, list[Any]] = {}
        self.unsaved = 0
        self._responses: dict[int, Any] = {}
        self._messages: queue.Queue[dict[str, Any]] = queue.Queue()
        self._number = 0
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        capabilities = {
            "workspace": {"configuration": True},
            "textDocument": {"completion": {"completionItem": {"snippetSupport": True}}, "hover": {}},
        }
        client = {"processId": None, "rootUri": ROOT.as_uri(), "capabilities": capabilities}
        self.request("initialize", client)
        self._send({"method": "initialized", "params": {}})

    def _read(self) -> None:
        stream = self.process.stdout
        assert stream is not None
        while line := stream.readline():
            size = 0
            while line.strip():
                name, _, value = line.partition(b":")
                size = int(value) if name.lower() == b"content-length" else size
                line = stream.readline()
            self._messages.put(json.loads(stream.read(size)))

    def _send(self, message: dict[str, Any]) -> None:
        stream = self.process.stdin
        assert stream is not None
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        stream.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        stream.flush()

    def _wait(self, is_done: Callable[[], bool]) -> None:
        """Process messages of the server until a condition holds."""
        while not is_done():
            message = self._messages.get(timeout=PATIENCE)
            if "method" in message and "id" in message:
                wanted = message["params"].get("items", []) if message.get("params") else []
                self._send(
                    {
                        "id": message["id"],
                        "result": [SETTINGS if i["section"] == "yaml" else {} for i in wanted],
                    }
                )
            elif message.get("method") == "textDocument/publishDiagnostics":
                self.diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
            elif "id" in message:
                self._responses[message["id"]] = message.get("result")

    def request(self, method: str, params: dict[str, Any]) -> Any:
        self._number += 1
        number = self._number
        self._send({"id": number, "method": method, "params": params})
        self._wait(lambda: number in self._responses)
        return self._responses.pop(number)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self._reader.join()
        with self.process:
            pass

    def open(self, file: Path, text: str) -> str:
        """Open a document; returns its URI after its diagnostics have arrived."""
        uri = file.as_uri()
        self.diagnostics.pop(uri, None)
        document = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._send({"method": "textDocument/didOpen", "params": {"textDocument": document}})
        self._wait(lambda: uri in self.diagnostics)
        return uri


@pytest.fixture(scope="module")
def editor() -> Iterator[LanguageServer]:
    server = LanguageServer()
    yield server
    server.close()


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_has_no_diagnostics(editor: LanguageServer, file: Path) -> None:
    uri = editor.open(file, file.read_text())
    assert [(found["range"]["start"], found["message"]) for found in editor.diagnostics[uri]] == []


def at(editor: LanguageServer, method: str, text: str) -> Any:
    """The result of a request at `|` in a mapping."""
    before, after = (HEADER + text).split("|")
    line = before.rpartition("\n")[2]
    editor.unsaved += 1
    uri = editor.open(ROOT / "mappings" / f"unsaved-{editor.unsaved}.yaml", before + after)
    position = {"line": before.count("\n"), "character": len(line)}
    return editor.request(method, {"textDocument": {"uri": uri}, "position": position})


def completions(editor: LanguageServer, text: str) -> dict[str, str]:
    """The completions at `|`: what each inserts by its label, without the marks of snippets."""
    found = at(editor, "textDocument/completion", text)
    items = found["items"] if isinstance(found, dict) else found
    inserted = (item.get("textEdit", {}).get("newText") or item["insertText"] for item in items)
    texts = [re.sub(r"\\([$}\\])", r"\1", text) for text in inserted]
    return dict(zip((item["label"] for item in items), texts, strict=True))


#: A position, and what completion offers there, with a part of what it inserts.
COMPLETIONS = {
    "to": (
        "streams:\n  w:\n    to: |\n",
        {"ndjson": "ndjson", '{ sse: { done: "[DONE]" } }': 'done: "[DONE]"'},
    ),
    "from": ("streams:\n  r:\n    from: |\n", {"ndjson": "ndjson", '{ sse: { done: "[DONE]" } }': "done: "}),
    "upstream auth": ("upstreams:\n  a:\n    auth: |\n", {"{ bearer: ${ $env.OPENAI_API_KEY } }": "bearer:"}),
    "client auth": ("auth: |\n", {"none": "none", "{ bearer: ${ $env.DRAGOMAN_API_KEYS } }": "bearer:"}),
    "rules": ("streams:\n  r:\n    ru|\n", {"rules": "- when: "}),
    "a rule": ("streams:\n  r:\n    rules:\n      - |\n", {"when": "when: ", "emit": "emit:"}),
    "directives": ("templates:\n  a:\n    $|\n", {"$each": "$each: ", "$use": "$use: ", "$if": "$if: "}),
    "directives of a body": (
        "routes:\n  GET /:\n    respond:\n      body:\n        $|\n",
        {"$use": "$use: "},
    ),
    "directives inside": ("templates:\n  a:\n    b:\n      c:\n        $|\n", {"$let": "$let:"}),
}


@pytest.mark.parametrize("where", COMPLETIONS)
def test_completion(editor: LanguageServer, where: str) -> None:
    text, expected = COMPLETIONS[where]
    found = completions(editor, text)
    for label, part in expected.items():
        assert part in found.get(label, ""), found


@pytest.mark.parametrize("where", COMPLETIONS)
def test_completion_inserts_no_objects(editor: LanguageServer, where: str) -> None:
    """JavaScript's text of an object, where the server has no better one."""
    found = completions(editor, COMPLETIONS[where][0])
    assert found
    assert "[object Object]" not in json.dumps(found)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("streams:\n  w:\n    t|o: sse\n", "framing of the events"),
        ("streams:\n  r:\n    fr|om: sse\n", "framing of the upstream"),
        ("upstreams:\n  a:\n    url: http://x\n    au|th: { bearer: x }\n", "How calls are authenticated"),
        ("streams:\n  r:\n    ru|les: []\n", "What to do for each event"),
        ("templates:\n  a:\n    $ea|ch: []\n", "One item for each item"),
    ],
)
def test_hover(editor: LanguageServer, text: str, part: str) -> None:
    found = at(editor, "textDocument/hover", text)
    assert part in json.dumps(found)
