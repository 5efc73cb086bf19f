// Who is told of changes, once a frame at most.

const HIDDEN_MS = 250;

/** Those who are told of something: `subscribe(reader)` gives what ends it, `tell()` calls them all soon. */
export function changes() {
  const readers = new Set();
  let isDue = false;
  const call = () => {
    isDue = false;
    for (const reader of readers) reader();
  };
  return {
    subscribe: (reader) => {
      readers.add(reader);
      return () => readers.delete(reader);
    },
    tell: () => {
      if (isDue) return;
      isDue = true;
      if (document.visibilityState === "visible") requestAnimationFrame(call);
      else setTimeout(call, HIDDEN_MS); // nothing is drawn, and no frame comes
    },
  };
}
