// The player: what was spoken, as it is heard; files and programs of it.

import { duration, position as placed } from "./format.js";
import { Trouble, useChanges } from "./parts.js";
import { html, useEffect, useMemo, useRef, useState } from "./preact.js";
import { RATE } from "./recording.js";
import { snippets } from "./snippets.js";
import { speaking, subscribe } from "./speaking.js";
import { FORMATS, download } from "./speech.js";
import { Wave } from "./wave.js";
import { words } from "./words.js";

const says = words.speak;
// A long text is shown in pages of so many characters, as a browser lays out a whole book too slowly.
const PAGE = 2500;

/** The player; nothing before something was spoken. */
export function Listen() {
  useChanges(subscribe);
  const { take, player, isComing, problem } = speaking;
  if (!take) return html`<${Trouble} problem=${problem} />`;
  const { recording, spans, asked } = take;
  const most = isComing ? estimated(take) : recording.length;
  const seek = (sample) => player.seek(Math.min(sample, recording.length));
  const toggle = () => (player.isPlaying ? player.pause() : player.play());
  const [at, all] = [placed(player.position / RATE), placed(recording.seconds)];
  const marked = spans.findLastIndex((span) => span.first <= player.position);
  return html`<section
    class="card stack"
    aria-label=${says.heard}
    data-first-sound-ms=${player.firstSoundMs}
    data-underruns=${player.underruns}
    data-is-coming=${isComing}
  >
    <${Trouble} problem=${problem} />
    ${take.warnings?.map((told) => html`<p class="notice warn small">${told}</p>`)}
    <${Wave} recording=${recording} to=${player.position} most=${most} onSeek=${seek} />
    <div class="row">
      <button type="button" onClick=${toggle} disabled=${!recording.length}>${player.isPlaying ? says.pause : says.play}</button>
      <input
        type="range"
        class="grow"
        aria-label=${says.place}
        aria-valuetext=${says.placeText(at, all)}
        min="0"
        max=${recording.length || 1}
        step=${Math.floor(recording.length / Math.ceil(recording.length / RATE)) || 1}
        value=${player.position}
        onInput=${(event) => seek(Number(event.target.value))}
      />
      <span class="number small">${at} / ${all}</span>
    </div>
    <${Heard} text=${asked.input} spans=${spans} count=${spans.length} marked=${marked} onSeek=${seek} />
    <${Told} />
    <${Files} asked=${asked} isOff=${isComing} />
  </section>`;
}

/** How long it will be, by how much of the text has come. */
function estimated({ recording, spans, asked }) {
  const end = spans.at(-1)?.end ?? asked.input.length;
  return recording.length * Math.max(1, asked.input.length / Math.max(1, end));
}

/** A page of the text, of which the part that is being heard is marked; a part is a place to go on from. */
function Heard({ text, spans, count, marked, onSeek }) {
  const mark = useRef(null);
  const box = useRef(null);
  useEffect(() => {
    if (!mark.current) return;
    const [inner, outer] = [mark.current.getBoundingClientRect(), box.current.getBoundingClientRect()];
    if (inner.bottom > outer.bottom || inner.top < outer.top) box.current.scrollTop += inner.top - outer.top - outer.height / 3;
  }, [marked]);
  const pages = useMemo(() => pagesOf(spans), [spans, count]);
  const at = Math.max(0, pages.findLastIndex(({ first }) => first <= Math.max(0, marked)));
  const page = pages[at];
  const [first, behind] = [page?.first ?? 0, pages[at + 1]?.first ?? count];
  const start = page?.start ?? 0;
  const end = pages[at + 1]?.start ?? Math.max(start + PAGE, spans.at(-1)?.end ?? 0);
  let told = start;
  const parts = spans.slice(first, behind).map((span, index) => {
    const before = text.slice(told, span.start);
    told = span.end;
    const part = text.slice(span.start, span.end);
    return first + index === marked
      ? html`${before}<mark ref=${mark}>${part}</mark>`
      : html`${before}<span onClick=${() => onSeek(span.first)}>${part}</span>`;
  });
  const rest = text.slice(told, end);
  return html`<p class="heard" dir="auto" ref=${box} tabindex="0" role="region" aria-label=${says.heardText}>
    ${start > 0 && "… "}${parts}${rest && html`<span class=${count ? "quiet" : ""}>${rest}</span>`}${end < text.length && " …"}
  </p>`;
}

/** Where the pages of a text begin: with which span, and with which character. */
function pagesOf(spans) {
  const pages = [];
  spans.forEach((span, first) => {
    if (!pages.length) pages.push({ first: 0, start: 0 });
    else if (span.start - pages.at(-1).start >= PAGE) pages.push({ first, start: span.start });
  });
  return pages;
}

function Told() {
  const { take, player, isComing } = speaking;
  const told = [
    isComing && says.making,
    !isComing && take.isCut && says.stopped,
    player.firstSoundMs !== null && says.firstSound(duration(player.firstSoundMs / 1000)),
    player.underruns > 0 && says.underruns(player.underruns),
  ];
  return html`<p class="small" role="status">${told.filter(Boolean).join(" · ")}</p>`;
}

/** Files of it, and programs that ask for it. */
function Files({ asked, isOff }) {
  const [told, setTold] = useState("");
  const [problem, setProblem] = useState(null);
  const [shown, show] = useState("");
  useEffect(() => (setProblem(null), show("")), [asked]);
  const fetchFile = async (format) => {
    setProblem(null);
    setTold(says.downloading(format));
    await download(asked, format).catch(setProblem);
    setTold("");
  };
  const copy = async (name) => {
    const text = snippets(asked, "wav")[name];
    try {
      await navigator.clipboard.writeText(text);
      setTold(says.copied(name));
    } catch {
      show(text);
    }
  };
  return html`<div class="stack tight">
    <div class="row">
      <span class="small name">${says.download}</span>
      ${Object.keys(FORMATS).map(
        (format) =>
          html`<button type="button" class="compact" disabled=${isOff} onClick=${() => fetchFile(format)}>
            <span class="only-read">${says.download} </span>${format.toUpperCase()}
          </button>`,
      )}
    </div>
    <div class="row">
      <span class="small name">${says.copy}</span>
      ${["curl", "Python", "JavaScript"].map(
        (name) =>
          html`<button type="button" class="compact" onClick=${() => copy(name)}>
            <span class="only-read">${says.copy} </span>${name}
          </button>`,
      )}
    </div>
    <p class="small" role="status">${told}</p>
    <${Trouble} problem=${problem} />
    ${shown && html`<label class="stack tight">${says.cannotCopy}<textarea readonly rows="8" value=${shown}></textarea></label>`}
  </div>`;
}
