/**
 * The report's script: sliders over rounds, notes on hovering, the choice of light or dark. Without it the page shows the
 * last round of each figure and the browser's own notes.
 */
export const SCRIPT = `
'use strict';
for (const figure of document.querySelectorAll('figure[data-frames]')) {
  const frames = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
  const picture = figure.querySelector('.live');
  const range = figure.querySelector('input[type=range]');
  const output = figure.querySelector('output');
  const button = figure.querySelector('button');
  const show = () => {
    const frame = frames[Number(range.value)];
    picture.innerHTML = frame.svg;
    output.textContent = frame.label;
    range.setAttribute('aria-valuetext', frame.label);
  };
  let timer;
  const stop = () => {
    clearInterval(timer);
    timer = undefined;
    button.textContent = 'Play';
  };
  range.max = frames.length - 1;
  range.value = range.max;
  range.addEventListener('input', () => { stop(); show(); });
  button.addEventListener('click', () => {
    if (timer !== undefined) return stop();
    if (range.value === range.max) range.value = 0;
    else range.value = Number(range.value) + 1;
    show();
    button.textContent = 'Stop';
    timer = setInterval(() => {
      if (range.value === range.max) return stop();
      range.value = Number(range.value) + 1;
      show();
    }, 700);
  });
  figure.querySelector('.slider').hidden = false;
  show();
}
const tip = document.getElementById('tip');
const hide = () => { tip.style.display = 'none'; };
document.addEventListener('pointermove', ({ target, clientX, clientY }) => {
  const mark = target.closest?.('svg *');
  if (!mark) return hide();
  const title = mark.querySelector(':scope > title');
  if (title) {
    // Taken out of the picture, so that the browser does not show it a second time.
    mark.dataset.note = title.textContent;
    mark.setAttribute('aria-label', title.textContent);
    title.remove();
  }
  const note = mark.closest('[data-note]')?.dataset.note;
  if (!note) return hide();
  tip.textContent = note;
  tip.style.display = 'block';
  const { offsetWidth: width, offsetHeight: height } = tip;
  tip.style.left = Math.max(8, Math.min(clientX + 14, innerWidth - width - 8)) + 'px';
  tip.style.top = (clientY + 18 + height > innerHeight ? clientY - height - 8 : clientY + 18) + 'px';
});
document.addEventListener('pointerleave', hide);
document.getElementById('theme').addEventListener('click', () => {
  const root = document.documentElement;
  const dark = getComputedStyle(root).colorScheme === 'dark';
  root.dataset.theme = dark ? 'light' : 'dark';
});
`;
