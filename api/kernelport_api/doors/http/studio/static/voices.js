import { html } from "./preact.js";
import { words } from "./words.js";

/** The view. */
export const Voices = () => html`<h1>${words.voices.title}</h1>`;
