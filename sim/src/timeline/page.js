"use strict";
// Times are microseconds of simulated time. An event is [at, lane, incarnation, kind, detail]; the lane of what is done to
// the cluster is null.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const AT = 0, LANE = 1, LIFE = 2, KIND = 3, DETAIL = 4;
const GUTTER = 92, AXIS = 22, FLAGS = 60, TOP = AXIS + FLAGS, BAR = 16;
const MOST_ROWS = 400, MOST_LABELS = 150;

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
let hits = [];
let colors = {};

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

// ---- drawing

function readColors() {
  const style = getComputedStyle(document.documentElement);
  colors = {};
  for (const name of ["back", "raised", "line", "text", "faint", "alive", "alive-text", "paused", "crashed", "cut", "message",
    "strip", "fault", "healed", "violation", "match", "select"]) {
    colors[name] = style.getPropertyValue("--" + name).trim();
  }
}

const dark = () => getComputedStyle(document.documentElement).colorScheme === "dark";

function colorOf(kind) {
  // Kinds that follow each other get hues far apart.
  return `hsl(${(kind * 137.5 + 200) % 360} ${dark() ? "70% 68%" : "62% 38%"})`;
}

function sized(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || canvas.parentElement.clientWidth;
  canvas.style.height = height + "px";
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return [pen, width];
}

const hatches = new Map();
function hatch(pen, color) {
  const key = color + (window.devicePixelRatio || 1);
  if (!hatches.has(key)) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const stroke = tile.getContext("2d");
    stroke.strokeStyle = color;
    stroke.lineWidth = 1;
    stroke.beginPath();
    stroke.moveTo(-2, 6); stroke.lineTo(6, -2); stroke.moveTo(2, 10); stroke.lineTo(10, 2);
    stroke.stroke();
    hatches.set(key, pen.createPattern(tile, "repeat"));
  }
  return hatches.get(key);
}

/// A step of the axis, at least so long.
function step(least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  return [1, 2, 5, 10].map(factor => factor * power).find(step => step >= least);
}

let pending = false, listing = 0;
function draw(list) {
  if (list) {
    // The list follows when the picture has come to rest.
    clearTimeout(listing);
    listing = setTimeout(paintList, 60);
  }
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    paint();
    paintOverview();
  });
}

