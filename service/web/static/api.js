// The public API. Reading survives a server that is away; an error is a Problem whose sentence says what to change.

import { createState } from "./state.js";

const KEY = "winnow-key";
const PAUSES_MS = [500, 1000, 2000, 4000];

/** `away`: the server did not answer the last request; `key`: one is in use. */
export const connection = createState({ away: false, key: sessionStorage.getItem(KEY) !== null });

/** An answer of 400 and above. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.code = body.code ?? "unknown";
    this.param = body.param ?? null;
  }
}

/** Nothing answered a request that is not repeated by itself. */
export class Away extends Error {
  constructor() {
    super("The server does not answer. Nothing was lost: try again when it is back.");
  }
}

/** Keep the key until the tab is closed, or forget it with null. */
export function setKey(key) {
  if (key === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, key);
  connection.set({ key: key !== null });
}

let askForKey = () => Promise.reject(new Problem(401, { detail: "This server wants an API key." }));
let asking = null;

/** `ask(sentence)` is called when a key is wanted, and resolves once `setKey` was called. */
export function onKeyWanted(ask) {
  askForKey = ask;
}

/** The address of a path with its query; options that are null are left out. */
export function address(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined);
  const text = new URLSearchParams(given).toString();
  return text ? `${path}?${text}` : path;
}

export async function get(path, { query, signal } = {}) {
  return (await ask("GET", address(path, query), { signal })).json();
}

/** Send something that the server does once, however often it is sent. */
export async function post(path, { query, json, idempotencyKey, signal } = {}) {
  const headers = {};
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (idempotencyKey) headers["Idempotency-Key"] = idempotencyKey;
  const body = json === undefined ? undefined : JSON.stringify(json);
  return (await ask("POST", address(path, query), { headers, body, signal })).json();
}

export async function remove(path) {
  await ask("DELETE", path, {});
}

/** Ask until there is an answer (reading), or once (everything else). Returns the Response of a success. */
export async function ask(method, url, { headers = {}, body, signal } = {}) {
  for (let attempt = 0; ; attempt++) {
    const response = await attemptOnce(method, url, { headers, body, signal });
    if (response?.ok) return response;
    if (response?.status === 401) {
      await wantKey(await problemOf(response));
    } else if (response && response.status !== 503) {
      throw await problemOf(response);
    } else if (method !== "GET") {
      throw response ? await problemOf(response) : new Away();
    } else {
      await pause(PAUSES_MS[Math.min(attempt, PAUSES_MS.length - 1)], signal);
    }
  }
}

/** One request; undefined if nothing answered. */
async function attemptOnce(method, url, { headers, body, signal }) {
  try {
    const response = await fetch(url, { method, headers: { ...authorization(), ...headers }, body, signal });
    connection.set({ away: response.status === 503 });
    return response;
  } catch (error) {
    if (signal?.aborted) throw error;
    connection.set({ away: true });
    return undefined;
  }
}

export function authorization() {
  const key = sessionStorage.getItem(KEY);
  return key === null ? {} : { Authorization: `Bearer ${key}` };
}

/** All requests that want a key wait for the same answer. */
export function wantKey(problem) {
  asking ??= askForKey(problem.message).finally(() => (asking = null));
  return asking;
}

export async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  return new Problem(response.status, body);
}

/** Upload a file, which fetch can't do with progress; `onProgress` hears the share that was sent. {status, body}. */
export function upload(path, file, { onProgress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    form.append("file", file);
    request.open("POST", path);
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 400) resolve({ status: request.status, body: request.response });
      else reject(new Problem(request.status, request.response ?? {}));
    };
    request.onerror = () => reject(new Away());
    request.onabort = () => reject(new DOMException("The upload was stopped.", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

/**
 * Save what an address answers. Without a key the browser streams it to disk; with one it has to be fetched first,
 * because a link carries no header.
 */
export async function download(url, filename) {
  if (!connection.get().key) {
    save(url, filename);
    return;
  }
  const response = await ask("GET", url);
  const object = URL.createObjectURL(await response.blob());
  save(object, filename);
  setTimeout(() => URL.revokeObjectURL(object), 60_000);
}

/** Save a text that is already here. */
export function saveText(text, filename, type) {
  const object = URL.createObjectURL(new Blob([text], { type }));
  save(object, filename);
  setTimeout(() => URL.revokeObjectURL(object), 60_000);
}

function save(url, filename) {
  const link = document.createElement("a");
  link.href = url;
  link.download = filename;
  link.click();
}

/** A new key for a request that must happen once: `crypto.randomUUID` is missing on plain HTTP. */
function idempotencyKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A function from what is sent to its key: the same one for as long as the same is sent. */
export function keyPerContent() {
  let [last, key] = [null, null];
  return (json) => {
    const content = JSON.stringify(json);
    if (content !== last) [last, key] = [content, idempotencyKey()];
    return key;
  };
}

export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
