// A new job: a file or a pasted text, what it was taken for, what it would take, and the button that makes it.

import { bytes, dollars, duration, number } from "./format.js";
import { Inputs, fillable, filledIn, voiceInput, withVoiceOf } from "./inputs.js";
import { keep, kept } from "./kept.js";
import { Choice, Facts, Field, Table, Trouble, given, useLive } from "./parts.js";
import { html, useEffect, useRef, useState } from "./preact.js";
import { ask } from "./server.js";
import { isSpeech } from "./speech.js";
import { words } from "./words.js";

const says = words.newJob;
const SPEECH_FORMATS = ["wav", "flac", "ogg", "mp3", "aac", "pcm"];
const MOST_NAME = 100;
const LOOK_DELAY_MS = 250;
const PASTED = "kernelport-pasted";

/** The form. Without a file it asks for one. */
export function NewJob() {
  const [file, setFile] = useState(null);
  return html`<section class="card" aria-labelledby="new-job">
    <h2 id="new-job" class="only-read">${says.title}</h2>
    ${file ? html`<${Chosen} file=${file} onDone=${() => setFile(null)} />` : html`<${Choose} onFile=${setFile} />`}
  </section>`;
}

function Choose({ onFile }) {
  const [isOver, setIsOver] = useState(false);
  const [pasted, setPasted] = useState(() => kept("sessionStorage", PASTED) ?? "");
  const paste = (text) => {
    setPasted(text);
    keep("sessionStorage", PASTED, text);
  };
  const onDrop = (event) => {
    event.preventDefault();
    setIsOver(false);
    const [file] = event.dataTransfer.files;
    if (file) onFile(file);
  };
  const onDragOver = (event) => {
    event.preventDefault();
    setIsOver(true);
  };
  return html`<div class="stack tight">
    <div class=${isOver ? "drop over" : "drop"} onDrop=${onDrop} onDragOver=${onDragOver} onDragLeave=${() => setIsOver(false)}>
      <p class="empty-title">${says.drop}</p>
      <p class="small">${says.kindsHint}</p>
      <label class="button compact">
        ${says.choose}
        <input class="only-read" type="file" accept=".txt,.csv,.tsv,.jsonl,.ndjson,.json,.gz,.xz,.bz2,text/plain" onChange=${(event) => event.target.files[0] && onFile(event.target.files[0])} />
      </label>
    </div>
    <details open=${useRef(pasted !== "").current}>
      <summary>${says.paste}</summary>
      <div class="stack tight details">
        <label class="only-read" for="pasted">${says.pasted}</label>
        <textarea id="pasted" dir="auto" rows="6" placeholder=${says.pastedHint} value=${pasted} onInput=${(event) => paste(event.target.value)}></textarea>
        <div><button disabled=${!pasted.trim()} onClick=${() => onFile(new File([pasted], says.pastedName))}>${says.look}</button></div>
      </div>
    </details>
  </div>`;
}

