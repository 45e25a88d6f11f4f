// Times are microseconds of simulated time. An event is [at, lane, incarnation, kind, detail]; the lane of what is done to
// the cluster is null.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const AT = 0, LANE = 1, LIFE = 2, KIND = 3, DETAIL = 4;
const MOST_ROWS = 400;

const kindOf = name => data.kinds.indexOf(name);
const SENT = kindOf("sent"), GOT = kindOf("got"), FAULT = kindOf("fault");
const arrowOf = new Map(data.arrows.map(arrow => [arrow.event, arrow]));
const flagOf = new Map(data.flags.map(flag => [flag.event, flag]));
const total = Math.max(data.end, 1000);

const shown = {
  lanes: data.lanes.map(() => true),
  // What is sent and read is drawn as arrows.
  kinds: data.kinds.map((_, kind) => kind !== SENT && kind !== GOT),
  messages: true,
};
let view = { from: 0, to: total };
let matches = [], isMatch = new Set(), needle = "";
let selected = null, hovered = null;

// ---- words

function seconds(at, digits = 3) {
  return (at / 1e6).toFixed(digits) + " s";
}

function span(time) {
  return time < 1e6 ? +(time / 1e3).toFixed(1) + " ms" : +(time / 1e6).toFixed(3) + " s";
}

function who(event) {
  return event[LANE] === null ? "sim" : data.lanes[event[LANE]] + "#" + event[LIFE];
}

function what(index) {
  const flag = flagOf.get(index);
  return flag ? flag.text : data.events[index][DETAIL];
}

function story(index) {
  const event = data.events[index], arrow = arrowOf.get(index);
  const lines = [`${seconds(event[AT], 6)}  ${who(event)}  ${data.kinds[event[KIND]]}`, what(index)];
  if (arrow) {
    const end = arrow.read === null ? "never read" : `read ${span(arrow.read - event[AT])} later`;
    lines.push(`${arrow.len} bytes to ${data.lanes[arrow.to]}, ${end}`);
  }
  return lines.filter(line => line).join("\n");
}

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

// ---- what is shown

function visible(index) {
  const event = data.events[index];
  if (!shown.kinds[event[KIND]]) return false;
  return event[LANE] === null || shown.lanes[event[LANE]];
}

/// The first event at or after a time.
function firstAt(time) {
  let low = 0, high = data.events.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (data.events[middle][AT] < time) low = middle + 1; else high = middle;
  }
  return low;
}

function show(from, to) {
  const least = 200;
  let length = Math.min(Math.max(to - from, least), total * 1.04);
  const middle = (from + to) / 2;
  from = middle - length / 2;
  const margin = total * 0.02;
  from = Math.max(-margin, Math.min(from, total + margin - length));
  view = { from, to: from + length };
  draw(true);
}

function zoom(factor, around = (view.from + view.to) / 2) {
  show(around - (around - view.from) * factor, around + (view.to - around) * factor);
}

function pan(part) {
  const by = (view.to - view.from) * part;
  show(view.from + by, view.to + by);
}

function whole() {
  show(-total * 0.02, total * 1.02);
}

function failure() {
  const at = data.violation ? data.violation.at : total;
  show(at - Math.min(2e6, total), at + Math.min(1e6, total / 2));
}

function select(index, move) {
  selected = index;
  const at = data.events[index][AT];
  if (move && (at < view.from || at > view.to)) {
    const length = view.to - view.from;
    show(at - length / 2, at + length / 2);
  }
  describe();
  draw(true);
}

function describe() {
  const box = $("selected");
  box.replaceChildren();
  if (selected !== null) {
    const event = data.events[selected];
    box.append(element("h2", data.kinds[event[KIND]]), element("p", `${seconds(event[AT], 6)}, ${who(event)}`, "faint"));
    box.append(element("code", what(selected)));
    const arrow = arrowOf.get(selected);
    if (arrow) box.append(element("p", story(selected).split("\n").pop(), "faint"));
    return;
  }
  if (data.violation) {
    box.append(element("h2", data.violation.property), element("p", data.violation.text));
    if (data.violation.details.length) {
      const list = element("ol");
      for (const detail of data.violation.details) {
        const item = element("li");
        item.append(element("code", detail));
        list.append(item);
      }
      box.append(list);
    }
  } else if (data.why) {
    box.append(element("h2", data.outcome), element("p", data.why));
  }
  const legend = element("p", undefined, "legend");
  for (const [look, text] of [["alive", "alive"], ["paused", "paused"], ["crashed", "crashed"], ["cut", "wire cut"], ["message", "message"],
    ["lost", "never read"], ["strip", "slow, no EPMD, ..."],
    ["operation", "operation"], ["unknown", "outcome unknown"]]) {
    const entry = element("span", text);
    entry.prepend(element("i", undefined, look));
    legend.append(entry);
  }
  box.append(legend);
  box.append(element("p", "Wheel: zoom. Drag: move. Click an event or an arrow: what it is.\n" +
    "Keys: ← → move, + − zoom, 0 whole run, v violation, / search, Esc nothing selected.", "faint"));
}

