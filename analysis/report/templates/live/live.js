{% include "page.js" %}
const part = document.getElementById("part");
const { source } = document.body.dataset;
let { tag } = document.body.dataset;

if (document.querySelector(".figure, .state")) {
  loading = new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = "/plotly.js"; script.onload = done; script.onerror = failed;
    document.head.append(script);
  });
}

// The part of the page that follows the run. Elements whose key is the same stay where they are, so that the focus,
// the scroll position and drawn figures last.
function keyOf(element) {
  if (element.matches("article, section, .scroll, input, table, tbody")) return element.tagName + (element.querySelector("h2")?.textContent ?? "");
  return element.outerHTML;
}
const keys = new WeakMap();
const known = element => keys.get(element) ?? keyOf(element);
function merge(old, fresh) {
  const waiting = new Map();
  for (const each of old.children) waiting.set(known(each), each);
  const wanted = [...fresh.children].map(each => [keyOf(each), each]);
  const kept = new Set(wanted.map(([key]) => waiting.get(key)));
  for (const each of [...old.children]) if (!kept.has(each)) each.remove();
  let place = old.firstElementChild;
  for (const [key, each] of wanted) {
    const own = waiting.get(key);
    waiting.delete(key);
    if (own === undefined) { old.insertBefore(each, place); keys.set(each, key); prepare(each); continue; }
    if (own === place) place = place.nextElementSibling; else old.insertBefore(own, place);
    if (own.matches("section")) mergeSection(own, each);
    else if (own.matches(".scroll")) mergeTable(own.querySelector("table"), each.querySelector("table"));
    else if (own.matches("article")) merge(own, each);
  }
}
function prepare(element) {
  for (const each of [element, ...element.querySelectorAll("*")]) each.classList.remove("scripted");
  for (const each of [element, ...element.querySelectorAll("section")]) remember(each);
  for (const table of element.querySelectorAll("table")) { enliven(table); follow(table); }
  for (const place of element.querySelectorAll(".figure")) { seen.observe(place); shown.observe(place); }
}

// A table or photos of a section as they came; the user may have sorted them since.
function remember(section) {
  if (section.matches("section") && !section.querySelector(".figure") && !keys.has(section.lastElementChild)) keys.set(section.lastElementChild, section.lastElementChild.outerHTML);
}
function mergeTable(old, fresh) {
  const heads = table => [...table.tHead.rows[0].cells].map(each => each.textContent).join("\n");
  if (heads(old) !== heads(fresh)) {
    const { sortedBy } = old;
    old.replaceWith(fresh);
    prepare(fresh.parentElement);
    // The order of the user stays where the column does: each click on a head turns it around.
    const head = sortedBy && [...fresh.tHead.rows[0].cells].find(each => each.textContent === sortedBy.textContent);
    for (let clicks = sortedBy?.clicks % 2 ? 1 : 2; head && clicks > 0; clicks--) head.click();
  } else {
    merge(old.tBodies[0], fresh.tBodies[0]);
    // A second click on the head turns the order around once more: the order of the user stays.
    if (old.sortedBy) { old.sortedBy.click(); old.sortedBy.click(); }
    link(old);
  }
  part.querySelector("article input")?.dispatchEvent(new Event("input"));
}
function follow(table) {
  for (const head of table.tHead.rows[0].cells) head.addEventListener("click", () => { table.sortedBy = head; head.clicks = (head.clicks ?? 0) + 1; });
  link(table);
}

// A figure out of sight is drawn when it comes into sight.
const inSight = new Set(), stale = new Set();
const shown = new IntersectionObserver(entries => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) inSight.add(target); else inSight.delete(target);
    if (isIntersecting && stale.delete(target)) redraw(target);
  }
}, { rootMargin: "200px" });
function mergeSection(old, fresh) {
  const [place, other] = [old, fresh].map(each => each.querySelector(".figure"));
  for (const name of ["h2", ".note"]) {
    const [before, after] = [old, fresh].map(each => each.querySelector(name));
    if (before && after && before.textContent !== after.textContent) before.textContent = after.textContent;
  }
  if (!place || !other) {  // a table or photos
    if (keys.get(old.lastElementChild) === fresh.lastElementChild.outerHTML) return;
    keys.set(fresh.lastElementChild, fresh.lastElementChild.outerHTML);
    old.replaceChildren(...fresh.children);
    prepare(old);
    return;
  }
  const [own, newer] = [place, other].map(each => each.nextElementSibling);
  if (own.textContent === newer.textContent) return;
  own.textContent = newer.textContent;
  if (!place.classList.contains("done")) return;
  if (inSight.has(place)) redraw(place); else stale.add(place);
}
async function redraw(place) {
  const figure = await inflated(place.nextElementSibling).json();
  const layout = { ...look(figure.layout), uirevision: "live" };  // keeps what the user has zoomed
  Plotly.react(place.querySelector(".drawn"), figure.data, layout, { responsive: true, displaylogo: false });
}

