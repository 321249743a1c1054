"""The CPU time of compiled templates, compared with handwritten code and with jmespath's interpreter.

The three implementations of a translation run in one process, in interleaved rounds. Results are medians over
the rounds, ratios are medians of the ratios of the rounds. Ratios carry over to another machine, times do
not. `--check` fails if a compiled template takes more than 1.5 times as long as handwritten code.

All three convert timestamps by the same function, which caches its results.

    python -m benchmarks.transform [--check] [--rounds N]
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jmespath
import orjson
from jmespath import functions

from benchmarks.payloads import A_CHUNK, models
from engine.diagnostics import Findings
from engine.language import yaml
from engine.language.budget import Budget, Limits
from engine.language.codegen import Atom, Compiled
from engine.language.expressions import Record, Scope
from engine.language.functions import FUNCTIONS
from engine.language.templates import TemplateCompiler

LIMIT = 1.5
ROUND_SECONDS = 0.004
OWNER = "ollama"
IMPLEMENTATIONS = ("compiled", "by hand", "jmespath")

epoch = FUNCTIONS["epoch"].implementation
iso_time = FUNCTIONS["iso_time"].implementation
now = FUNCTIONS["now"].implementation
now_iso = FUNCTIONS["now_iso"].implementation

Translation = Callable[[Any, Any], Any]


class NoExchange(Budget):
    """A budget without an exchange: it discards warnings."""

    started_ns = 0

    def warn(self, message: str) -> None:
        del message


CONTEXT = NoExchange(Limits(1 << 62, 1 << 62))


# --- Ollama's list of models → OpenAI's ------------------------------------------------------------------

MODELS = """
object: list
data:
  $each: ${ models }
  id: ${ name }
  object: model
  created: ${ epoch(modified_at) || warn(now(), 'modified_at is no ISO 8601 time') }
  owned_by: ${ $vars.owner }
"""

MODELS_BY_JMESPATH = f"""
{{object: 'list', data: models[*].{{
  id: name, object: 'model', created: epoch(modified_at) || now(), owned_by: '{OWNER}'
}}}}
"""


def models_by_hand(body: Any, context: Any) -> Any:
    models = body.get("models") if isinstance(body, dict) else None
    if models is None:
        return {"object": "list"}
    data = []
    for model in models:
        if not isinstance(model, dict):
            model = {}
        created = epoch(model.get("modified_at"))
        if created is None:
            context.warn("modified_at is no ISO 8601 time")
            created = now()
        entry = {}
        name = model.get("name")
        if name is not None:
            entry["id"] = name
        entry["object"] = "model"
        entry["created"] = created
        entry["owned_by"] = OWNER
        data.append(entry)
    return {"object": "list", "data": data}


# --- A chunk of OpenAI's chat stream → a line of Ollama's ------------------------------------------------

CHUNK = """
model: ${ model }
created_at: ${ default(iso_time(created), now_iso()) }
message:
  role: assistant
  content: ${ choices[0].delta.content || '' }
  tool_calls:
    $each: ${ choices[0].delta.tool_calls }
    function:
      name: ${ function.name }
      arguments: ${ from_json(function.arguments, `{}`) }