// ---- the list

function paintList() {
  const body = $("list").querySelector("tbody"), rows = [];
  let index = firstAt(view.from), more = 0;
  const last = firstAt(view.to + 1);
  // With an event selected that would be past the end of the list, the list begins shortly before it.
  if (selected !== null && selected >= index && selected < last) {
    let before = 0;
    for (let other = index; other < selected; other++) before += visible(other);
    for (let skip = before - MOST_ROWS / 2; skip > 0 && index < selected; index++) skip -= visible(index);
  }
  for (; index < last; index++) {
    if (!visible(index) && index !== selected) continue;
    if (rows.length >= MOST_ROWS) { more++; continue; }
    const event = data.events[index], row = element("tr");
    row.dataset.event = index;
    row.append(element("td", (event[AT] / 1e6).toFixed(6)), element("td", who(event)), element("td", data.kinds[event[KIND]]),
      element("td", what(index)));
    row.classList.toggle("match", isMatch.has(index));
    row.classList.toggle("selected", index === selected);
    row.classList.toggle("fault", event[KIND] === FAULT);
    rows.push(row);
  }
  if (more || !rows.length) {
    const row = element("tr", undefined, "more"), cell = element("td", more ? `and ${more} more: zoom in` : "no event is shown here");
    cell.colSpan = 4;
    row.append(cell);
    rows.push(row);
  }
  body.replaceChildren(...rows);
  const chosen = body.querySelector(".selected");
  if (chosen) chosen.scrollIntoView({ block: "nearest" });
}

// ---- pointer

function distance([x1, y1, x2, y2], x, y) {
  const length = (x2 - x1) ** 2 + (y2 - y1) ** 2;
  const part = length && Math.max(0, Math.min(1, ((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length));
  return Math.hypot(x - x1 - part * (x2 - x1), y - y1 - part * (y2 - y1));
}

function under(x, y) {
  let best = null, nearest = 5;
  for (const hit of hits) {
    if (hit.line) {
      const away = distance(hit.line, x, y);
      if (away < nearest && (!best || best.weight <= hit.weight)) { best = hit; nearest = away; }
    } else if (x >= hit.left && x <= hit.right && y >= hit.top && y <= hit.bottom && (!best || best.weight <= hit.weight)) {
      best = hit;
    }
  }
  return best;
}

const canvas = $("lanes");
let drag = null;
const timeAt = left => view.from + (left - GUTTER) / (canvas.clientWidth - GUTTER) * (view.to - view.from);

canvas.addEventListener("wheel", event => {
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
    pan((event.deltaX || event.deltaY) / 800);
  } else {
    zoom(Math.exp(Math.max(-240, Math.min(240, event.deltaY)) / 400), timeAt(Math.max(event.offsetX, GUTTER)));
  }
  event.preventDefault();
}, { passive: false });

canvas.addEventListener("pointerdown", event => {
  drag = { x: event.clientX, y: event.clientY, scroll: $("scroll").scrollTop, view, moved: false };
  canvas.setPointerCapture(event.pointerId);
});

canvas.addEventListener("pointermove", event => {
  if (drag) {
    const by = event.clientX - drag.x;
    if (Math.abs(by) + Math.abs(event.clientY - drag.y) > 4) drag.moved = true;
    if (drag.moved) {
      canvas.classList.add("dragged");
      const time = by / (canvas.clientWidth - GUTTER) * (drag.view.to - drag.view.from);
      show(drag.view.from - time, drag.view.to - time);
      $("scroll").scrollTop = drag.scroll - (event.clientY - drag.y);
    }
    return;
  }
  const hit = under(event.offsetX, event.offsetY), tip = $("tip");
  const before = hovered;
  hovered = hit && hit.event !== undefined ? hit.event : null;
  if (before !== hovered) draw(false);
  tip.hidden = !hit;
  if (hit) {
    tip.textContent = hit.text || story(hit.event);
    const box = document.querySelector("main").getBoundingClientRect();
    const left = event.clientX - box.left, top = event.clientY - box.top;
    tip.style.left = Math.min(left + 14, Math.max(0, box.width - tip.offsetWidth - 8)) + "px";
    tip.style.top = (top + 18 + tip.offsetHeight > box.height ? Math.max(0, top - tip.offsetHeight - 8) : top + 18) + "px";
  }
});

canvas.addEventListener("pointerup", event => {
  canvas.classList.remove("dragged");
  if (drag && !drag.moved) {
    const hit = under(event.offsetX, event.offsetY);
    if (hit && hit.event !== undefined) select(hit.event, false);
    else { selected = null; describe(); draw(true); }
  }
  drag = null;
});
canvas.addEventListener("pointercancel", () => { drag = null; });
canvas.addEventListener("pointerleave", () => { $("tip").hidden = true; if (hovered !== null) { hovered = null; draw(false); } });
canvas.addEventListener("dblclick", event => zoom(0.35, timeAt(event.offsetX)));

function moveOverview(event) {
  const at = (event.offsetX - GUTTER) / ($("overview").clientWidth - GUTTER - 8) * total, half = (view.to - view.from) / 2;
  show(at - half, at + half);
}
$("overview").addEventListener("pointerdown", event => { $("overview").setPointerCapture(event.pointerId); moveOverview(event); });
$("overview").addEventListener("pointermove", event => { if (event.buttons) moveOverview(event); });

$("list").addEventListener("click", event => {
  const row = event.target.closest("tr[data-event]");
  if (row) select(Number(row.dataset.event), true);
});

// ---- keys and buttons

function search() {
  needle = $("search").value.trim().toLowerCase();
  matches = [];
  if (needle) {
    data.events.forEach((event, index) => {
      if (`${who(event)} ${data.kinds[event[KIND]]} ${what(index)}`.toLowerCase().includes(needle)) matches.push(index);
    });
  }
  isMatch = new Set(matches);
  $("matches").textContent = needle ? (matches.length === 1 ? "1 event" : `${matches.length} events`) : "";
  draw(true);
}

function match(way) {
  if (!matches.length) return;
  const place = selected === null ? -1 : matches.findIndex(index => way > 0 ? index > selected : index >= selected);
  let next;
  if (way > 0) next = selected === null ? 0 : place < 0 ? 0 : place;
  else next = place <= 0 ? matches.length - 1 : place - 1;
  select(matches[next], true);
}

$("search").addEventListener("input", search);
$("search").addEventListener("keydown", event => {
  if (event.key === "Enter") match(event.shiftKey ? -1 : 1);
  if (event.key === "Escape") { $("search").value = ""; search(); $("search").blur(); }
  event.stopPropagation();
});
$("next").addEventListener("click", () => match(1));
$("previous").addEventListener("click", () => match(-1));
$("all").addEventListener("click", whole);
$("failure").addEventListener("click", failure);
$("in").addEventListener("click", () => zoom(0.5));
$("out").addEventListener("click", () => zoom(2));
$("messages").addEventListener("change", event => { shown.messages = event.target.checked; draw(false); });
$("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  readColors();
  draw(true);
});
document.addEventListener("click", event => { if (!event.target.closest("#kinds")) $("kinds").open = false; });

