// Fetches the items of a job that are looked at, and keeps some of those that were.

import { ask } from "./server.js";

const PAGE = 200;
const MOST_PAGES = 20;
// While a job runs, what is in view is fetched anew no more often than this.
const LEAST_MS = 2000;
// Of a text, which may have a megabyte, so much is kept.
const MOST_TEXT = 2000;
const MOST_FOUND = 1000;

/** The items of a job in one state, or all, by their place among these. */
export class ItemPages {
  problem = null;
  #path;
  #state;
  #told;
  #pages = new Map();
  #wanted = [];
  #edition = "";
  #timer = null;
  #ending = new AbortController();

  /** @param {() => void} told is called when items have come. */
  constructor(path, state, told) {
    this.#path = path;
    this.#state = state;
    this.#told = told;
  }

  /** The item at a place; undefined while it is not there. */
  at(place) {
    return this.#pages.get(Math.floor(place / PAGE))?.items[place % PAGE];
  }

  /** The items from one place to before another are looked at, of `count` in all. */
  want(first, last, count) {
    this.#wanted = [];
    for (let page = Math.floor(first / PAGE); page * PAGE < Math.min(last, count); page++) this.#wanted.push(page);
    this.#fetch();
  }

  /** The job has come to another edition: what is in view is fetched anew in a while. */
  changed(edition) {
    if (edition === this.#edition) return;
    this.#edition = edition;
    this.#later();
  }

  #later() {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#fetch();
    }, LEAST_MS);
  }

  /** Nobody looks any more. */
  end() {
    clearTimeout(this.#timer);
    this.#ending.abort();
  }

  #fetch() {
    for (const number of this.#wanted) {
      const page = this.#pages.get(number);
      const isNew = page?.edition === this.#edition;
      if (page?.isComing || isNew || (page && this.#timer)) continue;
      this.#read(number, page?.items ?? []);
    }
    for (const number of this.#pages.keys()) {
      if (this.#pages.size <= MOST_PAGES) return;
      if (!this.#wanted.includes(number)) this.#pages.delete(number);
    }
  }

  async #read(number, before) {
    const page = { items: before, edition: this.#edition, isComing: true };
    this.#pages.delete(number);
    this.#pages.set(number, page);
    try {
      page.items = await this.#items(number * PAGE);
      this.problem = null;
    } catch (problem) {
      if (problem.name === "AbortError") return;
      this.problem = problem;
      page.edition = null;
      this.#later();
    }
    page.isComing = false;
    this.#told();
  }

  /** A page of items; long ones come in several answers. */
  async #items(offset) {
    const items = [];
    while (items.length < PAGE) {
      const narrowed = this.#state ? `&state=${this.#state}` : "";
      const limit = PAGE - items.length;
      const address = `${this.#path}/items?offset=${offset + items.length}&limit=${limit}${narrowed}`;
      const answer = await ask("GET", address, undefined, { signal: this.#ending.signal });
      items.push(...answer.items.map(short));
      if (!answer.next_page_token || !answer.items.length) break;
    }
    return items;
  }
}

/** Looks for the items whose ids have a text in them; `told` gets `{items, isOver, problem}` again and again. */
export async function findItems(path, state, text, signal, told) {
  const found = [];
  let token = "";
  told({ items: found, isOver: false, problem: null });
  try {
    do {
      const query = new URLSearchParams({ id: text, limit: PAGE, page_token: token, ...(state && { state }) });
      const answer = await ask("GET", `${path}/items?${query}`, undefined, { signal });
      found.push(...answer.items.map(short));
      token = answer.next_page_token;
      told({ items: [...found], isOver: !token || found.length >= MOST_FOUND, problem: null });
    } while (token && found.length < MOST_FOUND);
  } catch (problem) {
    if (problem.name !== "AbortError") told({ items: [...found], isOver: true, problem });
  }
}

const short = (item) => ({ ...item, text: item.text?.slice(0, MOST_TEXT), reason: item.reason?.slice(0, MOST_TEXT) });
