// Where cases come from: the server beside this page, or the page itself if it was exported as one file.

import { inflated } from "./inflate.js";

async function json(response) {
  const content = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(content.error || `the viewer answered ${response.status}`);
  return content;
}

async function ask(address, options) {
  try {
    return await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the viewer does not answer; was it ended? Start chordoma-view again");
  }
}

const server = {
  // Number of the first slice: more than 0 where a page holds a part of the file.
  firstSlice: 0,
  overview: async () => json(await ask("api/overview")),
  details: async index => json(await ask(`api/case/${index}`)),
  ratings: async () => json(await ask("api/ratings")),
  rate: async rating =>
    json(await ask("api/rating", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(rating) })),
  async volume(index, file, progress, signal) {
    const response = await ask(`data/${index}/${file}`, { signal });
    if (!response.ok) throw new Error((await response.json().catch(() => ({}))).error || `the viewer answered ${response.status}`);
    return inflated(response.body, Number(response.headers.get("Content-Length")), progress);
  },
};

function embedded(text) {
  const content = JSON.parse(text);
  return {
    firstSlice: content.firstSlice,
    overview: async () => content.overview,
    details: async () => content.details,
    async volume(_index, file, progress) {
      const bytes = Uint8Array.from(atob(content.files[file]), character => character.charCodeAt(0));
      return inflated(new Blob([bytes]).stream(), bytes.length, progress);
    },
  };
}

const block = document.getElementById("embedded-case");
export const source = block ? embedded(block.textContent) : server;
