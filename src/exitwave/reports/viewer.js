"use strict";
const $ = (id) => document.getElementById(id);
const held = JSON.parse($("held").textContent);
const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const tables = Object.fromEntries(Object.entries(held.colours).map(([name, text]) => [name, bytes(text)]));
const stage = $("stage"), canvas = $("image"), graph = $("profile");
const picture = document.createElement("canvas");
const seen = { layer: 0, low: 0, high: 1, colours: "gray", scale: 1, left: 0, top: 0, fitted: true, line: null, measuring: false };
let shown = null;

async function unpacked(layer) {
  if (!layer.values) {
    const stream = new Blob([bytes(layer.packed)]).stream().pipeThrough(new DecompressionStream("gzip"));
    layer.values = new Uint16Array(await new Response(stream).arrayBuffer());
  }
  return layer;
}

const value = (layer, step) => (step === 0 ? NaN : layer.range[0] + ((step - 1) / 65534) * (layer.range[1] - layer.range[0]));

function length(metres) {
  const units = [[1, "m"], [1e-3, "mm"], [1e-6, "µm"], [1e-9, "nm"], [1e-12, "pm"]];
  const [size, unit] = units.find(([each]) => Math.abs(metres) >= 0.9995 * each) || units[4];
  return Number((metres / size).toPrecision(3)) + " " + unit;
}

const number = (found) => (Number.isNaN(found) ? "–" : String(Number(found.toPrecision(4))));

async function choose(index) {
  seen.layer = (index + held.layers.length) % held.layers.length;
  const before = shown;
  shown = await unpacked(held.layers[seen.layer]);
  $("layer").value = seen.layer;
  seen.colours = shown.mine || shown.colours;
  $("colours").value = seen.colours;
  [seen.low, seen.high] = shown.ends || shown.limits;
  if (!before || before.width !== shown.width || before.height !== shown.height) {
    seen.line = null;
    fit();
  }
  coloured();
}

function coloured() {
  picture.width = shown.width;
  picture.height = shown.height;
  const context = picture.getContext("2d");
  const pixels = context.createImageData(shown.width, shown.height);
  // One look-up a pixel, so that large images follow the sliders; step 0, what is empty, stays transparent.
  const table = tables[seen.colours], each = new Uint32Array(65536), parts = new Uint8Array(each.buffer);
  const span = Math.max(seen.high - seen.low, 1e-30);
  for (let step = 1; step < 65536; step++) {
    const share = (value(shown, step) - seen.low) / span;
    const colour = 3 * Math.min(Math.max(Math.floor(share * 256), 0), 255);
    for (let part = 0; part < 3; part++) parts[4 * step + part] = table[colour + part];
    parts[4 * step + 3] = 255;
  }
  const coloured32 = new Uint32Array(pixels.data.buffer);
  for (let place = 0; place < coloured32.length; place++) coloured32[place] = each[shown.values[place]];
  context.putImageData(pixels, 0, 0);
  const whole = shown.range[1] - shown.range[0];
  for (const [end, found] of [["low", seen.low], ["high", seen.high]]) {
    $(end).value = (1000 * (found - shown.range[0])) / whole;
    $(end + "told").value = number(found) + (shown.unit ? " " + shown.unit : "");
  }
  draw();
}

function fit() {
  seen.fitted = true;
  const ratio = shown.pixel_m[0] / shown.pixel_m[1];
  const box = stage.getBoundingClientRect();
  seen.scale = Math.min((box.width - 90) / shown.width, (box.height - 12) / (shown.height * ratio));
  seen.left = (box.width - 70 - shown.width * seen.scale) / 2;
  seen.top = (box.height - shown.height * ratio * seen.scale) / 2;
}

function draw() {
  const box = stage.getBoundingClientRect(), dots = window.devicePixelRatio || 1;
  canvas.width = box.width * dots;
  canvas.height = box.height * dots;
  const context = canvas.getContext("2d");
  context.scale(dots, dots);
  context.imageSmoothingEnabled = seen.scale * dots < 1;
  const tall = (seen.scale * shown.pixel_m[0]) / shown.pixel_m[1];
  context.drawImage(picture, seen.left, seen.top, shown.width * seen.scale, shown.height * tall);
  drawLine(context, tall);
  drawScaleBar(context, box);
  drawColourBar(context, box);
  drawProfile();
}

