// Sliders on a logarithmic scale, each with a field for the exact number beside it.

const SLIDER_STEPS = 1000;

// 0 and `none` stand one step outside the range of the logarithm.
function toSlider({ low, high }, value) {
  if (value === null) return SLIDER_STEPS + 20;
  if (value === 0) return -20;
  return clamp(SLIDER_STEPS * Math.log(value / low) / Math.log(high / low), 0, SLIDER_STEPS);
}

function fromSlider({ low, high, none, zero }, position) {
  if (none && position > SLIDER_STEPS + 5) return null;
  if (zero && position < -5) return 0;
  const share = clamp(position / SLIDER_STEPS, 0, 1);
  return Number((low * (high / low) ** share).toPrecision(3));
}

function controlHtml(control) {
  const { name, label, hint, none, zero, why } = control;
  const held = why ? " disabled" : "", said = why || (none ? `${hint}; far right: no limit` : hint);
  const low = zero ? -20 : 0, high = none ? SLIDER_STEPS + 20 : SLIDER_STEPS;
  return `<div class="control${why ? " held" : ""}"><label for="${name}">${label}</label>` +
    `<input class="value" id="${name}-value" type="text" inputmode="text" autocomplete="off" ` +
    `spellcheck="false" aria-label="${label}, typed"${held}>` +
    `<input class="slide" id="${name}" type="range" min="${low}" max="${high}" ` +
    `step="1" aria-describedby="${name}-hint"${held}>` +
    `<small id="${name}-hint">${said}</small></div>`;
}

// `wide`: there is room to show every group open.
function controlsHtml(controls, wide) {
  return Object.entries(groupNames).map(([group, title]) => {
    const inside = controls.filter((c) => c.group === group);
    const open = wide || group === "budget" || group === "demand" ? " open" : "";
    return inside.length ? `<details${open}><summary>${title}</summary>` +
      `${inside.map(controlHtml).join("")}</details>` : "";
  }).join("");
}

// `changed(name, value)` is called as a slider moves; `refused(sentence)` where a number is wrong.
function listen(root, controls, { changed, refused }) {
  for (const control of controls) {
    const slider = root.querySelector(`#${control.name}`);
    const field = root.querySelector(`#${control.name}-value`);
    slider.addEventListener("input", () =>
      changed(control.name, fromSlider(control, Number(slider.value))));
    field.addEventListener("change", () => {
      const value = readNumber(field.value), problem = wrongWith(control, value);
      if (problem) refused(problem);
      else changed(control.name, value);
      field.classList.toggle("bad", problem !== "");
    });
  }
}

function showSettings(root, controls, settings) {
  for (const control of controls) {
    const value = settings[control.name], slider = root.querySelector(`#${control.name}`);
    const field = root.querySelector(`#${control.name}-value`);
    const position = toSlider(control, value);
    if (fromSlider(control, Number(slider.value)) !== value) slider.value = position;
    slider.setAttribute("aria-valuetext", show.field(value, control.isPower));
    field.value = show.field(value, control.isPower);
    field.classList.remove("bad");
  }
}