function paint() {
  const order = data.lanes.map((_, lane) => lane).filter(lane => shown.lanes[lane]);
  const room = $("scroll").clientHeight;
  const laneHeight = Math.max(58, Math.min(150, (room - TOP - 8) / Math.max(order.length, 1)));
  const height = Math.max(room, TOP + order.length * laneHeight + 8);
  const [pen, width] = sized($("lanes"), height);
  const scale = (width - GUTTER) / (view.to - view.from);
  const x = at => GUTTER + (at - view.from) * scale;
  const rows = new Map(order.map((lane, row) => [lane, TOP + row * laneHeight + laneHeight / 2]));
  const y = lane => rows.get(lane);
  const within = (from, to) => to >= view.from && from <= view.to;
  hits = [];
  pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  pen.textBaseline = "middle";

  // The axis.
  const every = step(90 / scale);
  const digits = every >= 1e6 ? 0 : Math.min(6, Math.ceil(6 - Math.log10(every)));
  pen.strokeStyle = colors.line;
  pen.fillStyle = colors.faint;
  pen.lineWidth = 1;
  for (let at = Math.max(0, Math.ceil(view.from / every) * every); at <= Math.min(view.to, total); at += every) {
    const left = Math.round(x(at)) + 0.5;
    pen.beginPath(); pen.moveTo(left, AXIS - 5); pen.lineTo(left, height); pen.globalAlpha = 0.6; pen.stroke();
    pen.globalAlpha = 1;
    pen.fillText(seconds(at, digits), left + 4, AXIS / 2);
  }

  pen.save();
  pen.beginPath(); pen.rect(GUTTER, 0, width - GUTTER, height); pen.clip();

  // Wires that are cut: the space between their two lanes.
  const labels = [];
  for (const band of data.bands) {
    if (!shown.lanes[band.one] || !shown.lanes[band.other] || !within(band.from, band.to)) continue;
    const [high, low] = [y(band.one), y(band.other)].sort((a, b) => a - b);
    const left = x(band.from), right = x(band.to), top = high + BAR / 2 + 3, bottom = low - BAR / 2 - 3;
    pen.fillStyle = colors.cut; pen.globalAlpha = band.one_way ? 0.05 : 0.09;
    pen.fillRect(left, top, right - left, bottom - top);
    pen.globalAlpha = band.one_way ? 0.25 : 0.4;
    pen.fillStyle = hatch(pen, colors.cut);
    pen.fillRect(left, top, right - left, bottom - top);
    pen.globalAlpha = 0.8; pen.strokeStyle = colors.cut; pen.lineWidth = 1.5;
    pen.setLineDash(band.one_way ? [4, 3] : []);
    for (const edge of [left, right]) {
      pen.beginPath(); pen.moveTo(edge, top); pen.lineTo(edge, bottom); pen.stroke();
    }
    pen.setLineDash([]); pen.globalAlpha = 1;
    const names = [data.lanes[band.one], data.lanes[band.other]];
    const text = band.one_way ? `✂ ${names[0]} → ${names[1]}` : `✂ ${names[0]} | ${names[1]}`;
    labels.push({ text, left: Math.max(left, GUTTER) + 5, right: Math.min(right, width), y: top + 8, low: bottom });
    hits.push({ left, right, top, bottom, text: `${text}\n${seconds(band.from)} to ${seconds(band.to)}`, weight: 0 });
  }

  // Lives.
  for (const bar of data.bars) {
    if (!shown.lanes[bar.lane] || !within(bar.from, bar.to)) continue;
    const left = x(bar.from), right = x(bar.to), middle = y(bar.lane), top = middle - BAR / 2;
    const text = `${data.lanes[bar.lane]}#${bar.incarnation}: ${bar.state}\n${seconds(bar.from)} to ${seconds(bar.to)}`;
    hits.push({ left, right, top, bottom: top + BAR, text, weight: 1 });
    if (bar.state === "crashed") {
      pen.strokeStyle = colors.crashed; pen.lineWidth = 2; pen.setLineDash([3, 4]);
      pen.beginPath(); pen.moveTo(left, middle); pen.lineTo(right, middle); pen.stroke();
      pen.setLineDash([]);
      cross(pen, left, middle, 5, colors.crashed);
      continue;
    }
    pen.fillStyle = bar.state === "paused" ? colors.paused : colors.alive;
    pen.globalAlpha = bar.state === "paused" ? 0.35 : 0.85;
    pen.fillRect(left, top, right - left, BAR);
    if (bar.state === "paused") {
      pen.globalAlpha = 1; pen.fillStyle = hatch(pen, colors.paused);
      pen.fillRect(left, top, right - left, BAR);
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = colors.back; pen.lineWidth = 1;
    pen.beginPath(); pen.moveTo(left, top); pen.lineTo(left, top + BAR); pen.stroke();
    const label = bar.state === "paused" ? "paused" : `#${bar.incarnation}`;
    const start = Math.max(left, GUTTER) + 4;
    if (right - start > pen.measureText(label).width + 4) {
      pen.fillStyle = bar.state === "paused" ? colors.text : colors["alive-text"];
      pen.fillText(label, start, middle + 0.5);
    }
  }

  // What clients asked for, above the bar of their host: from the call to the answer.
  const rowsOf = new Map();
  for (const operation of data.operations) {
    rowsOf.set(operation.lane, Math.min(5, Math.max(rowsOf.get(operation.lane) || 0, operation.row + 1)));
    if (!shown.lanes[operation.lane] || !within(operation.from, operation.to) || operation.row > 4) continue;
    const left = x(operation.from), right = Math.max(x(operation.to), left + 1);
    const line = Math.round(y(operation.lane) - BAR / 2 - 4 - 5 * operation.row) - 0.5;
    const marked = [operation.event, operation.end].some(event => event !== null && (event === selected || isMatch.has(event)));
    pen.strokeStyle = marked ? colors.match : operation.known ? colors.text : colors.paused;
    pen.lineWidth = marked ? 2.5 : 1;
    pen.setLineDash(operation.known ? [] : [3, 2]);
    pen.beginPath(); pen.moveTo(left, line); pen.lineTo(right, line); pen.stroke();
    pen.setLineDash([]);
    pen.beginPath(); pen.moveTo(left, line - 2); pen.lineTo(left, line + 2);
    if (operation.end !== null) { pen.moveTo(right, line - 2); pen.lineTo(right, line + 2); }
    pen.stroke();
    const answer = operation.end === null ? "never answered" : `${data.kinds[data.events[operation.end][KIND]]} ${what(operation.end)}`;
    hits.push({ left, right, top: line - 3, bottom: line + 3, event: operation.event, weight: 4.5,
      text: `${what(operation.event)}\n${answer}\n${seconds(operation.from)} to ${seconds(operation.to)}` });
  }

  // What hosts have to bear.
  const levels = new Map();
  for (const strip of data.strips) {
    if (!shown.lanes[strip.lane] || !within(strip.from, strip.to)) continue;
    const key = `${strip.lane} ${strip.text}`;
    if (!levels.has(key)) levels.set(key, [...levels.keys()].filter(other => other.startsWith(`${strip.lane} `)).length);
    const left = x(strip.from), right = x(strip.to), top = y(strip.lane) - BAR / 2 - 5 - 5 * (rowsOf.get(strip.lane) || 0) - 15 * levels.get(key);
    pen.fillStyle = colors.strip;
    pen.fillRect(left, top, Math.max(right - left, 2), 3);
    const text = fitted(pen, strip.text, 100), inside = Math.max(left, GUTTER) + 2;
    if (right - inside > pen.measureText(text).width) pen.fillText(text, inside, top - 7);
    hits.push({ left, right, top: top - 2, bottom: top + 5, weight: 2,
      text: `${data.lanes[strip.lane]}: ${strip.text}\n${seconds(strip.from)} to ${seconds(strip.to)}` });
  }

  paintMessages(pen, x, y, within);

  const taken = new Set();
  for (const label of labels) {
    if (label.right - label.left < pen.measureText(label.text).width + 8) continue;
    // Of wires cut at once, one under the other.
    while (taken.has(`${Math.round(label.left / 40)} ${label.y}`)) label.y += 14;
    if (label.low - label.y < 4) continue;
    taken.add(`${Math.round(label.left / 40)} ${label.y}`);
    plate(pen, label.text, label.left, label.y, colors.cut);
  }

  paintEvents(pen, x, y, laneHeight);
  paintFlags(pen, x, y, height);
  pen.restore();

  // The names, over what goes on to the left.
  pen.fillStyle = colors.back;
  pen.fillRect(0, 0, GUTTER, height);
  pen.strokeStyle = colors.line; pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(GUTTER - 0.5, 0); pen.lineTo(GUTTER - 0.5, height); pen.stroke();
  pen.fillStyle = colors.faint;
  pen.fillText("time", 14, AXIS / 2);
  pen.fillText("faults", 14, AXIS + FLAGS / 2);
  pen.font = "600 13px system-ui, 'DejaVu Sans', sans-serif";
  for (const lane of order) {
    pen.fillStyle = data.violation && data.violation.lane === lane ? colors.violation : colors.text;
    pen.fillText(fitted(pen, data.lanes[lane], GUTTER - 20), 14, y(lane));
  }
}

function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  while (text.length > 1 && pen.measureText(text + "…").width > room) text = text.slice(0, -1);
  return text + "…";
}

