// Fields of modals, of slash command options and of selects: one element each, with a way to read the value.
import { h } from "./dom.js";

/** Choices of any select component as [{value, label, selected}]. */
export function choices(component, world) {
  const preset = new Set((component.default_values ?? []).map((one) => one.id));
  const people = () => [...world.members.values()].map((one) => ({ value: one.id, label: one.name + (one.bot ? " (app)" : "") }));
  const roles = () => [...world.roles.values()].filter((one) => one.name !== "@everyone").map((one) => ({ value: one.id, label: "@" + one.name }));
  const places = () => [...world.channels.values()]
    .filter((one) => !component.channel_types?.length || component.channel_types.includes(one.type))
    .map((one) => ({ value: one.id, label: (one.type === 4 ? "▾ " : "#") + one.name }));
  const found = { 5: people, 6: roles, 7: () => [...people(), ...roles()], 8: places }[component.type]?.()
    ?? component.options.map((one) => ({ value: one.value, label: one.label, title: one.description, selected: one.default }));
  return found.map((one) => ({ ...one, selected: one.selected || preset.has(one.value) }));
}

export function select(component, world, attributes = {}) {
  const multiple = (component.max_values ?? 1) > 1;
  const options = choices(component, world).map((one) => h("option", { value: one.value, selected: one.selected, title: one.title ?? "" }, one.label));
  if (!multiple) options.unshift(h("option", { value: "", selected: !options.some((one) => one.selected) }, component.placeholder || "Choose…"));
  return h("select", { multiple, size: multiple ? Math.min(6, options.length) : 0, ...attributes }, options);
}

export const selected = (element) => [...element.selectedOptions].map((one) => one.value).filter(Boolean);

function group(field) {
  const kind = field.type === 21 ? "radio" : "checkbox";
  return h("div", { className: "group", role: "group" }, field.options.map((one) =>
    h("label", {}, h("input", { type: kind, name: field.custom_id, value: one.value, checked: one.default }), " ", one.label)));
}

function input(field, world) {
  const required = field.required !== false;
  if (field.type === 4) {
    const shared = { required, name: field.custom_id, value: field.value ?? "", placeholder: field.placeholder ?? "", maxLength: field.max_length ?? 4000, minLength: field.min_length ?? 0 };
    return field.style === 2 ? h("textarea", { rows: 4, ...shared }) : h("input", { type: "text", ...shared });
  }
  if (field.type === 23) return h("input", { type: "checkbox", name: field.custom_id, checked: field.default });
  if (field.type === 21 || field.type === 22) return group(field);
  return select(field, world, { name: field.custom_id, required: required && field.min_values !== 0 });
}

/** Return the elements of a modal and `read()` giving values by custom id. */
export function modalFields(modal, world, text) {
  const made = new Map();
  const add = (label, description, field) => {
    const element = input(field, world);
    made.set(field.custom_id, [field, element]);
    const hint = description && h("small", { className: "muted" }, description);
    const title = [label, field.required !== false && field.type !== 23 ? h("b", { className: "star", "aria-hidden": "true" }, " *") : ""];
    return h(field.type === 21 || field.type === 22 ? "div" : "label", { className: "field" }, h("span", {}, title), hint, element);
  };
  const rows = modal.components.map((row) => {
    if (row.type === 10) return h("div", {}, text(row.content));
    if (row.type === 18) return add(row.label, row.description, row.component);
    return row.components.map((one) => add(one.label, "", one));
  });
  const read = () => Object.fromEntries([...made].map(([name, [field, element]]) => [name, value(field, element)]));
  return { rows, read };
}

function value(field, element) {
  if (field.type === 4) return element.value;
  if (field.type === 23) return element.checked;
  if (field.type === 21 || field.type === 22) return [...element.querySelectorAll(":checked")].map((one) => one.value);
  return selected(element);
}

/** All runnable forms of a command: itself, or each of its sub-commands. */
export function runnable(command) {
  const nested = (options, path) => {
    const inner = (options ?? []).filter((one) => one.type <= 2);
    return inner.length ? inner.flatMap((one) => nested(one.options, [...path, one.name]).map((found) => ({ ...found, description: found.description ?? one.description })))
      : [{ path: path.join(" "), options: options ?? [] }];
  };
  return nested(command.options, [command.name]).map((one) => ({ ...one, description: one.description ?? command.description, command }));
}

/** A field for one slash command option; `complete(name)` fetches autocomplete choices. */
export function optionField(option, world, complete) {
  const attributes = { name: option.name, required: Boolean(option.required) };
  if (option.choices?.length) return h("select", attributes, h("option", { value: "" }, "Choose…"), option.choices.map((one) => h("option", { value: one.value }, one.name)));
  if (option.type === 5) return h("select", attributes, h("option", { value: "" }, "Choose…"), h("option", { value: "true" }, "True"), h("option", { value: "false" }, "False"));
  const kind = { 6: 5, 7: 8, 8: 6, 9: 7 }[option.type];
  if (kind) return select({ type: kind, channel_types: option.channel_types }, world, attributes);
  if (option.type === 4 || option.type === 10) Object.assign(attributes, { type: "number", step: option.type === 4 ? "1" : "any", min: option.min_value ?? "", max: option.max_value ?? "" });
  const field = h("input", attributes);
  if (option.type === 3) { field.minLength = option.min_length ?? 0; field.maxLength = option.max_length ?? 6000; }
  if (!option.autocomplete) return field;
  const list = h("datalist", { id: "complete-" + option.name });
  field.setAttribute("list", list.id);
  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const found = await complete(option.name, field.value);
      list.replaceChildren(...found.map((one) => h("option", { value: one.value }, one.name)));
    }, 200);
  });
  return h("span", {}, field, list);
}
