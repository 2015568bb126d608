// One client library, step by step: `client.mjs KIND URL RETRIES`. See client.py.

import readline from "node:readline";
import { performance } from "node:perf_hooks";

const [kind, url, retries] = process.argv.slice(2);
const maxRetries = Number(retries);
const messages = [{ role: "user", content: "hello" }];

const kinds = {
  async fetch() {
    return async () => {
      const answer = await fetch(url);
      await answer.arrayBuffer();
      if (!answer.ok) throw new Error(`status ${answer.status}`);
    };
  },
  // Keeps an idle connection for as long as its server lets it: undici's default is 4 s.
  async "fetch-pooled"() {
    const { Agent } = await import("node:http");
    const http = await import("node:http");
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    return () =>
      new Promise((resolve, reject) => {
        const request = http.get(url, { agent }, (answer) => {
          answer.on("end", resolve);
          answer.on("error", reject);
          answer.resume();
        });
        request.on("error", reject);
      });
  },
  async openai() {
    const { default: OpenAI } = await import("openai");
    const client = new OpenAI({ baseURL: `${url}v1`, apiKey: "none", maxRetries, timeout: 60_000 });
    return () => client.chat.completions.create({ model: "test", messages });
  },
  async anthropic() {
    const { default: Anthropic } = await import("@anthropic-ai/sdk");
    const client = new Anthropic({ baseURL: url, apiKey: "none", maxRetries, timeout: 60_000 });
    return () => client.messages.create({ model: "test", max_tokens: 16, messages });
  },
};

// The errno below an error, by name.
function nameOf(error) {
  for (let at = error; at; at = at.cause) {
    if (typeof at.code === "string" && at.code.startsWith("E")) return at.code;
    for (const inner of at.errors ?? []) if (inner.code) return inner.code;
  }
  return "";
}

const call = await kinds[kind]();
for await (const _ of readline.createInterface({ input: process.stdin })) {
  const answer = { ok: true, error: "", errno: "" };
  const start = performance.now();
  try {
    await call();
  } catch (error) {
    Object.assign(answer, { ok: false, error: String(error), errno: nameOf(error) });
  }
  answer.ms = performance.now() - start;
  console.log(JSON.stringify(answer));
}
