// ollama-js.

import assert from "node:assert/strict";
import { Ollama } from "ollama";
import { z } from "zod";
import * as checks from "./checks.mjs";

const client = new Ollama({ host: checks.server });
const { MODEL: model, MESSAGES: messages, PROMPT: prompt } = checks;

async function* pieces(name = model) {
  for await (const part of await client.chat({ model: name, messages, stream: true })) yield part.message.content;
}

await checks.run(["ollama"], {
  async list_models() {
    assert.ok((await client.list()).models.some((each) => each.model === model));
    assert.ok((await client.show({ model })).capabilities);
  },

  async chat() {
    checks.isEcho((await client.chat({ model, messages })).message.content);
    checks.isEcho((await client.generate({ model, prompt })).response);
  },

  async stream() {
    await checks.streams(pieces());
  },

  async tools() {
    const tools = [checks.WEATHER];
    const { message } = await client.chat({ model, messages, tools });
    assert.equal(message.tool_calls.length, 1);
    const { name, arguments: args } = message.tool_calls[0].function;
    const result = { role: "tool", tool_name: name, content: checks.called(name, args) };
    checks.usesResult((await client.chat({ model, messages: [...messages, message, result], tools })).message.content);
  },

  async structured_output() {
    const { message } = await client.chat({ model, messages, format: z.toJSONSchema(checks.City) });
    checks.isCity(JSON.parse(message.content));
  },

  async embeddings() {
    checks.areEmbeddings((await client.embed({ model, input: checks.TEXTS })).embeddings);
  },

  async error_before_stream() {
    await checks.failsBefore(pieces);
  },

  async error_inside_stream() {
    await checks.failsInside(pieces(checks.FAILING_MODEL));
  },
});
