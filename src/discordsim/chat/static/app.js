// The chat page: who acts where, the channel list, the message log, the composer, and everything one can press.
import { ask, byId, h, popup } from "./dom.js";
import { drawer } from "./drawer.js";
import { modalFields, optionField, runnable } from "./fields.js";
import { markdown } from "./markdown.js";
import { EPHEMERAL, drawMessage } from "./message.js";

const world = { members: new Map(), roles: new Map(), channels: new Map(), known: new Map(), user: "", guild: "", channel: "", permissions: 0n };
const state = { guilds: [], offers: [], messages: [], drawn: new Map(), unread: new Set(), replying: null, editing: null, earlier: [], stream: null };
const EMOJIS = ["👍", "👎", "❤️", "😂", "🎉", "👀", "🚩", "✅"];
const WRITABLE = new Set([0, 2, 5, 10, 11, 12, 13]);

async function call(method, path, body) {
  const options = { method, headers: {} };
  if (body instanceof FormData) options.body = body;
  else if (body) { options.body = JSON.stringify(body); options.headers["Content-Type"] = "application/json"; }
  const answer = await fetch("/chat/api" + path, options);
  const data = await answer.json();
  if (!answer.ok) { notice(data.error ?? answer.statusText); throw new Refused(data.error); }
  return data;
}
class Refused extends Error {}
addEventListener("unhandledrejection", (event) => event.reason instanceof Refused && event.preventDefault());

function notice(text) {
  const line = h("div", { className: "notice" }, h("span", {}, text), h("button", { type: "button", "aria-label": "Dismiss", onclick: () => line.remove() }, "✕"));
  byId("notices").append(line);
  setTimeout(() => line.remove(), 8000);
}

// Choosing where and who

async function start() {
  state.guilds = await call("GET", "/guilds");
  const kept = new URLSearchParams(location.hash.slice(1));
  byId("guild").replaceChildren(...state.guilds.map((one) => h("option", { value: one.id, selected: one.id === kept.get("guild") }, one.name)));
  await chooseGuild(kept.get("user"), kept.get("channel"));
}

async function chooseGuild(user, channel) {
  const guild = state.guilds.find((one) => one.id === byId("guild").value) ?? state.guilds[0];
  world.guild = guild.id;
  byId("person").replaceChildren(...guild.people.map((one) => h("option", { value: one.id, selected: one.id === user }, one.name + (one.role ? ` · ${one.role}` : ""))));
  await choosePerson(channel);
}

async function choosePerson(channel = world.channel) {
  world.user = byId("person").value;
  state.unread.clear();
  await loadGuild();
  const seen = world.channels.get(channel) ?? [...world.channels.values()].sort((a, b) => a.position - b.position).find((one) => one.type === 0);
  listen();
  if (seen) await world.open(seen.id);
}

async function loadGuild() {
  const guild = await call("GET", `/guilds/${world.guild}?user=${world.user}`);
  for (const key of ["members", "roles", "channels"]) world[key] = new Map(guild[key].map((one) => [one.id, one]));
  for (const [id, one] of world.members) world.known.set(id, one.name);
  world.permissions = BigInt(guild.permissions);
  drawChannels();
  if (world.channel && !world.channels.has(world.channel)) { world.channel = ""; state.messages = []; drawLog(); drawHeader(); } else if (world.channel) drawHeader();
}

function drawChannels() {
  const all = [...world.channels.values()].sort((a, b) => a.position - b.position);
  const shown = byId("archived").checked;
  const threads = (parent) => all.filter((one) => one.parent_id === parent.id && one.type >= 10 && one.type <= 12 && (shown || !one.archived || one.id === world.channel));
  const link = (one) => [channelLink(one), threads(one).map(channelLink)];
  const plain = all.filter((one) => one.type !== 4 && !(one.type >= 10 && one.type <= 12));
  const categories = all.filter((one) => one.type === 4);
  const loose = plain.filter((one) => !categories.some((category) => category.id === one.parent_id));
  byId("channels").replaceChildren(...loose.map(link).flat(2), ...categories.flatMap((category) => [
    h("h2", {}, category.name), ...plain.filter((one) => one.parent_id === category.id).map(link).flat(2)]));
}

