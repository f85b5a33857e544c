// Keeps a page as it is now: asks for it again, and changes only what differs. Without it the page is as good, and older.
"use strict";

const every = 1000 * Number(document.body.dataset.live);
const holder = document.getElementById("live");
const button = holder.querySelector("button");
const word = holder.querySelector("b");
let etag = null;
let failures = 0;
let timer = 0;
let on = true;

// Make one element like another, keeping the elements that are there: focus, selection and scrolling stay.
function become(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept(old, name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !kept(old, name)) old.setAttribute(name, value);
  }
  const known = new Map();
  for (const child of old.children) if (child.dataset?.key) known.set(child.dataset.key, child);
  let place = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const mine = wanted.dataset?.key ? known.get(wanted.dataset.key) : null;
    if (mine) {
      if (mine === place) place = place.nextSibling;
      else old.insertBefore(mine, place);
      become(mine, wanted);
    } else if (place && !place.dataset?.key && place.nodeName === wanted.nodeName && !wanted.dataset?.key) {
      if (place.nodeType !== Node.ELEMENT_NODE) {
        if (place.nodeValue !== wanted.nodeValue) place.nodeValue = wanted.nodeValue;
      } else {
        become(place, wanted);
      }
      place = place.nextSibling;
    } else {
      old.insertBefore(document.importNode(wanted, true), place);
    }
  }
  while (place) {
    const after = place.nextSibling;
    place.remove();
    place = after;
  }
}

// What people set themselves is theirs.
function kept(element, name) {
  return name === "open" && element.nodeName === "DETAILS";
}

function say(text, lost) {
  if (word.textContent !== text) word.textContent = text;
  holder.classList.toggle("lost", lost);
}

async function look() {
  const headers = etag ? { "If-None-Match": etag } : {};
  const answer = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(20000) });
  if (answer.status === 304) return;
  if (!answer.ok) throw new Error(`answered ${answer.status}`);
  const text = await answer.text();
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const main = fresh.querySelector("main");
  if (!main) throw new Error("no page");
  become(document.querySelector("main"), main);
  document.title = fresh.title;
  etag = answer.headers.get("ETag");
  if (!fresh.body.dataset.live) {
    on = false;
    holder.hidden = true;
  }
}

async function turn() {
  clearTimeout(timer);
  if (!on || document.hidden) return;
  try {
    await look();
    failures = 0;
    say("live", false);
  } catch {
    failures += 1;
    say("no answer: this is how it was", true);
  }
  if (on) timer = setTimeout(turn, Math.min(60000, every * 2 ** Math.min(failures, 5)));
}

button.addEventListener("click", () => {
  on = !on;
  button.setAttribute("aria-pressed", String(on));
  say(on ? "live" : "paused", false);
  turn();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) turn();
});
holder.hidden = false;
timer = setTimeout(turn, every);
