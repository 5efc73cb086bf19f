// Asks for speech, and takes it in as it comes.

import { RATE, Recording } from "./recording.js";
import { Problem, events, request, requestIdOf } from "./server.js";
import { words } from "./words.js";

export const PATH = "/v1/audio/speech";
export const FORMATS = { wav: "wav", mp3: "mp3", flac: "flac", opus: "ogg" };

/** Whether a deployment speaks. */
export function isSpeech(deployment) {
  const outputs = (deployment.signature?.outputs ?? []).map((spec) => spec.name);
  return outputs.includes("audio") && outputs.includes("sample_rate");
}

/** Whether it tells which part of the text it is speaking. */
const tellsSpans = (deployment) => deployment?.signature?.outputs.some((spec) => spec.name === "spans") ?? false;

/** What is being spoken, or was. */
export class Take {
  recording = new Recording();
  /** Of each piece that has come: the characters of the text from and to, and its first sample. */
  spans = [];
  warnings = [];
  /** Whether it ended before its end. */
  isCut = false;
  #ending = new AbortController();
  #places;

  /** @param {{model: string, input: string}} asked the keys of the request that say what is to be heard. */
  constructor(asked) {
    this.asked = asked;
    this.#places = new Places(asked.input);
  }

  /** Takes the speech in, and calls `told` when more has come. Throws a Problem; when it is stopped, it just ends. */
  async make(deployment, told) {
    const include = tellsSpans(deployment) ? { include: ["spans"] } : {};
    const body = { ...this.asked, response_format: "pcm", stream_format: "sse", ...include };
    let hasEnd = false;
    let requestId = "";
    try {
      const answer = await request("POST", PATH, body, { signal: this.#ending.signal });
      requestId = requestIdOf(answer);
      for await (const { data } of events(answer.body)) {
        if (data?.type === "speech.audio.delta") this.#add(data);
        if (data?.type === "speech.audio.warnings") this.warnings = data.warnings;
        if (data?.type === "speech.audio.done") hasEnd = true;
        told();
      }
      if (!hasEnd) throw new Problem(words.speak.broken, { requestId });
    } catch (error) {
      this.isCut = true;
      if (this.#ending.signal.aborted) return;
      throw error instanceof Problem ? error : new Problem(words.speak.broken, { requestId });
    } finally {
      this.recording.isWhole = true;
      told();
    }
  }

  /** Stops it, at the server too. */
  stop() {
    this.#ending.abort();
  }

  #add({ audio, spans = [], sample_rate: rate }) {
    for (const [from, to, first] of spans) {
      const [start, end] = [this.#places.of(from), this.#places.of(to)];
      this.spans.push({ start, end, first: Math.round((first * RATE) / rate) });
    }
    const bytes = Uint8Array.from(atob(audio), (letter) => letter.charCodeAt(0));
    this.recording.add(new Int16Array(bytes.buffer, 0, bytes.length >> 1));
  }
}

/** Where characters of a text, which the server counts in code points, lie in it as JavaScript counts. */
class Places {
  #codePoints = 0;
  #at = 0;

  constructor(text) {
    this.text = text;
  }

  /** Of places that do not go back. */
  of(codePoint) {
    if (codePoint < this.#codePoints) this.#codePoints = this.#at = 0;
    while (this.#codePoints < codePoint && this.#at < this.text.length) {
      this.#at += this.text.codePointAt(this.#at) > 0xffff ? 2 : 1;
      this.#codePoints += 1;
    }
    return this.#at;
  }
}

/** Has the server make a file of what was asked for, and the browser keep it. */
export async function download(asked, format) {
  const answer = await request("POST", PATH, { ...asked, response_format: format });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = `speech.${FORMATS[format]}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
