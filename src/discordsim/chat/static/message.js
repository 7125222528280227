// One message as elements: author, text, embeds, files, components (legacy and V2), reactions, and the states of interactions.
import { choices, select, selected } from "./fields.js";
import { color, h, safeUrl } from "./dom.js";
import { markdown } from "./markdown.js";

const EPHEMERAL = 64, LOADING = 128;
const STYLES = { 1: "primary", 2: "", 3: "success", 4: "danger", 5: "link" };

/** `world` is what markdown needs plus user, press(message, customId, values), menu(message, x, y), person(id, x, y), react(message, emoji). */
export function drawMessage(message, world) {
  const ephemeral = message.flags & EPHEMERAL;
  const system = systemText(message, world);
  const body = system ? h("div", { className: "body system" }, system) : h("div", { className: "body" }, parts(message, world));
  const article = h("article", { className: "message" + (ephemeral ? " ephemeral" : "") + (message.mentions.some((one) => one.id === world.user) || message.mention_everyone ? " pinged" : ""), tabIndex: 0, id: "m" + message.id },
    avatar(message.author, world),
    h("div", { className: "content" },
      reply(message, world), head(message, world), body, reactions(message, world), threadLink(message, world),
      ephemeral ? h("div", { className: "subtext" }, "👁 Only you can see this · ", h("button", { type: "button", className: "plain", onclick: () => world.dismiss(message) }, "Dismiss message")) : ""),
    tools(message, world));
  article.addEventListener("contextmenu", (event) => { event.preventDefault(); world.menu(message, event.clientX, event.clientY); });
  return article;
}

function avatar(author, world) {
  const tint = h("button", { type: "button", className: "avatar", tabIndex: -1, "aria-hidden": "true", onclick: (event) => world.person(author.id, event.clientX, event.clientY) }, (author.global_name ?? author.username)[0].toUpperCase());
  tint.style.background = `hsl(${Number((BigInt(author.id) * 137n) % 360n)} 45% 42%)`;
  return tint;
}

function head(message, world) {
  const known = world.members.get(message.author.id);
  const name = h("button", { type: "button", className: "name", onclick: (event) => world.person(message.author.id, event.clientX, event.clientY) }, known?.name ?? message.author.global_name ?? message.author.username);
  if (known?.color) name.style.color = color(known.color);
  const moment = new Date(message.timestamp);
  return h("div", { className: "head" }, name, message.author.bot ? h("span", { className: "tag" }, "APP") : "",
    h("time", { dateTime: message.timestamp, title: moment.toString() }, moment.toLocaleString(undefined, { dateStyle: "short", timeStyle: "short" })),
    message.edited_timestamp && !(message.flags & EPHEMERAL) ? h("small", { className: "muted" }, "(edited)") : "",
    message.pinned ? h("span", { title: "Pinned" }, "📌") : "");
}

function systemText(message, world) {
  const name = message.author.global_name ?? message.author.username;
  if (message.type === 7) return `→ ${name} joined.`;
  if (message.type === 18) return [`${name} started a thread: `, h("button", { type: "button", className: "mention", onclick: () => world.open(message.message_reference.channel_id) }, message.content)];
  if (message.type === 21) return message.referenced_message ? parts(message.referenced_message, world) : "The first message was deleted.";
  if (message.type === 24) return ["🛡 AutoMod: ", markdown(message.content, world), (message.embeds ?? []).map((one) => embed(one, world))];
  return null;
}

function reply(message, world) {
  if (message.type === 20 || message.type === 23) {
    const from = message.interaction_metadata;
    const name = world.members.get(from?.user.id)?.name ?? from?.user.username;
    return h("div", { className: "reply" }, "↱ ", h("b", {}, name), " used ", h("span", { className: "mention" }, (message.type === 20 ? "/" : "") + (from?.name ?? "a command")));
  }
  if (message.type !== 19) return "";
  const target = message.referenced_message;
  return h("div", { className: "reply" }, "↱ ", target ? [h("b", {}, world.members.get(target.author.id)?.name ?? target.author.username), " ", (target.content || "a message").slice(0, 120)] : h("i", {}, "Original message was deleted"));
}

function parts(message, world) {
  if (message.flags & LOADING) return h("div", { className: "thinking" }, h("i"), h("i"), h("i"), h("span", {}, `${message.author.username} is thinking…`));
  const text = message.content ? h("div", { className: "text" }, markdown(message.content, world)) : "";
  return [
    text,
    (message.message_snapshots ?? []).map((one) => h("div", { className: "forward" }, h("div", { className: "subtext" }, "↪ Forwarded"), parts({ ...one.message, author: message.author, flags: 0 }, world))),
    (message.attachments ?? []).map(file),
    message.flags & 4 ? "" : (message.embeds ?? []).map((one) => embed(one, world)),
    (message.sticker_items ?? []).map((one) => h("div", { className: "subtext" }, `🏷 Sticker: ${one.name}`)),
    message.poll ? poll(message.poll) : "",
    (message.components ?? []).map((one) => component(one, message, world)),
    h("div", { className: "failure", role: "alert" }),
  ];
}

function poll(data) {
  return h("div", { className: "card" }, h("b", {}, "📊 " + (data.question?.text ?? "Poll")), (data.answers ?? []).map((one) => h("div", {}, "○ " + (one.poll_media?.text ?? ""))));
}

function local(address) {
  const url = safeUrl(address);
  return url && new URL(url).pathname.startsWith("/attachments/") ? new URL(url).pathname : url;
}

