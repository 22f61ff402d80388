// Elements of the page, marks, and axes.

function put(parent, tag, attributes = {}, text = null) {
  const html = parent instanceof HTMLElement && tag !== "svg";
  const element = html ? document.createElement(tag) : document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== null) element.textContent = text;
  parent.appendChild(element);
  return element;
}

const canvas = (parent, width, height, attributes = {}) =>
  put(parent, "svg", { width, height, viewBox: `0 0 ${width} ${height}`, ...attributes });
const color = (index) => `var(--c${index})`;
const round = (value) => Math.round(value * 100) / 100;
const polyline = (points) => (points.length ? "M" + points.map(([x, y]) => `${round(x)} ${round(y)}`).join("L") : "");

function mark(parent, shape, [x, y], size, style, extra = {}) {
  const transform = `translate(${round(x)} ${round(y)}) scale(${size})`;
  return put(parent, "path", { d: shape, transform, class: "mark", style: style + ";vector-effect:non-scaling-stroke", ...extra });
}

const star = (parent, at, shade) => mark(parent, data.marks.star, at, ink.star, `fill:${shade}`);
const start = (parent, at, shade) =>
  mark(parent, data.marks.start, at, ink.start, `fill:var(--halo);stroke:${shade};stroke-width:1.8px`);
const cross = (parent, at, shade) =>
  mark(parent, data.marks.cross, at, ink.start, `fill:none;stroke:${shade};stroke-width:2.4px`);

// Axes.

function roundStep(span, count) {
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5].find((digit) => digit * power >= rough * 0.999) || 10);
}

function linear(low, high, from, to) {
  const span = high - low || Math.abs(low) || 1;
  const at = (value) => from + ((value - low) / span) * (to - from);
  const back = (pixel) => low + ((pixel - from) / (to - from)) * span;
  const ticks = (count) => {
    const within = (step) => [Math.ceil(low / step - 1e-9), Math.floor((low + span) / step + 1e-9)];
    let step = roundStep(span, count);
    if (within(step)[1] - within(step)[0] < 1) step = roundStep(span, 2 * count); // one tick tells no scale
    const [first, last] = within(step);
    if (!(last - first < 50)) return [low];
    return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  };
  return { at, back, ticks };
}

function logarithmic(low, high, from, to) {
  const inner = linear(Math.log(low), Math.log(high), from, to);
  const ticks = (count) => {
    const powers = [];
    for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) powers.push(p);
    const every = Math.ceil(powers.length / (count + 1));
    const digits = powers.length <= 3 ? [1, 2, 5] : powers.length <= 4 ? [1, 3] : [1];
    const all = powers.filter((p) => p % every === 0).flatMap((p) => digits.map((d) => Number(`${d}e${p}`)));
    return all.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  };
  return { at: (value) => inner.at(Math.log(value)), back: (pixel) => Math.exp(inner.back(pixel)), ticks };
}
