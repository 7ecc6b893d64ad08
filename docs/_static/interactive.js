// SPDX-License-Identifier: MIT
// What moves on docs/guides/interactive.md: the soft-target loss of one image, its two terms and its gradient.
//
// The maths comes first, line by line that of minidistill/ops.py and minidistill/losses/soft_target.py for one row
// (B = 1); what follows reads the inputs and shows the numbers. MEASURED is interactive_logits.js.

"use strict";
{
  const C = 10;                                 // classes
  const CLASSES = Array.from({ length: C }, (_, c) => c);

  // ------------------------------------------------------------------------------------------ the maths

  const sum = (row) => row.reduce((total, x) => total + x, 0);

  function logSoftmax(s, T = 1) {               // s (C,)
    const top = Math.max(...s);
    const z = s.map((logit) => (logit - top) / T);                  // (C,)  largest is 0: no overflow
    const logOfSum = Math.log(sum(z.map(Math.exp)));                // ()
    return z.map((logit) => logit - logOfSum);                      // (C,)  [SM-1]
  }

  const onehot = (y) => CLASSES.map((c) => (c === y ? 1 : 0));      // (C,)

  function crossEntropy(s, y) {                 // s (C,)  y the label
    const log_q = logSoftmax(s), label = onehot(y);                 // each (C,)
    const value = -log_q[y];                                        // ()    [CE-1]
    const ds = CLASSES.map((c) => Math.exp(log_q[c]) - label[c]);   // (C,)  [CE-2]
    return { value, ds };
  }

  function softenedKL(s, t, T) {                // s (C,)  t (C,)
    const log_q = logSoftmax(s, T), log_p = logSoftmax(t, T);       // each (C,)
    const q = log_q.map(Math.exp), p = log_p.map(Math.exp);         // each (C,)
    const value = sum(CLASSES.map((c) => p[c] * (log_p[c] - log_q[c])));  // ()    [KD-2], without its T^2
    const ds = CLASSES.map((c) => T * (q[c] - p[c]));               // (C,)  [KD-3], with it
    return { value, ds, p, q };
  }

  function softTarget(s, t, y, T, alpha) {
    const ce = crossEntropy(s, y), kl = softenedKL(s, t, T);
    const L_label = (1 - alpha) * ce.value;
    const L_teacher = alpha * T ** 2 * kl.value;
    const ds_label = ce.ds.map((d) => (1 - alpha) * d);             // (C,)
    const ds_teacher = kl.ds.map((d) => alpha * d);                 // (C,)
    const L = L_label + L_teacher;                                  // ()    [KD-4]
    const ds = CLASSES.map((c) => ds_label[c] + ds_teacher[c]);     // (C,)  [KD-5]
    return { ce: ce.value, kl: kl.value, L_label, L_teacher, L, p: kl.p, q: kl.q, ds_label, ds_teacher, ds };
  }

  // ------------------------------------------------------------------------------------------ what stands on the page

  const page = document.querySelector(".soft-target");
  const find = (selector) => page.querySelector(selector);
  const sliderT = find("#soft-target-T"), sliderAlpha = find("#soft-target-alpha");

  function add(parent, tag, attributes = {}, text = "") {
    const namespace = tag === "svg" || tag === "rect" ? "http://www.w3.org/2000/svg" : "http://www.w3.org/1999/xhtml";
    const child = document.createElementNS(namespace, tag);
    for (const [name, value] of Object.entries(attributes)) child.setAttribute(name, value);
    child.textContent = text;
    parent.append(child);
    return child;
  }

  function drawDigit(svg, ink) {                // ink (64,), 0 to 16, line by line from the top
    svg.replaceChildren();
    ink.forEach((dots, i) => {
      add(svg, "rect", { x: i % 8, y: Math.floor(i / 8), width: 1.02, height: 1.02, "fill-opacity": dots / 16 });
    });
  }

  function addImages() {
    MEASURED.images.forEach((image, i) => {
      const label = add(find(".images .row"), "label");
      add(label, "input", { type: "radio", name: "image", value: i, "aria-label": `a handwritten ${image.y}` });
      drawDigit(add(label, "svg", { viewBox: "0 0 8 8", "aria-hidden": "true" }), image.ink);
      add(label, "span", {}, `${image.y}`);
    });
    find("[name=image][value='3']").checked = true;
  }

  function addBars(plot) {
    for (const c of CLASSES) {
      const column = add(plot, "div", { class: "class" });
      for (const name of plot.dataset.bars.split(" ")) add(column, "span", { class: `bar ${name}` });
      add(column, "span", { class: "tick" }, `${c}`);
    }
  }

  function addRows() {
    for (const c of CLASSES) {
      const row = add(find(".numbers tbody"), "tr");
      add(row, "th", { scope: "row" }, `${c}`);
      for (const name of ["s", "t", "p", "q", "onehot", "ds_label", "ds_teacher", "ds"]) {
        add(row, "td", { "data-name": `${name}[${c}]` });
      }
    }
  }

  // ------------------------------------------------------------------------------------------ showing numbers

  function rounded(x, digits) {
    const text = Math.abs(x).toFixed(digits);
    return x < 0 && Number(text) > 0 ? `\u2212${text}` : text;      // a minus sign, and none before 0
  }

  function write(name, x, digits) {             // rounded for people; data-value has all digits
    const place = find(`[data-name="${name}"]`);
    place.textContent = rounded(x, digits);
    place.dataset.value = x;
  }

  const writeRow = (name, row, digits) => row.forEach((x, c) => write(`${name}[${c}]`, x, digits));

  function placeBars(name, row, low, high) {    // from 0 to each number, on an axis from low to high
    page.querySelectorAll(`.bar.${name}`).forEach((bar, c) => {
      bar.style.setProperty("--from", (Math.min(row[c], 0) - low) / (high - low));
      bar.style.setProperty("--size", Math.abs(row[c]) / (high - low));
      bar.classList.toggle("negative", row[c] < 0);
    });
  }

  function roundLimit(largest) {                // the axis of the gradient ends at a round number
    return [0.1, 0.2, 0.5, 1, 2, 5, 10].find((limit) => largest <= limit) ?? 20;
  }

  // ------------------------------------------------------------------------------------------ in words

  const percent = (x) => `${Math.round(100 * x)}%`;

  function likeliest(row) {                     // "59% to 3 and 39% to 9"
    const [first, second] = [...CLASSES].sort((a, b) => row[b] - row[a]);
    return `${percent(row[first])} to ${first} and ${percent(row[second])} to ${second}`;
  }

  function inWords({ p, q, L, L_label, L_teacher, ds }, T, alpha, y, student) {
    const step = Math.max(...ds.map(Math.abs)) < 0.0005
      ? "The gradient is next to nothing."
      : `A step against the gradient raises logit ${ds.indexOf(Math.min(...ds))} most and lowers logit ` +
        `${ds.indexOf(Math.max(...ds))} most.`;
    return `The label is ${y}. At T = ${temperature(T)} the teacher gives ${likeliest(p)}; ` +
      `the student, ${student}, gives ${likeliest(q)}. With alpha = ${rounded(alpha, 2)} the loss is ` +
      `${rounded(L, 2)}: ${rounded(L_label, 2)} from the label, ${rounded(L_teacher, 2)} from the teacher. ${step}`;
  }

  const temperature = (T) => `${Number(T.toPrecision(3))}`;         // 4, and 3.67

  // Speaks when the numbers have rested for a moment: a slider on its way would have a screen reader say them all.
  let speaking;
  function say(words) {
    clearTimeout(speaking);
    speaking = setTimeout(() => { find(".summary").textContent = words; }, 300);
  }

  // ------------------------------------------------------------------------------------------ from inputs to numbers

  let s = [], steps = 0;                        // the student's logits, which the buttons move

  function read() {
    const image = MEASURED.images[find("[name=image]:checked").value];
    return {
      image,
      student: find("[name=student]:checked"),
      T: 2 ** sliderT.value,                    // equal ways on the slider are equal ratios of T
      alpha: Number(sliderAlpha.value),
    };
  }

  function startAgain() {
    const { image, student } = read();
    s = image.s[student.value];
    steps = 0;
    drawDigit(find(".digit"), image.ink);
    find(".digit").setAttribute("aria-label", `Test image ${image.row}, a handwritten ${image.y}`);
    show();
  }

  function follow(count) {
    const { image: { t, y }, T, alpha } = read();
    for (let i = 0; i < count; i++) {
      const { ds } = softTarget(s, t, y, T, alpha);
      s = CLASSES.map((c) => s[c] - ds[c]);
    }
    steps += count;
    show();
  }

  function show() {
    const { image: { t, y }, student, T, alpha } = read();
    const found = softTarget(s, t, y, T, alpha);
    const { ds_label, ds_teacher, ds } = found;
    const limit = roundLimit(Math.max(...[ds_label, ds_teacher, ds].flat().map(Math.abs)));

    write("T", T, 2);
    find("[data-name=T]").textContent = temperature(T);
    sliderT.setAttribute("aria-valuetext", temperature(T));
    write("alpha", alpha, 2);
    write("steps", steps, 0);
    write("ce", found.ce, 4);
    write("kl", found.kl, 4);
    write("1-alpha", 1 - alpha, 2);
    write("alpha T^2", alpha * T ** 2, 2);
    for (const name of ["L_label", "L_teacher", "L"]) write(name, found[name], 4);
    write("limit", limit, limit < 1 ? 1 : 0);
    write("-limit", -limit, limit < 1 ? 1 : 0);

    const rows = { ...found, s, t, onehot: onehot(y) };
    for (const name of ["s", "t", "onehot"]) writeRow(name, rows[name], name === "onehot" ? 0 : 2);
    for (const name of ["p", "q", "ds_label", "ds_teacher", "ds"]) writeRow(name, rows[name], 4);
    for (const name of ["p", "q", "onehot"]) placeBars(name, rows[name], 0, 1);
    for (const name of ["ds_label", "ds_teacher", "ds"]) placeBars(name, rows[name], -limit, limit);

    page.querySelectorAll(".tick").forEach((tick, i) => tick.classList.toggle("label", i % C === y));
    find(".shares .label").style.flexGrow = found.L_label;
    find(".shares .teacher").style.flexGrow = found.L_teacher;
    say(inWords(found, T, alpha, y, student.parentElement.textContent.trim()));
  }

  addImages();
  page.querySelectorAll(".plot").forEach(addBars);
  addRows();
  page.hidden = false;
  page.querySelectorAll("input[type=radio]").forEach((radio) => radio.addEventListener("input", startAgain));
  for (const slider of [sliderT, sliderAlpha]) slider.addEventListener("input", show);
  page.querySelectorAll("button").forEach((button) => {
    button.addEventListener("click", () => (button.value === "0" ? startAgain() : follow(Number(button.value))));
  });
  startAgain();
}
