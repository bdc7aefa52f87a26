// What stands beside the picture: cases and their verdicts, structures, slices to review.

import { byId, element, readable } from "./dom.js";

const VALUE_NAMES = { Dice: "Dice", volume_cm3: "cm³", reference_cm3: "ref. cm³" };
const shown = (name, value) => (value === undefined ? "" : name.endsWith("cm3") ? value.toFixed(value < 10 ? 2 : 1) : value.toFixed(3));

const badge = (level, text = level) => element("span", { className: `verdict ${level}` }, text);

// The verdict on a case where some case has one: none is said as well, lest it be taken for a pass.
function caseBadge(each, cases) {
  if (each.verdict) return badge(each.verdict.level);
  return cases.some(other => other.verdict) ? badge("unknown", "no verdict") : null;
}

export function showCases(cases, current, open) {
  byId("cases-section").hidden = cases.length < 2;
  byId("cases").replaceChildren(...cases.map((each, index) => element("li", {},
    element("button", { type: "button", ariaCurrent: String(index === current), onclick: () => open(index) },
      element("span", {}, each.name), caseBadge(each, cases)))));
  byId("cases").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
}

// The case in the header, and what the gate found, the gravest first.
export function showCase(each, cases, title) {
  const shown = caseBadge(each, cases);
  byId("case").hidden = !shown && title.includes(each.name);
  byId("case").replaceChildren(element("strong", {}, each.name), ...(shown ? [" gate: ", shown] : []));
  byId("gate-section").hidden = !each.verdict;
  byId("checks").textContent = each.verdict?.counted ?? "";
  byId("findings").replaceChildren(...(each.verdict?.findings ?? []).map(found =>
    element("li", { className: "finding" }, badge(found.level), element("span", {}, found.text))));
}

// `toggle(structure)` after its box has changed; `find(structure)` to show where it is.
export function showStructures(structures, rows, findings, toggle, find) {
  const known = new Map(rows.map(row => [row.structure, row]));
  const has = name => rows.some(row => name in row.values || (name === "Dice" && row.in_reference === false));
  const names = Object.keys(VALUE_NAMES).filter(has);
  const others = [...new Set(rows.flatMap(row => Object.keys(row.values)))].filter(name => !(name in VALUE_NAMES));
  const judged = rows.some(row => row.verdict);
  const head = ["", ...[...names, ...others].map(name => VALUE_NAMES[name] ?? readable(name)), ...(judged ? ["gate"] : [])];
  byId("structures").replaceChildren(
    element("thead", {}, element("tr", {}, ...head.map(text => element("th", { scope: "col" }, text)))),
    element("tbody", {}, ...structures.map((structure, position) => {
      const row = known.get(structure.name);
      const box = element("input", { type: "checkbox", checked: structure.visible, ariaLabel: `Show ${readable(structure.name)}`,
        title: position < 9 ? `Key ${position + 1}` : "" });
      box.onchange = () => { structure.visible = box.checked; toggle(structure); };
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = structure.colour;
      const name = element("button", { type: "button", className: "plain", title: "Go to its largest section", onclick: () => find(structure) },
        readable(structure.name));
      const cells = [...names, ...others].map(key => key === "Dice" && row?.in_reference === false
        ? element("td", { title: "not in the reference" }, "–") : element("td", {}, shown(key, row?.values[key])));
      const verdict = row?.verdict ? badge(row.verdict) : "";
      if (verdict) verdict.title = findings.filter(found => found.structure === structure.name).map(found => found.text).join("\n");
      return element("tr", {}, element("td", {}, element("label", {}, box, swatch, name)), ...cells, ...(judged ? [element("td", {}, verdict)] : []));
    })));
}

export function showReview(items, current, go) {
  byId("review-section").hidden = items.length === 0;
  byId("review").replaceChildren(...items.map((item, index) => element("li", {},
    element("button", { type: "button", ariaCurrent: String(index === current), onclick: () => go(index) },
      `${readable(item.structure)}, slice ${item.slice}`, element("br"), element("span", { className: "small" }, item.reason)))));
  byId("review").querySelector('[aria-current="true"]')?.scrollIntoView({ block: "nearest" });
}
