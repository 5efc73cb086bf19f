// Speech as 16-bit samples, mono, which may still be growing.

export const RATE = 24_000;
// One height of the waveform.
export const PER_PEAK = RATE / 50;
const BLOCK = 2 ** 20;

export class Recording {
  #blocks = [];
  length = 0;
  isWhole = false;
  /** The loudest sample of each fiftieth of a second, from 0 to 32768. */
  peaks = [];

  /** A whole recording from its bytes, little-endian. */
  static async of(blob) {
    const recording = new Recording();
    recording.add(new Int16Array(await blob.arrayBuffer()));
    recording.isWhole = true;
    return recording;
  }

  get seconds() {
    return this.length / RATE;
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
      const peak = Math.floor((this.length + index) / PER_PEAK);
      const height = Math.abs(samples[index]);
      if (!(this.peaks[peak] >= height)) this.peaks[peak] = height;
    }
  }

  /** A copy of the samples from one place to another, of one block at most. */
  slice(from, to) {
    const at = from % BLOCK;
    return this.#blocks[Math.floor(from / BLOCK)].slice(at, Math.min(at + to - from, BLOCK));
  }

  /** Its bytes. */
  blob() {
    const parts = [];
    for (let from = 0; from < this.length; from += BLOCK) parts.push(this.slice(from, this.length));
    return new Blob(parts, { type: "audio/pcm" });
  }
}
