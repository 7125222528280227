// The basics of Discord's markdown as DOM nodes: code, bold, italics, underline, strike, spoilers, quotes, headings, lists, links, mentions, times.
import { color, h, safeUrl } from "./dom.js";

const INLINE = [
  [/^```(?:[\w+-]+\n)?([\s\S]+?)```/, (m) => h("pre", {}, h("code", {}, m[1].trim()))],
  [/^`([^`\n]+)`/, (m) => h("code", {}, m[1])],
  [/^\\([\\*_~|`>#\-\[\]()<@:.!])/, (m) => document.createTextNode(m[1])],
  [/^\*\*([\s\S]+?)\*\*/, (m, world) => h("strong", {}, inline(m[1], world))],
  [/^__([\s\S]+?)__/, (m, world) => h("u", {}, inline(m[1], world))],
  [/^~~([\s\S]+?)~~/, (m, world) => h("s", {}, inline(m[1], world))],
  [/^\|\|([\s\S]+?)\|\|/, (m, world) => spoiler(inline(m[1], world))],
  [/^[*_](?=\S)([^*_\n]+?)[*_](?!\w)/, (m, world) => h("em", {}, inline(m[1], world))],
  [/^<@!?(\d+)>/, (m, world) => mention("@" + (world.members.get(m[1])?.name ?? world.known.get(m[1]) ?? "unknown-user"))],
  [/^<@&(\d+)>/, (m, world) => mention("@" + (world.roles.get(m[1])?.name ?? "deleted-role"), world.roles.get(m[1])?.color)],
  [/^<#(\d+)>/, (m, world) => channel(m[1], world)],
  [/^<\/([^:>]+):\d+>/, (m) => mention("/" + m[1])],
  [/^<a?:(\w+):\d+>/, (m) => document.createTextNode(":" + m[1] + ":")],
  [/^<t:(-?\d+)(?::(\w))?>/, (m) => time(Number(m[1]), m[2])],
  [/^@(everyone|here)\b/, (m) => mention("@" + m[1])],
  [/^\[([^\]\n]+)\]\(<?(https?:\/\/[^\s)>]+)>?\)/, (m, world) => link(m[2], inline(m[1], world), world)],
  [/^<?(https?:\/\/[^\s<>]+[^\s<>.,;:!?)\]'"])>?/, (m, world) => link(m[1], m[1], world)],
];

function mention(text, tint) {
  const made = h("span", { className: "mention" }, text);
  if (tint) made.style.color = color(tint);
  return made;
}

function channel(id, world) {
  const found = world.channels.get(id);
  if (!found) return mention("#unknown");
  return h("button", { type: "button", className: "mention", onclick: () => world.open(id) }, "#" + found.name);
}

function spoiler(children) {
  const made = h("span", { className: "spoiler", tabIndex: 0, role: "button", "aria-label": "Spoiler" }, children);
  const show = () => made.classList.add("shown");
  made.addEventListener("click", show);
  made.addEventListener("keydown", (event) => event.key === "Enter" && show());
  return made;
}

const MESSAGE_LINK = /^https:\/\/(?:\w+\.)?discord\.com\/channels\/(\d+)\/(\d+)(?:\/(\d+))?$/;

function link(target, children, world) {
  const url = safeUrl(target), place = MESSAGE_LINK.exec(url ?? "");
  if (place) return h("a", { href: url, onclick: (event) => { event.preventDefault(); world.jump(place[1], place[2], place[3]); } }, children);
  return url ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, children) : h("span", {}, children);
}

const STYLES = {
  t: { timeStyle: "short" }, T: { timeStyle: "medium" }, d: { dateStyle: "short" }, D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" }, F: { dateStyle: "full", timeStyle: "short" },
};

function time(seconds, style) {
  const moment = new Date(seconds * 1000);
  if (Number.isNaN(moment.getTime())) return document.createTextNode("Invalid date");
  if (style === "R") return h("time", { className: "relative", dateTime: moment.toISOString(), title: moment.toString() }, relative(seconds));
  const text = moment.toLocaleString(undefined, STYLES[style] ?? STYLES.f);
  return h("time", { dateTime: moment.toISOString(), title: moment.toString() }, text);
}

export function relative(seconds) {
  const delta = seconds - Date.now() / 1000;
  const units = [["year", 31536000], ["month", 2592000], ["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, size] = units.find(([, one]) => Math.abs(delta) >= one) ?? units.at(-1);
  return new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(Math.trunc(delta / size), unit);
}

function inline(text, world) {
  const found = [];
  let plain = "";
  const flush = () => { if (plain) found.push(document.createTextNode(plain)); plain = ""; };
  while (text) {
    const rule = /^[\w\s]/.test(text) && !/^(https?:|_)/.test(text) ? null : INLINE.find(([pattern]) => pattern.test(text));
    if (rule) {
      flush();
      const match = rule[0].exec(text);
      found.push(rule[1](match, world));
      text = text.slice(match[0].length);
    } else {
      plain += text[0];
      text = text.slice(1);
    }
  }
  flush();
  return found;
}

/** Return nodes for a whole text; `world` has members, roles, channels (maps by id) and open(channelId). */
export function markdown(text, world) {
  const found = [];
  for (const part of String(text ?? "").split(/(```[\s\S]+?```)/)) {
    if (part.startsWith("```") && part.length > 6) found.push(...inline(part, world));
    else if (part) found.push(...lines(part, world));
  }
  return found;
}

/** Join neighbouring lines of a quote to one block, with headings and lists inside. */
function quotes(all, world) {
  const found = [];
  let quoted = [];
  const close = () => { if (quoted.length) found.push(h("blockquote", {}, lines(quoted.join("\n"), world))); quoted = []; };
  for (const line of all) {
    if (/^> /.test(line)) quoted.push(line.slice(2));
    else { close(); found.push(line); }
  }
  close();
  return found;
}

/** Keep relative times true while the page is open. */
setInterval(() => {
  for (const one of document.querySelectorAll("time.relative")) one.textContent = relative(Date.parse(one.dateTime) / 1000);
}, 5000);

function lines(text, world) {
  return quotes(text.split("\n"), world).map((line, index, all) => {
    if (typeof line !== "string") return line;
    let match;
    if ((match = /^(#{1,3}) (.+)/.exec(line))) return h("div", { className: "heading level" + match[1].length }, inline(match[2], world));
    if ((match = /^-# (.+)/.exec(line))) return h("div", { className: "subtext" }, inline(match[1], world));
    if ((match = /^\s*(?:[-*]|\d+\.) (.+)/.exec(line))) return h("div", { className: "item" }, inline(match[1], world));
    return [...inline(line, world), index < all.length - 1 ? h("br") : ""];
  }).flat();
}