function channelLink(one) {
  const thread = one.type >= 10 && one.type <= 12;
  const sign = thread ? (one.type === 12 ? "🔒" : "↳") : { 2: "🔊", 5: "📣", 13: "🎙", 15: "🗂" }[one.type] ?? "#";
  return h("button", { type: "button", className: ["channel", thread && "thread", one.archived && "closed", state.unread.has(one.id) && "unread"].filter(Boolean).join(" "), "aria-current": one.id === world.channel ? "page" : null, onclick: () => world.open(one.id) }, h("span", { "aria-hidden": "true" }, sign), " ", one.name);
}

world.open = async (id) => {
  if (!world.channels.has(id)) await loadGuild();
  if (!world.channels.has(id)) return notice("This channel cannot be seen by this member.");
  Object.assign(state, { replying: null, editing: null, earlier: [] });
  world.channel = id;
  state.unread.delete(id);
  location.hash = new URLSearchParams({ guild: world.guild, user: world.user, channel: id });
  toggleSide(false);
  drawChannels();
  drawHeader();
  await loadMessages(true);
};

/** Follow a link to a message (or only a channel): open its channel and show it. */
world.jump = async (guild, channel, message) => {
  if (guild !== world.guild) return notice("This link leads to another guild.");
  await world.open(channel);
  if (!message || world.channel !== channel) return;
  const found = byId("m" + message);
  if (!found) return notice("That message is gone, or further up.");
  found.scrollIntoView({ block: "center" });
  found.focus({ preventScroll: true });
  found.classList.add("found");
  setTimeout(() => found.classList.remove("found"), 2000);
};

function drawHeader() {
  const one = world.channels.get(world.channel);
  byId("title").textContent = one ? `# ${one.name}` : "No channel";
  byId("topic").textContent = one?.topic ?? (one?.archived ? "archived thread" : "");
  const writable = Boolean(one && one.can_write && WRITABLE.has(one.type));
  byId("input").disabled = byId("send").disabled = byId("files").disabled = !writable;
  byId("input").placeholder = writable ? `Message #${one.name}` : one?.type === 15 ? "Open a post on the left to read it" : "You cannot write here";
  drawContext();
}

// Messages

async function loadMessages(jump = false) {
  const channel = world.channel;
  if (!channel || !WRITABLE.has(world.channels.get(channel)?.type)) { state.messages = []; state.offers = []; return drawLog(true); }
  const [messages, offers] = await Promise.all([call("GET", `/channels/${channel}/messages?user=${world.user}`), call("GET", `/channels/${channel}/commands?user=${world.user}`)]);
  if (channel !== world.channel) return;
  Object.assign(state, { messages, offers });
  for (const { author } of messages) world.known.set(author.id, author.global_name ?? author.username);
  drawLog(jump);
}

function drawLog(jump = false) {
  const log = byId("log");
  const bottom = jump || log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const first = state.messages[0]?.id;
  const messages = [...state.earlier.filter((one) => !first || BigInt(one.id) < BigInt(first)), ...state.messages];
  const drawn = new Map();
  for (const one of messages) {
    const key = JSON.stringify(one) + world.members.size;
    const old = state.drawn.get(one.id);
    drawn.set(one.id, old?.key === key ? old : { key, node: drawMessage(one, world) });
  }
  state.drawn = drawn;
  const more = messages.length >= 50 ? h("button", { type: "button", className: "button", onclick: loadEarlier }, "Earlier messages") : "";
  const empty = messages.length ? "" : h("p", { className: "empty muted" }, world.channel ? "Nothing here yet. Say something!" : "Choose a channel.");
  const pending = [...log.querySelectorAll(".pending")].filter((one) => one.dataset.channel === world.channel);
  const wanted = [more, empty, ...[...drawn.values()].map((one) => one.node), ...pending].filter(Boolean);
  const focused = document.activeElement;
  wanted.forEach((node, index) => log.children[index] !== node && log.insertBefore(node, log.children[index] ?? null));
  while (log.children.length > wanted.length) log.lastChild.remove();
  if (focused !== document.activeElement && focused?.isConnected) focused.focus();
  if (bottom) log.scrollTop = log.scrollHeight;
}

async function loadEarlier() {
  const oldest = state.earlier[0] ?? state.messages[0];
  state.earlier = [...(await call("GET", `/channels/${world.channel}/messages?user=${world.user}&before=${oldest.id}`)), ...state.earlier];
  drawLog();
}

