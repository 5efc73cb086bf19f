// The items of a job, however many: only those in view are fetched, and are elements.

import { duration, number } from "./format.js";
import { ItemDetails, isHeard, outputOf } from "./item.js";
import { ItemPages, findItems } from "./item_pages.js";
import { State } from "./jobs.js";
import { Empty, Section, Trouble, given } from "./parts.js";
import { html, useEffect, useMemo, useRef, useState } from "./preact.js";
import { contentHeight, rowsInView } from "./virtual.js";
import { words } from "./words.js";

const says = words.jobs;
const ROW = 48;
const STATES = ["waiting", "running", "succeeded", "failed", "cancelled", "not_run"];
// An address that names more would be refused.
const MOST_RANGES = 2000;
const SEARCH_DELAY_MS = 300;

/** The items with what narrows them, and what can be done with those that were chosen. */
export function Items({ job, path }) {
  const [state, setState] = useState("");
  const [wanted, setWanted] = useState("");
  const [search, setSearch] = useState(null);
  const [chosen, setChosen] = useState(new Set());
  const [heard, setHeard] = useState(null);
  const [detailed, setDetailed] = useState(null);
  const [, again] = useState(0);
  const pages = useMemo(() => new ItemPages(path, state, () => again((count) => count + 1)), [path, state]);
  useEffect(() => () => pages.end(), [pages]);
  useEffect(() => pages.changed(JSON.stringify(job.progress)), [pages, job]);
  useEffect(() => {
    if (!wanted) return setSearch(null);
    const ending = new AbortController();
    const timer = setTimeout(() => findItems(path, state, wanted, ending.signal, setSearch), SEARCH_DELAY_MS);
    return () => (clearTimeout(timer), ending.abort());
  }, [path, state, wanted]);
  const count = search ? search.items.length : state ? job.progress[state] : job.progress.items;
  const choose = (from, to, isChosen) => {
    const now = new Set(chosen);
    for (let index = Math.min(from, to); index <= Math.max(from, to); index++) now[isChosen ? "add" : "delete"](index);
    setChosen(now);
  };
  return html`<${Section}
    id="items"
    title=${says.items}
    beside=${html`<div class="row">
        <label class="only-read" for="state">${says.state}</label>
        <select id="state" class="compact" value=${state} onChange=${(event) => setState(event.target.value)}>
          <option value="">${says.allItems(number(job.progress.items))}</option>
          ${STATES.map((each) => html`<option value=${each}>${says.states[each]} (${number(job.progress[each])})</option>`)}
        </select>
        <label class="only-read" for="find">${says.find}</label>
        <input
          id="find"
          class="compact"
          type="search"
          maxlength="256"
          placeholder=${says.find}
          value=${wanted}
          onInput=${(event) => setWanted(event.target.value)}
        />
      </div>`}
  >
    ${heard && html`<${Player} job=${job} path=${path} item=${heard} />`}
    ${chosen.size > 0 && html`<${Chosen} path=${path} chosen=${chosen} onClear=${() => setChosen(new Set())} />`}
    <div role="status" class="small">${search && says.found(number(search.items.length), search.isOver)}</div>
    <${Trouble} problem=${search?.problem ?? pages.problem} />
    ${count === 0
      ? html`<${Empty} title=${search && !search.isOver ? says.searching : says.noItems} />`
      : html`<${Table}
          key=${`${state} ${Boolean(search)}`}
          count=${count}
          at=${(row) => (search ? search.items[row] : pages.at(row))}
          onView=${(first, last) => search || pages.want(first, last, count)}
          ...${{ job, path, chosen, choose }}
          onHear=${setHeard}
          onDetails=${setDetailed}
        />`}
    ${detailed && html`<${ItemDetails} path=${path} item=${detailed} onClose=${() => setDetailed(null)} />`}
  <//>`;
}