function plate(pen, text, left, middle, color) {
  pen.globalAlpha = 0.85; pen.fillStyle = colors.back;
  pen.fillRect(left - 3, middle - 7, pen.measureText(text).width + 6, 14);
  pen.globalAlpha = 1; pen.fillStyle = color;
  pen.fillText(text, left, middle);
}

function cross(pen, x, y, size, color) {
  pen.strokeStyle = color; pen.lineWidth = 2;
  pen.beginPath();
  pen.moveTo(x - size, y - size); pen.lineTo(x + size, y + size);
  pen.moveTo(x + size, y - size); pen.lineTo(x - size, y + size);
  pen.stroke();
}

function paintMessages(pen, x, y, within) {
  if (!shown.messages) return;
  const arrows = data.arrows.filter(arrow => {
    const at = data.events[arrow.event][AT];
    return shown.lanes[arrow.from] && shown.lanes[arrow.to] && within(at, arrow.read === null ? at : arrow.read);
  });
  // Where many fall on the same pixels, one is drawn.
  const drawn = new Set();
  const alpha = arrows.length > 1500 ? 0.22 : arrows.length > 400 ? 0.4 : 0.75;
  const heads = arrows.length < 600, many = new Path2D();
  for (const arrow of arrows) {
    const event = data.events[arrow.event], down = y(arrow.to) > y(arrow.from) ? 1 : -1;
    const chosen = arrow.event === selected || arrow.event === hovered;
    const lost = arrow.read === null;
    const left = x(event[AT]), top = y(arrow.from) + down * BAR / 2;
    const right = lost ? left + 9 : x(arrow.read), bottom = lost ? top + down * 22 : y(arrow.to) - down * BAR / 2;
    const key = `${Math.round(left)} ${Math.round(right)} ${arrow.from} ${arrow.to} ${lost}`;
    if (drawn.has(key) && !chosen) continue;
    drawn.add(key);
    const marked = chosen || lost || isMatch.has(arrow.event);
    if (!marked && !heads) {
      // Too many to be told apart: a stroke for all of them.
      many.moveTo(left, top); many.lineTo(right, bottom);
    } else {
      pen.strokeStyle = chosen ? colors.select : lost ? colors.cut : marked ? colors.match : colors.message;
      pen.fillStyle = pen.strokeStyle;
      pen.globalAlpha = marked ? 1 : alpha;
      pen.lineWidth = chosen ? 2.5 : arrow.len > 1000 ? 1.8 : 1;
      pen.setLineDash(lost ? [3, 2] : []);
      pen.beginPath(); pen.moveTo(left, top); pen.lineTo(right, bottom); pen.stroke();
      pen.setLineDash([]);
      if (lost) cross(pen, right, bottom, 3.5, pen.strokeStyle);
      else head(pen, left, top, right, bottom);
    }
    hits.push({ line: [left, top, right, bottom], event: arrow.event, weight: 3 });
  }
  pen.globalAlpha = alpha; pen.strokeStyle = colors.message; pen.lineWidth = 1;
  pen.stroke(many);
  pen.globalAlpha = 1;
}