document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const keys = {
    ArrowLeft: () => pan(-0.2), ArrowRight: () => pan(0.2), "+": () => zoom(0.5), "=": () => zoom(0.5), "-": () => zoom(2),
    0: whole, v: failure, "/": () => $("search").focus(), n: () => match(1), N: () => match(-1),
    Escape: () => { selected = null; describe(); draw(true); },
  };
  if (keys[event.key]) {
    keys[event.key]();
    event.preventDefault();
  }
});

// ---- the frame

$("title").textContent = `${data.scenario}, seed ${data.seed}`;
$("outcome").textContent = data.violation ? `violates ${data.violation.property}` : data.outcome;
$("outcome").className = data.outcome;
$("sentence").textContent = data.violation ? `${data.violation.text} (${seconds(data.violation.at)})` : data.why || "";
for (const [name, value] of [["events", data.events.length], ["simulated", seconds(data.end)], ["trace", data.hash], ...data.drawn]) {
  const fact = element("div");
  fact.append(element("dt", name), element("dd", String(value)));
  $("facts").append(fact);
}
$("failure").hidden = !data.violation;
data.lanes.forEach((name, lane) => {
  const button = element("button", name);
  button.setAttribute("aria-pressed", "true");
  button.title = `show or hide ${name}`;
  button.addEventListener("click", () => {
    shown.lanes[lane] = !shown.lanes[lane];
    button.setAttribute("aria-pressed", String(shown.lanes[lane]));
    draw(true);
  });
  $("nodes").append(button);
});
const counts = data.kinds.map(() => 0);
for (const event of data.events) counts[event[KIND]]++;
data.kinds.forEach((name, kind) => {
  const label = element("label"), box = element("input");
  box.type = "checkbox";
  box.checked = shown.kinds[kind];
  box.addEventListener("change", () => { shown.kinds[kind] = box.checked; draw(true); });
  const swatch = element("span", "▮ ");
  swatch.dataset.kind = kind;
  label.append(box, " ", swatch, name, element("small", String(counts[kind])));
  $("kinds").querySelector("div").append(label);
});
$("kinds").addEventListener("toggle", () => {
  document.querySelectorAll("[data-kind]").forEach(swatch => { swatch.style.color = colorOf(Number(swatch.dataset.kind)); });
});

readColors();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColors(); draw(true); });
new ResizeObserver(() => draw(false)).observe($("scroll"));
describe();
// `timeline.html#1.5..3` shows the seconds from 1.5 to 3.
const asked = location.hash.match(/^#([\d.]+?)\.\.([\d.]+)$/);
if (asked) show(asked[1] * 1e6, asked[2] * 1e6);
else whole();
