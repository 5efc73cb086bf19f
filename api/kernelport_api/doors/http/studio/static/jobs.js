// The view of bulk jobs: a new one, and all that there are.

import { number, percent, since } from "./format.js";
import { Job } from "./job.js";
import { NewJob } from "./new_job.js";
import { isActive, left, named, rate, share } from "./pace.js";
import { Empty, Progress, Section, Trouble, given, useLive } from "./parts.js";
import { html, useState } from "./preact.js";
import { ask } from "./server.js";
import { words } from "./words.js";

const says = words.jobs;
const PAGE = 200;
const SHOWN = {
  all: () => true,
  active: isActive,
  failed: (job) => job.state === "failed" || job.progress.failed > 0,
  over: (job) => !isActive(job),
};
const BADGES = { running: "busy", succeeded: "good", failed: "bad", expired: "bad" };

/** The view; with the id of a job, that job. */
export const Jobs = ({ rest }) => (rest[0] ? html`<${Job} key=${rest[0]} id=${rest[0]} />` : html`<${AllJobs} />`);

/** The state of a job or an item. */
export const State = ({ state }) => html`<span class=${`badge ${BADGES[state] ?? ""}`}>${says.states[state] ?? state}</span>`;

function AllJobs() {
  const { jobs, isConnected } = useLive();
  const [older, setOlder] = useState({ jobs: [], token: null, problem: null });
  const [shown, show] = useState("all");
  const more = async () => {
    try {
      const token = older.token ? `&page_token=${encodeURIComponent(older.token)}` : "";
      const page = await ask("GET", `/api/jobs?limit=${PAGE}${token}`);
      // the events tell when the others are gone
      const others = page.jobs.filter(({ id }) => !jobs.has(id));
      setOlder({ jobs: [...older.jobs, ...others], token: page.next_page_token, problem: null });
    } catch (problem) {
      setOlder({ ...older, problem });
    }
  };
  const known = new Map([...older.jobs.map((job) => [job.id, job]), ...jobs]);
  const all = [...known.values()].sort((one, other) => other.created_unix_us - one.created_unix_us);
  const some = all.filter(SHOWN[shown]);
  return html`<div class="head"><h1>${says.title}</h1></div>
    <div class="stack">
      <${NewJob} />
      <${Section}
        id="all-jobs"
        title=${says.all}
        beside=${html`<label class="row small">
            ${says.show}
            <select class="compact" value=${shown} onChange=${(event) => show(event.target.value)}>
              ${Object.keys(SHOWN).map((name) => html`<option value=${name}>${says.shown[name]}</option>`)}
            </select>
          </label>`}
      >
        ${isConnected !== null &&
        !some.length &&
        html`<${Empty} title=${all.length ? says.noneShown : says.none}><p>${all.length ? "" : says.noneHint}</p><//>`}
        <ul class="jobs">
          ${some.map((job) => html`<${Line} key=${job.id} job=${job} />`)}
        </ul>
        <${Trouble} problem=${older.problem} />
        ${all.length > 0 &&
        older.token !== "" &&
        html`<div><button class="plain" onClick=${more}>${says.older}</button></div>`}
      <//>
    </div>`;
}

function Line({ job }) {
  const { items, succeeded, failed } = job.progress;
  return html`<li class="job card">
    <div class="job-name">
      <a href=${`#/jobs/${encodeURIComponent(job.id)}`}>${given(named(job), 120)}</a>
      <p class="small">${given(job.spec.deployment)} · ${since(job.created_unix_us)}</p>
    </div>
    <div class="job-progress">
      <${Progress} share=${share(job)} label=${says.done(percent(share(job)))} />
      <p class="small number">
        ${says.of(number(succeeded + failed), number(items))}
        ${failed > 0 && html` · <span class="bad">${says.failures(failed, number(failed))}</span>`}
      </p>
    </div>
    <p class="job-pace small number"><${Pace} job=${job} /></p>
    <${State} state=${job.state} />
  </li>`;
}

/** How fast a job goes, and how long it will take still. */
export function Pace({ job }) {
  if (!isActive(job)) return null;
  const perSecond = rate(job);
  if (job.reason) return given(job.reason, 200);
  if (!perSecond) return null;
  return html`${says.rate(number(perSecond))} · ${says.left(left(job))}`;
}