function head(pen, left, top, right, bottom) {
  const angle = Math.atan2(bottom - top, right - left);
  pen.beginPath();
  pen.moveTo(right, bottom);
  for (const side of [-0.35, 0.35]) pen.lineTo(right - 7 * Math.cos(angle + side), bottom - 7 * Math.sin(angle + side));
  pen.fill();
}

function paintEvents(pen, x, y, laneHeight) {
  const drawn = new Set(), busy = new Map();
  const start = firstAt(view.from), last = firstAt(view.to + 1);
  let ticks = 0;
  for (let index = start; index < last; index++) ticks += data.events[index][LANE] !== null && visible(index);
  for (let index = start; index < last; index++) {
    const event = data.events[index];
    if (event[LANE] === null || !visible(index)) continue;
    const left = x(event[AT]), middle = y(event[LANE]);
    const marked = index === selected || index === hovered || isMatch.has(index);
    const key = `${Math.round(left)} ${event[LANE]} ${event[KIND]}`;
    const first = !drawn.has(key);
    drawn.add(key);
    if (!first && !marked) continue;
    hits.push({ left: left - 3, right: left + 3, top: middle - BAR / 2 - 4, bottom: middle + BAR / 2 + 4, event: index, weight: 4 });
    if (marked) {
      pen.fillStyle = index === selected || index === hovered ? colors.select : colors.match;
      pen.fillRect(left - 2.5, middle - BAR / 2 - 5, 5, BAR + 10);
    }
    // In its lower half only, so that the bar can be seen where there are many.
    if (ticks <= MOST_LABELS) {
      pen.fillStyle = colors.back;
      pen.fillRect(left - 2, middle, 4, BAR / 2 + 4);
    }
    pen.fillStyle = colorOf(event[KIND]);
    pen.fillRect(left - 1, middle, ticks > 1000 ? 1 : 2, BAR / 2 + 4);
    // A label where there is room for it, in one of a few rows under the lane's bar; none where they would hide the rest.
    if (ticks > MOST_LABELS && !marked) continue;
    const text = fitted(pen, `${data.kinds[event[KIND]]} ${event[DETAIL]}`.trim().split("\n")[0].slice(0, 60), 170);
    const length = pen.measureText(text).width;
    const rows = Math.min(4, Math.floor((laneHeight / 2 - BAR / 2 - 4) / 13));
    for (let row = 0; row < rows; row++) {
      const place = `${event[LANE]} ${row}`;
      if ((busy.get(place) ?? -1e9) > left - 2) continue;
      busy.set(place, left + length + 10);
      const at = middle + BAR / 2 + 10 + row * 13;
      pen.fillStyle = colorOf(event[KIND]);
      pen.fillRect(left - 0.5, middle + BAR / 2 + 2, 1, at - middle - BAR / 2 - 2);
      plate(pen, text, left + 4, at, colorOf(event[KIND]));
      break;
    }
  }
}

