// The simulator's own drawer: gateway sessions with ways to disturb them, and the record of interactions.
import { h } from "./dom.js";

let timer = 0;

async function json(path, body) {
  const answer = await fetch("/control" + path, body ? { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) } : {});
  return answer.ok ? answer.json() : null;
}

/** Open or close the drawer; while it is open it looks again every two seconds. */
export function drawer(box, button, notice) {
  clearInterval(timer);
  box.hidden = !box.hidden;
  button.setAttribute("aria-expanded", String(!box.hidden));
  if (box.hidden) return;
  const draw = async () => {
    const [sessions, interactions] = await Promise.all([json("/sessions"), json("/interactions")]);
    box.replaceChildren(h("h2", {}, "Gateway sessions"), ...drawSessions(sessions, notice, draw), h("h2", {}, "Interactions"), ...drawInteractions(interactions));
  };
  draw();
  timer = setInterval(draw, 2000);
}

function drawSessions(data, notice, again) {
  const sessions = data?.sessions ?? data ?? [];
  if (!sessions.length) return [h("p", { className: "muted" }, "No bot is connected.")];
  const disturb = (session, action, more) => async () => {
    if ((await json("/faults/sockets", { session_id: session.session_id, action, ...more })) === null) notice(`The simulator refused: ${action}.`);
    again();
  };
  return sessions.map((one) => h("div", { className: "card" },
    h("b", {}, `Shard ${one.shard.join("/")}`), " ", h("span", { className: one.connected ? "good" : "bad" }, one.connected ? "connected" : "away"),
    h("div", { className: "muted" }, `seq ${one.seq} · ${one.guilds} guilds · buffer ${one.buffer} · ${one.resumes} resumes`),
    h("div", { className: "row" },
      h("button", { type: "button", className: "button", onclick: disturb(one, "cut", {}) }, "Cut"),
      h("button", { type: "button", className: "button", onclick: disturb(one, "reconnect", {}) }, "Op 7"),
      h("button", { type: "button", className: "button danger", onclick: disturb(one, "invalidate", { resumable: false }) }, "Op 9"))));
}

function drawInteractions(data) {
  if (!data?.interactions.length) return [h("p", { className: "muted" }, "None yet.")];
  const { summary, interactions } = data;
  return [h("p", { className: "muted" }, `${summary.answered} of ${summary.total} answered, ${summary.failed} failed, median ${summary.first_response_ms_p50 ?? "–"} ms`),
    ...interactions.slice(-12).reverse().map((one) => h("div", { className: "card" },
      h("b", {}, one.name), h("span", { className: "muted" }, ` ${one.kind}`),
      h("div", { className: one.problem ? "bad" : one.first_type ? "good" : "muted" }, one.problem ?? (one.first_type ? `type ${one.first_type} by ${one.source} in ${one.first_response_ms} ms${one.completed ? "" : ", waiting"}` : "waiting"))))];
}
