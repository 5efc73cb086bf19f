// The view of the registered voices.

import { AddVoice } from "./add_voice.js";
import { duration, moment, number } from "./format.js";
import { voiceInput } from "./inputs.js";
import { Empty, Trouble, confirm, given, useLive } from "./parts.js";
import { html, useEffect, useState } from "./preact.js";
import { ask } from "./server.js";
import { words } from "./words.js";

const says = words.voices;

/** The view; at `#/voices/add` the form for a new one. */
export function Voices({ rest }) {
  return rest[0] === "add" ? html`<${AddVoice} />` : html`<${List} />`;
}

function List() {
  const { voices, deployments, isConnected } = useLive();
  const [problem, setProblem] = useState(null);
  const [playing, setPlaying] = useState(null);
  useEffect(() => () => playing?.audio.pause(), [playing]);
  const listen = (name) => {
    if (playing?.name === name) return setPlaying(null);
    const audio = new Audio(`/api/voices/${encodeURIComponent(name)}/recording`);
    audio.onended = () => setPlaying(null);
    audio.play().catch(() => setPlaying(null));
    setPlaying({ name, audio });
  };
  const remove = async (name) => {
    if (!(await confirm({ title: says.deleteTitle(name), text: says.deleteText, action: words.delete }))) return;
    setProblem(null);
    await ask("DELETE", `/api/voices/${encodeURIComponent(name)}`).catch(setProblem);
  };
  if (isConnected === null) return html`<h1>${says.title}</h1>`;
  const takesVoices = [...deployments.values()].some(voiceInput);
  return html`<div class="head">
      <h1>${says.title}</h1>
      <a class="button primary" href="#/voices/add">${says.add}</a>
    </div>
    <div class="stack">
      <${Trouble} problem=${problem} />
      ${!takesVoices && html`<p class="notice">${says.noneTakes}</p>`}
      ${!voices.size && html`<${Empty} title=${says.none}><p>${says.noneHint}</p><//>`}
      ${voices.size > 0 &&
      html`<ul class="voices">
        ${[...voices.values()].map(
          (voice) => html`<li class="card" key=${voice.name}>
            <div class="row spread">
              <h2>${given(voice.name, 64)}</h2>
              <span class="number small">${duration(voice.seconds)}</span>
            </div>
            <p class="small">
              ${says.owner} ${given(voice.owner, 80)}<br />
              ${moment(voice.created_unix_us)} · ${voice.format}, ${number(voice.sample_rate / 1000)} kHz
            </p>
            ${voice.transcript && html`<p class="small">“${given(voice.transcript, 140)}”</p>`}
            <div class="row end">
              <button class="compact" onClick=${() => listen(voice.name)}>
                ${playing?.name === voice.name ? says.stop : says.listen}<span class="only-read"> ${voice.name}</span>
              </button>
              <button class="plain danger compact" onClick=${() => remove(voice.name)}>
                ${words.delete}<span class="only-read"> ${voice.name}</span>
              </button>
            </div>
          </li>`,
        )}
      </ul>`}
    </div>`;
}
