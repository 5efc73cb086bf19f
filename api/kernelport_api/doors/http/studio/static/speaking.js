// What is being spoken and heard. It goes on while another view is looked at.

import { changes } from "./changes.js";
import * as made from "./made.js";
import { Player } from "./player.js";
import { Recording } from "./recording.js";
import { Take } from "./speech.js";

const { subscribe, tell } = changes();
/** Calls a function whenever something of this has changed, once a frame at most. Gives what ends it. */
export { subscribe };

export const speaking = {
  player: new Player(tell),
  /** What is in the player: what was asked for, its recording and spans. */
  take: null,
  /** Whether more of it comes. */
  isComing: false,
  problem: null,
  /** How often the list of what was made has changed. */
  madeChanges: 0,
  /** Whether the browser had no room for what was spoken last. */
  isUnkept: false,
};

/** Speaks what a request asks for, and plays it as it comes. `since`: when it was asked for, by performance.now(). */
export async function speak(asked, deployment, since) {
  speaking.take?.stop?.();
  const take = new Take(asked);
  Object.assign(speaking, { take, isComing: true, problem: null });
  const playing = speaking.player.begin(take.recording, since);
  const coming = take.make(deployment, () => {
    if (speaking.take !== take) return;
    speaking.player.feed();
    tell();
  });
  try {
    await Promise.all([coming, playing]);
  } catch (problem) {
    if (speaking.take === take) speaking.problem = problem;
  }
  if (speaking.take === take) speaking.isComing = false;
  tell();
  if (!take.isCut && take.recording.length) await keep(take);
}

async function keep({ asked, spans, recording }) {
  try {
    await made.keep({ asked, spans, seconds: recording.seconds }, recording.pcm());
    speaking.isUnkept = false;
  } catch {
    speaking.isUnkept = true;
  }
  speaking.madeChanges += 1;
  tell();
}

/** Is silent at once, and has the server stop. */
export function stop() {
  speaking.take?.stop?.();
  speaking.player.pause();
}

/** Plays one of those that were made before. */
export async function replay(entry) {
  stop();
  const audio = await made.audioOf(entry.id);
  if (!audio) {
    speaking.madeChanges += 1; // another tab has deleted it
    return tell();
  }
  const recording = Recording.of(new Int16Array(await audio.arrayBuffer()));
  Object.assign(speaking, { take: { ...entry, recording }, isComing: false, problem: null });
  await speaking.player.begin(recording);
}