function paintFlags(pen, x, y, height) {
  const ends = [-1e9, -1e9, -1e9, -1e9];
  const many = data.flags.filter(flag => data.events[flag.event][AT] >= view.from && data.events[flag.event][AT] <= view.to).length > 20;
  for (const flag of data.flags) {
    const at = data.events[flag.event][AT];
    if (at < view.from || at > view.to || !shown.kinds[FAULT]) continue;
    const lanes = flag.lanes.filter(lane => shown.lanes[lane]);
    if (flag.lanes.length && !lanes.length) continue;
    const left = x(at), chosen = flag.event === selected || flag.event === hovered || isMatch.has(flag.event);
    const reach = lanes.length ? Math.max(...lanes.map(y)) : height;
    pen.strokeStyle = chosen ? colors.select : colors.fault; pen.lineWidth = chosen ? 2 : 1;
    pen.globalAlpha = chosen ? 1 : many ? 0.25 : 0.6; pen.setLineDash([2, 3]);
    pen.beginPath(); pen.moveTo(left, AXIS); pen.lineTo(left, reach); pen.stroke();
    pen.setLineDash([]); pen.globalAlpha = 1;
    pen.fillStyle = pen.strokeStyle;
    for (const lane of lanes) {
      pen.beginPath(); pen.arc(left, y(lane) - BAR / 2 - 4, 2.5, 0, 7); pen.fill();
    }
    const length = pen.measureText(flag.text).width;
    const row = ends.findIndex(end => end < left - 4);
    // What finds no room keeps its mark, above the others' texts.
    const top = row < 0 ? AXIS - 4 : AXIS + 3 + row * 14;
    pen.beginPath(); pen.moveTo(left, top); pen.lineTo(left + 7, top + 4); pen.lineTo(left, top + 8); pen.fill();
    if (row >= 0) {
      // Without room for all of it, as much as there is before the next.
      ends[row] = left + Math.min(length, 150) + 14;
      plate(pen, fitted(pen, flag.text, 150), left + 10, top + 5, colors.fault);
    }
    hits.push({ left: left - 3, right: left + 10 + (row >= 0 ? Math.min(length, 150) : 0), top: top - 2, bottom: top + 11, event: flag.event,
      weight: 5 });
  }
  if (data.healed !== null) upright(pen, x(data.healed), height, colors.healed, "healed", 1.5, [6, 4]);
  if (data.violation) {
    const left = x(data.violation.at);
    upright(pen, left, height, colors.violation, data.violation.property, 2.5, []);
    if (data.violation.lane !== null && shown.lanes[data.violation.lane]) {
      pen.beginPath(); pen.arc(left, y(data.violation.lane), 12, 0, 7); pen.stroke();
    }
    hits.push({ left: left - 4, right: left + 4, top: 0, bottom: height, text: data.violation.text, weight: 2.5 });
  }
}

