// The Vercel AI SDK with its provider of OpenAI-compatible servers.

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { aiSdkChecks } from "./ai_sdk.mjs";
import * as checks from "./checks.mjs";

const provider = createOpenAICompatible({
  name: "server",
  baseURL: `${checks.server}/v1`,
  apiKey: checks.KEY,
  supportsStructuredOutputs: true,
});

await checks.run(
  ["ai", "@ai-sdk/openai-compatible"],
  aiSdkChecks((name) => provider(name), (name) => provider.textEmbeddingModel(name)),
);
