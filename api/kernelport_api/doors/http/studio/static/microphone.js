// Hears a microphone.

import { Recording, toInt16 } from "./recording.js";

/** One recording. `told` is called with how loud it is, from 0 to 1, some 20 times a second. */
export class Microphone {
  #context = null;
  #stream = null;
  #isRecording = false;

  recording = null;

  constructor(told) {
    this.#told = told;
  }

  #told;

  /** Asks for the microphone, and listens; throws a DOMException when its user or the browser does not let it. */
  async open() {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio });
    this.#context = new AudioContext();
    await this.#context.audioWorklet.addModule("/studio/worklet.js");
    const node = new AudioWorkletNode(this.#context, "recorder", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    this.recording = new Recording(this.#context.sampleRate);
    node.port.onmessage = ({ data: { samples, peak } }) => {
      if (this.#isRecording) this.recording.add(toInt16(samples));
      this.#told(peak);
    };
    this.#context.createMediaStreamSource(this.#stream).connect(node);
  }

  /** Keeps what it hears from now on. */
  record() {
    this.#isRecording = true;
  }

  /** Lets go of the microphone. */
  close() {
    this.#isRecording = false;
    this.#stream?.getTracks().forEach((track) => track.stop());
    this.#context?.close();
    this.#context = null;
    if (this.recording) this.recording.isWhole = true;
  }
}