function Table({ count, at, onView, path, chosen, choose, onHear, onDetails }) {
  const list = useRef(null);
  const last = useRef(null);
  const [view, setView] = useState({ top: 0, height: 480 });
  const look = () => setView({ top: list.current.scrollTop, height: list.current.clientHeight });
  useEffect(() => {
    const watching = new ResizeObserver(look);
    watching.observe(list.current);
    return () => watching.disconnect();
  }, []);
  const rows = rowsInView(count, ROW, view.height, view.top);
  useEffect(() => onView(rows.first, rows.last));
  const onChoose = (event, index) => {
    const from = event.shiftKey && last.current !== null ? last.current : index;
    choose(from, index, event.target.checked);
    last.current = index;
  };
  const height = contentHeight(count, ROW);
  const numbers = Array.from({ length: rows.last - rows.first }, (_, place) => rows.first + place);
  return html`<div class="items card" role="table" aria-label=${says.items} aria-rowcount=${count + 1}>
    <div role="rowgroup">
      <div class="item item-head" role="row" aria-rowindex="1">
        ${says.columns.map(
          (name, at, { length }) =>
            html`<span role="columnheader"><span class=${at % (length - 1) ? "" : "only-read"}>${name}</span></span>`,
        )}
      </div>
    </div>
    <div class="items-list" role="rowgroup" tabindex="0" ref=${list} onScroll=${look} style=${{ height: `min(36rem, 70vh, ${height}px)` }}>
      <div class="items-all" role="presentation" style=${{ height: `${height}px` }}>
        <div class="items-some" role="presentation" style=${{ transform: `translateY(${rows.top}px)` }}>
          ${numbers.map((row) => html`<${Row} key=${row} row=${row} item=${at(row)} ...${{ path, chosen, onChoose, onHear, onDetails }} />`)}
        </div>
      </div>
    </div>
  </div>`;
}

function Row({ row, item, path, chosen, onChoose, onHear, onDetails }) {
  if (!item)
    return html`<div class="item" role="row" aria-rowindex=${row + 2}>
      <span role="cell"></span><span class="small" role="cell">…</span>
    </div>`;
  const { id, index, state, text, reason, audio_s: seconds } = item;
  return html`<div class="item" role="row" aria-rowindex=${row + 2}>
    <span role="cell">
      <input
        type="checkbox"
        aria-label=${says.choose(id.slice(0, 80))}
        checked=${chosen.has(index)}
        disabled=${state !== "succeeded"}
        onClick=${(event) => onChoose(event, index)}
      />
    </span>
    <span role="cell" class="item-id"><button class="plain compact" onClick=${() => onDetails(item)}>${given(id, 80)}</button></span>
    <span role="cell"><${State} state=${state} /></span>
    <span role="cell" class=${reason ? "item-text bad" : "item-text"}>${given(reason || text || "", 200)}</span>
    <span role="cell" class="number small">${seconds ? duration(seconds) : ""}</span>
    <span role="cell" class="row item-verbs">
      ${isHeard(item) &&
      html`<button class="plain compact" aria-label=${says.listen(id.slice(0, 80))} onClick=${() => onHear(item)}>
        <span aria-hidden="true">▶</span>
      </button>`}
      ${item.file &&
      html`<a class="button plain compact" href=${outputOf(path, item)} download aria-label=${says.download(id.slice(0, 80))}>
        <span aria-hidden="true">↓</span>
      </a>`}
    </span>
  </div>`;
}

const Player = ({ path, item }) => html`<div class="card row player">
  <span class="grow">${given(item.id, 120)}</span>
  <audio class="grow" controls autoplay key=${item.id} src=${outputOf(path, item)}></audio>
</div>`;

function Chosen({ path, chosen, onClear }) {
  const ranges = rangesOf(chosen);
  return html`<div class="notice row spread">
    <span>${says.chosen(number(chosen.size))}</span>
    <span class="row">
      ${ranges.length > MOST_RANGES
        ? html`<span class="small">${says.tooMany(number(MOST_RANGES))}</span>`
        : html`<a class="button compact" download href=${`${path}/outputs.zip?index=${ranges.join(",")}`}>${says.downloadChosen}</a>`}
      <button class="plain compact" onClick=${onClear}>${says.clearChosen}</button>
    </span>
  </div>`;
}

/** Numbers as the ranges that they make up, such as `0-99`. */
function rangesOf(numbers) {
  const ranges = [];
  for (const each of [...numbers].sort((one, other) => one - other)) {
    if (ranges.at(-1)?.[1] === each - 1) ranges.at(-1)[1] = each;
    else ranges.push([each, each]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`));
}
