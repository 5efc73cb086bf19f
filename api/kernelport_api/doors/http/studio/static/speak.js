// The view where one writes, and listens.

import { number, duration, since } from "./format.js";
import { Inputs, fillable, filledIn, voiceInput, withVoiceOf } from "./inputs.js";
import { keep, kept } from "./kept.js";
import { Listen } from "./listen.js";
import * as made from "./made.js";
import { Choice, Empty, Section, confirm, given, useChanges, useLive } from "./parts.js";
import { html, useEffect, useMemo, useState } from "./preact.js";
import { replay, speak, speaking, stop, subscribe } from "./speaking.js";
import { isSpeech } from "./speech.js";
import { words } from "./words.js";

const says = words.speak;
// What was last written and chosen, for this tab.
const KEPT = "kernelport-speak";

function lastChosen() {
  try {
    return JSON.parse(kept("sessionStorage", KEPT)) ?? {};
  } catch {
    return {};
  }
}

export function Speak() {
  const { deployments, voices, isConnected } = useLive();
  const [wanted, setWanted] = useState(lastChosen);
  const chosen = withVoiceOf(voices, wanted);
  const choose = (more) =>
    setWanted((before) => {
      const now = { ...before, ...more };
      keep("sessionStorage", KEPT, JSON.stringify(now));
      return now;
    });
  const speaks = [...deployments.values()].filter(isSpeech);
  if (isConnected === null) return html`<h1>${says.title}</h1>`;
  if (!speaks.length)
    return html`<div class="head"><h1>${says.title}</h1></div>
      <${Empty} title=${says.noSpeech}><p>${says.noSpeechHint} <code>kernelport up --deployments hibari-en</code></p><//>`;
  const live = speaks.find((each) => each.state === "serving") ?? speaks[0];
  const deployment = speaks.find((each) => each.name === chosen.deployment) ?? live;
  const start = (event) => {
    const text = chosen.text ?? "";
    if (!text.trim() || !event.target.closest("form").reportValidity()) return;
    const voice = voiceInput(deployment) && chosen.voice ? { voice: chosen.voice } : {};
    const inputs = filledIn(fillable(deployment), chosen[deployment.name] ?? {});
    speak({ model: deployment.name, input: text, ...voice, ...inputs }, deployment, event.timeStamp);
  };
  const onKeyDown = (event) => {
    ready();
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    start(event);
  };
  return html`<div class="head"><h1>${says.title}</h1></div>
    <form class="columns" onSubmit=${(event) => event.preventDefault()} onPointerDown=${ready} onKeyDown=${onKeyDown}>
      <div class="stack">
        <${Composer} deployment=${deployment} chosen=${chosen} choose=${choose} onStart=${start} />
        <${Listen} />
      </div>
      <div class="stack">
        <${Settings} ...${{ speaks, deployment, voices, chosen, choose }} />
        <${Made} />
      </div>
    </form>`;
}

/** A browser lets a page have sound once it was touched, and making it ready takes time. */
const ready = () => void speaking.player.prepare().catch(() => {});

function Composer({ deployment, chosen, choose, onStart }) {
  const text = chosen.text ?? "";
  const most = deployment.signature.inputs.find((spec) => spec.name === "text")?.max_characters || 0;
  const count = useMemo(() => [...text].length, [text]);
  return html`<div class="card stack tight">
    <label for="text">${says.text}</label>
    <textarea
      id="text"
      dir="auto"
      rows="8"
      placeholder=${says.placeholder}
      value=${text}
      onInput=${(event) => choose({ text: event.target.value })}
    ></textarea>
    <div class="row spread">
      <span class=${most && count > most ? "small too-many" : "small"}>
        ${most ? says.characters(number(count), number(most)) : says.charactersOnly(number(count))}
      </span>
      <span class="row">
        <kbd class="small">${says.shortcut}</kbd>
        <${Start} onStart=${onStart} isOff=${!text.trim()} />
      </span>
    </div>
  </div>`;
}

function Start({ onStart, isOff }) {
  const isBusy = useChanges(subscribe, () => speaking.isComing || speaking.player.isPlaying);
  return isBusy
    ? html`<button type="button" class="primary" onClick=${stop}>${says.stop}</button>`
    : html`<button type="button" class="primary" onClick=${onStart} disabled=${isOff}>${says.start}</button>`;
}

function Settings({ speaks, deployment, voices, chosen, choose }) {
  const specs = fillable(deployment);
  const voice = voiceInput(deployment);
  const values = chosen[deployment.name] ?? {};
  return html`<fieldset class="card stack">
    <legend class="only-read">${says.inputs}</legend>
    <${Choice}
      id="deployment"
      label=${words.deployment}
      value=${deployment.name}
      options=${speaks.map(({ name, state }) => [name, state === "serving" ? name : says.notServing(name)])}
      onChoose=${(name) => choose({ deployment: name })}
    />
    ${voice &&
    (voices.size || voice.optional
      ? html`<${Choice}
          id="voice"
          label=${says.voice}
          value=${chosen.voice ?? ""}
          required=${!voice.optional}
          options=${[["", voice.optional ? says.ownVoice : ""], ...voices.keys()]}
          onChoose=${(name) => choose({ voice: name })}
        />`
      : html`<p class="small">${says.noVoices} <a href="#/voices">${says.addVoice}</a></p>`)}
    <${Inputs}
      specs=${specs}
      values=${values}
      onInput=${(name, value) => choose({ [deployment.name]: { ...values, [name]: value } })}
    />
  </fieldset>`;
}

/** What was spoken before. */
function Made() {
  const changes = useChanges(subscribe, () => speaking.madeChanges);
  const [list, setList] = useState([]);
  const [isKept, setIsKept] = useState(true);
  const read = () => made.all().then(setList, () => setIsKept(false));
  useEffect(() => void read(), [changes]);
  const clear = async () => {
    const question = { title: says.clearTitle, text: says.clearText(number(list.length)), action: says.clear };
    if (await confirm(question)) await made.clear().then(read);
  };
  return html`<${Section}
    id="made"
    title=${says.made}
    beside=${list.length > 0 && html`<button type="button" class="plain compact" onClick=${clear}>${says.clear}</button>`}
  >
    ${isKept && speaking.isUnkept && html`<p class="notice warn small" role="status">${says.notKept}</p>`}
    ${!list.length && html`<p class="small">${isKept ? says.madeNone : says.noStorage}</p>`}
    <ul class="made">
      ${list.map(
        (entry) => html`<li key=${entry.id}>
          <button type="button" class="plain again" onClick=${() => replay(entry)}>
            <span class="only-read">${says.again}: </span>
            <span class="line">${given(entry.asked.input, 160)}</span>
            <span class="small">
              ${given(entry.asked.model)} · ${duration(entry.seconds)} · ${since(entry.id * 1000)}
            </span>
          </button>
          <button type="button" class="plain compact" aria-label=${says.forget} onClick=${() => made.remove(entry.id).then(read)}>
            <span aria-hidden="true">✕</span>
          </button>
        </li>`,
      )}
    </ul>
    ${list.length > 0 && html`<p class="small">${says.madeLimit}</p>`}
  <//>`;
}
