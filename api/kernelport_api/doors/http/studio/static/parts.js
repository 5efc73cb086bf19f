// What several views are made of.

import { html, useEffect, useRef, useState } from "./preact.js";
import { live, subscribe } from "./server.js";
import { words } from "./words.js";

// Of what somebody else wrote, a list shows no more.
const MOST_SHOWN = 300;

let changed = 0;

/** Has the caller drawn again when `subscribe` tells of a change: each time, or when what `pick` gives is another. */
export function useChanges(subscribe, pick = () => (changed += 1)) {
  const [picked, again] = useState(pick);
  useEffect(() => subscribe(() => again(pick())), [subscribe]);
  return picked;
}

/** What the events have told; whoever uses it is drawn again when it changes. */
export function useLive() {
  useChanges(subscribe);
  return live;
}

/** A text that somebody else wrote, of either direction, cut where it is long. */
export function given(text, most = MOST_SHOWN) {
  const all = String(text ?? "");
  const shown = all.length > most ? `${all.slice(0, most)}…` : all;
  return html`<bdi class="given" title=${all.length > most ? all.slice(0, 1000) : null}>${shown}</bdi>`;
}

/** What went wrong. */
export function Trouble({ problem }) {
  if (!problem) return null;
  return html`<div class="notice trouble" role="alert">
    <p>${given(problem.message, 2000)}</p>
    ${problem.violations?.length > 1 &&
    html`<ul>${problem.violations.map((each) => html`<li>${given(`${each.field}: ${each.description}`)}</li>`)}</ul>`}
    ${problem.requestId && html`<p class="small">${words.errors.requestId} <code>${given(problem.requestId)}</code></p>`}
  </div>`;
}

/** A field with its label, and what is to be known about it. */
export function Field({ label, hint, id, children }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    ${children}
    ${hint && html`<p class="hint" id=${`${id}-hint`}>${hint}</p>`}
  </div>`;
}

/** A field in which one thing is chosen. `options` are values, or pairs of a value and what it is called. */
export const Choice = ({ id, label, value, options, onChoose, ...more }) => html`<${Field} id=${id} label=${label}>
  <select id=${id} value=${value} onChange=${(event) => onChoose(event.target.value)} ...${more}>
    ${options.map((option) => {
      const [each, shown = each] = [option].flat();
      return html`<option key=${each} value=${each}>${shown}</option>`;
    })}
  </select>
<//>`;

/** What stands where there is nothing yet. */
export const Empty = ({ title, children }) => html`<div class="empty">
  <p class="empty-title">${title}</p>
  ${children}
</div>`;

/** A part of a view under a heading; `beside` is at the other end of its line. */
export const Section = ({ id, title, beside, children }) => html`<section class="stack tight" aria-labelledby=${id}>
  <div class="row spread"><h2 id=${id}>${title}</h2>${beside}</div>
  ${children}
</section>`;

/** Names and what is to be said of each; what is false is left out. */
export const Facts = ({ facts, kind = "" }) => html`<dl class=${`facts ${kind}`}>
  ${facts.filter(Boolean).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}
</dl>`;

/** A table that scrolls by itself. `numbers`: its columns of numbers; `verbs`: whether there is one more, of buttons. */
export const Table = ({ label, kind = "", columns, numbers = [], verbs, children }) => html`<div
  class=${`scrolled ${kind}`}
  tabindex="0"
  role="region"
  aria-label=${words.table(label)}
>
  <table>
    <thead>
      <tr>
        ${columns.map(
          (name) => html`<th scope="col" class=${numbers.includes(name) ? "number" : null}>${given(name)}</th>`,
        )}
        ${verbs && html`<th scope="col"><span class="only-read">${words.verbs}</span></th>`}
      </tr>
    </thead>
    <tbody>${children}</tbody>
  </table>
</div>`;

/** A bar that tells how much is done: a share from 0 to 1. */
export const Progress = ({ share, label }) =>
  html`<progress value=${share} max="1" aria-label=${label}></progress>`;

let open = null;

/** Asks once whether to do what cannot be undone, as `{title, text, action}`; gives a promise of true or false. */
export const confirm = (question) => new Promise((answer) => open({ ...question, answer }));

/** The place of these questions; the page has it once. */
export function Questions() {
  const [question, ask] = useState(null);
  const dialog = useRef(null);
  open = ask;
  useEffect(() => {
    if (question) dialog.current.showModal();
  }, [question]);
  const end = (answer) => {
    dialog.current.close(); // gives the focus back to where it was
    question.answer(answer);
    ask(null);
  };
  if (!question) return null;
  return html`<dialog ref=${dialog} aria-labelledby="question" aria-describedby="loss" onCancel=${() => end(false)}>
    <h2 id="question">${given(question.title)}</h2>
    <p id="loss">${given(question.text, 1000)}</p>
    <div class="actions">
      <button onClick=${() => end(false)}>${words.cancel}</button>
      <button class="danger" onClick=${() => end(true)}>${question.action}</button>
    </div>
  </dialog>`;
}