done: false
"""

CHUNK_BY_JMESPATH = """
{model: model, created_at: iso_time(created) || now_iso(), message: {role: 'assistant',
  content: choices[0].delta.content || '',
  tool_calls: choices[0].delta.tool_calls[*].{
    function: {name: function.name, arguments: from_json(function.arguments)}
}}, done: `false`}
"""


def chunk_by_hand(body: Any, context: Any) -> Any:
    line: dict[str, Any] = {}
    model = body.get("model")
    if model is not None:
        line["model"] = model
    line["created_at"] = iso_time(body.get("created")) or now_iso()
    choices = body.get("choices")
    delta = (choices[0].get("delta") if choices else None) or {}
    message = {"role": "assistant", "content": delta.get("content") or ""}
    tool_calls = delta.get("tool_calls")
    if tool_calls is not None:
        message["tool_calls"] = [_tool_call(call) for call in tool_calls]
    line["message"] = message
    line["done"] = False
    return line


def _tool_call(call: Any) -> Any:
    function = call.get("function") or {}
    made = {}
    if function.get("name") is not None:
        made["name"] = function["name"]
    if function.get("arguments") is not None:
        made["arguments"] = from_json(function["arguments"])
    return {"function": made}


def from_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        return {}


# --- The three implementations ---------------------------------------------------------------------------


class Functions(functions.Functions):  # type: ignore[misc]
    """The functions of the expressions, as custom functions of jmespath."""

    @functions.signature({"types": ["string", "null"]})  # type: ignore[untyped-decorator]
    def _func_epoch(self, text: Any) -> Any:
        return epoch(text)

    @functions.signature({"types": ["number", "null"]})  # type: ignore[untyped-decorator]
    def _func_iso_time(self, number: Any) -> Any:
        return iso_time(number)

    @functions.signature({"types": ["string", "null"]})  # type: ignore[untyped-decorator]
    def _func_from_json(self, text: Any) -> Any:
        return None if text is None else from_json(text)

    @functions.signature()  # type: ignore[untyped-decorator]
    def _func_now(self) -> Any:
        return now()

    @functions.signature()  # type: ignore[untyped-decorator]
    def _func_now_iso(self) -> Any:
        return now_iso()


def compiled(template: str) -> Compiled:
    findings = Findings()
    document = yaml.parse("benchmark.yaml", template.encode(), findings)
    assert document is not None
    compiler = TemplateCompiler(findings, names={"vars_owner": OWNER})
    variables = {"vars": Record({"owner": Atom("vars_owner", "string", is_constant=True, constant=OWNER)})}
    function = compiler.compile(document.root, Scope(Atom("p"), variables), "body")
    assert not len(findings), list(findings)
    return function


def interpreted(expression: str) -> Translation:
    options = jmespath.Options(custom_functions=Functions())
    return lambda body, context: jmespath.search(expression, body, options)


@dataclass(frozen=True)
class Case:
    """A payload, and three implementations of its translation."""

    name: str
    payload: Any
    template: str
    by_hand: Translation
    expression: str

    def implementations(self) -> dict[str, Translation]:
        made = (compiled(self.template).function, self.by_hand, interpreted(self.expression))
        return dict(zip(IMPLEMENTATIONS, made, strict=True))


CASES = [
    Case("10 models", models(10), MODELS, models_by_hand, MODELS_BY_JMESPATH),
    Case("1,000 models", models(1000), MODELS, models_by_hand, MODELS_BY_JMESPATH),
    Case("one chunk", A_CHUNK, CHUNK, chunk_by_hand, CHUNK_BY_JMESPATH),
]


# --- Measuring -------------------------------------------------------------------------------------------


def with_json(translate: Translation) -> Translation:
    """The translation of JSON bytes to JSON bytes."""
    return lambda data, context: orjson.dumps(translate(orjson.loads(data), context))


def seconds(translate: Translation, payload: Any, times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        translate(payload, CONTEXT)
    return (time.process_time() - start) / times


Rounds = list[dict[str, float]]


def measured(translations: dict[str, Translation], payload: Any, rounds: int) -> Rounds:
    """The CPU seconds per call in each round, by implementation; each runs for about `ROUND_SECONDS`."""
    once = {name: seconds(translate, payload, 20) for name, translate in translations.items()}
    times = {name: max(1, int(ROUND_SECONDS / taken)) for name, taken in once.items()}
    return [
        {name: seconds(translate, payload, times[name]) for name, translate in translations.items()}
        for _ in range(rounds)
    ]


def microseconds(rounds: Rounds, name: str) -> float:
    return statistics.median(each[name] for each in rounds) * 1e6


def ratio(rounds: Rounds, name: str, other: str) -> float:
    return statistics.median(each[name] / each[other] for each in rounds)


def check_agreement(case: Case) -> None:
    """Check that the compiled and the handwritten code return the same."""
    results = {
        name: orjson.dumps(translate(case.payload, CONTEXT))
        for name, translate in case.implementations().items()
    }
    assert results["compiled"] == results["by hand"], results


def measure(rounds: int) -> dict[str, Rounds]:
    rows = {}
    for case in CASES:
        check_agreement(case)
        translations = case.implementations()
        on_bytes = {name: with_json(translate) for name, translate in translations.items()}
        rows[case.name] = measured(translations, case.payload, rounds)
        rows[f"{case.name}, bytes to bytes"] = measured(on_bytes, orjson.dumps(case.payload), rounds)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure compiled templates.")
    parser.add_argument(
        "--check", action="store_true", help=f"fail above {LIMIT} times the time of handwritten code"
    )
    parser.add_argument("--rounds", type=int, default=60)
    arguments = parser.parse_args()
    gc.disable()
    rows = measure(arguments.rounds)
    print(f"{'µs':30} {'compiled':>10} {'by hand':>10} {'jmespath':>10}   compiled/hand  jmespath/compiled")
    for title, rounds in rows.items():
        columns = " ".join(f"{microseconds(rounds, name):10.2f}" for name in IMPLEMENTATIONS)
        print(
            f"{title:30} {columns} {ratio(rounds, 'compiled', 'by hand'):15.2f}"
            f" {ratio(rounds, 'jmespath', 'compiled'):18.1f}"
        )
    slow = [title for title, rounds in rows.items() if ratio(rounds, "compiled", "by hand") > LIMIT]
    if slow and arguments.check:
        print(f"more than {LIMIT} times the time of handwritten code: {', '.join(slow)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
