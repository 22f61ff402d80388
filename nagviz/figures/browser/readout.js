// The read-out: what the page says of a place on the ground.

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
    put(first, "span", {}, ` at step ${counted(near.path.steps[near.row])}`);
  }
  const loss = put(tip, "p");
  put(loss, "b", {}, full(read(...point)));
  put(loss, "span", {}, " loss on the slice");
  if (near) {
    const step = near.path.steps[near.row];
    const known = valueOf(near.path.name, step);
    const early = known && known.at !== step ? `, of step ${counted(known.at)}` : "";
    if (known) put(tip, "p", {}, `${full(known.value)} ${measured().label}${early}`);
    if (near.path.hidden && hides()) put(tip, "p", {}, `${full(near.path.hidden[near.row], 3)} off the plane`);
  }
  put(tip, "p", {}, `at (${full(point[0])}, ${full(point[1])})`);
}

// The curve whose values stand beside those of the slice, if there is any.
const measured = () => scene.curves.find((curve) => !curve.off);

// Whether a path is off the plane anywhere.
const hides = () => scene.paths.some((path) => path.hidden && path.hidden.some((distance) => distance > 0));

// What it says of a name at a step, and at which step that was measured.
function valueOf(name, step) {
  const series = measured()?.series.find((s) => s.name === name);
  if (!series) return null;
  const i = before(series.steps, step);
  return i < 0 ? null : { value: series.values[i], at: series.steps[i] };
}
