// Small helpers for building the page.

export const byId = id => document.getElementById(id);

// element("button", {type: "button", onclick: f}, "text", child): properties, then children.
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

export function setState(state) {
  document.body.dataset.state = state;
}

export function showLoading(text) {
  byId("loading").hidden = text === "";
  byId("loading-text").textContent = text;
}

export function showProblem(text) {
  byId("problem").hidden = text === "";
  byId("problem").textContent = text;
}

export const readable = name => name.replaceAll("_", " ");
