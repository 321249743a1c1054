// Reads a chat stream that fails, again and again, and prints what the client made of it, a JSON text a line:
// `{ text, message }`, the text of the events before the failure and the message of the error.
//
//   node stream_errors.mjs ollama|openai URL RUNS

import { Ollama } from "ollama";
import OpenAI from "openai";

const [name, url, runs] = process.argv.slice(2);
const messages = [{ role: "user", content: "Hello" }];

async function* ollama() {
  const client = new Ollama({ host: url });
  for await (const part of await client.chat({ model: "m", messages, stream: true })) {
    yield part.message.content;
  }
}

async function* openai() {
  const client = new OpenAI({ baseURL: `${url}/ollama/v1`, apiKey: "none", maxRetries: 0 });
  for await (const part of await client.chat.completions.create({ model: "m", messages, stream: true })) {
    yield part.choices[0]?.delta?.content ?? "";
  }
}

const chat = { ollama, openai }[name];
for (let run = 0; run < Number(runs); run += 1) {
  let text = "";
  let message = null;
  try {
    for await (const piece of chat()) {
      text += piece;
      // What comes meanwhile is queued in the client, as with any that does something with an event.
      await new Promise((resume) => setTimeout(resume, 5));
    }
  } catch (error) {
    message = error.message;
  }
  console.log(JSON.stringify({ text, message }));
}