const later = (act) => { let timer = 0; return () => { clearTimeout(timer); timer = setTimeout(act, 60); }; };
const refreshMessages = later(() => loadMessages());
const refreshGuild = later(async () => { await loadGuild(); drawLog(); });

/** Whoever this page acts as is no longer in the guild: go on as somebody else. */
async function gone() {
  state.stream.close();
  const name = world.known.get(world.user);
  state.guilds = await call("GET", "/guilds");
  await chooseGuild(null, world.channel);
  notice(`${name} is no longer in this guild. You act as ${world.known.get(world.user)} now.`);
}

function listen() {
  state.stream?.close();
  const live = byId("live");
  state.stream = new EventSource(`/chat/api/stream?guild=${world.guild}&user=${world.user}`);
  state.stream.onopen = () => { live.className = "on"; live.title = "live"; };
  state.stream.onerror = () => { live.className = ""; live.title = "not connected"; };
  state.stream.onmessage = (event) => {
    const { name, data } = JSON.parse(event.data);
    const here = data.channel_id === world.channel;
    if (name === "GUILD_MEMBER_REMOVE" && data.user.id === world.user) return gone();
    if (name === "RELOAD") { refreshGuild(); refreshMessages(); }
    else if (/^MESSAGE_/.test(name)) {
      if (here) refreshMessages();
      else if (name === "MESSAGE_CREATE") { state.unread.add(data.channel_id); drawChannels(); }
    } else if (/^(CHANNEL|THREAD|GUILD)_/.test(name)) { refreshGuild(); if (/^THREAD/.test(name)) refreshMessages(); }
  };
}

world.react = (message, emoji) => call("POST", `/channels/${message.channel_id}/messages/${message.id}/reactions`, { user: world.user, emoji });
world.emojis = (message, x, y) => popup(EMOJIS.map((emoji) => ({ label: emoji, act: () => world.react(message, emoji) })), x, y);
world.dismiss = (message) => call("DELETE", `/channels/${message.channel_id}/messages/${message.id}?user=${world.user}`);
world.reply = (message) => { Object.assign(state, { replying: message, editing: null }); drawContext(); byId("input").focus(); };

world.menu = (message, x, y) => {
  const own = message.author.id === world.user, place = world.channels.get(world.channel), hidden = message.flags & EPHEMERAL;
  const apps = state.offers.filter((one) => one.type === 3).map((one) => ({ label: one.name, act: () => run({ kind: "message", command: one.name, target: message.id }, one.name) }));
  const items = hidden ? [{ label: "Dismiss message", act: () => world.dismiss(message) }] : [
    { label: "Add reaction", act: () => world.emojis(message, x, y) },
    { label: "Reply", act: () => world.reply(message) },
    own && { label: "Edit", act: () => { Object.assign(state, { editing: message, replying: null }); byId("input").value = message.content; drawContext(); byId("input").focus(); } },
    place.can_thread && place.type === 0 && !message.thread && { label: "Create thread", act: () => createThread(message) },
    (own || place.can_manage) && { label: "Delete message", danger: true, act: () => world.dismiss(message) },
    apps.length && null, apps.length && { heading: "Apps" }, ...apps, null,
    { label: "Copy message id", act: () => navigator.clipboard?.writeText(message.id) },
  ].filter((one) => one !== false && one !== 0 && one !== undefined);
  popup(items, x, y);
};

async function createThread(message) {
  const field = h("input", { name: "name", required: true, maxLength: 100, value: (message.content || "thread").slice(0, 40) });
  const name = await ask("Create thread", h("label", { className: "field" }, h("span", {}, "Thread name"), field), { submit: "Create", read: () => field.value });
  if (name) await world.open((await call("POST", `/channels/${message.channel_id}/messages/${message.id}/thread`, { user: world.user, name })).id);
}