function file(data) {
  const url = local(data.url);
  if (url && /^image\/(png|jpe?g|gif|webp)/.test(data.content_type ?? "")) return h("a", { href: url, target: "_blank", rel: "noopener" }, h("img", { className: "picture", src: url, alt: data.description ?? data.filename, loading: "lazy" }));
  return h("div", { className: "card file" }, "📄 ", url ? h("a", { href: url, download: data.filename }, data.filename) : data.filename, h("small", { className: "muted" }, ` ${Math.ceil(data.size / 1024)} KiB`));
}

function image(media, className) {
  const url = media && local(media.url);
  return url ? h("img", { className, src: url, alt: media.description ?? "", loading: "lazy" }) : "";
}

function embed(data, world) {
  const card = h("div", { className: "card embed" }, image(data.thumbnail, "thumb"),
    data.author ? h("small", {}, h("b", {}, data.author.name)) : "",
    data.title ? h("div", {}, h("b", {}, data.url && safeUrl(data.url) ? h("a", { href: safeUrl(data.url), target: "_blank", rel: "noopener noreferrer" }, data.title) : markdown(data.title, world))) : "",
    data.description ? h("div", {}, markdown(data.description, world)) : "",
    data.fields?.length ? h("div", { className: "fields" }, data.fields.map((one) => h("div", { className: one.inline ? "inline" : "" }, h("b", {}, markdown(one.name, world)), h("div", {}, markdown(one.value, world))))) : "",
    image(data.image, "picture"),
    data.footer ? h("small", { className: "muted" }, data.footer.text) : "");
  card.style.borderLeftColor = color(data.color) || "#4e5058";
  return card;
}

function component(data, message, world) {
  const inner = () => (data.components ?? []).map((one) => component(one, message, world));
  if (data.type === 1) return h("div", { className: "row" }, inner());
  if (data.type === 2) return button(data, message, world);
  if (data.type >= 3 && data.type <= 8) return picker(data, message, world);
  if (data.type === 9) return h("div", { className: "section" }, h("div", {}, inner()), data.accessory ? component(data.accessory, message, world) : "");
  if (data.type === 10) return h("div", { className: "text" }, markdown(data.content, world));
  if (data.type === 11) return image({ ...data.media, description: data.description }, "thumb");
  if (data.type === 12) return h("div", { className: "gallery" }, data.items.map((one) => image({ ...one.media, description: one.description }, "picture")));
  if (data.type === 13) return h("div", { className: "card file" }, "📄 ", h("a", { href: local(data.file.url) ?? "", download: "" }, data.file.url.split("/").at(-1)));
  if (data.type === 14) return data.divider === false ? h("div", { className: "space" }) : h("hr");
  if (data.type === 17) {
    const card = h("div", { className: "card container" + (data.spoiler ? " spoiler" : "") }, inner());
    if (data.accent_color) card.style.borderLeftColor = color(data.accent_color);
    return card;
  }
  return "";
}

function button(data, message, world) {
  const label = [data.emoji?.name ? data.emoji.name + " " : "", data.label ?? ""].join("");
  const url = data.style === 5 && safeUrl(data.url);
  if (url) return h("a", { className: "button", href: url, target: "_blank", rel: "noopener noreferrer" }, label, " ↗");
  return h("button", { type: "button", className: "button " + (STYLES[data.style] ?? ""), disabled: Boolean(data.disabled), onclick: (event) => world.press(message, data.custom_id, [], event.currentTarget) }, label);
}

function picker(data, message, world) {
  if ((data.max_values ?? 1) === 1) {
    return select(data, world, { "aria-label": data.placeholder || "Choose", disabled: Boolean(data.disabled), onchange: (event) => selected(event.target).length && world.press(message, data.custom_id, selected(event.target), event.target) });
  }
  const boxes = choices(data, world).map((one) => h("label", {}, h("input", { type: "checkbox", value: one.value, checked: one.selected }), " ", one.label));
  const list = h("div", { className: "boxes" }, boxes);
  const apply = h("button", { type: "button", className: "button primary", onclick: (event) => world.press(message, data.custom_id, [...list.querySelectorAll(":checked")].map((one) => one.value), event.currentTarget) }, "Apply");
  return h("details", { className: "multi" }, h("summary", {}, data.placeholder || "Choose…"), list, apply);
}

function reactions(message, world) {
  if (!message.reactions?.length) return "";
  return h("div", { className: "reactions" }, message.reactions.map((one) => {
    const key = one.emoji.id ? `${one.emoji.name}:${one.emoji.id}` : one.emoji.name;
    return h("button", { type: "button", className: one.me ? "mine" : "", "aria-pressed": String(one.me), onclick: () => world.react(message, key) }, `${one.emoji.name} ${one.count}`);
  }));
}

function threadLink(message, world) {
  return message.thread ? h("button", { type: "button", className: "card thread", onclick: () => world.open(message.thread.id) }, `🧵 ${message.thread.name} ›`) : "";
}

function tools(message, world) {
  return h("div", { className: "tools" },
    message.flags & EPHEMERAL ? "" : h("button", { type: "button", "aria-label": "React", title: "React", onclick: (event) => world.emojis(message, event.clientX, event.clientY) }, "☺"),
    message.flags & EPHEMERAL ? "" : h("button", { type: "button", "aria-label": "Reply", title: "Reply", onclick: () => world.reply(message) }, "↩"),
    h("button", { type: "button", "aria-label": "More", title: "More", onclick: (event) => { const box = event.currentTarget.getBoundingClientRect(); world.menu(message, box.left, box.bottom); } }, "⋯"));
}
export { EPHEMERAL };
