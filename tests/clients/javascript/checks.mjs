// What the scripts of the JavaScript clients share; the same as python/checks.py, whose values it repeats.
//
// Contract: a script exports nothing, and passes an object with a function for each check that its client has a
// feature for to `run`. It is run with one argument, the URL of the server, and prints JSON lines:
// `{"versions": {package: version}}`, and for each check `{"check": name, "error": text or null}`.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { z } from "zod";

export const CHECKS = [
  "list_models",
  "chat",
  "stream",
  "tools",
  "structured_output",
  "embeddings",
  "error_before_stream",
  "error_inside_stream",
];

export const server = process.argv[2];
export const KEY = "any-key";
export const MODEL = "llama3:latest";
export const PROMPT = "The quick brown fox";
export const TEXTS = ["the sun and the moon", "the moon and the sun", "cabbage soup"];
export const MESSAGES = [{ role: "user", content: PROMPT }];

// Models that fail before the response begins → a part of the upstream's message.
export const ERRORS = {
  "no-such-model": "model 'no-such-model' not found",
  "error-500": "the model returns status 500",
};
// A model whose stream fails after its first words, and the upstream's message.
export const FAILING_MODEL = "error-stream";
export const FAILURE = "the model failed";

export const City = z.object({
  name: z.string(),
  population: z.number().int().min(0),
  kind: z.enum(["capital", "port", "other"]),
  districts: z.array(z.string()).min(1),
});

export const Weather = z.object({ city: z.string().describe("the name of the city") });

export const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "Get the weather of a city.",
    parameters: {
      type: "object",
      properties: { city: { type: "string", description: "the name of the city" } },
      required: ["city"],
    },
  },
};

// Calls the tool that the model has chosen; returns its result.
export function called(name, args) {
  assert.equal(name, "get_weather");
  const values = typeof args === "string" ? JSON.parse(args) : args;
  assert.deepEqual(Object.keys(values), ["city"]);
  assert.ok(Weather.parse(values).city);
  return `${values.city}: sunny`;
}

// Checks that a response is based on the result of the tool.
export function usesResult(text) {
  assert.match(text, /sunny/);
}

export function isEcho(text) {
  assert.equal(text, PROMPT);
}

// Checks that a text arrives in more than one piece.
export async function streams(pieces) {
  const found = [];
  for await (const piece of pieces) {
    if (piece) found.push(piece);
  }
  assert.ok(found.length > 1, JSON.stringify(found));
  isEcho(found.join(""));
}

export function isCity(city) {
  City.parse(city);
}

// Checks vectors of `TEXTS`: normalised, and similar where the texts have words in common.
export function areEmbeddings(vectors) {
  assert.equal(vectors.length, TEXTS.length);
  for (const vector of vectors) {
    assert.ok(Math.abs(Math.hypot(...vector) - 1) < 1e-3, String(Math.hypot(...vector)));
  }
  const [same, other] = vectors.slice(1).map((vector) => vector.reduce((sum, x, at) => sum + x * vectors[0][at], 0));
  assert.ok(same > 0.5 && same < 0.9999, String(same));
  assert.ok(other < same, String(other));
}

// Checks that the function fails with an error that has this message.
export async function failsWith(message, act) {
  let error = null;
  try {
    await act();
  } catch (raised) {
    error = raised;
  }
  assert.ok(error, `no error; expected one with '${message}'`);
  assert.ok(error.message.includes(message), `the error does not have '${message}': ${error}`);
}

// Checks that the streams of failing models raise the upstream's message; `pieces` calls a model by its name.
export async function failsBefore(pieces) {
  for (const [name, message] of Object.entries(ERRORS)) {
    await failsWith(message, () => collect(pieces(name)));
  }
}

// Checks that a stream has text, and then raises the upstream's message.
export async function failsInside(pieces) {
  let text = "";
  await failsWith(FAILURE, async () => {
    for await (const piece of pieces) text += piece ?? "";
  });
  assert.ok(text, "no text before the error");
  assert.ok(PROMPT.startsWith(text), text);
}

export async function collect(pieces) {
  const found = [];
  for await (const piece of pieces) found.push(piece);
  return found;
}

// Runs the checks of a script, and prints the results; `packages` are those of the client.
export async function run(packages, checks) {
  report({ versions: Object.fromEntries(packages.map((name) => [name, versionOf(name)])) });
  for (const name of CHECKS.filter((each) => each in checks)) {
    let error = null;
    try {
      await checks[name]();
    } catch (failure) {
      console.error(failure);
      error = `${failure.name}: ${failure.message}`;
    }
    report({ check: name, error });
  }
}

function versionOf(name) {
  return JSON.parse(readFileSync(new URL(`../node_modules/${name}/package.json`, import.meta.url))).version;
}

function report(line) {
  console.log(JSON.stringify(line));
}
