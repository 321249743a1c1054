// openai-node.

import assert from "node:assert/strict";
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import * as checks from "./checks.mjs";

const client = new OpenAI({ baseURL: `${checks.server}/v1`, apiKey: checks.KEY, maxRetries: 0 });
const { MODEL: model, MESSAGES: messages } = checks;

async function* pieces(name = model) {
  for await (const chunk of await client.chat.completions.create({ model: name, messages, stream: true })) {
    yield chunk.choices[0]?.delta.content;
  }
}

await checks.run(["openai"], {
  async list_models() {
    assert.ok((await checks.collect(client.models.list())).some((each) => each.id === model));
    assert.equal((await client.models.retrieve(model)).id, model);
  },

  async chat() {
    checks.isEcho((await client.chat.completions.create({ model, messages })).choices[0].message.content);
  },

  async stream() {
    await checks.streams(pieces());
  },

  async tools() {
    const tools = [checks.WEATHER];
    const { message } = (await client.chat.completions.create({ model, messages, tools })).choices[0];
    assert.equal(message.tool_calls.length, 1);
    const [call] = message.tool_calls;
    const content = checks.called(call.function.name, call.function.arguments);
    const history = [...messages, message, { role: "tool", tool_call_id: call.id, content }];
    const last = await client.chat.completions.create({ model, messages: history, tools });
    checks.usesResult(last.choices[0].message.content);
  },

  async structured_output() {
    const response_format = zodResponseFormat(checks.City, "city");
    const response = await client.chat.completions.parse({ model, messages, response_format });
    checks.isCity(response.choices[0].message.parsed);
  },

  async embeddings() {
    const { data } = await client.embeddings.create({ model, input: checks.TEXTS });
    checks.areEmbeddings(data.map((item) => item.embedding));
  },

  async error_before_stream() {
    await checks.failsBefore(pieces);
  },

  async error_inside_stream() {
    await checks.failsInside(pieces(checks.FAILING_MODEL));
  },
});
