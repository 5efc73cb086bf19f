// A new voice: its recording, what is known of it, a try, and who agrees.

import { duration, number, position as placed } from "./format.js";
import { infer } from "./infer.js";
import { Microphone } from "./microphone.js";
import { Field, Trouble, useLive } from "./parts.js";
import { html, useEffect, useRef, useState } from "./preact.js";
import { Recording, toInt16 } from "./recording.js";
import { ask } from "./server.js";
import { isSpeech } from "./speech.js";
import { elementsOf } from "./tensors.js";
import { Wave } from "./wave.js";
import { words } from "./words.js";

const says = words.voices;
const RATE = 48_000;
// What a model that is given a recording calls it.
const PROMPT = "prompt_audio";
const COUNTDOWN_S = 3;
const CHECK_AFTER_MS = 300;
// Beside the speech that is kept of a microphone's recording.
const MARGIN_S = 0.15;
const QUIET = 300; // of 32768: -41 dBFS
// How loud the loudest of a good recording is, of 1.
const [TOO_QUIET, TOO_LOUD] = [0.08, 0.98];

export function AddVoice() {
  const [rules, setRules] = useState(null);
  const [sound, setSound] = useState(null);
  const [check, setCheck] = useState(null);
  const [problem, setProblem] = useState(null);
  const [isSaving, setIsSaving] = useState(false);
  useEffect(() => void ask("GET", "/api/voices").then((told) => setRules(told.rules), setProblem), []);
  const save = async (event) => {
    event.preventDefault();
    const form = new FormData(event.target);
    setIsSaving(true);
    setProblem(null);
    form.set("audio", await bytesOf(sound));
    form.set("consent", rules.consent);
    try {
      await ask("POST", "/api/voices", form);
      location.hash = "#/voices";
    } catch (error) {
      setProblem(error);
      setIsSaving(false);
    }
  };
  return html`<div class="head medium">
      <h1>${says.addTitle}</h1>
      <a class="button" href="#/voices">${words.cancel}</a>
    </div>
    <div class="stack medium">
      ${rules && html`<${Source} rules=${rules} sound=${sound} onSound=${setSound} />`}
      ${sound && html`<${Cut} sound=${sound} onSound=${setSound} check=${check} onCheck=${setCheck} />`}
      ${check?.seconds && html`<${Try} sound=${sound} />`}
      ${rules &&
      html`<form class="card stack" onSubmit=${save}>
        <h2>${says.about}</h2>
        <${Field} id="name" label=${says.name} hint=${says.nameHint}>
          <input id="name" name="name" required maxlength="64" autocomplete="off" aria-describedby="name-hint" />
        <//>
        <${Field} id="owner" label=${says.ownerLabel} hint=${says.ownerHint}>
          <input id="owner" name="owner" required maxlength="2000" aria-describedby="owner-hint" />
        <//>
        <${Field} id="transcript" label=${says.transcript} hint=${says.transcriptHint}>
          <textarea id="transcript" name="transcript" rows="2" maxlength="2000" aria-describedby="transcript-hint"></textarea>
        <//>
        <label class="check"><input type="checkbox" required />${rules.consent}</label>
        <${Trouble} problem=${problem} />
        <div class="actions">
          <button class="primary" disabled=${!check?.seconds || isSaving}>${says.save}</button>
        </div>
      </form>`}
      ${!rules && html`<${Trouble} problem=${problem} />`}
    </div>`;
}

/** The bytes that are sent: a file as it is unless it was cut. */
async function bytesOf({ file, recording, from, to }) {
  if (file && (!recording || to - from === recording.length)) return file;
  return new File([recording.wav(from, to)], "recording.wav", { type: "audio/wav" });
}

