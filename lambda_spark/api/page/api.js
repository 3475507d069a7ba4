/** Requests to the API. Errors are thrown as a Problem, with the API's own text and remedy. */

import { forgetToken, token } from "./token.js";

const AGAIN_AFTER = { "server-gone": 3, "not-ready": 3, "too-many-requests": 5, "too-slow": 5 };

/** An error of the API or of the connection. `againAfter` is when to ask again, in seconds; null if that does not help. */
export class Problem extends Error {
  constructor(fields, againAfter = null) {
    super(fields.detail ?? fields.title);
    Object.assign(this, fields);
    this.kind = (fields.type ?? "").split("/").at(-1);
    this.againAfter = againAfter ?? AGAIN_AFTER[this.kind] ?? null;
  }
}

/** Request JSON, without parameters that are null or empty. Throws a Problem. */
export async function ask(path, parameters = {}, signal = undefined) {
  const given = Object.entries(parameters).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const query = new URLSearchParams(given).toString();
  const response = await send(query ? `${path}?${query}` : path, signal);
  return response.json();
}

/** Read the server's events: calls `take(name, data)` for each until the server or the signal ends it. Throws a Problem. */
export async function listen(path, take, signal) {
  const response = await send(path, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(gone);
    if (done) return;
    const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
    rest = blocks.pop();
    blocks.forEach((block) => dispatch(block, take));
  }
}

async function send(url, signal) {
  for (;;) {
    const used = token();
    const headers = used ? { Authorization: `Bearer ${used}` } : {};
    const response = await fetch(url, { headers, signal }).catch(gone);
    if (response.ok) return response;
    const problem = await problemOf(response);
    if (problem.kind !== "unauthorized" || !(await forgetToken(used))) throw problem;
  }
}

function gone(error) {
  if (error.name === "AbortError") throw error;
  throw new Problem({
    type: "server-gone",
    title: "The server does not answer",
    detail: "The server does not answer.",
  });
}

async function problemOf(response) {
  const answer = await response.json().catch(() => ({}));
  const plain = { type: `http-${response.status}`, title: `The server answered with status ${response.status}` };
  return new Problem({ ...plain, ...answer }, Number(response.headers.get("Retry-After")) || null);
}

function dispatch(block, take) {
  const fields = block
    .split("\n")
    .map((line) => line.match(/^(\w+): ?(.*)$/))
    .filter(Boolean);
  const data = fields
    .filter(([, name]) => name === "data")
    .map(([, , value]) => value)
    .join("\n");
  if (data) take(fields.find(([, name]) => name === "event")?.[2] ?? "message", JSON.parse(data));
}
