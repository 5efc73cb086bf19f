// Plays a recording, which may still be growing, and says where it is.

import { RATE } from "./recording.js";
import { words } from "./words.js";

// The worklet has so much in hand; seeking throws away no more than this.
const AHEAD = 20 * RATE;

export class Player {
  #context = null;
  #node = null;
  #making = null;
  #turn = 0;
  #openTurn = 0; // that the worklet takes samples for
  #start = 0; // where in the recording this turn began
  #sent = 0; // up to where the worklet has it
  #hasEnded = false; // the worklet has been told
  #told;

  recording = null;
  position = 0; // in samples: what is being heard
  isPlaying = false;
  underruns = 0;
  /** Milliseconds from the call of `begin` until something could be heard; null before. */
  firstSoundMs = null;
  #begunAt = null;

  /** @param {() => void} told is called when anything of this has changed. */
  constructor(told) {
    this.#told = told;
  }

  /** Gets ready what takes time. A browser allows it once its user has touched the page. */
  prepare() {
    this.#making ??= this.#make().catch((error) => {
      this.#making = null;
      throw error;
    });
    return this.#making;
  }

  async #make() {
    this.#context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    await this.#context.audioWorklet.addModule("/studio/worklet.js");
    this.#node = new AudioWorkletNode(this.#context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#node.port.onmessage = ({ data }) => this.#hear(data);
    this.#node.connect(this.#context.destination);
  }

  /** Plays a recording from its start, as it comes. `since`: when it was asked for, by performance.now(), or null. */
  async begin(recording, since = null) {
    this.recording = recording;
    this.underruns = 0;
    this.firstSoundMs = null;
    this.#begunAt = since;
    await this.seek(0, true);
  }

  /** Goes on from a place, in samples; plays from there when it was playing, or is told to. */
  async seek(position, play = this.isPlaying) {
    const turn = ++this.#turn;
    this.position = this.#start = this.#sent = Math.max(0, Math.min(position, this.recording.length));
    this.#hasEnded = false;
    this.isPlaying = play;
    this.#told();
    try {
      await this.prepare();
    } catch {
      this.isPlaying = false;
      this.#told();
      throw new Error(words.speak.noSound);
    }
    if (turn !== this.#turn) return;
    this.#node.port.postMessage({ clear: true, turn });
    this.#openTurn = turn;
    if (!play) return;
    this.feed();
    await this.#context.resume();
  }

  /** Hands the worklet what has come. Call it when the recording has grown, or is whole. */
  feed() {
    if (!this.isPlaying || this.#openTurn !== this.#turn) return;
    while (this.#sent < this.recording.length && this.#sent - this.position < AHEAD) {
      const samples = this.recording.slice(this.#sent, Math.min(this.recording.length, this.#sent + RATE));
      this.#sent += samples.length;
      this.#node.port.postMessage({ samples }, [samples.buffer]);
    }
    if (this.recording.isWhole && this.#sent === this.recording.length && !this.#hasEnded) {
      this.#hasEnded = true;
      this.#node.port.postMessage({ end: true });
    }
  }

  /** Plays on, from the start when all has been played. */
  play() {
    return this.seek(this.position >= this.recording.length && this.recording.isWhole ? 0 : this.position, true);
  }

  /** Is silent at once, and stays where it is. */
  pause() {
    this.#turn += 1;
    this.#node?.port.postMessage({ clear: true, turn: this.#turn });
    this.#context?.suspend();
    this.isPlaying = false;
    this.#told();
  }

  #hear({ turn, played, audible, underrun, ended }) {
    if (turn !== this.#turn) return;
    this.position = this.#start + played;
    if (audible && this.#begunAt !== null) {
      this.firstSoundMs = performance.now() - this.#begunAt;
      this.#begunAt = null;
    }
    if (underrun) this.underruns += 1;
    if (ended) {
      this.isPlaying = false;
      this.#context.suspend();
    } else this.feed();
    this.#told();
  }
}
