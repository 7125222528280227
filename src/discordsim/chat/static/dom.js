// Small helpers to build elements. Text only ever becomes text nodes: nothing here parses HTML.

export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && key !== "list" && key !== "form") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

export const byId = (id) => document.getElementById(id);

export function color(number) {
  return number ? "#" + number.toString(16).padStart(6, "0") : "";
}

export function safeUrl(text) {
  try {
    const url = new URL(text, location.href);
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

/** Show a menu at a place; items are {label, act, danger}, {heading} or null for a line. Closes on Escape or a click elsewhere. */
export function popup(items, x, y) {
  document.querySelector(".menu")?.remove();
  const back = document.activeElement;
  const close = () => {
    menu.remove();
    document.removeEventListener("pointerdown", away, true);
    back?.focus?.();
  };
  const away = (event) => menu.contains(event.target) || close();
  const menu = h("div", { className: "menu", role: "menu" }, items.map((item) =>
    item === null
      ? h("hr")
      : item.heading ? h("small", { className: "heading", role: "presentation" }, item.heading)
      : h("button", { type: "button", role: "menuitem", className: item.danger ? "danger" : "", onclick: () => { close(); item.act(); } }, item.label)));
  menu.addEventListener("keydown", (event) => {
    const buttons = [...menu.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    if (event.key === "Escape") close();
    else if (event.key === "ArrowDown") buttons[(at + 1) % buttons.length].focus();
    else if (event.key === "ArrowUp") buttons[(at + buttons.length - 1) % buttons.length].focus();
    else return;
    event.preventDefault();
  });
  document.body.append(menu);
  const box = menu.getBoundingClientRect();
  menu.style.left = Math.max(8, Math.min(x, innerWidth - box.width - 8)) + "px";
  menu.style.top = Math.max(8, Math.min(y, innerHeight - box.height - 8)) + "px";
  document.addEventListener("pointerdown", away, true);
  menu.querySelector("button")?.focus();
}

/** Show a form in a dialog; resolves with what `read` returns when sent, with null when closed. */
export function ask(title, fields, { submit = "Submit", note = "", read }) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-label": title });
    const finish = (value) => { dialog.remove(); resolve(value); };
    const form = h("form", { method: "dialog" },
      h("h2", {}, title),
      note && h("p", { className: "muted" }, note),
      fields,
      h("div", { className: "actions" },
        h("button", { type: "button", onclick: () => finish(null) }, "Cancel"),
        h("button", { className: "primary" }, submit)));
    form.addEventListener("submit", (event) => { event.preventDefault(); finish(read(form)); });
    dialog.addEventListener("cancel", () => finish(null));
    dialog.append(form);
    document.body.append(dialog);
    dialog.showModal();
    form.querySelector("input,textarea,select")?.focus();
  });
}
