// The view of what runs: deployments, workers, dead letters, the autoscaler, usage, keys, and a form to try a model.

import { Chart } from "./chart.js";
import { dollars, duration, moment, number, since } from "./format.js";
import { Keys } from "./keys.js";
import { DeadLetters } from "./letters.js";
import { minutesOf, readHour } from "./minutes.js";
import { named } from "./pace.js";
import { Empty, Facts, Section, Table, Trouble, confirm, given, useLive } from "./parts.js";
import { html, useEffect, useState } from "./preact.js";
import { ask } from "./server.js";
import { TryModel } from "./try_model.js";
import { Usage } from "./usage.js";
import { words } from "./words.js";

const says = words.operate;

export function Operate() {
  const { deployments, figures, workers, jobs, autoscaler, isConnected } = useLive();
  const [links, setLinks] = useState({});
  const [problem, setProblem] = useState(null);
  const show = (found) => (setLinks(found), setProblem(null));
  useEffect(() => void readHour().then(show, setProblem), [isConnected]);
  if (isConnected === null) return html`<h1>${says.title}</h1>`;
  const all = [...deployments.values()];
  // Those that anybody serves or asks for come first.
  all.sort((one, other) => other.live_workers - one.live_workers || one.name.localeCompare(other.name));
  return html`<div class="head">
      <h1>${says.title}</h1>
      <div class="row">
        ${Object.entries(links).map(
          ([name, url]) => html`<a class="button compact" href=${url} target="_blank" rel="noreferrer">${says.links[name] ?? name}</a>`,
        )}
      </div>
    </div>
    <div class="stack wide-gap">
      <${Trouble} problem=${problem} />
      <${Section} id="deployments" title=${says.deployments}>
        <div class="deployments">
          ${all.map((each) => html`<${Deployment} key=${each.name} deployment=${each} figures=${figures.get(each.name)} />`)}
        </div>
        <p class="small">${says.seenHere}</p>
      <//>
      <${Workers} workers=${[...workers.values()]} jobs=${jobs} />
      <${DeadLetters} figures=${figures} />
      <${Autoscaler} report=${autoscaler} />
      <${Usage} isConnected=${isConnected} />
      <${TryModel} deployments=${all} />
      <${Keys} />
    </div>`;
}

function Deployment({ deployment, figures }) {
  const { name, state, live_workers: count, signature, policy } = deployment;
  const seconds = (value) => (value === null || value === undefined ? "–" : duration(value));
  const minutes = minutesOf(name);
  const facts = [
    [says.workers, number(count)],
    [says.waiting, number(figures?.waiting ?? 0)],
    [says.oldest, figures?.waiting ? seconds(figures.oldest_s) : "–"],
    [says.queued, number(figures?.queued ?? 0)],
    [says.p50, seconds(figures?.p50_s)],
    [says.p95, seconds(figures?.p95_s)],
    [says.factor, figures?.real_time_factor ? number(figures.real_time_factor) : "–"],
    [says.device, given(policy.device)],
  ];
  const isServing = state === "serving";
  const isIdle = !isServing && !minutes.length && !figures?.queued;
  return html`<article class="card stack tight" aria-label=${name}>
    <div class="row spread">
      <h3>${given(name)}</h3>
      <span class=${isServing ? "badge good" : "badge"}>${isServing ? says.serving : says.notServing}</span>
    </div>
    ${!isIdle && html`<${Facts} facts=${facts} kind="small-facts" />`}
    ${minutes.length > 0 &&
    html`<div class="charts">
      <${Chart} minutes=${minutes} of=${(minute) => minute.requests + minute.items} label=${says.perMinute} shown=${number} />
      <${Chart} minutes=${minutes} of=${(minute) => minute.p95_s} label=${says.p95Short} shown=${duration} />
      <${Chart} minutes=${minutes} of=${(minute) => minute.queued + minute.waiting} label=${says.waited} shown=${number} />
    </div>`}
    ${signature && html`<p class="small">${signature.batchable ? says.stacked : says.notStacked}
      ${signature.reason && html`: ${given(signature.reason, 200)}`}
    </p>`}
  </article>`;
}

