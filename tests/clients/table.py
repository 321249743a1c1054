"""The clients that are tested, and the table of docs/clients.md that a run writes.

Contract: data and text alone; it runs no client. Each script in `python/` and `javascript/` belongs to one of
`CLIENTS`, and defines the checks of `CHECKS` but for those in `absent`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "clients.md"
BEGIN, END = "<!-- clients: written by make test-clients -->", "<!-- end of clients -->"

#: Name in the scripts → title of the column.
CHECKS = {
    "list_models": "List",
    "chat": "Chat",
    "stream": "Stream",
    "tools": "Tools",
    "structured_output": "Structured output",
    "embeddings": "Embeddings",
    "error_before_stream": "Error before a stream",
    "error_inside_stream": "Error inside a stream",
}

PASSED, ABSENT, LIMITED = "yes", "—", "no"
CELLS = (PASSED, ABSENT, LIMITED)


@dataclass(frozen=True, eq=False)
class Client:
    """A client.

    Attributes:
        name: its name in the table.
        script: its file, in this folder.
        packages: the packages whose versions the table shows.
        path: what follows the address of the server in the client's base URL.
        install: the lock of its Python packages, or `npm`.
        absent: checks that it has no feature for → why.
        limits: checks that fail as the client does not support the API's format → why. They must fail.
    """

    name: str
    script: str
    packages: tuple[str, ...]
    path: Literal["", "/v1", "/api"]
    install: Literal["requirements", "requirements-openai-2", "npm"] = "requirements"
    absent: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        return FOLDER / self.script

    @property
    def checks(self) -> list[str]:
        """The checks that its script defines, in the order of `CHECKS`."""
        return [check for check in CHECKS if check not in self.absent]

    def cell(self, check: str) -> str:
        """The cell of a run in which every check has the expected result."""
        return ABSENT if check in self.absent else LIMITED if check in self.limits else PASSED

    def __str__(self) -> str:
        return Path(self.script).stem.removeprefix("use_") + ("-js" if self.install == "npm" else "")


_NO_LIST = {"list_models": "it has no function that lists models"}

CLIENTS = (
    Client("ollama-python", "python/use_ollama.py", ("ollama",), ""),
    Client("ollama-js", "javascript/use_ollama.mjs", ("ollama",), "", "npm"),
    Client("openai-python", "python/use_openai.py", ("openai",), "/v1"),
    Client("openai-node", "javascript/use_openai.mjs", ("openai",), "/v1", "npm"),
    Client("LangChain, `ChatOllama`", "python/use_langchain_ollama.py", ("langchain-ollama",), ""),
    Client(
        "LangChain, `ChatOpenAI`",
        "python/use_langchain_openai.py",
        ("langchain-openai",),
        "/v1",
        absent=_NO_LIST,
    ),
    Client(
        "LlamaIndex, `Ollama`",
        "python/use_llama_index_ollama.py",
        ("llama-index-llms-ollama", "llama-index-embeddings-ollama"),
        "",
        "requirements-openai-2",
        absent=_NO_LIST,
    ),
    Client(
        "LlamaIndex, `OpenAILike`",
        "python/use_llama_index_openai.py",
        ("llama-index-llms-openai-like", "llama-index-embeddings-openai-like"),
        "/v1",
        "requirements-openai-2",
        absent=_NO_LIST,
    ),
    Client("LiteLLM, `ollama_chat/`", "python/use_litellm_ollama.py", ("litellm",), ""),
    Client("LiteLLM, `openai/`", "python/use_litellm_openai.py", ("litellm",), "/v1"),
    Client(
        "Pydantic AI, `OllamaModel` and `OpenAIChatModel`",
        "python/use_pydantic_ai.py",
        ("pydantic-ai-slim",),
        "/v1",
        absent=_NO_LIST,
    ),
    Client(
        "Instructor",
        "python/use_instructor.py",
        ("instructor",),
        "/v1",
        "requirements-openai-2",
        absent={**_NO_LIST, "embeddings": "it has no embeddings"},
    ),
    Client("LLM, plugin llm-ollama", "python/use_llm.py", ("llm", "llm-ollama"), ""),
    Client(
        "Vercel AI SDK, ollama-ai-provider-v2",
        "javascript/use_ai_sdk_ollama.mjs",
        ("ai", "ollama-ai-provider-v2"),
        "/api",
        "npm",
        absent=_NO_LIST,
        limits={
            "error_before_stream": "it shows only the reason phrase of the status, as it reads the message "
            "from `error.message`, but `error` is a string in Ollama's API",
            "error_inside_stream": "it ignores lines of a stream that report an error",
        },
    ),
    Client(
        "Vercel AI SDK, ai-sdk-ollama",
        "javascript/use_ai_sdk_ollama_js.mjs",
        ("ai", "ai-sdk-ollama"),
        "",
        "npm",
        absent=_NO_LIST,
    ),
    Client(
        "Vercel AI SDK, @ai-sdk/openai-compatible",
        "javascript/use_ai_sdk_openai.mjs",
        ("ai", "@ai-sdk/openai-compatible"),
        "/v1",
        "npm",
        absent=_NO_LIST,
    ),
)

_ADDRESS = "http://127.0.0.1:8080"


def table(versions: Mapping[Client, Mapping[str, str]]) -> str:
    """The table of a run in which every check has the expected result, with the reasons below.

    Args:
        versions: client → package → version.
    """
    return "\n".join(
        [
            *_row(["Client", "Version", "Base URL", *CHECKS.values()]),
            *_row(["---"] * (3 + len(CHECKS))),
            *(
                line
                for client in CLIENTS
                for line in _row(
                    [
                        client.name,
                        "<br>".join(f"{name} {version}" for name, version in versions[client].items()),
                        f"`{_ADDRESS}{client.path}`",
                        *map(client.cell, CHECKS),
                    ]
                )
            ),
            "",
            *_reasons(),
        ]
    )


def _row(cells: Iterable[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _reasons() -> list[str]:
    """A line for each reason of a cell without `yes`, and the clients it is about."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for client in CLIENTS:
        for cell, reasons in ((ABSENT, client.absent), (LIMITED, client.limits)):
            for check, reason in reasons.items():
                found.setdefault((CHECKS[check], cell, reason), []).append(client.name)
    return [
        f"- {title}, {cell}: {reason} ({'; '.join(names)})." for (title, cell, reason), names in found.items()
    ]


def section(page: str) -> str:
    """The part of a page between the marks.

    Raises:
        ValueError: a mark is missing.
    """
    return _parts(page)[1].strip("\n")


def with_section(page: str, text: str) -> str:
    """The page with its part between the marks replaced.

    Raises:
        ValueError: a mark is missing.
    """
    before, _, after = _parts(page)
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def _parts(page: str) -> tuple[str, str, str]:
    before, begin, rest = page.partition(BEGIN)
    text, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN!r} or {END!r}")
    return before, text, after
