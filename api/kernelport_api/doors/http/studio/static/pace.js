// How far jobs have come, and how fast they go: from what the events have told while the page was open.

import { duration } from "./format.js";
import { live, subscribe } from "./server.js";

const WINDOW_MS = 30_000;
const ACTIVE = new Set(["pending", "running", "cancelling"]);
// Of each active job, when so many of its items were done: from half a minute ago on.
const seen = new Map();

subscribe(() => {
  const now = performance.now();
  for (const [id, job] of live.jobs) {
    if (!isActive(job)) {
      seen.delete(id);
      continue;
    }
    const points = seen.get(id) ?? [];
    if (points.at(-1)?.done === done(job)) continue;
    points.push({ at: now, done: done(job) });
    while (points.length > 2 && points[0].at < now - WINDOW_MS) points.shift();
    seen.set(id, points);
  }
  for (const id of seen.keys()) if (!live.jobs.has(id)) seen.delete(id);
});

/** Whether anything of a job may still run. */
export const isActive = (job) => ACTIVE.has(job.state);

/** What a person calls a job. */
export const named = (job) => job.spec.metadata.name || job.id;

/** How many items are done, whatever came of them. */
export const done = ({ progress }) => progress.succeeded + progress.failed;

/** How much of a job is done, from 0 to 1. */
export const share = (job) => (job.progress.items ? done(job) / job.progress.items : 0);

/** Items a second in the last half minute, or since its start where that is not known yet; null for nothing. */
export function rate(job) {
  const points = seen.get(job.id) ?? [];
  const [first, last] = [points[0], points.at(-1)];
  if (points.length > 1) {
    const quiet = performance.now() - last.at > WINDOW_MS;
    return quiet ? null : ((last.done - first.done) * 1000) / Math.max(1, performance.now() - first.at);
  }
  const seconds = Date.now() / 1000 - job.started_unix_us / 1e6;
  return job.started_unix_us && !job.resumed_unix_us && done(job) && seconds > 0 ? done(job) / seconds : null;
}

/** How long what is left of a job will take, for a person. */
export function left(job) {
  const perSecond = rate(job);
  const items = job.progress.waiting + job.progress.running;
  return perSecond ? duration(items / perSecond) : null;
}
