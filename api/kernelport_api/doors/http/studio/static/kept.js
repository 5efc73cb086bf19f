// What the browser keeps for this page: nothing where cookies are blocked, or without room.

/** What is kept under a name in `localStorage`, or for this tab in `sessionStorage`; null where there is nothing. */
export function kept(storage, name) {
  try {
    return window[storage].getItem(name);
  } catch {
    return null;
  }
}

/** Keeps a text; null takes away what is there. */
export function keep(storage, name, text) {
  try {
    if (text === null) window[storage].removeItem(name);
    else window[storage].setItem(name, text);
  } catch {
    // the page goes on without
  }
}