world.person = async (id, x, y) => {
  const found = await call("GET", `/guilds/${world.guild}/members/${id}`);
  const may = (bit) => world.permissions & (1n << bit);
  const act = (kind) => async () => {
    const field = h("input", { name: "reason", maxLength: 512 });
    const reason = await ask(`${kind[0].toUpperCase() + kind.slice(1)} ${found.username}?`, h("label", { className: "field" }, h("span", {}, "Reason"), field), { submit: kind === "timeout" ? "Time out for 1 hour" : kind, read: () => field.value });
    if (reason !== null) await call("POST", `/guilds/${world.guild}/members/${id}/${kind}`, { user: world.user, reason });
  };
  const other = id !== world.user;
  popup([
    { label: `@${found.username}${found.member ? "" : " (left)"}`, act: () => insert(`<@${id}> `) }, null,
    ...state.offers.filter((one) => one.type === 2).map((one) => ({ label: `⚡ ${one.name}`, act: () => run({ kind: "user", command: one.name, target: id }, one.name) })),
    other && found.member && may(40n) && { label: "Time out", danger: true, act: act("timeout") },
    other && found.member && may(1n) && { label: "Kick", danger: true, act: act("kick") },
    other && may(2n) && { label: "Ban", danger: true, act: act("ban") },
    { label: "Copy user id", act: () => navigator.clipboard?.writeText(id) },
  ].filter((one) => one !== false && one !== 0n && one !== undefined), x, y);
};

// Interactions

async function run(script, label) {
  const line = h("div", { className: "pending", role: "status" }, h("div", { className: "thinking" }, h("i"), h("i"), h("i"), h("span", {}, `Sending ${label}…`)));
  line.dataset.channel = world.channel;
  byId("log").append(line);
  byId("log").scrollTop = byId("log").scrollHeight;
  let result;
  try {
    result = await call("POST", "/interact", { user: world.user, channel: world.channel, ...script });
  } catch (error) { line.remove(); throw error; }
  if (!result.record.problem) { line.remove(); return after(result); }
  line.className = "pending message ephemeral failed";
  line.replaceChildren(h("div", { className: "content" }, h("b", {}, "⚠ The application did not respond"), h("div", { className: "subtext" }, `${label}: ${result.record.problem} · Only you can see this · `, h("button", { type: "button", className: "plain", onclick: () => line.remove() }, "Dismiss message"))));
  byId("log").scrollTop = byId("log").scrollHeight;
}

async function after(result) {
  await loadMessages(!result.modal);
  if (result.modal) await openModal(result.modal, result.record.id);
}

world.press = async (message, customId, values, element) => {
  const article = element.closest("article");
  const failure = article.querySelector(".failure");
  const was = element.disabled;
  failure.textContent = "";
  element.disabled = true;
  element.classList.add("busy");
  try {
    const result = await call("POST", "/interact", { user: world.user, channel: message.channel_id, kind: "component", message: message.id, custom_id: customId, values });
    if (result.record.problem) {
      failure.textContent = `⚠ This interaction failed (${result.record.problem})`;
      failure.scrollIntoView({ block: "nearest" });
    }
    else await after(result);
  } finally {
    element.disabled = was;
    element.classList.remove("busy");
  }
};

async function openModal(modal, interaction) {
  const { rows, read } = modalFields(modal, world, (text) => markdown(text, world));
  const values = await ask(modal.title, rows, { note: "This form is sent to the application.", read });
  if (values) await run({ kind: "modal", interaction, values }, modal.title);
}

async function openCommand(found) {
  byId("input").value = "";
  suggest();
  const options = found.options.filter((one) => one.type !== 11);
  if (!options.length) return run({ kind: "command", command: found.path }, "/" + found.path);
  const typed = (form) => Object.fromEntries(options.map((one) => [one.name, form.elements[one.name].value]).filter(([, value]) => value !== ""));
  let form = null;
  const complete = async (name) => {
    form ??= document.querySelector("dialog form");
    const result = await call("POST", "/interact", { user: world.user, channel: world.channel, kind: "autocomplete", command: found.path, focused: name, options: { [name]: "", ...typed(form) } });
    return result.choices ?? [];
  };
  const fields = options.map((one) => h("label", { className: "field" }, h("span", {}, one.name, one.required ? h("b", { className: "star" }, " *") : ""), h("small", { className: "muted" }, one.description), optionField(one, world, complete)));
  const values = await ask("/" + found.path, fields, { submit: "Run", note: found.description, read: typed });
  if (values) await run({ kind: "command", command: found.path, options: values }, "/" + found.path);
}

// The composer