function Workers({ workers, jobs }) {
  const [problem, setProblem] = useState(null);
  const drain = async ({ id }) => {
    const question = { title: says.drainTitle(id), text: says.drainText, action: says.drain };
    if (!(await confirm(question))) return;
    await ask("POST", `/api/workers/${encodeURIComponent(id)}/drain`).then(() => setProblem(null), setProblem);
  };
  return html`<${Section} id="workers" title=${says.workers}>
    <${Trouble} problem=${problem} />
    ${!workers.length
      ? html`<${Empty} title=${says.noWorkers}><p>${says.noWorkersHint} <code>kernelport worker NAME</code></p><//>`
      : html`<${Table} label=${says.workers} kind="card flush" columns=${says.workerColumns} verbs>
        ${workers.map(
          (worker) => html`<tr key=${worker.id}>
            <td>
              ${given(worker.id, 60)}
              <p class="small">${says.ready(since(worker.ready_unix_s * 1e6))}</p>
            </td>
            <td>${given(worker.deployments.join(", "))}</td>
            <td>${given(worker.host, 60)}<p class="small">${given(worker.device)}</p></td>
            <td><${InHand} worker=${worker} jobs=${jobs} /></td>
            <td class="number">
              ${worker.draining
                ? html`<span class="badge">${says.draining}</span>`
                : html`<button class="plain compact" onClick=${() => drain(worker)}>
                    ${says.drain}<span class="only-read"> ${worker.id.slice(0, 60)}</span>
                  </button>`}
            </td>
          </tr>`,
        )}
        <//>`}
  <//>`;
}

/** What a worker runs now. */
function InHand({ worker, jobs }) {
  const running = Object.entries(worker.jobs);
  if (!running.length && !worker.batches) return html`<span class="quiet">${says.idle}</span>`;
  return html`${worker.batches > 0 && html`<p>${says.batches(worker.batches, number(worker.batches))}</p>`}
    ${running.map(
      ([id, count]) => html`<p key=${id}>
        ${says.itemsOf(count, number(count))}${" "}
        <a href=${`#/jobs/${encodeURIComponent(id)}`}>${given(jobs.has(id) ? named(jobs.get(id)) : id, 60)}</a>
      </p>`,
    )}`;
}

function Autoscaler({ report }) {
  const sum = (amount) => (amount === null ? "–" : dollars(amount));
  const facts = report && [
    [says.machines, number(report.machines.length)],
    [says.costNow, says.perHour(sum(report.dollars_per_hour), sum(report.budget_per_hour))],
    [says.costDay, says.perDay(sum(report.dollars_last_day), sum(report.budget_per_day))],
    [says.lookedAt, since(report.unix_s * 1e6)],
  ];
  return html`<${Section} id="autoscaler" title=${says.autoscaler}>
    ${!report
      ? html`<${Empty} title=${says.noAutoscaler}><p>${says.noAutoscalerHint} <code>kernelport autoscale</code></p><//>`
      : html`<div class="card stack">
          <${Facts} facts=${facts} />
          ${report.plans.map(
            (plan) => html`<div key=${plan.deployment}>
              <h3>${given(plan.deployment)}</h3>
              <p>${says.counts(number(plan.ready), number(plan.starting), number(plan.wanted))} ${given(plan.reason, 300)}</p>
              <p class="small">${says.next} ${given(plan.actions.join("; ") || says.nothing, 500)}</p>
            </div>`,
          )}
          ${report.machines.length > 0 &&
          html`<${Table} label=${says.machines} columns=${says.machineColumns} numbers=${says.machineColumns.slice(3, 5)}>
            ${report.machines.map(
              (machine) => html`<tr key=${machine.name}>
                <td>${given(machine.name)}</td>
                <td>${given(machine.deployment)}</td>
                <td>${says.machineStates[machine.state] ?? machine.state}</td>
                <td class="number">${number(machine.workers)}</td>
                <td class="number">${dollars(machine.price)}</td>
                <td>${moment(machine.launched_unix_s * 1e6)}</td>
              </tr>`,
            )}
          <//>`}
        </div>`}
  <//>`;
}
