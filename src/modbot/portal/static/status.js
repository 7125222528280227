// Renews the numbers of the status page in place, so that scrolling, focus and zoom stay. Without script the page reloads itself.
"use strict";
const every = Number(document.querySelector("[data-refresh]").dataset.refresh) * 1000;
const parts = (page) => [...page.querySelectorAll("[data-live]")];
const ids = (page) => parts(page).map((part) => part.id).join();

function take(fresh) {
  if (ids(fresh) !== ids(document)) {
    document.querySelector("main").replaceChildren(...fresh.querySelector("main").childNodes);
    return;
  }
  for (const part of parts(fresh)) {
    document.getElementById(part.id).replaceChildren(...part.childNodes);
  }
  document.title = fresh.title;
}

async function renew() {
  if (document.hidden) return;
  let answered = false;
  try {
    const answer = await fetch(location.pathname, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(every) });
    if (answer.ok) {
      take(new DOMParser().parseFromString(await answer.text(), "text/html"));
      answered = true;
    }
  } catch {
    answered = false;
  }
  document.getElementById("offline").hidden = answered;
}

setInterval(renew, every);
document.addEventListener("visibilitychange", renew);