/** A file, and how it is to be run. */
function Chosen({ file, onDone }) {
  const { deployments, voices } = useLive();
  const [wanted, setWanted] = useState({ values: {}, columns: {}, ignored: [], skipBad: false });
  const options = withVoiceOf(voices, wanted);
  const [looked, setLooked] = useState({ preview: null, problem: null, isLooking: true });
  const [isSending, setIsSending] = useState(false);
  const requestId = useRef(newId());
  const set = (more) => setWanted((before) => ({ ...before, ...more }));
  const able = [...deployments.values()].filter((each) => each.signature);
  const preferred = able.find((each) => isSpeech(each) && each.state === "serving") ?? able[0];
  const deployment = able.find((each) => each.name === options.deployment) ?? preferred;
  const form = deployment && formOf(file, deployment, options);
  const asked = form && JSON.stringify([...form].filter(([name]) => name !== "file"));
  useEffect(() => {
    if (!form) return;
    const ending = new AbortController();
    const timer = setTimeout(async () => {
      setLooked((before) => ({ ...before, isLooking: true }));
      try {
        const preview = await ask("POST", "/api/jobs/preview", form, { signal: ending.signal });
        setLooked({ preview, problem: null, isLooking: false });
      } catch (problem) {
        if (problem.name !== "AbortError") setLooked({ preview: null, problem, isLooking: false });
      }
    }, LOOK_DELAY_MS);
    return () => (clearTimeout(timer), ending.abort());
  }, [file, asked]);
  if (!deployment) return html`<p>${says.noDeployment}</p>`;
  const { preview, problem, isLooking } = looked;
  const submit = async (event) => {
    event.preventDefault();
    const whole = formOf(file, deployment, options);
    whole.set("metadata.name", (options.name ?? file.name).slice(0, MOST_NAME));
    whole.set("priority", options.priority || "100");
    whole.set("skip_bad", String(options.skipBad));
    whole.set("request_id", requestId.current);
    setIsSending(true);
    try {
      const job = await ask("POST", "/api/jobs", whole);
      if (file.name === says.pastedName) keep("sessionStorage", PASTED, null);
      location.hash = `#/jobs/${encodeURIComponent(job.id)}`;
    } catch (refused) {
      setIsSending(false);
      setLooked({ preview, problem: refused, isLooking: false });
    }
  };
  const isReady = preview?.items > 0 && !preview.fatal && (!preview.bad || options.skipBad);
  return html`<form class="stack" onSubmit=${submit}>
    <div class="row spread">
      <p>
        <strong>${given(file.name, 120)}</strong> <span class="small">${bytes(file.size)}</span>
        <span role="status" class="small">${isLooking ? ` · ${says.looking}` : ""}</span>
      </p>
      <button type="button" class="plain compact" onClick=${onDone}>${says.another}</button>
    </div>
    <div class="columns">
      <div class="stack">
        <${Trouble} problem=${problem} />
        ${preview && html`<${Preview} preview=${preview} options=${options} set=${set} />`}
      </div>
      <div class="stack">
        <${Options} ...${{ file, able, deployment, voices, options, set }} />
        ${preview && html`<${Estimate} estimate=${preview.estimate} isSpoken=${isSpeech(deployment)} />`}
        <button class="primary" disabled=${!isReady || isSending}>
          ${isSending ? says.sending : preview ? says.submit(preview.items, number(preview.items)) : says.submitNothing}
        </button>
      </div>
    </div>
  </form>`;
}

