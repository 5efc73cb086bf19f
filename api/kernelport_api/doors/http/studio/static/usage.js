// What tenants have used, by day, added up over some days.

import { dollars, duration, number } from "./format.js";
import { Empty, Section, Table, Trouble, given } from "./parts.js";
import { html, useEffect, useState } from "./preact.js";
import { ask } from "./server.js";
import { words } from "./words.js";

const says = words.usage;
const AMOUNTS = ["calls", "items", "characters", "audio_s", "model_s", "dollars"];
const SHOWN = [number, number, number, duration, duration, dollars];
const PERIODS = [1, 7, 31];
const DAY_MS = 86_400_000;

/** Of all tenants that the caller may see; read anew when the page has found the server again. */
export function Usage({ isConnected }) {
  const [days, setDays] = useState(PERIODS[0]);
  const [used, setUsed] = useState([]);
  const [problem, setProblem] = useState(null);
  // The server's days are those of UTC.
  const query = `first_day=${new Date(Date.now() - (days - 1) * DAY_MS).toISOString().slice(0, 10)}`;
  useEffect(() => {
    const show = ({ usage }) => (setUsed(byTenant(usage)), setProblem(null));
    ask("GET", `/api/usage?${query}`).then(show, setProblem);
  }, [query, isConnected]);
  return html`<${Section}
    id="usage"
    title=${says.title}
    beside=${html`<div class="row">
        <label class="only-read" for="period">${says.period}</label>
        <select id="period" class="compact" value=${days} onChange=${(event) => setDays(Number(event.target.value))}>
          ${PERIODS.map((each) => html`<option value=${each}>${says.periods[each]}</option>`)}
        </select>
        <a class="button compact" href=${`/api/usage?format=csv&${query}`} download="usage.csv">${says.table}</a>
      </div>`}
  >
    <${Trouble} problem=${problem} />
    ${!used.length
      ? html`<${Empty} title=${says.none}><p>${says.noneHint}</p><//>`
      : html`<${Table} label=${says.title} kind="card flush" columns=${says.columns} numbers=${says.columns.slice(1)}>
        ${used.map(
          ([tenant, amounts]) => html`<tr key=${tenant}>
            <td>${given(tenant, 80)}</td>
            ${amounts.map((amount, at) => html`<td class="number">${amount ? SHOWN[at](amount) : "–"}</td>`)}
          </tr>`,
        )}
        <//>`}
  <//>`;
}

/** By their names, what tenants have used in all. */
function byTenant(rows) {
  const sums = new Map();
  for (const row of rows) {
    const before = sums.get(row.tenant) ?? AMOUNTS.map(() => 0);
    sums.set(row.tenant, AMOUNTS.map((name, at) => before[at] + row[name]));
  }
  return [...sums].sort(([one], [other]) => one.localeCompare(other));
}
