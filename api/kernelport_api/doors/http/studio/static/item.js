// All that is known of one item.

import { bytes, duration, moment, number } from "./format.js";
import { State } from "./jobs.js";
import { Facts, given } from "./parts.js";
import { html, useEffect, useRef } from "./preact.js";
import { words } from "./words.js";

const says = words.jobs;
const HEARD = /\.(wav|flac|ogg|mp3|aac)$/;

/** Whether a browser can play what an item became. */
export const isHeard = (item) => HEARD.test(item.file ?? "");

/** The address of what an item became. */
export const outputOf = (path, item) => `${path}/outputs/${encodeURIComponent(item.id)}`;

export function ItemDetails({ path, item, onClose }) {
  const dialog = useRef(null);
  useEffect(() => dialog.current.showModal(), [item]);
  const facts = [
    item.audio_s && [says.audio, duration(item.audio_s)],
    item.file && [says.file, html`${given(item.file)} (${bytes(item.file_bytes)})`],
    item.finished_unix_us && [says.finished, moment(item.finished_unix_us)],
    item.attempts && [says.attempts, number(item.attempts)],
    item.backend_s && [says.compute, says.computeOf(duration(item.backend_s), item.batch_size, number(item.batch_size))],
    item.device && [says.device, given(item.device)],
    item.revision && [says.revision, html`<code>${given(item.revision)}</code>`],
    item.sha256 && [says.sha256, html`<code>${given(item.sha256)}</code>`],
  ];
  return html`<dialog class="wide" ref=${dialog} aria-labelledby="item" onClose=${onClose}>
    <div class="stack tight">
      <div class="row spread">
        <h2 id="item">${given(item.id)}</h2>
        <${State} state=${item.state} />
      </div>
      ${item.reason && html`<div class="notice trouble">${given(item.reason, 2000)}</div>`}
      ${item.reason && html`<p class="small">${item.lasting ? says.lasting : says.mayPass}</p>`}
      ${item.warnings?.map((warning) => html`<p class="notice warn">${given(warning)}</p>`)}
      ${item.text && html`<p class="item-says" tabindex="0">${given(item.text, 2000)}</p>`}
      ${isHeard(item) && html`<audio class="wide" controls src=${outputOf(path, item)}></audio>`}
      <${Facts} facts=${facts} />
    </div>
    <div class="actions">
      ${item.file && html`<a class="button" download href=${outputOf(path, item)}>${says.downloadIt}</a>`}
      <button class="primary" onClick=${() => dialog.current.close()}>${words.close}</button>
    </div>
  </dialog>`;
}