function drawLine(context, tall) {
  if (!seen.line) return;
  const [from, to] = seen.line.map(([x, y]) => [seen.left + x * seen.scale, seen.top + y * tall]);
  for (const [colour, width] of [["#000000", 3.5], ["#ff9a3c", 1.6]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  }
}

function drawScaleBar(context, box) {
  const most = 0.25 * box.width * (shown.pixel_m[1] / seen.scale);
  const decade = 10 ** Math.floor(Math.log10(most));
  const metres = Math.max(...[1, 2, 5].map((step) => step * decade).filter((step) => step <= most));
  const width = (metres / shown.pixel_m[1]) * seen.scale, y = box.height - 16;
  context.fillStyle = "#000000a0";
  context.fillRect(10, y - 26, width + 16, 38);
  context.fillStyle = "#ffffff";
  context.fillRect(18, y, width, 4);
  context.font = "13px system-ui, sans-serif";
  context.textAlign = "center";
  context.fillText(length(metres), 18 + width / 2, y - 8);
}

function drawColourBar(context, box) {
  const table = tables[seen.colours], x = box.width - 74, tall = box.height - 40;
  context.fillStyle = getComputedStyle(document.body).backgroundColor;
  context.fillRect(x - 8, 0, 82, box.height);
  for (let row = 0; row < tall; row++) {
    const colour = 3 * Math.floor(255.99 * (1 - row / tall));
    context.fillStyle = `rgb(${table[colour]} ${table[colour + 1]} ${table[colour + 2]})`;
    context.fillRect(x, 20 + row, 14, 1.5);
  }
  context.fillStyle = getComputedStyle(document.body).color;
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "left";
  for (let tick = 0; tick <= 4; tick++) {
    const found = seen.low + (tick / 4) * (seen.high - seen.low);
    context.fillText(String(Number(found.toPrecision(3))), x + 18, 24 + tall * (1 - tick / 4));
  }
}

function along() {
  const [[x0, y0], [x1, y1]] = seen.line;
  const count = Math.max(Math.ceil(Math.hypot(x1 - x0, y1 - y0)), 1);
  return Array.from({ length: count + 1 }, (_, step) => {
    const [x, y] = [x0 + ((x1 - x0) * step) / count, y0 + ((y1 - y0) * step) / count];
    return at(Math.floor(x), Math.floor(y));
  });
}

function at(x, y) {
  if (x < 0 || y < 0 || x >= shown.width || y >= shown.height) return NaN;
  return value(shown, shown.values[y * shown.width + x]);
}

function drawProfile() {
  graph.hidden = !seen.measuring;
  if (!seen.line) return;
  const values = along(), dots = window.devicePixelRatio || 1, box = graph.getBoundingClientRect();
  graph.width = box.width * dots;
  graph.height = box.height * dots;
  const context = graph.getContext("2d");
  context.scale(dots, dots);
  const known = values.filter((each) => !Number.isNaN(each));
  if (!known.length) return;
  const low = Math.min(...known), high = Math.max(...known, low + 1e-12);
  const [left, right, top, bottom] = [62, box.width - 14, 12, box.height - 34];
  const ink = getComputedStyle(document.body).color;
  context.font = "12px system-ui, sans-serif";
  context.fillStyle = ink;
  context.strokeStyle = "#858b9466";
  const [[x0, y0], [x1, y1]] = seen.line;
  const metres = Math.hypot((x1 - x0) * shown.pixel_m[1], (y1 - y0) * shown.pixel_m[0]);
  for (let tick = 0; tick <= 4; tick++) {
    const x = left + (tick / 4) * (right - left), y = bottom - (tick / 4) * (bottom - top);
    context.textAlign = "right";
    context.fillText(String(Number((low + (tick / 4) * (high - low)).toPrecision(3))), left - 6, y + 4);
    context.textAlign = tick === 4 ? "right" : "center";
    context.fillText(tick ? length((tick / 4) * metres) : "0", x, bottom + 16);
    context.strokeRect(left, y, right - left, 0);
  }
  context.textAlign = "left";
  context.fillText("along the line" + (shown.unit ? ", " + shown.unit : ""), left, bottom + 31);
  context.strokeStyle = "#3b82c4";
  context.lineWidth = 1.5;
  context.beginPath();
  let open = false;
  values.forEach((each, step) => {
    const x = left + (step / Math.max(values.length - 1, 1)) * (right - left);
    const y = bottom - ((each - low) / (high - low)) * (bottom - top);
    if (Number.isNaN(each)) open = false;
    else if (open) context.lineTo(x, y);
    else context.moveTo(x, y), (open = true);
  });
  context.stroke();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  const tall = (seen.scale * shown.pixel_m[0]) / shown.pixel_m[1];
  return [(event.clientX - box.left - seen.left) / seen.scale, (event.clientY - box.top - seen.top) / tall];
}

function zoom(factor, x, y) {
  const to = Math.min(Math.max(seen.scale * factor, 0.02), 200) / seen.scale;
  seen.fitted = false;
  seen.left = x - (x - seen.left) * to;
  seen.top = y - (y - seen.top) * to;
  seen.scale *= to;
  draw();
}

function move(across, down) {
  seen.left += across;
  seen.top += down;
  seen.fitted = false;
  draw();
}

const middle = () => [stage.clientWidth / 2, stage.clientHeight / 2];
const fingers = new Map();

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  fingers.set(event.pointerId, event);
  if (seen.measuring && fingers.size === 1) seen.line = [place(event), place(event)];
});
canvas.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  const [x, y] = place(event);
  const [down, across] = [y * shown.pixel_m[0], x * shown.pixel_m[1]];
  const found = number(at(Math.floor(x), Math.floor(y))) + (shown.unit ? " " + shown.unit : "");
  $("told").textContent = `x ${length(across)}, y ${length(down)} (column ${Math.floor(x)}, row ${Math.floor(y)}): ${found}`;
  if (!before) return;
  fingers.set(event.pointerId, event);
  const box = canvas.getBoundingClientRect();
  if (fingers.size === 2) {
    const other = [...fingers.values()].find((each) => each.pointerId !== event.pointerId);
    const apart = (each) => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
    zoom(apart(event) / Math.max(apart(before), 1), (event.clientX + other.clientX) / 2 - box.left, (event.clientY + other.clientY) / 2 - box.top);
  } else if (seen.measuring && seen.line) {
    seen.line[1] = place(event);
    draw();
  } else {
    move(event.clientX - before.clientX, event.clientY - before.clientY);
  }
});
for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * 0.0015), event.clientX - box.left, event.clientY - box.top);
}, { passive: false });
canvas.addEventListener("dblclick", () => { fit(); draw(); });
document.addEventListener("keydown", (event) => {
  if (event.target instanceof HTMLSelectElement || event.target instanceof HTMLInputElement) return;
  const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
  if (step) move(...step);
  else if (event.key === "+" || event.key === "=") zoom(1.25, ...middle());
  else if (event.key === "-") zoom(0.8, ...middle());
  else if (event.key === "0") { fit(); draw(); }
  else if (event.key === "[") choose(seen.layer - 1);
  else if (event.key === "]") choose(seen.layer + 1);
  else return;
  event.preventDefault();
});
for (const end of ["low", "high"]) $(end).addEventListener("input", () => {
  seen[end] = shown.range[0] + ($(end).value / 1000) * (shown.range[1] - shown.range[0]);
  shown.ends = [seen.low, seen.high];
  coloured();
});
$("auto").addEventListener("click", () => { shown.ends = null; [seen.low, seen.high] = shown.limits; coloured(); });
$("line").addEventListener("click", () => {
  seen.measuring = !seen.measuring;
  if (!seen.measuring) seen.line = null;
  $("line").setAttribute("aria-pressed", seen.measuring);
  stage.classList.toggle("line", seen.measuring);
  draw();
});
$("closer").addEventListener("click", () => zoom(1.25, ...middle()));
$("farther").addEventListener("click", () => zoom(0.8, ...middle()));
$("fit").addEventListener("click", () => { fit(); draw(); });
$("layer").addEventListener("change", () => choose(Number($("layer").value)));
$("colours").addEventListener("change", () => { seen.colours = shown.mine = $("colours").value; coloured(); });
held.layers.forEach((layer, index) => $("layer").add(new Option(layer.name, index)));
Object.keys(tables).forEach((name) => $("colours").add(new Option(name, name)));
new ResizeObserver(() => {
  if (shown && seen.fitted) fit();
  if (shown) draw();
}).observe(stage);
choose(0);
