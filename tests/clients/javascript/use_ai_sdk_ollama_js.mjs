// The Vercel AI SDK with the provider ai-sdk-ollama, which uses ollama-js.

import { createOllama } from "ai-sdk-ollama";
import { aiSdkChecks } from "./ai_sdk.mjs";
import * as checks from "./checks.mjs";

const ollama = createOllama({ baseURL: checks.server });

await checks.run(
  ["ai", "ai-sdk-ollama"],
  aiSdkChecks((name) => ollama(name), (name) => ollama.embedding(name)),
);
