// Keys, by which callers show who they are: for those who have one with the scope admin, or while there is none.

import { moment, since } from "./format.js";
import { Empty, Field, Section, Table, Trouble, confirm, given } from "./parts.js";
import { html, useEffect, useState } from "./preact.js";
import { ask, signIn } from "./server.js";
import { words } from "./words.js";

const says = words.keys;
const SCOPES = ["infer", "jobs", "voices", "admin"];
const DAY_US = 86_400_000_000;

/** All keys, and a form for a new one. */
export function Keys() {
  const [keys, setKeys] = useState(null);
  const [made, setMade] = useState(null);
  const [problem, setProblem] = useState(null);
  const [isBusy, setIsBusy] = useState(false);
  const read = () =>
    ask("GET", "/api/keys").then(
      (found) => setKeys(found.keys),
      (refused) => refused.status === 403 || setProblem(refused),
    );
  useEffect(() => void read(), []);
  if (keys === null && !problem) return null; // it is not for this caller to see
  const revoke = async ({ id, name }) => {
    const question = { title: says.revokeTitle(name), text: says.revokeText, action: says.revoke };
    if (!(await confirm(question))) return;
    await ask("DELETE", `/api/keys/${encodeURIComponent(id)}`).then(() => setProblem(null), setProblem);
    await read();
  };
  const create = async (event) => {
    event.preventDefault();
    const form = event.target;
    const filled = new FormData(form);
    const days = Number(filled.get("days"));
    const key = {
      name: filled.get("name"),
      tenant: filled.get("tenant"),
      scopes: filled.getAll("scope"),
      expires_unix_us: days ? Date.now() * 1000 + days * DAY_US : 0,
    };
    const question = { title: says.firstTitle, text: says.firstText, action: says.create };
    if (!keys.length && !(await confirm(question))) return;
    setIsBusy(true);
    try {
      const { name, token } = await ask("POST", "/api/keys", key);
      setMade({ name, token });
      setProblem(null);
      form.reset();
      // A question outlives this view, which the first one ends.
      const shown = { title: says.token(name), text: token, action: says.signIn };
      if (!keys.length && (await confirm(shown))) await signIn(token);
      if (keys.length) await read();
    } catch (refused) {
      setProblem(refused);
    }
    setIsBusy(false);
  };
  return html`<${Section} id="keys" title=${says.title}>
    <${Trouble} problem=${problem} />
    ${made &&
    html`<div class="notice" role="status">
      <p>${says.token(made.name)}</p>
      <p><code class="token">${made.token}</code></p>
    </div>`}
    ${keys?.length === 0 && !made && html`<${Empty} title=${says.none}><p>${says.noneHint}</p><//>`}
    ${keys?.length > 0 &&
    html`<${Table} label=${says.title} kind="card flush" columns=${says.columns} verbs>
      ${keys.map(
        (key) => html`<tr key=${key.id}>
          <td>${given(key.name)}<p class="small">${given(key.tenant)}</p></td>
          <td>
            ${key.scopes.join(", ")}
            <p class="small">${given(key.deployments.join(", ") || says.everyDeployment)}</p>
          </td>
          <td>${key.expires_unix_us ? moment(key.expires_unix_us) : says.never}</td>
          <td>${key.last_used_unix_us ? since(key.last_used_unix_us) : says.never}</td>
          <td class="number">
            <button class="plain danger compact" onClick=${() => revoke(key)}>
              ${says.revoke}<span class="only-read"> ${key.name}</span>
            </button>
          </td>
        </tr>`,
      )}
    <//>`}
    <details>
      <summary>${says.add}</summary>
      <form class="card stack details" onSubmit=${create}>
        <div class="row">
          <${Field} id="key-name" label=${says.name}>
            <input id="key-name" name="name" required pattern="[a-z0-9._\\-]{1,64}" title=${says.nameHint} autocomplete="off" />
          <//>
          <${Field} id="key-tenant" label=${says.tenant}>
            <input id="key-tenant" name="tenant" placeholder="default" pattern="[a-z0-9._\\-]{0,64}" title=${says.nameHint} autocomplete="off" />
          <//>
          <${Field} id="key-days" label=${says.days}>
            <input id="key-days" name="days" type="number" min="1" max="3650" placeholder=${says.never} />
          <//>
        </div>
        <fieldset class="row">
          <legend>${says.scopes}</legend>
          ${SCOPES.map(
            (scope) => html`<label class="check">
              <input type="checkbox" name="scope" value=${scope} defaultChecked=${scope === (keys?.length ? "infer" : "admin")} />
              ${says.scope[scope]}
            </label>`,
          )}
        </fieldset>
        <div><button class="primary" disabled=${isBusy}>${says.create}</button></div>
      </form>
    </details>
  <//>`;
}