function upright(pen, left, height, color, text, width, dash) {
  pen.strokeStyle = color; pen.lineWidth = width; pen.setLineDash(dash);
  pen.beginPath(); pen.moveTo(left, 0); pen.lineTo(left, height); pen.stroke();
  pen.setLineDash([]);
  pen.font = "600 11px system-ui, 'DejaVu Sans', sans-serif";
  // On the side where there is room, over what else stands there.
  const length = pen.measureText(text).width, fits = left + length + 10 < pen.canvas.clientWidth;
  plate(pen, text, fits ? left + 5 : left - length - 5, height - (width > 2 ? 12 : 26), color);
  pen.font = "11px system-ui, 'DejaVu Sans', sans-serif";
  pen.strokeStyle = color;
}

function paintOverview() {
  const canvas = $("overview"), height = 34;
  const [pen, width] = sized(canvas, height);
  const x = at => GUTTER + at / total * (width - GUTTER - 8);
  const columns = new Array(Math.max(1, Math.ceil((width - GUTTER) / 2))).fill(0);
  for (const event of data.events) columns[Math.min(columns.length - 1, Math.floor((x(event[AT]) - GUTTER) / 2))]++;
  const most = Math.max(1, ...columns);
  pen.fillStyle = colors.cut; pen.globalAlpha = 0.18;
  for (const band of data.bands) pen.fillRect(x(band.from), 2, Math.max(1, x(band.to) - x(band.from)), height - 4);
  pen.globalAlpha = 1; pen.fillStyle = colors.message;
  columns.forEach((count, column) => {
    const tall = count && Math.max(1, Math.sqrt(count / most) * (height - 8));
    pen.fillRect(GUTTER + column * 2, height - 3 - tall, 1.5, tall);
  });
  pen.fillStyle = colors.match;
  for (const index of matches) pen.fillRect(x(data.events[index][AT]) - 0.5, 2, 1.5, 6);
  pen.fillStyle = colors.fault;
  for (const flag of data.flags) pen.fillRect(x(data.events[flag.event][AT]) - 0.5, height - 5, 1.5, 5);
  if (data.healed !== null) { pen.fillStyle = colors.healed; pen.fillRect(x(data.healed), 0, 1.5, height); }
  if (data.violation) { pen.fillStyle = colors.violation; pen.fillRect(x(data.violation.at) - 1, 0, 2.5, height); }
  const left = Math.max(GUTTER, x(view.from)), right = Math.min(width, x(view.to));
  pen.fillStyle = colors.select; pen.globalAlpha = 0.14;
  pen.fillRect(left, 0, Math.max(right - left, 3), height);
  pen.globalAlpha = 1; pen.strokeStyle = colors.select; pen.lineWidth = 1.5;
  pen.strokeRect(left + 0.5, 1, Math.max(right - left - 1, 3), height - 2);
  pen.fillStyle = colors.faint; pen.font = "11px system-ui, 'DejaVu Sans', sans-serif"; pen.textBaseline = "middle";
  pen.fillText("whole run", 14, height / 2);
}

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
