"use strict";
for (const each of [...document.querySelectorAll(".scripted")]) each.classList.remove("scripted");
function enliven(table) {
  const body = table.tBodies[0];
  const input = table.parentElement.previousElementSibling;
  if (input.matches("input")) input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of body.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  });
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    let ascending = true;
    head.addEventListener("click", () => {
      const key = row => { const number = row.cells[column].dataset.number; return number === undefined ? null : Number(number); };
      const rows = [...body.rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x !== null && y !== null) return ascending ? x - y : y - x;
        if (x !== null || y !== null) return x === null ? 1 : -1;
        const order = a.cells[column].textContent.localeCompare(b.cells[column].textContent);
        return ascending ? order : -order;
      });
      ascending = !ascending;
      body.append(...rows);
    });
  });
}
for (const table of document.querySelectorAll("table")) enliven(table);
function inflated(script) {
  const packed = Uint8Array.from(atob(script.textContent), each => each.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip")));
}
let loading = null;
function library() {
  loading ??= (async () => {
    const text = await inflated(document.getElementById("library")).blob();
    await new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
      script.onload = done; script.onerror = failed;
      document.head.append(script);
    });
  })();
  return loading;
}
const dark = matchMedia("(prefers-color-scheme: dark)");
function look(layout) {
  if (!dark.matches) return layout;
  const axis = { gridcolor: "#21262d", zerolinecolor: "#30363d", linecolor: "#30363d" };
  const changed = { ...layout, paper_bgcolor: "#0f1318", plot_bgcolor: "#0f1318", font: { color: "#e6edf3" } };
  const washed = each => each.bgcolor ? { ...each, bgcolor: "rgba(15, 19, 24, 0.8)" } : each;
  if (layout.annotations) changed.annotations = layout.annotations.map(washed);
  for (const name of Object.keys(layout)) if (/^[xy]axis/.test(name)) changed[name] = { ...layout[name], ...axis };
  return changed;
}
async function draw(place) {
  const figure = await inflated(place.nextElementSibling).json();
  await library();
  const drawn = document.createElement("div");
  drawn.className = "drawn";
  place.append(drawn);
  await Plotly.newPlot(drawn, figure.data, look(figure.layout), { responsive: true, displaylogo: false });
  place.classList.add("done");
}
const seen = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
}, { rootMargin: "200px" });
for (const place of document.querySelectorAll(".figure")) seen.observe(place);
// Read before the first figure is looked at, where the browser has time for it.
if (document.querySelector(".figure")) (window.requestIdleCallback ?? setTimeout)(library);
