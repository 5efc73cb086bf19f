// Dead letters: requests that outlived every worker that tried them.

import { bytes, moment, number } from "./format.js";
import { Empty, Section, Table, Trouble, confirm, given } from "./parts.js";
import { html, useEffect, useState } from "./preact.js";
import { ask } from "./server.js";
import { words } from "./words.js";

const says = words.letters;
const MOST_SHOWN = 100;

/** Those of all deployments; read anew when their number changes. */
export function DeadLetters({ figures }) {
  const [letters, setLetters] = useState([]);
  const [problem, setProblem] = useState(null);
  const [isBusy, setIsBusy] = useState(false);
  const having = [...figures.values()].filter((each) => each.dead_letters > 0);
  const counts = JSON.stringify(having.map((each) => [each.name, each.dead_letters]));
  const read = async () => {
    try {
      const found = await Promise.all(having.map(({ name }) => ask("GET", `/api/dead-letters/${encodeURIComponent(name)}`)));
      setLetters(found.flatMap((each) => each.dead_letters));
    } catch (refused) {
      setProblem(refused);
    }
  };
  useEffect(() => void read(), [counts]);
  const act = async (method, letter, verb = "") => {
    const question = { title: says.purgeTitle, text: says.purgeText(letter.id.slice(0, 80)), action: says.purge };
    if (method === "DELETE" && !(await confirm(question))) return;
    setProblem(null);
    setIsBusy(true);
    const path = `/api/dead-letters/${encodeURIComponent(letter.deployment)}/${encodeURIComponent(letter.id)}${verb}`;
    await ask(method, path).catch(setProblem);
    setIsBusy(false);
    await read();
  };
  return html`<${Section} id="letters" title=${says.title}>
    <${Trouble} problem=${problem} />
    ${!letters.length
      ? html`<${Empty} title=${says.none}><p>${says.noneHint}</p><//>`
      : html`<${Table} label=${says.title} kind="card flush" columns=${says.columns} verbs>
        ${letters.slice(0, MOST_SHOWN).map(
          (letter) => html`<tr key=${letter.id}>
            <td>
              ${given(letter.id, 60)}
              <p class="small">${given(letter.deployment)} · ${moment(letter.unix_us)}</p>
            </td>
            <td>
              ${given(letter.reason, 500)}
              <p class="small">${says.attempts(letter.attempts.length)} · ${bytes(letter.request_bytes)}</p>
            </td>
            <td>
              <div class="row">
                <button class="compact" disabled=${isBusy} onClick=${() => act("POST", letter, "/replay")}>${says.replay}</button>
                <button class="plain danger compact" disabled=${isBusy} onClick=${() => act("DELETE", letter)}>${says.purge}</button>
              </div>
            </td>
          </tr>`,
        )}
        <//>`}
    ${letters.length > MOST_SHOWN && html`<p class="small">${says.more(number(letters.length - MOST_SHOWN))}</p>`}
  <//>`;
}
