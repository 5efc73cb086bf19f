// What runs in the thread of the audio: a module of its own, as the browser loads it there.

// So much must be there to begin, and again after it ran dry: what comes over a network comes unevenly.
const ENOUGH_AT_FIRST_S = 0.06;
const ENOUGH_AFTER_S = 0.3;
const TOLD_EVERY = 1024;
// -50 dBFS.
const AUDIBLE = 104;

/**
 * Plays samples as they come. It is told `{samples}` (an Int16Array), `{end: true}` behind the last of them, and
 * `{clear: true, turn}` to start anew. It tells how many it has `played` since then, `{audible: true}` once with the first
 * that can be heard, `{underrun: true}` when it ran dry, and `{ended: true}`; all with the `turn`, so that what is late is
 * known.
 */
class PlayerProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.clear(0);
    this.port.onmessage = ({ data }) => {
      if (data.clear) this.clear(data.turn);
      if (data.samples) this.take(data.samples);
      if (data.end) this.hasEnd = true;
    };
  }

  clear(turn) {
    this.turn = turn;
    this.chunks = [];
    this.at = 0; // in the first chunk
    this.waiting = this.played = this.told = 0;
    this.hasEnd = this.isFlowing = this.wasAudible = this.isOver = false;
    this.enough = ENOUGH_AT_FIRST_S * sampleRate;
  }

  take(samples) {
    this.chunks.push(samples);
    this.waiting += samples.length;
  }

  tell(what) {
    this.port.postMessage({ turn: this.turn, played: this.played, ...what });
  }

  process(_, [[output]]) {
    if (this.isOver) return true;
    if (!this.isFlowing) this.isFlowing = this.waiting > 0 && (this.hasEnd || this.waiting >= this.enough);
    if (this.isFlowing) this.fill(output);
    if (this.hasEnd && !this.waiting) {
      this.isOver = true;
      this.tell({ ended: true });
    } else if (this.isFlowing && !this.waiting) {
      this.isFlowing = false;
      this.enough = ENOUGH_AFTER_S * sampleRate;
      this.tell({ underrun: true });
    } else if (this.played - this.told >= TOLD_EVERY) {
      this.told = this.played;
      this.tell({});
    }
    return true;
  }

  fill(output) {
    let to = 0;
    while (to < output.length && this.chunks.length) {
      const [chunk] = this.chunks;
      const count = Math.min(output.length - to, chunk.length - this.at);
      for (let index = 0; index < count; index++) {
        const sample = chunk[this.at + index];
        output[to + index] = sample / 32768;
        if (!this.wasAudible && (sample > AUDIBLE || sample < -AUDIBLE)) {
          this.wasAudible = true;
          this.tell({ audible: true });
        }
      }
      to += count;
      this.at += count;
      if (this.at === chunk.length) {
        this.chunks.shift();
        this.at = 0;
      }
    }
    this.waiting -= to;
    this.played += to;
  }
}

registerProcessor("player", PlayerProcessor);

/** Hands on what a microphone hears: `{samples}` (a Float32Array) and `{peak}`, a few times a second. */
class RecorderProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Float32Array(2048);
    this.count = 0;
  }

  process([[input]]) {
    if (!input) return true;
    this.samples.set(input, this.count);
    this.count += input.length;
    if (this.count === this.samples.length) {
      this.port.postMessage({ samples: this.samples, peak: this.samples.reduce((most, each) => Math.max(most, Math.abs(each)), 0) });
      this.count = 0;
    }
    return true;
  }
}

registerProcessor("recorder", RecorderProcessor);
