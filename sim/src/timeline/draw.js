"use strict";
// How a run is drawn. What is drawn, and which part of it, page.js says.

const GUTTER = 92, AXIS = 22, FLAGS = 60, TOP = AXIS + FLAGS, BAR = 16;
const MOST_LABELS = 150;
// What was drawn where, for the pointer.
let hits = [];
let colors = {};

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
