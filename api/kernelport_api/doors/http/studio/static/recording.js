// Sound as 16-bit samples, mono, which may still be growing.

/** Of speech as the server sends it, in Hz. */
export const RATE = 24_000;
const PEAKS_PER_S = 50;
const BLOCK = 2 ** 20;

export class Recording {
  #blocks = [];
  length = 0;
  isWhole = false;
  /** The loudest sample of each fiftieth of a second, from 0 to 32768. */
  peaks = [];

  /** @param {number} rate in Hz. */
  constructor(rate = RATE) {
    this.rate = rate;
    this.perPeak = rate / PEAKS_PER_S;
  }

  /** A whole recording of samples. */
  static of(samples, rate = RATE) {
    const recording = new Recording(rate);
    recording.add(samples);
    recording.isWhole = true;
    return recording;
  }

  get seconds() {
    return this.length / this.rate;
  }

  /** Takes more samples in. */
  add(samples) {
    for (let from = 0; from < samples.length; ) {
      const at = this.length % BLOCK;
      if (!at) this.#blocks.push(new Int16Array(BLOCK));
      const part = samples.subarray(from, from + BLOCK - at);
      this.#blocks.at(-1).set(part, at);
      this.#measure(part);
      this.length += part.length;
      from += part.length;
    }
  }

  #measure(samples) {
    for (let index = 0; index < samples.length; index++) {
      const peak = Math.floor((this.length + index) / this.perPeak);
      const height = Math.abs(samples[index]);
      if (!(this.peaks[peak] >= height)) this.peaks[peak] = height;
    }
  }

  /** A copy of the samples from one place to another, of one block at most. */
  slice(from, to) {
    const at = from % BLOCK;
    return this.#blocks[Math.floor(from / BLOCK)].slice(at, Math.min(at + to - from, BLOCK));
  }

  /** The bytes of its samples from one place to another. */
  pcm(from = 0, to = this.length) {
    const parts = [];
    for (let at = from; at < to; at += parts.at(-1).length) parts.push(this.slice(at, to));
    return new Blob(parts, { type: "audio/pcm" });
  }

  /** The same as a WAV file. */
  wav(from = 0, to = this.length) {
    const size = 2 * (to - from);
    const head = new DataView(new ArrayBuffer(44));
    const letters = (at, text) => [...text].forEach((letter, index) => head.setUint8(at + index, letter.charCodeAt(0)));
    letters(0, "RIFF");
    head.setUint32(4, 36 + size, true);
    letters(8, "WAVEfmt ");
    head.setUint32(16, 16, true);
    head.setUint16(20, 1, true); // PCM
    head.setUint16(22, 1, true); // one channel
    head.setUint32(24, this.rate, true);
    head.setUint32(28, 2 * this.rate, true);
    head.setUint16(32, 2, true);
    head.setUint16(34, 16, true);
    letters(36, "data");
    head.setUint32(40, size, true);
    return new Blob([head, this.pcm(from, to)], { type: "audio/wav" });
  }
}

/** Samples from -1 to 1 in 16 bits. */
export const toInt16 = (samples) => Int16Array.from(samples, (sample) => Math.max(-1, Math.min(1, sample)) * 32767);