/** Where the recording comes from: a file, or the microphone. */
function Source({ rules, sound, onSound }) {
  const [problem, setProblem] = useState(null);
  const take = async (file) => {
    setProblem(null);
    if (!file) return;
    if (file.size > rules.max_bytes) return setProblem(new Error(says.tooLarge(number(rules.max_bytes / 2 ** 20))));
    const recording = await decoded(file);
    onSound({ file, recording, from: 0, to: recording?.length ?? 0 });
  };
  const drop = (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  };
  return html`<section class="card stack" onDragOver=${(event) => event.preventDefault()} onDrop=${drop}>
    <h2>${says.recording}</h2>
    <p class="quiet">${says.recordingHint}</p>
    <${Field} id="file" label=${says.file} hint=${says.fileHint(rules.formats.join(", "), duration(rules.max_seconds))}>
      <input id="file" type="file" accept="audio/*,.wav,.flac,.ogg,.mp3" aria-describedby="file-hint" onChange=${(event) => take(event.target.files[0])} />
    <//>
    <${FromMicrophone} rules=${rules} onSound=${onSound} onProblem=${setProblem} />
    <${Trouble} problem=${problem} />
  </section>`;
}

/** What a browser makes of a file; null when it does not know the kind, which the server may. */
async function decoded(file) {
  try {
    const buffer = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
    const mixed = buffer.getChannelData(0).slice();
    for (let channel = 1; channel < buffer.numberOfChannels; channel++)
      buffer.getChannelData(channel).forEach((sample, index) => (mixed[index] += sample));
    return Recording.of(toInt16(mixed.map((sample) => sample / buffer.numberOfChannels)), RATE);
  } catch {
    return null;
  }
}

function FromMicrophone({ rules, onSound, onProblem }) {
  const [state, setState] = useState({ step: "off", peak: 0, loudest: 0 });
  const microphone = useRef(null);
  const timer = useRef(0);
  const change = (more) => setState((before) => ({ ...before, ...more }));
  const end = () => {
    clearInterval(timer.current);
    microphone.current?.close();
  };
  useEffect(() => end, []);
  const stop = () => {
    end();
    change({ step: "off" });
    const { recording } = microphone.current;
    if (recording?.length) onSound({ recording, ...speechIn(recording) });
  };
  const start = async () => {
    onProblem(null);
    microphone.current = new Microphone((peak) => {
      setState((before) => ({ ...before, peak, loudest: before.step === "on" ? Math.max(before.loudest, peak) : 0 }));
      if (microphone.current.recording.seconds >= rules.max_seconds) stop();
    });
    try {
      await microphone.current.open();
    } catch {
      end();
      return onProblem(new Error(says.noMicrophone));
    }
    let left = COUNTDOWN_S;
    change({ step: "soon", left });
    timer.current = setInterval(() => {
      left -= 1;
      if (left > 0) return change({ left });
      clearInterval(timer.current);
      microphone.current.record();
      change({ step: "on" });
    }, 1000);
  };
  const { step, left, peak, loudest } = state;
  const seconds = microphone.current?.recording?.seconds ?? 0;
  return html`<div class="stack tight">
    <div class="row">
      ${step === "off"
        ? html`<button onClick=${start}>${says.record}</button>`
        : html`<button class="danger" onClick=${stop}>${says.stop}</button>`}
      ${step === "on" && html`<span class="number">${says.recorded(placed(seconds), placed(rules.max_seconds))}</span>`}
    </div>
    ${step !== "off" &&
    html`<meter class="level" aria-label=${says.level} min="0" max="1" low=${TOO_QUIET} high=${TOO_LOUD} optimum="0.5" value=${peak}></meter>`}
    <p class="small" role="status">
      ${step === "soon" && says.soon(left)}
      ${step === "on" && (loudest > TOO_LOUD ? says.tooLoud : seconds > 2 && loudest < TOO_QUIET ? says.tooQuiet : says.speakNow)}
    </p>
  </div>`;
}

/** Where the speech in a recording begins and ends, in samples. */
function speechIn({ peaks, perPeak, rate, length }) {
  const first = Math.max(0, peaks.findIndex((peak) => peak > QUIET));
  const last = peaks.findLastIndex((peak) => peak > QUIET);
  const margin = MARGIN_S * rate;
  const to = last < 0 ? length : Math.min(length, Math.round((last + 1) * perPeak + margin));
  return { from: Math.max(0, Math.round(first * perPeak - margin)), to };
}

