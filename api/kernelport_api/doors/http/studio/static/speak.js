import { html } from "./preact.js";
import { words } from "./words.js";

/** The view. */
export const Speak = () => html`<h1>${words.speak.title}</h1>`;
