// The page: its views, and what stands around them.

import { html, render, useEffect, useRef, useState } from "./preact.js";
import { Jobs } from "./jobs.js";
import { Operate } from "./operate.js";
import { Questions, Trouble, useLive } from "./parts.js";
import { connect, isSignedIn, signIn, signOut } from "./server.js";
import { Speak } from "./speak.js";
import { Voices } from "./voices.js";
import { words } from "./words.js";

const VIEWS = { speak: Speak, voices: Voices, jobs: Jobs, operate: Operate };

/** The view that the address names, and what it says behind that: `#/jobs/ID` is the view `jobs` with `["ID"]`. */
function place() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  return Object.hasOwn(VIEWS, name) ? { name, rest } : { name: "speak", rest: [] };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function Page() {
  const [{ name, rest }, go] = useState(place);
  const main = useRef(null);
  const { isConnected, isSignedOut } = useLive();
  useEffect(() => {
    const follow = () => {
      go(place());
      main.current.focus({ preventScroll: true });
      scrollTo(0, 0);
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  useEffect(() => {
    document.title = `${words.views[name]} – ${words.name}`;
  }, [name]);
  const View = VIEWS[name];
  return html`
    <a class="skip" href="#main" onClick=${(event) => (event.preventDefault(), main.current.focus())}>${words.skip}</a>
    <header class="top">
      <a class="brand" href="#/speak"><img src="/studio/icon.svg" alt="" width="24" height="24" />${words.name}</a>
      <nav aria-label=${words.navigation}>
        ${Object.keys(VIEWS).map(
          (each) => html`<a href=${`#/${each}`} aria-current=${each === name ? "page" : null}>${words.views[each]}</a>`,
        )}
      </nav>
      ${isSignedIn() && !isSignedOut && html`<button type="button" class="plain compact" onClick=${signOut}>${words.signIn.out}</button>`}
    </header>
    <div role="status">${isConnected === false && !isSignedOut && html`<p class="banner">${words.errors.banner}</p>`}</div>
    <main id="main" tabindex="-1" ref=${main}>
      ${isSignedOut ? html`<${SignIn} />` : html`<${View} rest=${rest} />`}
    </main>
    <${Questions} />
  `;
}

function SignIn() {
  const [problem, setProblem] = useState(null);
  const enter = async (event) => {
    event.preventDefault();
    try {
      await signIn(new FormData(event.target).get("key").trim());
    } catch (error) {
      setProblem(error);
    }
  };
  return html`<form class="card narrow" onSubmit=${enter}>
    <h1>${words.signIn.title}</h1>
    <p>${words.signIn.text}</p>
    <label for="key">${words.signIn.key}</label>
    <input id="key" name="key" type="password" autocomplete="current-password" required />
    <${Trouble} problem=${problem} />
    <div class="actions"><button class="primary">${words.signIn.action}</button></div>
  </form>`;
}

connect();
render(html`<${Page} />`, document.getElementById("app"));
