// The Vercel AI SDK with a provider of Ollama.

import { createOllama } from "ollama-ai-provider-v2";
import { aiSdkChecks } from "./ai_sdk.mjs";
import * as checks from "./checks.mjs";

const ollama = createOllama({ baseURL: `${checks.server}/api` });

await checks.run(
  ["ai", "ollama-ai-provider-v2"],
  aiSdkChecks((name) => ollama(name), (name) => ollama.embedding(name)),
);
