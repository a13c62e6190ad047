"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const slider = $("step"), chooser = $("mistake"), detail = $("detail");
  const L = data.layers;
  for (const run of [data, ...Object.values(data.mistakes)]) run.losses = run.losses.map((loss) => loss ?? NaN);

  // --- the numbers --------------------------------------------------------------------------

  const cache = new Map();
  function decoded(text) {
    if (!cache.has(text)) {
      const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
      cache.set(text, new Float32Array(bytes.buffer));
    }
    return cache.get(text);
  }
  function matrix(name, mistake = chooser.value, step = Number(slider.value)) {
    const arrays = mistake ? data.mistakes[mistake].arrays : data.arrays;
    if (!(name in arrays)) return null;
    const [rows, columns] = data.shapes[name];
    const all = decoded(arrays[name]);
    return { name, rows, columns, values: all.subarray(step * rows * columns, (step + 1) * rows * columns) };
  }
  const at = (it, i, j) => it.values[i * it.columns + j];
  // the numbers of the entries, of which some are left out where there are many
  const numberIn = (list, k) => (list && list.length > k ? list[k] : k) + 1;
  function place(name, i, j) {
    const [, head, digits] = name.match(/^([a-zA-Z]+?)(\d*)$/);
    if (name === "y") return [numberIn(data.y[0], i), numberIn(data.y[1], j)];
    const l = Number(digits || 0), kind = head.replace(/^d/, "");
    const columns = kind === "X" ? data.units[0] : kind === "p" ? data.units[L] : data.units[l];
    const rows = kind === "W" ? data.units[l - 1] : kind === "b" ? [0] : data.batch;
    return [numberIn(rows, i), numberIn(columns, j)];
  }
  const shown = (value) => Number.isNaN(value) ? "nan" : String(Number(value.toPrecision(4)));

  // --- what a number is made of -------------------------------------------------------------

  const input = (l) => (l === 0 ? "X" : `A${l}`);
  const inputGradient = (l) => (l === 0 ? "dX" : `dA${l}`);
  function parts(name, i, j) {
    const [row, column] = place(name, i, j);
    const [, head, digits] = name.match(/^([a-zA-Z]+?)(\d*)$/);
    const l = Number(digits || 0);
    const products = (left, right, pair, count) => {
      const [a, b] = [matrix(left), matrix(right)];
      const terms = [];
      for (let k = 0; k < count(a, b); k++) {
        const [[p, q], [r, s]] = pair(k);
        terms.push({ cells: [[left, p, q], [right, r, s]], factors: [at(a, p, q), at(b, r, s)] });
      }
      return terms;
    };
    if (head === "dW")
      return { rule: `column ${row} of ${input(l - 1)} times column ${column} of dZ${l}`, axis: 0,
        terms: products(input(l - 1), `dZ${l}`, (k) => [[k, i], [k, j]], (a) => a.rows) };
    if (head === "db") {
      const dZ = matrix(`dZ${l}`);
      const terms = Array.from({ length: dZ.rows }, (_, k) => ({ cells: [[dZ.name, k, j]], factors: [at(dZ, k, j)] }));
      return { rule: `the sum of column ${column} of dZ${l}`, axis: 0, terms };
    }
    if (head === "dX" || (head === "dA" && l < L))
      return { rule: `row ${row} of dZ${l + 1} times row ${column} of W${l + 1}`, axis: l + 2,
        terms: products(`dZ${l + 1}`, `W${l + 1}`, (k) => [[i, k], [j, k]], (a) => a.columns) };
    if (head === "Z")
      return { rule: `row ${row} of ${input(l - 1)} times column ${column} of W${l}`, axis: l,
        bias: matrix(`b${l}`) && { cells: [[`b${l}`, 0, j]], value: at(matrix(`b${l}`), 0, j) },
        terms: products(input(l - 1), `W${l}`, (k) => [[i, k], [k, j]], (a) => a.columns) };
    if (head === "dZ") return backThrough(l, i, j, row);
    if (head === "A") return through(l, i, j, row);
    if (head === "dA" && data.shapes.p) {
      const [p, y] = [at(matrix("p"), i, j), at(matrix("y"), i, j)];
      return { rule: `p − y, divided by the ${data.m} examples`, cells: [["p", i, j], ["y", i, j]],
        text: `(${shown(p)} − ${shown(y)}) / ${data.m} = ${shown((p - y) / data.m)}`, right: (p - y) / data.m };
    }
    if (head === "p") return { rule: `the probability that the loss makes of A${L}`, cells: [[`A${L}`, i, j]], text: "" };
    if (head === "y") return { rule: "the target", cells: [], text: "" };
    if (head === "dA") return ofLoss(l, i, j);
    return { rule: head === "X" ? "an input" : "a parameter", cells: [], text: "" };
  }

  // what an entry depends on where an activation mixes entries: those of its row, or all
  const rowOf = (name, i) => Array.from({ length: matrix(name).columns }, (_, k) => [name, i, k]);
  function mixed(names, l, i) {
    const rows = data.mixing[l - 1] === "row" ? [i] : Array.from({ length: matrix(names[0]).rows }, (_, k) => k);
    return names.flatMap((name) => rows.flatMap((k) => rowOf(name, k)));
  }
  const whole = (l, row) => (data.mixing[l - 1] === "row" ? `row ${row}` : "all rows");
  function through(l, i, j, row) {
    if (data.mixing[l - 1] !== "entry")
      return { rule: `g of ${whole(l, row)} of Z${l}, whose entries it mixes`, cells: mixed([`Z${l}`], l, i), text: "" };
    return { rule: `g of Z${l}`, cells: [[`Z${l}`, i, j]], text: `g(${shown(at(matrix(`Z${l}`), i, j))})` };
  }
  function backThrough(l, i, j, row) {
    if (data.mixing[l - 1] !== "entry")
      return { rule: `${whole(l, row)} of dA${l} through the activation, which mixes the entries of Z${l}`,
        cells: mixed([`dA${l}`, `Z${l}`], l, i), text: "", wrong: chooser.value === "derivative" };
    const dA = at(matrix(`dA${l}`), i, j), slope = slopeOf(l, i, j);
    return { rule: `dA${l} times the slope g'(Z${l})`, cells: [[`dA${l}`, i, j], [`Z${l}`, i, j]], right: dA * slope,
      text: Number.isFinite(slope) ? `${shown(dA)} · ${shown(slope)} = ${shown(dA * slope)}` : "" };
  }
  // with the mistake that forgets slopes, they are in the data; else they are what dZ has of dA
  function slopeOf(l, i, j) {
    const kept = chooser.value && data.mistakes[chooser.value].slopes, dZ = matrix(`dZ${l}`);
    if (!kept) return at(dZ, i, j) / at(matrix(`dA${l}`), i, j);
    return decoded(kept[`Z${l}`])[(Number(slider.value) * dZ.rows + i) * dZ.columns + j];
  }

  function ofLoss(l, i, j) {
    const A = matrix(`A${l}`), y = matrix("y"), here = `A = ${shown(at(A, i, j))}`;
    const wrong = chooser.value === "mean", cells = [[A.name, i, j]], rule = "the gradient of the loss with respect to this output, by the formula of the loss";
    if (!y) return { rule, cells, text: `at ${here}`, wrong };
    if (y.rows !== A.rows) return { rule, cells: cells.concat(rowOf("y", 0)), text: `at ${here}`, wrong };
    if (y.columns !== A.columns) return { rule, cells: cells.concat(rowOf("y", i)), text: `at ${here}`, wrong };
    return { rule, cells: cells.concat([["y", i, j]]), text: `at ${here} and y = ${shown(at(y, i, j))}`, wrong };
  }

  // the name of the input that an entry belongs to, if inputs have names
  function nameOf(name, i, j) {
    const own = /^d?X$/.test(name) ? data.names[j] : /^d?W1$/.test(name) ? data.names[i] : undefined;
    return own === undefined ? "" : ` of ${own.replace(/[&<>]/g, (c) => `&#${c.charCodeAt(0)};`)}`;
  }

  function describe(name, i, j) {
    const it = matrix(name), value = at(it, i, j);
    const found = parts(name, i, j);
    const lines = [`<p><strong>${name}[${place(name, i, j).join(", ")}] = ${shown(value)}</strong>${nameOf(name, i, j)}, ${found.rule}.</p>`];
    let cells = found.cells || [];
    if (found.terms) {
      const most = 12, few = found.terms.slice(0, most);
      const texts = few.map((t) => t.factors.map((f) => (f < 0 ? `(${shown(f)})` : shown(f))).join(" · "));
      const more = found.terms.length > most ? ` + … ${found.terms.length - most} more` : "";
      let sum = found.terms.reduce((total, t) => total + t.factors.reduce((p, f) => p * f, 1), 0);
      if (found.bias) { sum += found.bias.value; texts.push(`bias ${shown(found.bias.value)}`); cells = cells.concat(found.bias.cells); }
      cells = cells.concat(found.terms.flatMap((t) => t.cells));
      const all = found.axis === 0 ? data.m : data.sizes[found.axis - 1];
      lines.push(`<p class="terms">${texts.join(" + ")}${more} = ${shown(sum)}</p>`);
      if (all > found.terms.length)
        lines.push(`<p>These are ${found.terms.length} of ${all} products; the rest is not on the page.</p>`);
      else found.right = sum;
      found.scale = found.terms.reduce((total, t) => total + Math.abs(t.factors.reduce((p, f) => p * f, 1)), 0);
    } else if (found.text) lines.push(`<p class="terms">${found.text}</p>`);
    if (chooser.value && (found.wrong || Math.abs(found.right - value) > 1e-5 * (found.scale ?? Math.abs(value))))
      lines.push(`<p>With the mistake it is ${shown(value)}.</p>`);
    if (name in data.oracles.autodiff && Number(slider.value) === 0) {
      const of = (oracle) => decoded(data.oracles[oracle][name])[i * it.columns + j];
      const differences = Number.isNaN(of("differences")) ? "" : `, by differences ${shown(of("differences"))}`;
      lines.push(`<p>By autodiff ${shown(of("autodiff"))}${differences}.</p>`);
    }
    return { html: lines.join(""), cells };
  }

  // --- drawing --------------------------------------------------------------------------------

  const figures = new Map([...document.querySelectorAll(".matrix")].map((f) => [f.dataset.name, f]));
  const cellOf = (name, i, j) => figures.get(name)?.querySelector(`td[data-i="${i}"][data-j="${j}"]`);
  let chosen = null;

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const probe = document.createElement("span");
    document.body.append(probe);
    const rgb = ["--positive", "--negative", "--paper"].map((name) => {
      probe.style.color = style.getPropertyValue(name);
      return getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    });
    probe.remove();
    return rgb;
  }
  function draw() {
    const [positive, negative, paper] = colours();
    for (const [name, figure] of figures) {
      const it = matrix(name), right = matrix(name, "");
      const largest = it.values.reduce((m, v) => (Number.isFinite(v) ? Math.max(m, Math.abs(v)) : m), 0) || 1;
      const canvas = figure.querySelector("canvas");
      if (canvas) {
        const context = canvas.getContext("2d"), image = context.createImageData(it.columns, it.rows);
        it.values.forEach((value, k) => {
          const [to, t] = [value < 0 ? negative : positive, Math.min(1, Math.abs(value) / largest)];
          for (let c = 0; c < 3; c++) image.data[4 * k + c] = paper[c] + (to[c] - paper[c]) * t;
          image.data[4 * k + 3] = 255;
        });
        context.putImageData(image, 0, 0);
        continue;
      }
      for (const cell of figure.querySelectorAll("td[data-i]")) {
        const k = cell.dataset.i * it.columns + Number(cell.dataset.j), value = it.values[k];
        cell.textContent = shown(value);
        cell.className = value < 0 ? "negative" : "positive";
        cell.style.setProperty("--t", Math.min(1, Math.abs(value) / largest).toFixed(2));
        const same = Math.abs(value - right.values[k]) <= 1e-5 * (Math.abs(right.values[k]) + 1e-3);
        if (chooser.value && !same) cell.classList.add("changed");
      }
    }
    const step = Number(slider.value);
    $("number").textContent = data.numbers[step];
    const losses = chooser.value ? data.mistakes[chooser.value].losses : data.losses;
    const number = data.numbers[step];
    $("loss").textContent = number < losses.length ? shown(losses[number]) : "";
    drawStates(step);
    drawCurves();
    for (const card of document.querySelectorAll("[data-mistake]"))
      card.classList.toggle("chosen", card.dataset.mistake === chooser.value);
    mark();
  }
  function drawStates(step) {
    const texts = [];
    data.states[step].forEach((states, l) => {
      for (const state of ["dead", "saturated"]) {
        const count = states.filter((s) => s === state).length;
        if (count) texts.push(`Layer ${l + 1}: ${count} ${state}.`);
      }
    });
    if (!chooser.value) $("states").textContent = texts.length
      ? `${texts.join(" ")} A dead unit has the slope 0 for each example and learns nothing; a saturated one has less than a tenth of the steepest slope for each.`
      : "No unit is dead or saturated.";
  }
  function drawCurves() {
    const key = chooser.value, wrong = key ? data.mistakes[key].losses : null;
    const [width, height, left, bottom, above] = [720, 260, 56, 32, 30];
    const finite = [...data.losses, ...(wrong || [])].filter(Number.isFinite);
    const top = Math.min(Math.max(...finite), 3 * Math.max(...data.losses.filter(Number.isFinite))), low = Math.min(0, ...finite);
    const x = (k) => left + ((width - left - 12) * k) / (data.losses.length - 1);
    const y = (v) => above + (height - bottom - above) * (1 - (Math.min(v, top) - low) / (top - low || 1));
    const path = (values) => {
      const end = values.findIndex((v) => !Number.isFinite(v));
      return values.slice(0, end < 0 ? undefined : end).map((v, k) => `${k ? "L" : "M"}${x(k).toFixed(1)} ${y(v).toFixed(1)}`).join("");
    };
    const name = key ? chooser.selectedOptions[0].textContent : "";
    const says = key ? `, and with the mistake: ${name}` : "";
    $("curves").innerHTML = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="The loss over ${data.losses.length - 1} steps, right${says}">
      <path class="axis" d="M${left} ${above}V${height - bottom}H${width - 12}"/>
      <text x="${left - 6}" y="${y(top) + 4}" text-anchor="end">${shown(top)}</text><text x="${left - 6}" y="${y(low) + 4}" text-anchor="end">${shown(low)}</text>
      <text x="${x(0)}" y="${height - 10}">step 0</text><text x="${width - 12}" y="${height - 10}" text-anchor="end">${data.losses.length - 1}</text>
      <path class="right" d="${path(data.losses)}"/>${wrong ? `<path class="wrong" d="${path(wrong)}"/>` : ""}
      <text x="${left}" y="16">loss: right (solid)${wrong ? `, ${name} (dashed)` : ""}</text></svg>`;
  }

  // --- pointing -----------------------------------------------------------------------------

  function mark() {
    for (const cell of document.querySelectorAll("td.part, td.here")) cell.classList.remove("part", "here");
    if (!chosen) return;
    const [name, i, j] = chosen, found = describe(name, i, j);
    detail.innerHTML = found.html;
    cellOf(name, i, j)?.classList.add("here");
    for (const [other, p, q] of found.cells) cellOf(other, p, q)?.classList.add("part");
  }
  function choose(name, i, j) {
    if (chosen && chosen[0] === name && chosen[1] === i && chosen[2] === j) return;
    chosen = [name, i, j];
    mark();
    remember();
  }
  const placeOf = (cell) => [cell.closest(".matrix").dataset.name, Number(cell.dataset.i), Number(cell.dataset.j)];
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  for (const [name, figure] of figures) {
    const [rows, columns] = data.shapes[name];
    const inside = (i, j) => [Math.max(0, Math.min(rows - 1, i)), Math.max(0, Math.min(columns - 1, j))];
    figure.addEventListener("keydown", (event) => {
      if (!(event.key in moves)) return;
      const here = event.target.matches("td[data-i]") ? placeOf(event.target)
        : event.target.matches("canvas") ? (chosen && chosen[0] === name ? chosen : [name, 0, 0]) : null;
      if (!here) return;
      event.preventDefault();
      const [i, j] = inside(here[1] + moves[event.key][0], here[2] + moves[event.key][1]);
      const cell = cellOf(name, i, j);
      if (cell) {
        event.target.tabIndex = -1;
        cell.tabIndex = 0;
        cell.focus();
      } else choose(name, i, j);
    });
    figure.addEventListener("focusin", (event) => { if (event.target.matches("td[data-i]")) choose(...placeOf(event.target)); });
    figure.addEventListener("pointermove", (event) => {
      if (event.target.matches("td[data-i]")) choose(...placeOf(event.target));
      if (event.target.matches("canvas")) {
        const box = event.target.getBoundingClientRect();
        choose(name, ...inside(Math.floor(((event.clientY - box.top) / box.height) * rows), Math.floor(((event.clientX - box.left) / box.width) * columns)));
      }
    });
    figure.addEventListener("click", (event) => { if (event.target.matches("td[data-i]")) event.target.focus(); });
  }

  // --- the address ----------------------------------------------------------------------------

  function remember() {
    const state = new URLSearchParams();
    if (slider.value !== "0") state.set("step", data.numbers[slider.value]);
    if (chooser.value) state.set("mistake", chooser.value);
    if (chosen) state.set("at", `${chosen[0]}.${chosen[1] + 1}.${chosen[2] + 1}`);
    history.replaceState(null, "", `#${state}`);
  }
  function recall() {
    const state = new URLSearchParams(location.hash.slice(1));
    const step = data.numbers.indexOf(Number(state.get("step") || 0));
    slider.value = Math.max(0, step);
    chooser.value = state.get("mistake") in data.mistakes ? state.get("mistake") : "";
    const [name, i, j] = (state.get("at") || "").split(".");
    const [rows, columns] = data.shapes[name] || [0, 0];
    if (i >= 1 && i <= rows && j >= 1 && j <= columns) chosen = [name, i - 1, j - 1];
    draw();
  }
  slider.addEventListener("input", () => { draw(); remember(); });
  chooser.addEventListener("change", () => { draw(); remember(); });
  addEventListener("hashchange", recall);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  recall();
})();
