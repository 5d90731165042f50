// Server-sent events over fetch: EventSource can't send a key. A stream that breaks goes on after the last event seen.

import { authorization, connection, pause, problemOf, wantKey } from "./api.js";

const SILENCE_MS = 45_000; // the server pings every 15 s
const PAUSES_MS = [500, 1000, 2000, 4000];

/**
 * The messages of a stream, {event, data}, until the server says that there are no more; `data` is parsed.
 * While nothing answers, `connection` says so and it is tried again. Throws a Problem if the subject is gone.
 */
export async function* follow(path, { signal }) {
  let lastId = null;
  let failures = 0;
  while (!signal.aborted) {
    const attempt = new AbortController();
    const stop = () => attempt.abort(signal.reason);
    signal.addEventListener("abort", stop);
    try {
      const response = await open(path, lastId, attempt.signal);
      if (response.status === 204) return;
      if (response.status === 401) {
        await wantKey(await problemOf(response));
        continue;
      }
      if (!response.ok && response.status < 500) throw await problemOf(response);
      connection.set({ away: !response.ok });
      if (response.ok) {
        for await (const message of messages(response.body, () => attempt.abort())) {
          failures = 0;
          if (message.id !== null) lastId = message.id;
          yield { event: message.event, data: JSON.parse(message.data) };
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!isOutage(error, attempt.signal)) throw error;
      connection.set({ away: true });
    } finally {
      signal.removeEventListener("abort", stop);
      attempt.abort();
    }
    await pause(PAUSES_MS[Math.min(failures++, PAUSES_MS.length - 1)], signal).catch(() => {});
  }
}

/** A network that fails is a TypeError; a silence that lasts too long is our own abort. */
const isOutage = (error, attempt) => error instanceof TypeError || attempt.aborted;

function open(path, lastId, signal) {
  const headers = { Accept: "text/event-stream", ...authorization() };
  if (lastId !== null) headers["Last-Event-ID"] = lastId;
  return fetch(path, { headers, signal, cache: "no-store" });
}

/** The messages of one body; `onSilence` is called when not even a ping comes. */
async function* messages(body, onSilence) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let fields = {};
  for (;;) {
    const timer = setTimeout(onSilence, SILENCE_MS);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (fields.data !== undefined)
          yield { event: fields.event ?? "message", data: fields.data, id: fields.id ?? null };
        fields = {};
      } else {
        addField(fields, line);
      }
    }
  }
}

function addField(fields, line) {
  const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
  if (name === "data" && fields.data !== undefined) fields.data += `\n${value}`;
  else if (name) fields[name] = value;
}
