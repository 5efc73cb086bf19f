// A small chart of the last hour: a bar for each minute.

import { html } from "./preact.js";

const MINUTES = 60;
const HEIGHT = 32;
const WIDTH = 4;

/** `of` gives the value of a minute, or null; `shown` what a person is told of a value. */
export function Chart({ minutes, of, label, shown }) {
  const end = Math.floor(Date.now() / 60_000) * 60;
  const values = new Array(MINUTES).fill(0);
  for (const minute of minutes) {
    const place = MINUTES - 1 - (end - minute.unix_s) / 60;
    if (place in values) values[place] = of(minute) ?? 0;
  }
  const most = Math.max(...values);
  const told = most ? shown(most) : "–";
  const bar = (value) => (most ? Math.max(value ? 1 : 0, (value / most) * HEIGHT) : 0);
  const path = values.map((value, at) => `M${at * WIDTH + 0.5} ${HEIGHT}h3v${-bar(value)}h-3z`).join("");
  return html`<figure class="chart">
    <figcaption class="small row spread"><span>${label}</span><span class="number">${told}</span></figcaption>
    <svg viewBox=${`0 0 ${MINUTES * WIDTH} ${HEIGHT + 1}`} preserveAspectRatio="none" role="img" aria-label=${`${label}: ${told}`}>
      <path class="chart-base" d=${`M0 ${HEIGHT + 0.5}h${MINUTES * WIDTH}`} />
      <path class="chart-bars" d=${path} />
    </svg>
  </figure>`;
}
