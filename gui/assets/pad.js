// A sheet of side x side pixels to draw on by mouse, finger or keys. Gradio runs this once for each pad, with `element`,
// `props`, `watch` and `trigger`. The value is "INK" for a sketch and "PAPER:INK" for a mask over a picture, where each
// is two hexadecimal digits a pixel, row by row; "" is an empty sheet. `sketch.py` reads it.
const side = props.side, over = props.mode === "mask";
const canvas = element.querySelector("canvas"), context = canvas.getContext("2d");
const radius = over ? 2.2 : 1.25;
let ink = new Uint8Array(side * side), paper = null;
let cursor = [side >> 1, side >> 1], last = null, told = "", keyed = false;
const before = []; // values that Undo goes back to, the newest last

const toHex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
const fromHex = (text) => Uint8Array.from({ length: side * side }, (_, i) => parseInt(text.substr(2 * i, 2), 16) || 0);

function paint() {
  const image = context.createImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    const ground = over ? (paper ? paper[i] : 0) : ink[i];
    const red = over && ink[i] ? [0.45 * ground + 130, 0.45 * ground + 40, 0.45 * ground + 30] : [ground, ground, ground];
    image.data.set([...red, 255], 4 * i);
  }
  if (keyed) {
    const i = cursor[1] * side + cursor[0];
    image.data.set([64, 160, 255, 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
}

function dab(x, y, value = 255) {
  for (let row = 0; row < side; row++) {
    for (let column = 0; column < side; column++) {
      const distance = Math.hypot(column + 0.5 - x, row + 0.5 - y);
      const share = over ? Number(distance < radius) : Math.min(1, Math.max(0, radius + 0.5 - distance));
      const i = row * side + column;
      if (value === 0 ? share > 0 : share * value > ink[i]) ink[i] = share > 0 ? Math.round(share * value) : ink[i];
    }
  }
}

function tell() {
  const inked = ink.some((b) => b > 0);
  const now = over ? (paper ? toHex(paper) + ":" + (inked ? toHex(ink) : "") : "") : inked ? toHex(ink) : "";
  if (now !== told) remember();
  told = now;
  props.value = told;
  trigger("change");
  paint();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * side, ((event.clientY - box.top) / box.height) * side];
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  keyed = false;
  last = place(event);
  dab(...last);
  paint();
});
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  const next = place(event), length = Math.hypot(next[0] - last[0], next[1] - last[1]);
  for (let way = 0; way <= length; way += 0.4) {
    const part = length ? way / length : 0;
    dab(last[0] + part * (next[0] - last[0]), last[1] + part * (next[1] - last[1]));
  }
  last = next;
  paint();
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => {
    if (last) tell();
    last = null;
  });
}

const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
canvas.addEventListener("keydown", (event) => {
  const move = MOVES[event.key];
  if (!move && event.key !== " " && event.key !== "Backspace") return;
  event.preventDefault();
  keyed = true;
  if (move) cursor = cursor.map((at, axis) => Math.min(side - 1, Math.max(0, at + move[axis])));
  if (!move) dab(cursor[0] + 0.5, cursor[1] + 0.5, event.key === " " ? 255 : 0);
  move ? paint() : tell();
});
canvas.addEventListener("blur", () => {
  keyed = false;
  paint();
});
element.querySelector("[name=clear]").addEventListener("click", () => {
  ink.fill(0);
  tell();
});
const undo = element.querySelector("[name=undo]");
undo.disabled = true;
undo.addEventListener("click", () => {
  show(before.pop());
  undo.disabled = !before.length;
  props.value = told;
  trigger("change");
});

function remember() {
  before.push(told);
  if (before.length > 50) before.shift();
  undo.disabled = false;
}

function read() {
  const text = props.value || "";
  if (text === told) return;
  remember();
  show(text);
}

function show(text) {
  told = text;
  const [first, second] = text.split(":");
  paper = over && first ? fromHex(first) : null;
  ink = fromHex((over ? second : first) || "");
  paint();
}
watch("value", read);
show(props.value || "");
