import { html } from "./preact.js";
import { words } from "./words.js";

/** The view. */
export const Operate = () => html`<h1>${words.operate.title}</h1>`;
