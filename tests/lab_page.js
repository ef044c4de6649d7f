// What a reader of a notebook sees, for lab_page.py. All is found by kind, not by name, so that a
// new notebook or a new widget is looked at without a new line here.
window.seen = (() => {
  const KINDS = [
    ["slider", ".noUi-handle"],
    ["choice", "select"],
    ["tick", "input[type=checkbox]"],
    ["radio", "input[type=radio]"],
    ["number", "input[type=number]"],
    ["text", "input[type=text], textarea"],
    ["toggles", ".widget-toggle-buttons button"],
    ["toggle", "button.widget-toggle-button"],
    ["button", "button"],
    ["paper", "canvas"],
  ];
  const MOVABLE = "input, select, textarea, button, canvas, [role=slider], [tabindex='0'], "
    + "[contenteditable=true]";
  const all = (root, selector) => [...root.querySelectorAll(selector)];
  const visible = (element) => element.getClientRects().length > 0;
  const notebook = () => document.querySelector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Notebook");
  const area = (i) => notebook().querySelector(`[data-seen-area="${i}"]`);
  const control = (i) => notebook().querySelector(`[data-seen-control="${i}"]`);
  let before = {};

  /** All that can be moved in outputs, with the output and the cell. */
  function controls() {
    const found = [];
    let count = 0;
    all(notebook(), ".jp-OutputArea-output")
      .filter((output) => all(output, MOVABLE).some(visible))
      .filter((output) => !output.parentElement.closest(".jp-OutputArea-output"))
      .forEach((output, place) => {
        output.dataset.seenArea = place;
        const cells = all(notebook(), ".jp-Cell");
        const cell = cells.indexOf(output.closest(".jp-Cell"));
        for (const element of all(output, MOVABLE)) {
          // A slider's number can be typed, too; it is the same control.
          if (!visible(element) || element.disabled || element.closest(".widget-readout")) continue;
          const kind = KINDS.find(([, selector]) => element.matches(selector));
          element.dataset.seenControl = count;
          found.push({
            number: count++, area: place, cell, kind: kind ? kind[0] : "",
            on: element.matches(":checked, .mod-active"),
            name: name(element),
          });
        }
      });
    return found;
  }

  function name(element) {
    const words = (one) => one ? one.textContent.replace(/\u200b/g, "").trim() : "";
    const group = element.closest("label, .widget-inline-hbox") || element.parentElement;
    const own = words(element) || element.getAttribute("aria-label");
    const label = words(group.matches("label") ? group : group.querySelector("label"));
    return (element.matches("button") ? own : label || own) || element.tagName.toLowerCase();
  }

  function pixels(image) {
    if (image instanceof HTMLCanvasElement) return image.toDataURL();
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [image.naturalWidth || 1, image.naturalHeight || 1];
    copy.getContext("2d").drawImage(image, 0, 0);
    return getComputedStyle(image).visibility + copy.toDataURL();
  }

  /** What the output shows. The paper that is drawn on does not count, if there is another picture. */
  function state(place, moved) {
    const output = area(place), own = control(moved);
    const images = all(output, "img, canvas").filter((image) => image !== own);
    const pictures = [
      ...images.map(pixels), ...all(output, "svg").map((svg) => svg.outerHTML),
    ];
    const texts = all(output, ".widget-html-content, .jp-OutputArea-output")
      .map((text) => text.innerHTML);
    const group = own.closest(".widget-toggle-buttons, .widget-radio") || own;
    const looks = [group, ...all(group, "*")].map((one) => [one.className, one.value, one.checked]);
    const only = own.matches("canvas") && !pictures.length ? [pixels(own)] : [];
    return {
      pictures: JSON.stringify([...pictures, ...only]),
      texts: JSON.stringify(texts),
      looks: JSON.stringify(looks),
      drawn: pictures.length + only.length > 0,
    };
  }

  const remember = (place, moved) => { before = state(place, moved); };

  /** Whether the kinds of things have changed: "picture", or "picture text look". */
  function changed(place, moved, kinds) {
    const now = state(place, moved);
    return kinds.includes("picture") && now.pictures !== before.pictures
      || (kinds.includes("text") || !now.drawn) && now.texts !== before.texts
      || kinds.includes("look") && now.looks !== before.looks;
  }

  /** Pictures and sounds that have not loaded. */
  function unloaded() {
    const pictures = all(notebook(), "img")
      .filter((image) => !image.complete || !image.naturalWidth)
      .map((image) => `the picture ${image.getAttribute("src").split("?")[0].slice(-80)} does not load`);
    const sounds = all(notebook(), "audio, video").filter((one) => one.error)
      .map((one) => `a sound does not load: ${one.error.message}`);
    return [...pictures, ...sounds];
  }

  /** Lines of a text that are wider than it. Every letter of a monitor's font is as wide. */
  function breaking(text) {
    const style = getComputedStyle(text);
    const pen = document.createElement("canvas").getContext("2d");
    pen.font = style.font;
    const room = text.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return text.textContent.split("\n").filter((line) => pen.measureText(line).width > room + 1);
  }

  /** What is there but not to be read: cut or broken lines, pictures blown up until they blur. */
  function unreadable() {
    const wide = (one) => visible(one) && one.scrollWidth > one.clientWidth + 1;
    const labels = all(notebook(), ".widget-label, .jupyter-button").filter(wide)
      .map((one) => `the label "${one.textContent.trim()}" is cut`);
    const broken = all(notebook(), ".jp-OutputArea-output pre").filter(visible).flatMap(breaking)
      .map((line) => `a printed line breaks: ${line.slice(0, 60)}`);
    const outputs = all(notebook(), ".jp-OutputArea-output").filter(wide)
      .map((one) => `an output is cut on the right: ${one.textContent.trim().slice(0, 60)}`);
    const blurred = all(notebook(), "img").filter(visible)
      .filter((one) => one.naturalWidth && one.clientWidth > 1.02 * one.naturalWidth)
      .map((one) => `a picture of ${one.naturalWidth} points is blown up to ${one.clientWidth}`);
    return [...labels, ...broken, ...outputs, ...blurred];
  }

  /** Code cells: how many are there, wait or run, and are done. */
  function progress() {
    const prompts = all(notebook(), ".jp-CodeCell .jp-InputPrompt").map((one) => one.textContent);
    const status = document.querySelector(".jp-Notebook-ExecutionIndicator");
    return {
      cells: prompts.length,
      waiting: prompts.filter((prompt) => prompt.includes("*")).length,
      done: prompts.filter((prompt) => /\d/.test(prompt)).length,
      idle: !!status && status.dataset.status === "idle",
    };
  }

  /** Formulas that could not be set. */
  const formulas = () => all(notebook(), "mjx-merror, .MathJax_Error")
    .map((one) => `a formula cannot be set: ${one.textContent}`);

  const panels = () => all(notebook(), ".jp-WindowedPanel-outer");

  return {
    controls, remember, changed, unloaded, unreadable, progress, formulas,
    to_top: () => panels().forEach((panel) => { panel.scrollTop = 0; }),
    height: () => Math.max(0, ...panels().map((panel) => panel.scrollHeight)),
  };
})();
