import { html } from "./preact.js";
import { words } from "./words.js";

/** The view. */
export const Jobs = () => html`<h1>${words.jobs.title}</h1>`;
