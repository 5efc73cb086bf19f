// Programs that ask for exactly what the page has asked for.

import { isSignedIn } from "./server.js";
import { FORMATS, PATH } from "./speech.js";

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
// JSON of texts and numbers is a literal of Python and of JavaScript, too.
const literal = (body) => JSON.stringify(body, null, 4);

/** By their names, what a request is in each language. */
export function snippets(asked, format) {
  const url = location.origin + PATH;
  const file = `speech.${FORMATS[format]}`;
  const body = { ...asked, response_format: format };
  const keyed = (text) => (isSignedIn() ? text : "");
  return {
    curl: `curl -sS --fail-with-body ${url} \\
    -H 'Content-Type: application/json' \\${keyed(`
    -H "Authorization: Bearer $KERNELPORT_API_KEY" \\`)}
    -d ${quoted(JSON.stringify(body))} \\
    -o ${file}
`,
    Python: `import json
${keyed("import os\n")}import urllib.request

request = urllib.request.Request(
    ${JSON.stringify(url)},
    json.dumps(${literal(body).replaceAll("\n", "\n    ")}).encode(),
    {"Content-Type": "application/json"${keyed(`, "Authorization": "Bearer " + os.environ["KERNELPORT_API_KEY"]`)}},
)
with urllib.request.urlopen(request) as answer, open("${file}", "wb") as file:
    file.write(answer.read())
`,
    JavaScript: `import { writeFile } from "node:fs/promises";

const answer = await fetch(${JSON.stringify(url)}, {
    method: "POST",
    headers: { "Content-Type": "application/json"${keyed(", Authorization: `Bearer ${process.env.KERNELPORT_API_KEY}`")} },
    body: JSON.stringify(${literal(body).replaceAll("\n", "\n    ")}),
});
if (!answer.ok) throw new Error(await answer.text());
await writeFile("${file}", Buffer.from(await answer.arrayBuffer()));
`,
  };
}
