"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const ink = data.ink; // sizes, in px
  const UNIT = 10000; // contours are whole numbers from 0 to this
  const NEAR = 14; // px from the pointer to a path that is meant
  const FAR = 1e5; // px: a point beyond is drawn there, in its own direction from the middle
  const SLOWEST = 100; // ms that a frame may last: then playing slows down rather than leaps
  const LEAP = 500; // ms between the steps that are shown to who wants less motion
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  // What is drawn now.
  let scene; // the slice with its paths, numbers decoded
  let time = 0; // index into scene.steps; a fraction between two of them, while playing
  let plot; // places on the ground
  let playing = 0; // handle of the next frame
  let probe = null; // what the read-out is about
  const off = new Set(); // names that are switched off

  // Numbers and words.

  // Doubles in base64, or the first, the distance and how many.
  function numbers(packed) {
    if (typeof packed !== "string") {
      const [first, by, count] = packed;
      return Array.from({ length: count }, (_, i) => first + by * i);
    }
    const bytes = Uint8Array.from(atob(packed), (c) => c.charCodeAt(0));
    return Array.from(new Float64Array(bytes.buffer));
  }

  const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

  // A number in as few of the digits as say it.
  function show(value, digits = 4) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "NaN" : value > 0 ? "∞" : "−∞";
    const near = Number(value.toPrecision(digits));
    if (near === 0 || (Math.abs(near) >= 1e-4 && Math.abs(near) < 1e5)) return String(near).replace("-", "−");
    const [factor, power] = value.toExponential(digits - 1).split("e");
    const plain = String(Number(factor)).replace("-", "−");
    return (plain === "1" ? "" : plain === "−1" ? "−" : plain + "×") + "10" + raised(power);
  }

  // Likewise in all of them, so that a column of numbers, or one that moves, keeps its width.
  function full(value, digits = 4) {
    const size = Math.abs(Number(value.toPrecision(digits)));
    if (!Number.isFinite(value) || size === 0 || (size >= 10 ** digits && size < 1e5)) return show(value, digits);
    if (size >= 1e-4 && size < 1e5) return value.toPrecision(digits).replace("-", "−");
    const [factor, power] = value.toExponential(digits - 1).split("e");
    return factor.replace("-", "−") + "×10" + raised(power);
  }

  const raised = (power) => [...String(Number(power))].map((c) => RAISED[c]).join("");

  // Elements.

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
      const step = roundStep(span, count);
      const first = Math.ceil(low / step - 1e-9);
      const last = Math.floor((low + span) / step + 1e-9);
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

  // The last index whose value is not above; -1 where all are.
  function before(sorted, value) {
    let low = 0;
    let high = sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sorted[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  // The slice between its points: linear along both axes; NaN outside, and beside what is not finite.
  function read(x, y) {
    const columns = scene.x.length;
    const place = (axis, value) => {
      if (!(value >= axis[0] && value <= axis[axis.length - 1])) return null;
      const i = Math.min(before(axis, value), axis.length - 2);
      return [i, (value - axis[i]) / (axis[i + 1] - axis[i])];
    };
    const [across, up] = [place(scene.x, x), place(scene.y, y)];
    if (!across || !up) return NaN;
    const [[j, b], [i, a]] = [across, up];
    const mix = (one, two, share) => (share === 0 ? one : share === 1 ? two : one * (1 - share) + two * share);
    const row = (k) => mix(scene.values[k * columns + j], scene.values[k * columns + j + 1], b);
    return a === 0 ? row(i) : a === 1 ? row(i + 1) : mix(row(i), row(i + 1), a);
  }

  const inside = ([x, y]) =>
    x >= scene.x[0] && x <= scene.x.at(-1) && y >= scene.y[0] && y <= scene.y.at(-1);
  const told = (point) => (inside(point) ? full(read(...point)) : "outside");

  // Scenes.

  function decoded(raw) {
    const pairs = (text) => {
      const flat = numbers(text);
      return Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], flat[2 * i + 1]]);
    };
    const paths = raw.paths.map((path) => ({
      ...path,
      steps: numbers(path.steps),
      at: pairs(path.at),
      hidden: path.hidden && numbers(path.hidden),
      ahead: path.ahead && pairs(path.ahead),
    }));
    const curves = raw.curves.map((curve) => ({
      ...curve,
      series: curve.series.map((s) => ({ ...s, steps: numbers(s.steps), values: numbers(s.values), marks: numbers(s.marks) })),
    }));
    const hidden = paths.filter((path) => path.hidden);
    const distances = hidden.map((path) => ({ name: path.name, steps: path.steps, values: path.hidden, marks: [] }));
    for (const curve of curves) if (curve.off) curve.series = distances;
    const recorded = [...paths, ...curves.flatMap((curve) => curve.series)].flatMap((each) => each.steps);
    const steps = [...new Set(recorded)].sort((a, b) => a - b);
    return { ...raw, x: numbers(raw.x), y: numbers(raw.y), values: numbers(raw.values), paths, curves, steps: steps.length ? steps : [0] };
  }

  const stepNow = () => {
    const i = Math.floor(time);
    const [one, two] = [scene.steps[i], scene.steps[i + 1] ?? scene.steps[i]];
    return one + (time - i) * (two - one);
  };

  function open(index) {
    stop();
    scene = decoded(data.scenes[index]);
    time = scene.steps.length - 1;
    probe = null;
    $("ylabel").textContent = "↑ " + scene.labels[1];
    $("xlabel").textContent = scene.labels[0] + " →";
    $("step").max = time;
    $("note").textContent = scene.note;
    $("note").hidden = !scene.note;
    $("precision").textContent = scene.precision;
    drawTable();
    drawKey();
    draw();
  }

  function draw() {
    drawGround();
    drawBar();
    drawCurves();
    update();
  }

  // The ground.

  function drawGround() {
    const box = $("ground");
    box.replaceChildren();
    const room = box.clientWidth;
    const [left, right, top, bottom] = [46, 9, 6, 24];
    let width = room - left - right;
    let height = width * scene.shape;
    const tallest = Math.max(280, innerHeight * 0.68);
    if (height > tallest) {
      width = scene.equal ? (width * tallest) / height : width;
      height = tallest;
    }
    const svg = canvas(box, room, height + top + bottom, {
      role: "group",
      tabindex: 0,
      "aria-label": `${scene.quantity} over ${scene.labels[0]} and ${scene.labels[1]}; arrow keys move a probe`,
    });
    const [x0, x1, y0, y1] = [scene.x[0], scene.x.at(-1), scene.y[0], scene.y.at(-1)];
    const x = linear(x0, x1, left, left + width);
    const y = linear(y0, y1, top + height, top);
    const middle = [left + width / 2, top + height / 2];
    const place = ([a, b]) => {
      const [u, v] = [x.at(a) - middle[0], y.at(b) - middle[1]];
      const over = Math.max(1, Math.abs(u) / FAR, Math.abs(v) / FAR);
      return [middle[0] + u / over, middle[1] + v / over];
    };
    plot = { svg, x, y, place, left, top, width, height };
    $("xlabel").style.width = `${left + width}px`;
    const definitions = put(svg, "defs");
    put(put(definitions, "clipPath", { id: "inside" }), "rect", { x: left, y: top, width, height });
    hatching(definitions, "hatching");
    const clipped = put(svg, "g", { "clip-path": "url(#inside)" });
    const fields = put(clipped, "g", { transform: `translate(${left} ${top}) scale(${width / UNIT} ${height / UNIT})` });
    if (scene.bar) put(fields, "rect", { width: UNIT, height: UNIT, style: `fill:${color(scene.base)}` });
    for (const [shade, d] of scene.regions) {
      put(fields, "path", { d, class: "region", "fill-rule": "evenodd", style: `fill:${color(shade)}` });
    }
    if (scene.hatch) {
      // the pattern keeps its size on the page, so it is laid over in pixels
      const scale = `translate(${left} ${top}) scale(${width / UNIT} ${height / UNIT})`;
      put(put(definitions, "clipPath", { id: "broken" }), "path", { d: scene.hatch, transform: scale });
      put(clipped, "rect", { x: left, y: top, width, height, fill: "url(#hatching)", "clip-path": "url(#broken)" });
      put(fields, "path", { d: scene.hatch, class: "hatch", style: "fill:none" });
    }
    put(svg, "rect", { x: left, y: top, width, height, class: "frame" });
    axes(svg, x, y, plot, x.ticks(width / 90), y.ticks(height / 70));
    if (!scene.bar) put(svg, "text", { x: middle[0], y: middle[1], class: "notice" }, "no finite loss on this slice");
    for (const path of scene.paths) path.places = path.at.map(place);
    plot.paths = put(clipped, "g", { id: "paths" });
    plot.ends = put(svg, "g", { "clip-path": "url(#inside)" });
    plot.probe = put(svg, "g");
    const tip = put(box, "div", { id: "tip", role: "status" });
    tip.hidden = true;
    plot.tip = tip;
    listen(svg);
  }

  function hatching(definitions, id) {
    const pattern = put(definitions, "pattern", { id, width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" });
    put(pattern, "rect", { width: 7, height: 7, style: "fill:var(--void)" });
    put(pattern, "line", { y2: 7, style: "stroke:var(--broken);stroke-width:2px" });
  }

  function axes(svg, x, y, { left, top, width, height }, across, up) {
    const floor = top + height;
    for (const value of across) {
      const at = x.at(value);
      put(svg, "line", { x1: at, x2: at, y1: floor, y2: floor + 4, class: "tick" });
      put(svg, "text", { x: at, y: floor + 17, "text-anchor": "middle" }, show(value));
    }
    for (const value of up) {
      const at = y.at(value);
      put(svg, "line", { x1: left - 4, x2: left, y1: at, y2: at, class: "tick" });
      put(svg, "text", { x: left - 7, y: at + 4, "text-anchor": "end" }, show(value));
    }
  }

  // How far a path has come at a step: the last of its rows, and where it is, which may be between two rows.
  function walked(path, step) {
    const last = before(path.steps, step);
    if (last < 0 || last + 1 === path.at.length) return { last, head: path.at[last] };
    const share = (step - path.steps[last]) / (path.steps[last + 1] - path.steps[last]);
    return { last, head: path.at[last].map((value, k) => value + share * (path.at[last + 1][k] - value)) };
  }

  function drawPaths(step) {
    plot.paths.replaceChildren();
    plot.ends.replaceChildren();
    for (const path of [...scene.paths].sort((a, b) => data.looks[a.name].order - data.looks[b.name].order)) {
      if (!off.has(path.name)) drawPath(path, step);
    }
  }

  function drawPath(path, step) {
    const look = data.looks[path.name];
    const shade = color(look.color);
    const stroke = `stroke:${shade};stroke-width:${look.width}px;stroke-dasharray:${look.dash}`;
    const group = put(plot.paths, "g", { "data-name": path.name });
    const ends = put(plot.ends, "g");
    const line = (points) => {
      const d = polyline(points);
      put(group, "path", { d, class: "halo", style: `stroke-width:${look.width + 2 * ink.halo}px` });
      put(group, "path", { d, class: "core", style: stroke });
    };
    const points = path.places;
    const { last, head } = walked(path, step);
    const done = last === points.length - 1;
    if (!done) put(group, "path", { d: polyline(points), class: "core ghost", style: stroke });
    if (last < 0) return;
    const here = plot.place(head);
    line([...points.slice(0, last + 1), here]);
    for (let i = 1; i <= last; i++) {
      if (Math.floor(path.steps[i] / scene.every) > Math.floor(path.steps[i - 1] / scene.every)) {
        mark(group, look.marker, points[i], ink.dot, `fill:${shade}`);
      }
    }
    if (path.ahead && Number.isFinite(path.ahead[last]?.[0])) drawAhead(ends, points[last], plot.place(path.ahead[last]));
    start(ends, points[0], shade);
    if (!done) mark(ends, look.marker, here, ink.head, `fill:${shade}`);
    else (path.lost ? cross : star)(ends, here, shade);
  }

  function drawAhead(parent, [x, y], [u, v]) {
    const length = Math.hypot(u - x, v - y);
    if (length < 1) return;
    const turn = (Math.atan2(v - y, u - x) * 180) / Math.PI;
    const d = `M0 0H${round(length)}M${round(length - Math.min(6, length))} -3.5L${round(length)} 0L${round(length - Math.min(6, length))} 3.5`;
    const transform = `translate(${round(x)} ${round(y)}) rotate(${round(turn)})`;
    put(parent, "path", { d, transform, class: "halo", style: "stroke-width:4.4px" });
    put(parent, "path", { d, transform, class: "ahead" });
  }

  // The read-out.

  function listen(svg) {
    const here = (event) => {
      const box = svg.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    svg.addEventListener("pointermove", (event) => look(here(event)));
    svg.addEventListener("pointerdown", (event) => {
      look(here(event));
      if (probe && probe.path) go(scene.steps.indexOf(probe.path.steps[probe.row]));
    });
    svg.addEventListener("pointerleave", () => look(null));
    svg.addEventListener("blur", () => look(null));
    svg.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (event.key === "Escape") look(null);
      if (!way) return;
      event.preventDefault();
      const [x, y] = probe ? probe.pixel : [plot.left + plot.width / 2, plot.top + plot.height / 2];
      const limit = (value, low, size) => Math.max(low, Math.min(low + size, value));
      const stride = event.shiftKey ? 1 : 8;
      look([limit(x + stride * way[0], plot.left, plot.width), limit(y + stride * way[1], plot.top, plot.height)], false);
    });
  }

  // Make the read-out about a place on the ground: the path near it, or the slice there.
  function look(pixel, snap = true) {
    plot.probe.replaceChildren();
    const { left, top, width, height } = plot;
    const within = pixel && pixel[0] >= left && pixel[0] <= left + width && pixel[1] >= top && pixel[1] <= top + height;
    plot.tip.hidden = !within;
    if (!within) {
      probe = null;
      return pointBar(NaN);
    }
    const near = nearest(pixel);
    const at = near && snap ? near.pixel : pixel;
    const point = near && snap ? near.path.at[near.row] : [plot.x.back(at[0]), plot.y.back(at[1])];
    probe = { ...near, pixel: at };
    put(plot.probe, "line", { x1: left, x2: left + width, y1: at[1], y2: at[1], class: "probe" });
    put(plot.probe, "line", { x1: at[0], x2: at[0], y1: top, y2: top + height, class: "probe" });
    tell(point, near);
    pointBar(read(...point));
    const [w, h] = [plot.tip.offsetWidth, plot.tip.offsetHeight];
    const x = at[0] + 14 + w > left + width ? at[0] - 14 - w : at[0] + 14;
    plot.tip.style.left = Math.max(0, x) + "px";
    plot.tip.style.top = (at[1] + 14 + h > top + height ? at[1] - 14 - h : at[1] + 14) + "px";
  }

  function nearest([x, y]) {
    let best = null;
    for (const path of scene.paths) {
      if (off.has(path.name)) continue;
      path.places.forEach((pixel, row) => {
        const distance = Math.hypot(pixel[0] - x, pixel[1] - y);
        if (distance < (best ? best.distance : NEAR)) best = { path, row, pixel, distance };
      });
    }
    return best;
  }

  function tell(point, near) {
    const tip = plot.tip;
    tip.replaceChildren();
    if (near) {
      const first = put(tip, "p");
      put(first, "b", { style: `color:${color(data.looks[near.path.name].color)}` }, near.path.name);
      put(first, "span", {}, ` at step ${show(near.path.steps[near.row], 9)}`);
    }
    const loss = put(tip, "p");
    put(loss, "b", {}, full(read(...point)));
    put(loss, "span", {}, " loss on the slice");
    if (near) {
      const value = valueOf(near.path.name, near.path.steps[near.row]);
      if (value !== null) put(tip, "p", {}, `${full(value)} ${measured().label}`);
      if (near.path.hidden && hides()) put(tip, "p", {}, `${full(near.path.hidden[near.row], 3)} off the plane`);
    }
    put(tip, "p", {}, `at (${full(point[0])}, ${full(point[1])})`);
  }

  // The curve whose values stand beside those of the slice, if there is any.
  const measured = () => scene.curves.find((curve) => !curve.off);

  // Whether a path is off the plane anywhere.
  const hides = () => scene.paths.some((path) => path.hidden && path.hidden.some((distance) => distance > 0));

  // What it says of a name at a step.
  function valueOf(name, step) {
    const series = measured()?.series.find((s) => s.name === name);
    if (!series) return null;
    const i = before(series.steps, step);
    return i < 0 ? null : series.values[i];
  }

  // The colour bar.

  function drawBar() {
    const box = $("bar");
    box.replaceChildren();
    plot.bar = null;
    if (!scene.bar) return;
    put(box, "p", {}, scene.quantity);
    const { edges, colors, ticks, under, over } = scene.bar;
    const [tip, height, pad] = [11, 13, 8];
    const svg = canvas(box, box.clientWidth, height + 24, { role: "img", "aria-label": `colours of ${scene.quantity}` });
    const left = pad + (under ? tip : 0);
    const right = box.clientWidth - pad - (over ? tip : 0);
    const width = (right - left) / (edges.length - 1);
    const fill = (index) => `fill:${color(colors[index])}`;
    for (let i = 0; i + 1 < edges.length; i++) {
      put(svg, "rect", { x: left + i * width, width: width + 0.3, height, style: fill(i + (under ? 1 : 0)) });
    }
    if (under) put(svg, "path", { d: `M${left} 0L${left - tip} ${height / 2}L${left} ${height}Z`, style: fill(0) });
    if (over) put(svg, "path", { d: `M${right} 0L${right + tip} ${height / 2}L${right} ${height}Z`, style: fill(colors.length - 1) });
    const first = under ? `L${left - tip} ${height / 2}` : "";
    const last = over ? `L${right + tip} ${height / 2}` : "";
    put(svg, "path", { d: `M${left} ${height}${first}L${left} 0L${right} 0${last}L${right} ${height}Z`, class: "frame" });
    const at = (value) => {
      if (value < edges[0]) return left - tip / 2;
      if (value > edges.at(-1)) return right + tip / 2;
      const i = Math.min(before(edges, value), edges.length - 2);
      return left + (i + (value - edges[i]) / (edges[i + 1] - edges[i])) * width;
    };
    let free = -Infinity;
    for (const tick of ticks) {
      const [x, words] = [at(tick), show(tick)];
      const half = 3.6 * words.length;
      if (x - half < free) continue;
      free = x + half + 6;
      put(svg, "line", { x1: x, x2: x, y1: height, y2: height + 4, class: "tick" });
      put(svg, "text", { x: Math.min(Math.max(x, half), box.clientWidth - half), y: height + 17, "text-anchor": "middle" }, words);
    }
    plot.bar = { at, pointer: put(svg, "path", { d: "M-5 -7H5L0 0Z", style: "fill:var(--ink)", visibility: "hidden" }) };
  }

  function pointBar(value) {
    if (!plot.bar) return;
    const seen = Number.isFinite(value);
    plot.bar.pointer.setAttribute("visibility", seen ? "visible" : "hidden");
    if (seen) plot.bar.pointer.setAttribute("transform", `translate(${round(plot.bar.at(value))} 0)`);
  }

  // The curves.

  function drawCurves() {
    const box = $("curves");
    box.replaceChildren();
    const cells = scene.curves.map(() => put(box, "div")); // all of them, so that each has its final width
    plot.curves = scene.curves.map((curve, i) => drawCurve(cells[i], curve));
  }

  function drawCurve(cell, curve) {
    put(cell, "h2", {}, curve.label);
    const [left, right, top, bottom, height] = [46, 10, 6, 22, 150];
    const room = cell.clientWidth;
    const width = room - left - right;
    const svg = canvas(cell, room, top + height + bottom, { role: "img", "aria-label": `${curve.label} over the steps` });
    const known = curve.series.filter((s) => !off.has(s.name));
    const values = known.flatMap((s) => s.values.filter((v) => Number.isFinite(v) && (!curve.log || v > 0)));
    const lowest = values.reduce((a, b) => Math.min(a, b), Infinity);
    const highest = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const x = linear(Math.min(0, scene.steps[0]), longest(), left, left + width);
    const ends = values.length ? [curve.off ? Math.min(0, lowest) : lowest, highest] : [curve.log ? 0.1 : 0, 1];
    const y = (curve.log ? logarithmic : linear)(ends[0], ends[1], top + height - 4, top + 5);
    for (const tick of y.ticks(4)) put(svg, "line", { x1: left, x2: left + width, y1: y.at(tick), y2: y.at(tick), class: "rule" });
    axes(svg, x, y, { left, top, width, height }, x.ticks(width / 70), y.ticks(4));
    put(svg, "line", { x1: left, x2: left + width, y1: top + height, y2: top + height, class: "tick" });
    for (const series of known) drawSeries(svg, series, x, y, curve.log);
    const cursor = put(svg, "line", { y1: top, y2: top + height, class: "cursor" });
    const spots = put(svg, "g");
    const pick = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const step = x.back(event.clientX - svg.getBoundingClientRect().left);
      const i = Math.max(0, before(scene.steps, step));
      const next = scene.steps[i + 1] ?? Infinity;
      go(next - step < step - scene.steps[i] ? i + 1 : i);
    };
    cell.addEventListener("pointerdown", pick);
    cell.addEventListener("pointermove", pick);
    return { x, y, cursor, spots, known, log: curve.log };
  }

  const longest = () =>
    Math.max(scene.steps.at(-1), ...scene.curves.flatMap((c) => c.series.map((s) => s.steps.at(-1) ?? 0)), 1e-9);

  function drawSeries(svg, series, x, y, log) {
    const look = data.looks[series.name];
    const fits = (value) => Number.isFinite(value) && (!log || value > 0);
    let d = "";
    let down = false;
    series.values.forEach((value, i) => {
      if (fits(value)) d += `${down ? "L" : "M"}${round(x.at(series.steps[i]))} ${round(y.at(value))}`;
      down = fits(value);
    });
    const width = look.width * 0.85;
    put(svg, "path", { d, class: "core", style: `stroke:${color(look.color)};stroke-width:${width}px;stroke-dasharray:${look.dash}` });
    for (const step of series.marks) {
      const i = series.steps.indexOf(step);
      if (i < 0 || !fits(series.values[i])) continue;
      const [u, v] = [x.at(step), y.at(series.values[i])];
      put(svg, "line", { x1: u, x2: u, y1: v - 6, y2: v + 6, style: `stroke:${color(look.color)};stroke-width:2px` });
    }
  }

  function moveCursors(step) {
    for (const { x, y, cursor, spots, known, log } of plot.curves) {
      cursor.setAttribute("x1", x.at(step));
      cursor.setAttribute("x2", x.at(step));
      spots.replaceChildren();
      for (const series of known) {
        const i = before(series.steps, step);
        if (i < 0 || !Number.isFinite(series.values[i]) || (log && series.values[i] <= 0)) continue;
        const look = data.looks[series.name];
        mark(spots, look.marker, [x.at(series.steps[i]), y.at(series.values[i])], ink.dot * 1.4, `fill:${color(look.color)}`);
      }
    }
  }

  // The table of optimizers, and the key.

  function drawTable() {
    const table = $("optimizers");
    table.replaceChildren();
    put(table, "caption", { class: "unseen" }, "optimizers, at the step of the slider");
    const head = put(put(table, "thead"), "tr");
    scene.heading = put(head, "th", { scope: "col" });
    const columns = ["on the slice", ...(measured() ? [measured().label] : []), ...(hides() ? ["off plane"] : [])];
    for (const column of columns) put(head, "th", { scope: "col" }, column);
    const body = put(table, "tbody");
    scene.rows = scene.names.map((name) => {
      const row = put(body, "tr", { "data-name": name });
      row.classList.toggle("off", off.has(name));
      const label = put(put(row, "th", { scope: "row" }), "label");
      const box = put(label, "input", { type: "checkbox" });
      box.checked = !off.has(name);
      box.addEventListener("change", () => toggle(name, box.checked, row));
      sample(label, data.looks[name]);
      put(label, "span", {}, name);
      return { path: scene.paths.find((path) => path.name === name), name, cells: columns.map(() => put(row, "td")) };
    });
  }

  function sample(parent, look) {
    const svg = canvas(parent, 34, 14, { "aria-hidden": "true" });
    put(svg, "path", { d: "M1 7H33", class: "core", style: `stroke:${color(look.color)};stroke-width:${look.width}px;stroke-dasharray:${look.dash}` });
    mark(svg, look.marker, [17, 7], ink.head, `fill:${color(look.color)}`);
  }

  function toggle(name, on, row) {
    if (on) off.delete(name);
    else off.add(name);
    row.classList.toggle("off", !on);
    look(null);
    drawCurves();
    update();
  }

  function fillTable(step) {
    scene.heading.textContent = `at step ${show(step, 9)}`;
    for (const { path, name, cells } of scene.rows) {
      const last = path ? before(path.steps, step) : -1;
      const words = [last < 0 ? "no path" : told(path.at[last])];
      if (measured()) {
        const value = valueOf(name, step);
        words.push(value === null ? "–" : full(value));
      }
      if (hides()) words.push(last < 0 || !path.hidden ? "–" : full(path.hidden[last], 3));
      cells.forEach((cell, k) => (cell.textContent = words[k]));
    }
  }

  function drawKey() {
    const key = $("key");
    key.replaceChildren();
    const entry = (words, paint, width = 16) => {
      const item = put(key, "li");
      paint(canvas(item, width, 16, { "aria-hidden": "true" }));
      put(item, "span", {}, words);
    };
    const shade = "var(--muted)";
    if (scene.paths.length) {
      entry("start", (svg) => start(svg, [8, 8], shade));
      if (scene.paths.some((path) => !path.lost)) entry("end", (svg) => star(svg, [8, 8], shade));
      entry(scene.every === 1 ? "every step" : `every ${show(scene.every, 9)} steps`, (svg) => mark(svg, data.marks.start, [8, 8], ink.dot, `fill:${shade}`));
    }
    if (scene.paths.some((path) => path.lost)) entry("not finite from here", (svg) => cross(svg, [8, 8], shade));
    if (scene.paths.some((path) => path.ahead)) entry("look-ahead", (svg) => drawAhead(svg, [1, 8], [23, 8]), 26);
    if (scene.curves.some((c) => c.series.some((s) => s.marks.length))) {
      entry("restart", (svg) => put(svg, "line", { x1: 8, x2: 8, y1: 2, y2: 14, style: `stroke:${shade};stroke-width:2px` }));
    }
    if (scene.hatch) {
      entry("loss not finite", (svg) => {
        hatching(put(svg, "defs"), "hatching-key");
        put(svg, "rect", { x: 1, y: 1, width: 20, height: 14, fill: "url(#hatching-key)", style: "stroke:var(--broken)" });
      }, 22);
    }
  }

  // Time.

  function update() {
    const step = stepNow();
    const i = Math.floor(time);
    $("step").value = i;
    const words = `${show(scene.steps[i], 9)} of ${show(scene.steps.at(-1), 9)}`;
    $("now").textContent = words;
    $("step").setAttribute("aria-valuetext", `step ${words}`);
    drawPaths(step);
    moveCursors(step);
    fillTable(scene.steps[i]);
  }

  function go(index) {
    if (index < 0) return;
    time = Math.min(index, scene.steps.length - 1);
    update();
  }

  function stop() {
    cancelAnimationFrame(playing);
    playing = 0;
    $("play").textContent = "▶ Play";
    $("play").setAttribute("aria-label", "play");
  }

  function play() {
    const last = scene.steps.length - 1;
    if (time >= last) time = 0;
    $("play").textContent = "❚❚ Pause";
    $("play").setAttribute("aria-label", "pause");
    const pace = last / Math.max(2500, Math.min(9000, 60 * last)); // steps of the slider in a millisecond
    let then = performance.now();
    const frame = (now) => {
      const passed = now - then;
      if (!still.matches) {
        then = now;
        // the first frame may have begun before the click, and a page in the background has few
        time = Math.min(last, time + pace * Math.max(0, Math.min(passed, SLOWEST)));
        update();
      } else if (passed >= LEAP) {
        then = now;
        time = Math.min(last, Math.ceil(time + pace * LEAP));
        update();
      }
      if (time >= last) stop();
      else playing = requestAnimationFrame(frame);
    };
    playing = requestAnimationFrame(frame);
    update();
  }

  const turn = () => (playing ? stop() : play());

  // What a person does.

  $("step").addEventListener("input", () => {
    time = Number($("step").value);
    update();
  });
  $("play").addEventListener("click", turn);
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.target.closest("button, select, [type=checkbox]")) return;
    event.preventDefault();
    turn();
  });

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const nameTheme = () => {
    $("theme").textContent = isDark() ? "☀ light" : "☾ dark";
    $("theme").setAttribute("aria-label", isDark() ? "switch to light colours" : "switch to dark colours");
  };
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    nameTheme();
  });
  dark.addEventListener("change", nameTheme);
  nameTheme();

  if (data.scenes.length > 1) {
    for (const [i, each] of data.scenes.entries()) put($("scene"), "option", { value: i }, each.title);
    $("choice").hidden = false;
    $("scene").addEventListener("change", () => open(Number($("scene").value)));
  }
  open(0);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return; // a phone's bars come and go as it scrolls
    width = innerWidth;
    draw();
  });
})();
