// A list of up to millions of rows of one height, of which only those in view are elements.

// Browsers cut off taller elements: Firefox at 17.9 million pixels. Longer lists scroll faster instead.
const MOST_PIXELS = 15_000_000;
// Rows beyond the edges that are there already when they come into view.
const MARGIN_ROWS = 8;

/** How tall the content of a list of `count` rows is, in pixels. */
export function contentHeight(count, rowHeight) {
  return Math.min(count * rowHeight, MOST_PIXELS);
}

/** The rows that are to be elements: from `first` to before `last`, with `top` pixels above them. */
export function rowsInView(count, rowHeight, viewHeight, scrollTop) {
  const height = contentHeight(count, rowHeight);
  const scrolled = Math.min(Math.max(0, scrollTop), Math.max(0, height - viewHeight));
  const real = count * rowHeight;
  const position = height < real ? (scrolled / (height - viewHeight)) * (real - viewHeight) : scrolled;
  const first = Math.max(0, Math.floor(position / rowHeight) - MARGIN_ROWS);
  const last = Math.min(count, Math.ceil((position + viewHeight) / rowHeight) + MARGIN_ROWS);
  return { first, last, top: scrolled + first * rowHeight - position };
}
