// A scene is a slice with its paths and curves.

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
  recorded.push(...paths.filter((path) => path.lost !== null).map((path) => path.lost));
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
