// What was spoken here, kept in the browser's own storage up to a limit.

const MOST = 50;
const MOST_BYTES = 200_000_000;
const STORES = ["made", "audio"];

let opening = null;

function database() {
  opening ??= new Promise((done, fail) => {
    const asked = indexedDB.open("kernelport", 1);
    asked.onupgradeneeded = () => STORES.forEach((name) => asked.result.createObjectStore(name));
    asked.onsuccess = () => done(asked.result);
    asked.onerror = () => fail(asked.error);
  });
  return opening;
}

/** Does something with the stores, all of it or nothing. Gives what the last request gives. */
async function within(mode, work) {
  const transaction = (await database()).transaction(STORES, mode);
  const asked = work(...STORES.map((name) => transaction.objectStore(name)));
  return new Promise((done, fail) => {
    transaction.oncomplete = () => done(asked?.result);
    transaction.onerror = transaction.onabort = () => fail(transaction.error);
  });
}

/** All, the newest first. */
export async function all() {
  return (await within("readonly", (made) => made.getAll())).reverse();
}

/** Keeps one and its samples, a Blob, and throws the oldest away where there is no room. */
export async function keep(told, audio) {
  const id = Date.now();
  const kept = await all();
  let bytes = audio.size;
  const gone = kept.filter((each, index) => (bytes += each.bytes) > MOST_BYTES || index >= MOST - 1);
  await within("readwrite", (made, audios) => {
    for (const each of gone) [made, audios].forEach((store) => store.delete(each.id));
    made.put({ ...told, id, bytes: audio.size }, id);
    return audios.put(audio, id);
  });
}

/** The samples of one. */
export const audioOf = (id) => within("readonly", (_, audios) => audios.get(id));

/** Throws one away. */
export const remove = (id) => within("readwrite", (made, audios) => (made.delete(id), audios.delete(id)));

/** Throws all away. */
export const clear = () => within("readwrite", (made, audios) => (made.clear(), audios.clear()));