function Options({ file, able, deployment, voices, options, set }) {
  const voice = voiceInput(deployment);
  const chosen = (name) => (event) => set({ [name]: event.target.value });
  const choice = (name, preset, choices) =>
    html`<${Choice} id=${`job-${name}`} label=${says[name] ?? words[name]} value=${options[name] ?? preset} options=${choices} onChoose=${(value) => set({ [name]: value })} />`;
  return html`<fieldset class="stack">
    <legend class="only-read">${says.options}</legend>
    <${Field} id="job-name" label=${says.name}>
      <input id="job-name" maxlength=${MOST_NAME} value=${options.name ?? file.name.slice(0, MOST_NAME)} onInput=${chosen("name")} />
    <//>
    ${choice("deployment", deployment.name, able.map(({ name }) => name))}
    ${voice && choice("voice", "", [["", voice.optional ? says.ownVoice : says.inFile], ...voices.keys()])}
    ${isSpeech(deployment) && choice("format", "", [["", says.usual], ...SPEECH_FORMATS])}
    <details>
      <summary>${says.more}</summary>
      <div class="stack details">
        ${choice("kind", "", [["", says.byItself], ...Object.entries(says.kinds)])}
        ${choice("split", "", [["", says.byItself], ...Object.entries(says.splits)])}
        <${Field} id="job-priority" label=${says.priority} hint=${says.priorityHint}>
          <input id="job-priority" type="number" min="1" max="10000" placeholder="100" aria-describedby="job-priority-hint" value=${options.priority ?? ""} onInput=${chosen("priority")} />
        <//>
        <${Inputs}
          specs=${fillable(deployment).map((spec) => ({ ...spec, optional: true }))}
          values=${options.values}
          onInput=${(name, value) => set({ values: { ...options.values, [name]: value } })}
        />
        ${["id", ...deployment.signature.inputs.map((spec) => spec.name)].map(
          (name) => html`<${Field} id=${`column-${name}`} label=${says.column(name)} key=${name}>
            <input
              id=${`column-${name}`}
              placeholder=${name}
              value=${options.columns[name] ?? ""}
              onInput=${(event) => set({ columns: { ...options.columns, [name]: event.target.value } })}
            />
          <//>`,
        )}
      </div>
    </details>
  </fieldset>`;
}

/** What a file was taken for. */
function Preview({ preview, options, set }) {
  const { first, problems, problem_count: count, sources, left_out: leftOut, notes } = preview;
  const inputs = [...new Set(first.flatMap((item) => Object.keys(item.inputs)))];
  const unknown = [...new Set(problems.filter((each) => preview.fatal && each.field).map((each) => each.field))];
  return html`<div class="stack">
    <p>
      ${says.understood(says.kinds[preview.kind], preview.items, number(preview.items))}
      ${Object.entries(sources).map(
        ([name, source]) => html` <span class="source">${given(name)} ← ${given(source, 60)}</span>`,
      )}
      ${leftOut.length > 0 && html` <span class="small">${says.leftOut} ${given(leftOut.join(", "))}</span>`}
    </p>
    ${notes.map((note) => html`<p class="small">${given(note, 500)}</p>`)}
    ${count > 0 &&
    html`<div class="stack tight">
      <div class="notice warn">${says.bad(preview.bad, number(preview.bad))} ${preview.fatal ? says.fatal : ""}</div>
      ${unknown.length > 0 &&
      html`<p class="row">
        ${unknown.slice(0, 10).map(
          (name) => html`<button type="button" class="compact" onClick=${() => set({ ignored: [...options.ignored, name] })}>
            ${says.ignore} ${given(name, 40)}
          </button>`,
        )}
      </p>`}
      <${Table} label=${says.problems} kind="problems" columns=${[says.line, says.field, says.finding]}>
        ${problems.map(
          ({ line, field, finding }) => html`<tr>
            <td>${number(line)}</td>
            <td>${given(field, 60)}</td>
            <td>${given(finding)}</td>
          </tr>`,
        )}
      <//>
      ${count > problems.length && html`<p class="small">${says.moreProblems(number(count - problems.length))}</p>`}
      ${!preview.fatal &&
      html`<label class="check">
        <input type="checkbox" checked=${options.skipBad} onChange=${(event) => set({ skipBad: event.target.checked })} />
        ${says.skipBad(preview.bad, number(preview.bad))}
      </label>`}
    </div>`}
    ${first.length > 0 &&
    html`<${Table} label=${says.first} kind="preview" columns=${[says.id, says.text, ...inputs]}>
      ${first.map(
        (item) => html`<tr>
          <td class="item-id">${given(item.id, 60)}</td>
          <td>${given(item.text ?? "", 160)}</td>
          ${inputs.map((name) => html`<td class="small">${given(shown(item.inputs[name]), 60)}</td>`)}
        </tr>`,
      )}
    <//>`}
  </div>`;
}

function Estimate({ estimate, isSpoken }) {
  const about = (seconds) => (seconds === null ? "–" : says.about(duration(seconds)));
  const facts = [
    isSpoken && [says.audio, about(estimate.audio_s)],
    [says.runTime(number(estimate.workers)), about(estimate.run_s)],
    [says.compute, about(estimate.backend_s)],
    estimate.dollars !== null && [says.cost, says.about(dollars(estimate.dollars))],
  ];
  return html`<div class="stack tight">
    <${Facts} facts=${facts} />
    <p class="small">${estimate.jobs ? says.measured(estimate.jobs, number(estimate.jobs)) : says.notMeasured}</p>
  </div>`;
}

/** What decides how a file is read, as a form has it. */
function formOf(file, deployment, options) {
  const form = new FormData();
  const voice = voiceInput(deployment) && options.voice ? { voice: options.voice } : {};
  const shared = { ...filledIn(fillable(deployment), options.values), ...voice };
  form.set("deployment", deployment.name);
  if (options.kind) form.set("kind", options.kind);
  if (options.split) form.set("split", options.split);
  if (options.format) form.set("output_format", options.format);
  if (Object.keys(shared).length) form.set("shared_inputs", JSON.stringify(shared));
  for (const [name, column] of Object.entries(options.columns)) if (column) form.set(`column.${name}`, column);
  for (const column of options.ignored) form.append("ignore", column);
  form.set("file", file);
  return form;
}

const shown = (value) => (value === undefined ? "" : typeof value === "string" ? value : JSON.stringify(value));

/** A name that makes it safe to send a job again. */
const newId = () => `studio-${[...crypto.getRandomValues(new Uint8Array(12))].map((each) => each.toString(16).padStart(2, "0")).join("")}`;