function suggest() {
  const text = byId("input").value, box = byId("suggestions");
  const wanted = text.startsWith("/") && !text.includes("\n") ? state.offers.filter((one) => one.type === 1).flatMap(runnable).filter((one) => ("/" + one.path).startsWith(text.trimEnd())) : [];
  box.hidden = !text.startsWith("/");
  box.replaceChildren(...(wanted.length ? wanted.map((one) => h("button", { type: "button", role: "option", onclick: () => openCommand(one) }, h("b", {}, "/" + one.path), h("span", { className: "muted" }, one.description), h("small", { className: "muted" }, one.command.application_name))) : [h("p", { className: "muted" }, "No command of that name.")]));
}

function insert(text) {
  const input = byId("input");
  input.setRangeText(text, input.selectionStart, input.selectionEnd, "end");
  input.focus();
}

function drawContext() {
  const box = byId("context"), files = [...byId("files").files];
  const parts = [state.replying && `Replying to ${world.members.get(state.replying.author.id)?.name ?? state.replying.author.username}`, state.editing && "Editing a message", files.length && `📎 ${files.map((one) => one.name).join(", ")}`].filter(Boolean);
  box.hidden = !parts.length;
  box.replaceChildren(parts.join(" · "), h("button", { type: "button", className: "plain", onclick: cancelContext }, "Cancel"));
}

function cancelContext() {
  if (state.editing) byId("input").value = "";
  Object.assign(state, { replying: null, editing: null });
  byId("files").value = "";
  drawContext();
}

function withMentions(text) {
  const people = [...world.members.values()].flatMap((one) => [[one.username, one.id], [one.name, one.id]]).sort((a, b) => b[0].length - a[0].length);
  return text.replace(/(^|\s)@([^\n]+)/g, (whole, before, rest) => {
    const found = people.find(([name]) => rest.toLowerCase().startsWith(name.toLowerCase()) && !/^\w/.test(rest.slice(name.length)));
    return found ? `${before}<@${found[1]}>${rest.slice(found[0].length)}` : whole;
  });
}

async function send() {
  const input = byId("input"), text = input.value.trim(), files = [...byId("files").files];
  if (text.startsWith("/")) {
    const first = byId("suggestions").querySelector("button");
    return first ? first.click() : undefined;
  }
  if (!text && !files.length) return;
  const place = `/channels/${world.channel}/messages`, content = withMentions(text);
  if (state.editing) await call("PATCH", `${place}/${state.editing.id}`, { user: world.user, content });
  else {
    const form = new FormData();
    form.set("payload_json", JSON.stringify({ user: world.user, content, reply_to: state.replying?.id }));
    files.forEach((file, index) => form.set(`files[${index}]`, file));
    await call("POST", place, form);
  }
  state.editing = null;
  input.value = "";
  cancelContext();
  grow();
  await loadMessages(true);
}

function grow() {
  const input = byId("input");
  input.style.height = "auto";
  input.style.height = Math.min(input.scrollHeight, 180) + "px";
}

function toggleSide(open) {
  document.body.classList.toggle("side", open);
  byId("menu").setAttribute("aria-expanded", String(open));
}

byId("guild").addEventListener("change", () => { world.channel = ""; chooseGuild(); });
byId("person").addEventListener("change", () => choosePerson());
byId("archived").addEventListener("change", drawChannels);
byId("menu").addEventListener("click", () => toggleSide(!document.body.classList.contains("side")));
byId("simulator").addEventListener("click", () => drawer(byId("drawer"), byId("simulator"), notice));
document.querySelector("main").addEventListener("click", (event) => event.target.closest("#menu") || toggleSide(false));
addEventListener("keydown", (event) => event.key === "Escape" && toggleSide(false));
byId("files").addEventListener("change", drawContext);
byId("composer").addEventListener("submit", (event) => { event.preventDefault(); send(); });
byId("input").addEventListener("input", () => { grow(); suggest(); });
byId("input").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); send(); }
  else if (event.key === "Escape") { cancelContext(); byId("suggestions").hidden = true; }
  else if (event.key === "ArrowDown" && !byId("suggestions").hidden) { event.preventDefault(); byId("suggestions").querySelector("button")?.focus(); }
});
byId("suggestions").addEventListener("keydown", (event) => {
  const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
  if (step) { event.preventDefault(); (document.activeElement[step] ?? byId("input")).focus(); }
});
addEventListener("pagehide", () => state.stream?.close());
start();
