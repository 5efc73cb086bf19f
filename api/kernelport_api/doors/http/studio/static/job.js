// The page of one job.

import { bytes, duration, moment, number, percent } from "./format.js";
import { Items } from "./items.js";
import { Pace, State } from "./jobs.js";
import { done, isActive, named, share } from "./pace.js";
import { Empty, Facts, Progress, Trouble, confirm, given, useLive } from "./parts.js";
import { html, useEffect, useRef, useState } from "./preact.js";
import { ask } from "./server.js";
import { words } from "./words.js";

const says = words.jobs;

/** A job with its items. */
export function Job({ id }) {
  const { jobs } = useLive();
  const [fetched, setFetched] = useState(null);
  const [problem, setProblem] = useState(null);
  const path = `/api/jobs/${encodeURIComponent(id)}`;
  const job = jobs.get(id) ?? fetched;
  useEffect(() => {
    ask("GET", path).then(setFetched, setProblem);
  }, [id, jobs.has(id)]);
  if (!job || (problem?.status === 404 && !jobs.has(id)))
    return html`<p><a href="#/jobs">${says.back}</a></p>
      ${problem?.status === 404
        ? html`<${Empty} title=${says.gone}><p>${says.goneHint}</p><//>`
        : html`<${Trouble} problem=${problem} />`}`;
  return html`<p class="small back"><a href="#/jobs">${says.back}</a></p>
    <div class="head">
      <div class="row">
        <h1>${given(named(job), 200)}</h1>
        <${State} state=${job.state} />
      </div>
      <${Verbs} job=${job} path=${path} onProblem=${setProblem} />
    </div>
    <div class="stack">
      <${Trouble} problem=${problem} />
      <${Standing} job=${job} />
      <${Items} job=${job} path=${path} />
    </div>`;
}

/** What can be done with a job. */
function Verbs({ job, path, onProblem }) {
  const { items, failed, succeeded, output_bytes: size } = job.progress;
  const rest = job.progress.cancelled + job.progress.not_run;
  const asked = useRef(null);
  const run = async (method, address, question) => {
    if (question && !(await confirm(question))) return;
    if (asked.current === job) return; // by the click before
    asked.current = job;
    onProblem(null);
    try {
      await ask(method, address);
      if (method === "DELETE") location.hash = "#/jobs";
    } catch (problem) {
      asked.current = null;
      onProblem(problem);
    }
  };
  const name = named(job);
  const cancel = {
    title: says.cancelTitle(name),
    text: says.cancelText(number(items - done(job))),
    action: says.cancelAction,
  };
  const remove = {
    title: says.deleteTitle(name),
    text: says.deleteText(number(succeeded), bytes(size)),
    action: words.delete,
  };
  const forget = { title: says.forgetTitle(name), text: says.forgetText(job.output_url), action: says.forget };
  if (job.state === "deleting") return null;
  return html`<div class="row">
    ${succeeded > 0 && html`<a class="button compact" href=${`${path}/outputs.zip`} download>${says.downloadAll}</a>`}
    ${isActive(job)
      ? job.state !== "cancelling" &&
        html`<button class="compact" onClick=${() => run("POST", `${path}/cancel`, cancel)}>
          ${says.cancelAction}
        </button>`
      : html`<a class="button compact" href=${`${path}/manifest`} download="manifest.jsonl">${says.manifest}</a>
          ${failed + rest > 0 &&
          html`<button class="compact" onClick=${() => run("POST", `${path}/resume`)}>
            ${failed ? says.retry(number(failed + rest)) : says.resume(number(rest))}
          </button>`}
          <button class="plain compact" onClick=${() => run("DELETE", path, forget)}>${says.forget}</button>
          <button class="plain danger compact" onClick=${() => run("DELETE", `${path}?outputs=true`, remove)}>
            ${words.delete}
          </button>`}
  </div>`;
}

function Standing({ job }) {
  const { progress, spec } = job;
  const end = job.finished_unix_us || Date.now() * 1000;
  const facts = [
    [words.deployment, given(spec.deployment)],
    [says.made, moment(job.created_unix_us)],
    job.finished_unix_us && [says.finished, moment(job.finished_unix_us)],
    job.started_unix_us && [job.finished_unix_us ? says.ran : says.running, duration((end - job.started_unix_us) / 1e6)],
    progress.audio_s > 0 && [says.audio, duration(progress.audio_s)],
    progress.output_bytes > 0 && [says.files, bytes(progress.output_bytes)],
    job.expires_unix_us && [says.keptUntil, moment(job.expires_unix_us)],
    [says.id, html`<code>${given(job.id)}</code>`],
  ];
  return html`<section class="card stack tight" aria-label=${says.standing}>
    <${Progress} share=${share(job)} label=${says.done(percent(share(job)))} />
    <div class="row spread small number">
      <span>${says.of(number(done(job)), number(progress.items))} · ${percent(share(job), 1)}</span>
      <span><${Pace} job=${job} /></span>
    </div>
    ${!isActive(job) && job.reason && html`<p class="notice">${given(job.reason, 1000)}</p>`}
    <${Facts} facts=${facts} />
  </section>`;
}