// Rows of trials: the number leads to the log, two boxes to a comparison.
const chosen = new Set();
function link(table) {
  const column = [...table.tHead.rows[0].cells].findIndex(each => each.textContent === "trial");
  if (column < 0 || table.closest("section") || !part.querySelector("#chosen")) return;
  for (const row of table.tBodies[0].rows) {
    const cell = row.cells[column], name = cell.textContent;
    if (cell.firstElementChild) continue;
    if (!keys.has(row)) keys.set(row, row.outerHTML);
    const box = document.createElement("input"), to = document.createElement("a");
    box.type = "checkbox"; box.checked = chosen.has(name); box.setAttribute("aria-label", `Compare trial ${name}`);
    box.addEventListener("change", () => { if (box.checked) chosen.add(name); else chosen.delete(name); offer(); });
    to.href = `trials/${encodeURIComponent(name)}`; to.textContent = name;
    cell.replaceChildren(box, to);
  }
}
function offer() {
  const names = [...chosen], place = part.querySelector("#chosen");
  if (names.length !== 2) {
    place.textContent = names.length < 2 ? "Choose two trials to compare them; the number of a trial leads to its log." : "Choose two trials, not more, to compare them.";
    return;
  }
  const to = document.createElement("a");
  to.href = `compare/${names.map(encodeURIComponent).join("/")}`;
  to.textContent = `Compare trial ${names[0]} with trial ${names[1]}`;
  place.replaceChildren(to);
}

// Stop and resume, where the server has a token.
const control = document.getElementById("control");
function offerControl() {
  const course = part.querySelector("p.state")?.dataset.course;
  const verbs = { RUNNING: "stop", STOPPED: "resume" };
  for (const button of control.querySelectorAll("button")) button.hidden = button.dataset.verb !== verbs[course];
  control.hidden = !(course in verbs) && !control.querySelector("span").textContent;
}
if (control) {
  const token = control.querySelector("input"), said = control.querySelector("span");
  token.value = sessionStorage.getItem("token") ?? "";
  control.addEventListener("submit", event => event.preventDefault());
  for (const button of control.querySelectorAll("button")) {
    button.addEventListener("click", async () => {
      if (!token.value) { said.textContent = "Give the token first."; token.focus(); return; }
      button.disabled = true;
      said.textContent = button.dataset.verb === "stop" ? "Stopping: the trials end after their epochs." : "Starting.";
      try {
        const answer = await fetch(button.dataset.verb, { method: "POST", headers: { "X-Thaw-Token": token.value } });
        if (answer.status === 401) sessionStorage.removeItem("token"); else sessionStorage.setItem("token", token.value);
        said.textContent = await answer.text();
      } catch { said.textContent = "The dashboard does not answer."; }
      button.disabled = false;
    });
  }
  offerControl();
}

function apply(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").body;
  const log = part.querySelector(".log"), atEnd = log && innerHeight + scrollY >= document.body.scrollHeight - 8;
  merge(part, fresh);
  if (part.querySelector("#chosen")) offer();
  if (control) offerControl();
  if (atEnd) scrollTo(0, document.body.scrollHeight);
}
async function renew() {
  const signal = document.getElementById("signal");
  try {
    const answer = await fetch(source, { headers: { "If-None-Match": tag }, cache: "no-store" });
    signal.textContent = answer.ok || answer.status === 304 ? "" : `The dashboard answers with an error, ${answer.status}.`;
    if (!answer.ok) return;
    tag = answer.headers.get("ETag");
    apply(await answer.text());
  } catch { signal.textContent = "The dashboard does not answer; this is what it showed last."; }
}
for (const each of part.querySelectorAll("#chosen")) keys.set(each, each.outerHTML);
for (const section of part.querySelectorAll("section")) remember(section);
for (const table of part.querySelectorAll("table")) follow(table);
for (const place of part.querySelectorAll(".figure")) shown.observe(place);
if (source) {
  // A hidden page asks for nothing.
  const step = async () => { if (!document.hidden) await renew(); setTimeout(step, 1000); };
  setTimeout(step, 1000);
}
