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

// Text put back while it was being typed raises no "change" when it is left.
function onCommit(field, save) {
  field.onchange = field.onblur = () => {
    if (field.value === field.defaultValue) return;
    field.defaultValue = field.value;
    save();
  };
}

export class RatingPanel {
  // `show(set)` shows one set of contours alone.
  constructor(show) {
    this.show = show;
    this.rows = [];
    this.patient = null;
    this.set = null;
    this.clock = JSON.parse(localStorage.getItem(CLOCK) ?? "null");
  }

  async start() {
    this.rows = await source.ratings();
    // Another tab of this page starts and stops the same clock.
    addEventListener("storage", event => event.key === CLOCK && this.#follow(JSON.parse(event.newValue)));
    if (this.clock && !this.rows.some(row => keyOf(row) === this.clock.key)) this.#setClock(null);
    byId("rating-section").hidden = false;
    setInterval(() => this.#tick(), TICK_MS);
  }

  async #follow(clock) {
    this.clock = clock;
    this.rows = await source.ratings().catch(() => this.rows);
    this.draw();
  }

  open(patient) {
    this.patient = patient;
    const sets = this.sets;
    const unrated = sets.find(set => this.#of(set).some(row => row.minutes === null));
    this.set = sets.includes(this.set) ? this.set : unrated ?? sets[0] ?? null;
    const running = this.rows.find(row => keyOf(row) === this.clock?.key);
    if (running?.patient === patient) this.set = running.contours;
    this.choose(this.set);
  }

  get sets() {
    return [...new Set(this.rows.filter(row => row.patient === this.patient).map(row => row.contours))];
  }

  #of(set) {
    return this.rows.filter(row => row.patient === this.patient && row.contours === set);
  }

  // The set that is rated is the one shown.
  choose(set) {
    this.set = set;
    if (set) this.show(set);
    this.draw();
  }

  draw() {
    const rated = this.rows.filter(row => row.minutes !== null).length;
    const summary = `${rated} of ${this.rows.length} rated`;
    const sets = element("div", { className: "segments sets", role: "group", ariaLabel: "Set of contours" },
      ...this.sets.map(set => element("button", { type: "button", ariaPressed: String(set === this.set), onclick: () => this.choose(set) },
        `${set}${this.#of(set).every(row => row.minutes !== null) ? " ✓" : ""}`)));
    const elsewhere = this.rows.find(row => keyOf(row) === this.clock?.key && (row.patient !== this.patient || row.contours !== this.set));
    const kept = this.#typing();
    byId("rating").replaceChildren(
      element("div", { id: "rated", role: "status" }, summary), element("progress", { max: this.rows.length, value: rated, ariaLabel: summary }),
      elsewhere ? element("div", { role: "status" }, `Clock runs: ${readable(elsewhere.structure)}, ${elsewhere.patient}, contours ${elsewhere.contours} `,
        element("button", { type: "button", ariaLabel: "Pause the clock that runs elsewhere", onclick: () => this.stop() }, "Pause")) : "",
      sets, ...this.#of(this.set).map(row => this.#row(row)));
    kept();
  }

  // Where the keyboard is in the panel, with what is being typed there: a function that puts it back after drawing.
  #typing() {
    const field = document.activeElement;
    if (!byId("rating").contains(field)) return () => {};
    const { ariaLabel, value, type } = field;
    const changed = type !== "button" && value !== field.defaultValue;
    return () => {
      // A button of the clock is called otherwise once it is pressed.
      const same = label => label?.replace(/^(Start|Pause)/, "");
      const found = [...byId("rating").querySelectorAll("input, button")].find(each => same(each.ariaLabel) === same(ariaLabel));
      if (!found) return;
      if (changed && !found.disabled) found.value = value;
      found.focus();
    };
  }

  #row(row) {
    const running = this.clock?.key === keyOf(row);
    const named = `${readable(row.structure)}, contours ${row.contours}`;
    const minutes = element("input", { type: "number", min: 0, step: 0.1, value: row.minutes ?? "", defaultValue: row.minutes ?? "", disabled: running, ariaLabel: `Minutes for ${named}` });
    onCommit(minutes, () => this.#save(row, { minutes: minutes.value === "" ? null : Number(minutes.value) }));
    const comments = element("input", { type: "text", value: row.comments, defaultValue: row.comments, placeholder: "comments", maxLength: 500, ariaLabel: `Comments on ${named}` });
    onCommit(comments, () => this.#save(row, { comments: comments.value }));
    const clock = element("output", { className: running ? "running-clock" : "" }, running ? clockText(this.#elapsed()) : "");
    const button = element("button", { type: "button", ariaLabel: `${running ? "Pause" : "Start"} the clock for ${named}`,
      onclick: () => (running ? this.stop() : this.#begin(row)) }, running ? "Pause" : row.minutes ? "Go on" : "Start");
    const none = element("button", { type: "button", title: "Nothing to edit", ariaLabel: `Nothing to edit in ${named}`, disabled: running,
      onclick: () => this.#save(row, { minutes: 0 }) }, "0");
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
    if (await this.#save(row, { minutes })) this.#setClock(null);
    this.draw();
  }

  // Only what changed is sent: the rest of the row may have been changed elsewhere.
  async #save({ patient, contours, structure }, change) {
    try {
      this.rows = await source.rate({ patient, contours, structure, ...change });
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
