// Draws a recording, as it comes, and the part of it that is meant.

import { html, useEffect, useRef } from "./preact.js";

const BAR = 2;
const STEP = 3;
// Quiet speech is to be seen, too.
const LOUD = 20_000;

/** Samples `from` before `to` stand out, the whole width is `most`; `onSeek` is told the sample that is pressed. */
export function Wave({ recording, from = 0, to, most, onSeek }) {
  const canvas = useRef(null);
  const redraw = useRef(null);
  redraw.current = () => draw(canvas.current, recording, (sample) => from <= sample && sample < to, most);
  useEffect(() => redraw.current());
  useEffect(() => {
    const watching = new ResizeObserver(() => redraw.current());
    watching.observe(canvas.current);
    return () => watching.disconnect();
  }, []);
  const seek = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    onSeek(Math.round(((event.clientX - box.left) / box.width) * most));
  };
  return html`<canvas class="wave" ref=${canvas} aria-hidden="true" onPointerDown=${seek}></canvas>`;
}

function draw(canvas, recording, isIn, most) {
  const scale = devicePixelRatio;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  const style = getComputedStyle(canvas);
  const [heard, coming] = [style.color, style.borderTopColor];
  const bars = Math.floor(width / STEP);
  const perBar = most / recording.perPeak / bars;
  for (let bar = 0; bar < bars; bar++) {
    const from = Math.floor(bar * perBar);
    if (from >= recording.peaks.length) break;
    let peak = 0;
    for (let index = from; index < Math.max(from + 1, (bar + 1) * perBar); index++)
      peak = Math.max(peak, recording.peaks[index] ?? 0);
    const tall = Math.max(2, Math.min(1, peak / LOUD) * height);
    context.fillStyle = isIn(bar * perBar * recording.perPeak) ? heard : coming;
    context.fillRect(bar * STEP, (height - tall) / 2, BAR, tall);
  }
}