/** The part that is kept, and what the server says of it. */
function Cut({ sound, onSound, check, onCheck }) {
  const { recording, from, to } = sound;
  const [heard, setHeard] = useState("");
  useEffect(() => {
    onCheck(null);
    let isOld = false;
    const timer = setTimeout(async () => {
      const audio = await bytesOf(sound);
      const form = new FormData();
      form.set("audio", audio);
      const found = await ask("POST", "/api/voices/check", form).catch((problem) => ({ problem }));
      if (isOld) return;
      onCheck(found);
      setHeard(URL.createObjectURL(audio));
    }, CHECK_AFTER_MS);
    return () => {
      isOld = true;
      clearTimeout(timer);
    };
  }, [sound]);
  useEffect(() => () => heard && URL.revokeObjectURL(heard), [heard]);
  const step = recording ? Math.round(recording.rate / 20) : 1;
  const edge = (id, label, value, change) => html`<div class="field grow">
    <label for=${id}>${label} <span class="number quiet">${duration(value / recording.rate)}</span></label>
    <input id=${id} type="range" min="0" max=${recording.length} step=${step} value=${value} onInput=${(event) => change(Number(event.target.value))} />
  </div>`;
  return html`<section class="card stack">
    <h2>${says.cut}</h2>
    ${recording &&
    html`<${Wave} recording=${recording} from=${from} to=${to} most=${recording.length} onSeek=${() => {}} />
      <div class="row">
        ${edge("from", says.from, from, (sample) => onSound({ ...sound, from: Math.min(sample, to - step) }))}
        ${edge("to", says.to, to, (sample) => onSound({ ...sound, to: Math.max(sample, from + step) }))}
      </div>`}
    ${heard && html`<audio controls src=${heard} aria-label=${says.cut}></audio>`}
    <div role="status">
      ${!check && html`<p class="small">${says.checking}</p>`}
      ${check?.seconds && html`<p class="notice good">${says.fits(duration(check.seconds), number(check.sample_rate / 1000))}</p>`}
    </div>
    <${Trouble} problem=${check?.problem} />
  </section>`;
}

/** A sentence spoken in the voice before it is saved, where a deployment takes a recording. */
function Try({ sound }) {
  const { deployments } = useLive();
  const takes = [...deployments.values()].filter(
    (each) => each.state === "serving" && isSpeech(each) && each.signature.inputs.some((spec) => spec.name === PROMPT),
  );
  const [text, setText] = useState(says.tryText);
  const [state, setState] = useState({});
  useEffect(() => () => state.url && URL.revokeObjectURL(state.url), [state.url]);
  const speak = async () => {
    setState({ isBusy: true });
    try {
      const bytes = new Uint8Array(await (await bytesOf(sound)).arrayBuffer());
      const inputs = [
        { name: "text", datatype: "BYTES", shape: [1], data: [text] },
        { name: PROMPT, datatype: "UINT8", shape: [bytes.length], bytes },
      ];
      const outputs = await infer(takes[0].name, inputs);
      const [audio, rate] = ["audio", "sample_rate"].map((name) => outputs.find((output) => output.name === name));
      const samples = new Float32Array(audio.bytes.slice().buffer);
      const wav = Recording.of(toInt16(samples), elementsOf(rate)(0)).wav();
      setState({ url: URL.createObjectURL(wav) });
    } catch (problem) {
      setState({ problem });
    }
  };
  if (!takes.length) return null;
  return html`<section class="card stack">
    <h2>${says.try}</h2>
    <${Field} id="try" label=${says.tryLabel}>
      <input id="try" value=${text} maxlength="300" onInput=${(event) => setText(event.target.value)} />
    <//>
    <div class="row">
      <button onClick=${speak} disabled=${state.isBusy || !text.trim()}>${state.isBusy ? words.speak.making : says.tryStart}</button>
      ${state.url && html`<audio controls autoplay src=${state.url} aria-label=${says.try}></audio>`}
    </div>
    <${Trouble} problem=${state.problem} />
  </section>`;
}
