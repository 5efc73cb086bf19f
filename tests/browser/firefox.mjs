// Uses the studio in Firefox: `node firefox.mjs FIREFOX URL FLOW`. What goes wrong ends it with a traceback.

import assert from "node:assert/strict";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import puppeteer from "puppeteer-core";

const FLOWS = { speak, jobs };
const TEXT = "The harbour was quiet, and the boats lay still. Good morning, said Anna.";
const WAIT_MS = 60_000;

/** A text is spoken, marked as it is heard to its end, and is what the server sends. */
async function speak(page) {
  await page.locator("#text").fill(TEXT);
  await page.focus("#text");
  await page.keyboard.down("Control");
  await page.keyboard.press("Enter");
  await page.keyboard.up("Control");
  await page.locator("mark").wait();
  await page.locator("::-p-text(First sound after)").wait();
  await page.waitForFunction(() => document.querySelector("button.primary").textContent.trim() === "Speak");
  await page.locator(".made li").wait();
  const [at, whole] = await page.$eval("input[type=range]", (slider) => slider.ariaValueText.split(" of "));
  assert.equal(at, whole);
  const [kept, sent] = await page.evaluate(async (text) => {
    const made = await import("/studio/made.js");
    const [newest] = await made.all();
    const body = JSON.stringify({ model: "hibari-en", input: text, response_format: "pcm" });
    const headers = { "content-type": "application/json" };
    const answer = await fetch("/v1/audio/speech", { method: "POST", headers, body });
    const bytes = async (source) => [...new Uint8Array(await source.arrayBuffer())];
    return [await bytes(await made.audioOf(newest.id)), await bytes(answer)];
  }, TEXT);
  assert.ok(kept.length > 100_000);
  assert.deepEqual(kept, sent);
}

/** A file becomes a job, whose progress shows by itself, and an item of it is heard. */
async function jobs(page) {
  const file = join(await mkdtemp(join(tmpdir(), "studio-")), "alice.csv");
  await writeFile(file, "id,text\nfirst,Down.\nsecond,Up.\n");
  await (await page.waitForSelector("input[type=file]")).uploadFile(file);
  await page.locator("::-p-text(Make a job of 2 items)").click();
  await page.locator("::-p-text(2 of 2 items)").wait();
  await page.locator("[aria-label='Listen to first']").click();
  await page.waitForFunction(() => document.querySelector("audio")?.currentTime > 0);
}

// The browser's own player has its letters in itself.
const isOwn = (address) => address.startsWith(`${url}/`) || address.startsWith("data:font/");

const [executablePath, url, flow] = process.argv.slice(2);
const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
try {
  const page = await browser.newPage();
  const complaints = [];
  page.setDefaultTimeout(WAIT_MS);
  page.on("console", (message) => ["error", "warn"].includes(message.type()) && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("request", (request) => isOwn(request.url()) || complaints.push(`to ${request.url()}`));
  await page.goto(`${url}/#/${flow}`);
  await FLOWS[flow](page);
  assert.deepEqual(complaints, []);
} finally {
  await browser.close();
}
