// The checks of the Vercel AI SDK, which are the same with each provider.

import assert from "node:assert/strict";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import * as checks from "./checks.mjs";

const { PROMPT: prompt } = checks;

// The checks with a provider: `model` makes a chat model by its name, `embedder` an embedding model.
export function aiSdkChecks(model, embedder) {
  // The text of a stream; an error is a part of the stream, which is raised here.
  async function* pieces(name = checks.MODEL) {
    const { fullStream } = streamText({ model: model(name), prompt, maxRetries: 0, onError() {} });
    for await (const part of fullStream) {
      if (part.type === "error") throw part.error instanceof Error ? part.error : new Error(shown(part.error));
      if (part.type === "text-delta") yield part.text;
    }
  }

  return {
    async chat() {
      checks.isEcho((await generateText({ model: model(checks.MODEL), prompt, maxRetries: 0 })).text);
    },

    async stream() {
      await checks.streams(pieces());
    },

    async tools() {
      const calls = [];
      const get_weather = tool({
        description: "Get the weather of a city.",
        inputSchema: checks.Weather,
        execute(values) {
          calls.push(values);
          return checks.called("get_weather", values);
        },
      });
      const request = { model: model(checks.MODEL), prompt, tools: { get_weather }, maxRetries: 0 };
      checks.usesResult((await generateText({ ...request, stopWhen: stepCountIs(3) })).text);
      checks.usesResult(await streamText({ ...request, stopWhen: stepCountIs(3) }).text);
      assert.equal(calls.length, 2);
    },

    async structured_output() {
      const output = Output.object({ schema: checks.City });
      checks.isCity((await generateText({ model: model(checks.MODEL), prompt, output, maxRetries: 0 })).output);
    },

    async embeddings() {
      const { embeddings } = await embedMany({ model: embedder(checks.MODEL), values: checks.TEXTS, maxRetries: 0 });
      checks.areEmbeddings(embeddings);
    },

    async error_before_stream() {
      await checks.failsBefore(pieces);
    },

    async error_inside_stream() {
      await checks.failsInside(pieces(checks.FAILING_MODEL));
    },
  };
}

// An error that is not an `Error`, as an application prints it.
function shown(error) {
  return typeof error === "string" ? error : JSON.stringify(error);
}
