// Rating of blinded contours: minutes of editing per structure, timed or typed, with comments, kept in the sheet.

import { byId, element, readable, showProblem } from "./dom.js";
import { source } from "./source.js";

const MINUTE_MS = 60_000;
const TICK_MS = 1000;
// A running clock outlives a reload: when it began, and for which row.
const CLOCK = "chordoma-rating-clock";

const keyOf = row => JSON.stringify([row.patient, row.contours, row.structure]);
const rounded = minutes => Math.round(minutes * 100) / 100;
const clockText = minutes => `${Math.floor(minutes)}:${String(Math.floor((minutes % 1) * 60)).padStart(2, "0")}`;

export class RatingPanel {
  // `choose(set)` shows one set of contours alone.
  constructor(choose) {
    this.choose = choose;
    this.rows = [];
    this.patient = null;
    this.set = null;
    this.clock = JSON.parse(localStorage.getItem(CLOCK) ?? "null");
  }

  async start() {
    this.rows = await source.ratings();
    if (this.clock && !this.rows.some(row => keyOf(row) === this.clock.key)) this.#setClock(null);
    byId("rating-section").hidden = false;
    setInterval(() => this.#tick(), TICK_MS);
  }

  open(patient) {
    this.patient = patient;
    const sets = this.sets;
    const unrated = sets.find(set => this.#of(set).some(row => row.minutes === null));
    this.set = sets.includes(this.set) ? this.set : unrated ?? sets[0] ?? null;
    const running = this.rows.find(row => keyOf(row) === this.clock?.key);
    if (running?.patient === patient) this.set = running.contours;
    this.#choose(this.set);
  }

  get sets() {
    return [...new Set(this.rows.filter(row => row.patient === this.patient).map(row => row.contours))];
  }

  #of(set) {
    return this.rows.filter(row => row.patient === this.patient && row.contours === set);
  }

  #choose(set) {
    this.set = set;
    if (set) this.choose(set);
    this.draw();
  }

  draw() {
    const rated = this.rows.filter(row => row.minutes !== null).length;
    const summary = `${rated} of ${this.rows.length} rated`;
    const sets = element("div", { className: "segments sets", role: "group", ariaLabel: "Set of contours" },
      ...this.sets.map(set => element("button", { type: "button", ariaPressed: String(set === this.set), onclick: () => this.#choose(set) },
        `${set}${this.#of(set).every(row => row.minutes !== null) ? " ✓" : ""}`)));
    byId("rating").replaceChildren(
      element("div", { id: "rated", role: "status" }, summary), element("progress", { max: this.rows.length, value: rated, ariaLabel: summary }),
      sets, ...this.#of(this.set).map(row => this.#row(row)));
  }

  #row(row) {
    const running = this.clock?.key === keyOf(row);
    const named = `${readable(row.structure)}, contours ${row.contours}`;
    const minutes = element("input", { type: "number", min: 0, step: 0.1, value: row.minutes ?? "", disabled: running, ariaLabel: `Minutes for ${named}` });
    minutes.onchange = () => this.#save({ ...row, minutes: minutes.value === "" ? null : Number(minutes.value) });
    const comments = element("input", { type: "text", value: row.comments, placeholder: "comments", maxLength: 500, ariaLabel: `Comments on ${named}` });
    comments.onchange = () => this.#save({ ...row, comments: comments.value });
    const clock = element("output", { className: running ? "running-clock" : "" }, running ? clockText(this.#elapsed()) : "");
    const button = element("button", { type: "button", ariaLabel: `${running ? "Pause" : "Start"} the clock for ${named}`,
      onclick: () => (running ? this.stop() : this.#begin(row)) }, running ? "Pause" : row.minutes ? "Go on" : "Start");
    const none = element("button", { type: "button", title: "Nothing to edit", ariaLabel: `Nothing to edit in ${named}`, disabled: running,
      onclick: () => this.#save({ ...row, minutes: 0 }) }, "0");
    return element("div", { className: running ? "row running" : "row", "data-structure": row.structure },
      element("div", {}, element("strong", {}, readable(row.structure)), clock),
      element("div", {}, button, none, minutes, element("span", { className: "small" }, "min")), comments);
  }

  async #begin(row) {
    await this.stop();
    this.#setClock({ key: keyOf(row), before: row.minutes ?? 0, began: Date.now() });
    this.draw();
  }

  // Put the minutes of a running clock into the sheet.
  async stop() {
    if (!this.clock) return;
    const row = this.rows.find(each => keyOf(each) === this.clock.key);
    const minutes = rounded(this.#elapsed());
    if (await this.#save({ ...row, minutes })) this.#setClock(null);
    this.draw();
  }

  async #save(row) {
    try {
      const { patient, contours, structure, minutes, comments } = row;
      this.rows = await source.rate({ patient, contours, structure, minutes, comments });
      showProblem("");
      this.draw();
      return true;
    } catch (error) {
      showProblem(`Not saved: ${error.message}`);
      return false;
    }
  }

  #elapsed() {
    return this.clock.before + (Date.now() - this.clock.began) / MINUTE_MS;
  }

  #setClock(clock) {
    this.clock = clock;
    if (clock) localStorage.setItem(CLOCK, JSON.stringify(clock));
    else localStorage.removeItem(CLOCK);
  }

  #tick() {
    const shown = document.querySelector(".running-clock");
    if (this.clock && shown) shown.textContent = clockText(this.#elapsed());
  }
}
