// What is shown, as a PNG that is named after case and slice.

import { element } from "./dom.js";

export async function saveScreenshot(scene, contourCanvas, name) {
  const { canvas, nv } = scene;
  const picture = new OffscreenCanvas(canvas.width, canvas.height);
  const context = picture.getContext("2d");
  // The drawing is gone after this turn of the event loop, so it is made anew and taken at once.
  nv.drawScene();
  context.drawImage(canvas, 0, 0);
  context.drawImage(contourCanvas, 0, 0);
  const address = URL.createObjectURL(await picture.convertToBlob({ type: "image/png" }));
  element("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
