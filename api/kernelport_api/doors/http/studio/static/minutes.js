// The minutes of the last hour of each deployment: what was there when the page was opened, and what the events add.

import { ask, live, subscribe } from "./server.js";

const MINUTES = 60;
const kept = new Map();

/** The minutes of a deployment in which there was anything, oldest first. */
export const minutesOf = (name) => kept.get(name) ?? [];

/** Reads the last hour. Gives the pages of other programs that tell more. */
export async function readHour() {
  const told = await ask("GET", "/api/operations");
  for (const { name, minutes } of told.deployments) kept.set(name, minutes);
  return told.links;
}

subscribe(() => {
  for (const { name, minute } of live.figures.values()) {
    if (!minute) continue;
    const others = minutesOf(name).filter(({ unix_s: began }) => began !== minute.unix_s);
    kept.set(name, [...others, minute].slice(-MINUTES));
  }
});
